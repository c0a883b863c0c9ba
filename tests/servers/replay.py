"""A change stream as the vendor documents it, played from a script: what no stand-in does is shown with it.

Tokens are the number of events before them; an answer's post-batch token may be ahead of its events, as when the
server has passed changes that the stream does not tell of.
"""

from __future__ import annotations

from typing import Any

import bson

from tests.servers.replica import Answer, Replica, default_answer

_CURSOR = 77


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
        #: How many events an answer holds.
        self.size = 1000
        self._at = 0

    def happen(self, kind: str, **fields: Any) -> None:
        """An event; what is common to all of them is put in."""
        common = {
            "_id": token(len(self.events) + 1),
            "operationType": kind,
            "clusterTime": bson.Timestamp(1_700_000_000, 1),
            "ns": {"db": "d", "coll": "orders"},
        }
        self.events.append({**common, **fields})

    def pass_by(self) -> None:
        """A change elsewhere."""
        self.events.append(None)

    def _answer(self, command: dict[str, Any]) -> Answer:
        for name, refusals in self.refusals.items():
            if name in command and refusals:
                return refusals.pop(0)
        if "aggregate" in command:
            stage = command["pipeline"][0]["$changeStream"]
            after = stage.get("startAfter")
            self._at = len(self.events) if after is None else int(after["_data"], 16)
            return self._reply("firstBatch", [])
        if "getMore" in command:
            passed = self.events[self._at : self._at + self.size]
            self._at += len(passed)
            return self._reply("nextBatch", [each for each in passed if each is not None])
        return default_answer(command)

    def _reply(self, name: str, events: list[dict[str, Any]]) -> Answer:
        is_over = bool(events) and events[-1].get("operationType") == "invalidate"
        cursor = {"id": bson.Int64(0 if is_over else _CURSOR), "ns": "d.orders", name: events}
        cursor["postBatchResumeToken"] = token(self._at)
        return {"ok": 1, "cursor": cursor, "operationTime": bson.Timestamp(1_700_000_000, 1)}
