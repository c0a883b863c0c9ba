"""A change stream as the vendor documents it, played from a script: what no stand-in does is shown with it.

Tokens are the number of events before them; an answer's post-batch token may be ahead of its events, as when the
server has passed changes that the stream does not tell of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bson

from tests.servers.replica import Answer, Replica, default_answer, refusal

_CURSOR = 77
#: Values of `_id` that are told apart, in the server's order.
_ORDER = (type(None), (int, float), str, dict, bytes, bson.ObjectId)


def token(number: int) -> dict[str, Any]:
    """The token behind so many events."""
    return {"_data": f"{number:08x}"}


class Replay:
    """Answers the commands of one stream on a member."""

    def __init__(self, member: Replica) -> None:
        member.answer = self._answer
        #: Events, each under the token behind it; None: a change that the stream does not tell of.
        self.events: list[dict[str, Any] | None] = []
        #: Answers that come instead of the next ones to these commands.
        self.refusals: dict[str, list[Answer]] = {"aggregate": [], "getMore": []}
        #: How many events, or documents, an answer holds.
        self.size = 1000
        self._at = 0
        #: What can be read, by collection.
        self.documents: dict[str, list[dict[str, Any]]] = {}
        #: How many whole documents there is room for in an answer; None: as many as of anything.
        self.room: int | None = None
        self._found: dict[int, tuple[str, list[dict[str, Any]], int]] = {}
        #: Called before each answer with documents: what happens meanwhile.
        self.meanwhile: Callable[[], None] = lambda: None
        #: Older places are not kept any more.
        self.kept_from = 0
        #: Whether the cluster gives tokens, and times.
        self.has_tokens = self.has_times = True

    def happen(self, kind: str, **fields: Any) -> None:
        """An event; what is common to all of them is put in."""
        common = {
            "_id": token(len(self.events) + 1),
            "operationType": kind,
            "clusterTime": bson.Timestamp(1_700_000_000, 1),
            "ns": {"db": "d", "coll": "orders"},
        }
        self.events.append({**common, **fields})

    def happen_in_fragments(self, kind: str, *fragments: dict[str, Any]) -> None:
        """A large event; each fragment has some of its fields, the first those that all events have."""
        for number, fields in enumerate(fragments, 1):
            split = {"splitEvent": {"fragment": number, "of": len(fragments)}}
            if number == 1:
                self.happen(kind, **fields, **split)
            else:
                self.events.append({"_id": token(len(self.events) + 1), **split, **fields})

    def pass_by(self) -> None:
        """A change elsewhere."""
        self.events.append(None)

    def _answer(self, command: dict[str, Any]) -> Answer:
        for name, refusals in self.refusals.items():
            if name in command and refusals:
                return refusals.pop(0)
        if "aggregate" in command and "$changeStream" in command["pipeline"][0]:
            after = command["pipeline"][0]["$changeStream"].get("startAfter")
            self._at = len(self.events) if after is None else int(after["_data"], 16)
            return self._passed("firstBatch", 0)
        if command.get("getMore") == _CURSOR:
            return self._passed("nextBatch", self.size)
        return self._of_documents(command)

    def _passed(self, name: str, size: int) -> Answer:
        if self._at < self.kept_from:
            return refusal(286, "ChangeStreamHistoryLost")
        passed = self.events[self._at : self._at + size]
        self._at += len(passed)
        return self._reply(name, [each for each in passed if each is not None])

    def _of_documents(self, command: dict[str, Any]) -> Answer:
        if "getMore" in command:
            return self._read(command["getMore"], "nextBatch")
        if "listCollections" in command:
            listed = [{"name": each, "type": "collection"} for each in [*self.documents, "system.views"]]
            listed.append({"name": "a_view", "type": "view"})
            return {"ok": 1, "cursor": {"id": 0, "ns": "d.$cmd.listCollections", "firstBatch": listed}}
        if "count" in command:
            return {"ok": 1, "n": len(self.documents.get(command["count"], ()))}
        name = command.get("find") or command.get("aggregate")
        if name is None:
            return default_answer(command)
        found = sorted(self.documents.get(name, ()), key=lambda each: _rank(each["_id"]))
        if "find" in command:
            found = [each for each in found if _is_found(each, command["filter"])]
            if "projection" in command:
                found = [{"_id": each["_id"]} for each in found]
        cursor = _CURSOR + 1 + len(self._found)
        size = self.size if self.room is None or "projection" in command else self.room
        self._found[cursor] = (f"d.{name}", found[: command.get("limit")], size)
        return self._read(cursor, "firstBatch")

    def _read(self, cursor: int, name: str) -> Answer:
        self.meanwhile()
        place, left, size = self._found[cursor]
        part, left[:] = left[:size], left[size:]
        found = {"id": bson.Int64(cursor if left else 0), "ns": place, name: part}
        return {"ok": 1, "cursor": found, "operationTime": bson.Timestamp(1_700_000_000, 2)}

    def _reply(self, name: str, events: list[dict[str, Any]]) -> Answer:
        is_over = bool(events) and events[-1].get("operationType") == "invalidate"
        cursor = {"id": bson.Int64(0 if is_over else _CURSOR), "ns": "d.orders", name: events}
        if self.has_tokens:
            cursor["postBatchResumeToken"] = token(self._at)
        time = {"operationTime": bson.Timestamp(1_700_000_000, 1)} if self.has_times else {}
        return {"ok": 1, "cursor": cursor, **time}


def _rank(value: Any) -> tuple[int, Any]:
    kind = next(number for number, each in enumerate(_ORDER) if isinstance(value, each))
    return kind, 0 if value is None else value


def _is_found(document: dict[str, Any], query: dict[str, Any]) -> bool:
    """Whether all of the query holds: of expressions, of lists of `_id`s, and of values."""
    for name, wanted in query.items():
        match name, wanted:
            case "$and", _:
                holds = all(_is_found(document, each) for each in wanted)
            case "$expr", _:
                holds = _is_within(document["_id"], wanted)
            case _, {"$in": values}:
                holds = document.get(name) in values
            case _:
                holds = document.get(name) == wanted
        if not holds:
            return False
    return True


def _is_within(value: Any, test: dict[str, Any]) -> bool:
    """Whether an expression of two bounds holds; values of all types have one order."""
    if "$and" in test:
        return all(_is_within(value, each) for each in test["$and"])
    ((name, (field, bound)),) = test.items()
    assert field == "$_id"
    literal = bound["$literal"]
    return _rank(value) > _rank(literal) if name == "$gt" else _rank(value) <= _rank(literal)
