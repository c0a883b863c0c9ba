"""Two members of a replica set that hold elections when a test says so, with what a failing primary does to writes.

Events are played as `Replay` does; documents that are written are kept, by collection, and can be looked at.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.servers.replay import Replay
from tests.servers.replica import Answer, Replica, default_answer, refusal, replica

_WRITES = ("insert", "update", "delete")
#: What a server says that is no primary, or ceases to be one.
_NO_PRIMARY = (10107, "NotWritablePrimary")
_INTERRUPTED = (11602, "InterruptedDueToReplStateChange")
_NO_TRANSACTION = (251, "NoSuchTransaction")
#: So many of a stream's events in an answer.
_SIZE = 20

Documents = dict[str, dict[Any, dict[str, Any]]]


class ReplicaSet:
    """What both members share."""

    def __init__(self, members: list[Replica]) -> None:
        self.members = members
        self.replay = Replay(members[0])
        self.replay.size = _SIZE
        self._play = members[0].answer
        self.written: Documents = {}
        #: How often a document was to be inserted that was there.
        self.duplicates = 0
        #: What transactions that are open would leave, by session and number.
        self._open: dict[tuple[bytes, int] | None, Documents] = {}
        #: By session and number, the answer to what was carried out: a driver may send it again.
        self._answers: dict[tuple[bytes, int], Answer] = {}
        #: Since when the cursor of the stream is there; another primary does not know it.
        self._term = self._opened_in = 0
        self._former = members[1]
        #: What the next write is answered by.
        self._instead: Callable[[dict[str, Any]], Answer] | None = None
        self._was_made = asyncio.Event()
        for each in members:
            each.hosts = [one.address for one in members]
            each.is_primary = each is members[0]
            each.answer = lambda command, each=each: self._answer(each, command)  # type: ignore[misc]  # bound per turn

    @property
    def uri(self) -> str:
        """A driver finds the primary by itself, and is patient for a while."""
        hosts = ",".join(each.address for each in self.members)
        return f"mongodb://{hosts}/?replicaSet=rs&serverSelectionTimeoutMS=1000&heartbeatFrequencyMS=500"

    # ------------------------------------------------------------------------------------------------------ elections
    async def step_down(self) -> None:
        """The primary refuses from now on; after a while another one is there."""
        self._step_down()
        await self._elected()

    async def die(self) -> None:
        """The primary's connections end; after a while another one is there."""
        primary = self._step_down()
        primary.cut()
        await self._elected()

    async def interrupt_a_write(self) -> None:
        """The next write, or end of a transaction, is made, and its answer says that the primary has stepped down."""
        await self._during_a_write(self._interrupted)

    async def roll_a_write_back(self) -> None:
        """The next write is made by the primary alone, and lost with it."""
        await self._during_a_write(self._rolled_back)

    def _step_down(self) -> Replica:
        primary = next(each for each in self.members if each.is_primary)
        primary.is_primary = False
        self._former = primary
        self._term += 1
        self._open.clear()
        self._was_made.set()
        return primary

    async def _elected(self) -> None:
        await asyncio.sleep(2)
        next(each for each in self.members if each is not self._former).is_primary = True

    async def _during_a_write(self, instead: Callable[[dict[str, Any]], Answer]) -> None:
        self._was_made.clear()
        self._instead = instead
        await self._was_made.wait()
        await self._elected()

    def _interrupted(self, command: dict[str, Any]) -> Answer:
        self._carried_out(command)
        self._step_down()
        return self._labelled(refusal(*_INTERRUPTED), command)

    def _rolled_back(self, command: dict[str, Any]) -> Answer:
        before = copy.deepcopy(self.written), dict(self._answers)
        answer = self._carried_out(command)
        self.written, self._answers = before
        self._step_down()
        code, name = _INTERRUPTED
        concern = {"code": code, "codeName": name, "errmsg": "the majority has not confirmed it"}
        return self._labelled({**answer, "writeConcernError": concern}, command)

    # -------------------------------------------------------------------------------------------------------- answers
    def _answer(self, member: Replica, command: dict[str, Any]) -> Answer:
        if not member.is_primary:
            return self._labelled(refusal(*_NO_PRIMARY), command)
        is_within = command.get("autocommit") is False
        if "commitTransaction" in command or (not is_within and any(each in command for each in _WRITES)):
            instead, self._instead = self._instead, None
            return instead(command) if instead else self._carried_out(command)
        if is_within:
            return self._within(command)
        if "find" in command and command["find"] not in self.replay.documents:
            return _done(command, self.written)
        if "aggregate" in command:
            self._opened_in = self._term
        if "getMore" in command and self._opened_in != self._term:
            return self._labelled(refusal(43, "CursorNotFound"), command)
        return self._play(command)

    def _carried_out(self, command: dict[str, Any]) -> Answer:
        """A write, or the end of a transaction, unless it has been carried out before."""
        key = _key_of(command)
        if key is not None and key in self._answers:
            return self._answers[key]
        if "commitTransaction" not in command:
            answer = _done(command, self.written)
        elif key not in self._open:
            return self._labelled(refusal(*_NO_TRANSACTION), command)
        else:
            self.written, answer = self._open.pop(key), {"ok": 1}
        self._note(answer)
        if key is not None:
            self._answers[key] = answer
        return answer

    def _within(self, command: dict[str, Any]) -> Answer:
        """A command of a transaction: what it changes nobody else sees before its end."""
        key = _key_of(command)
        if "abortTransaction" in command:
            self._open.pop(key, None)
            return {"ok": 1}
        if command.get("startTransaction"):
            self._open[key] = copy.deepcopy(self.written)
        if key not in self._open:
            return self._labelled(refusal(*_NO_TRANSACTION), command)
        answer = _done(command, self._open[key])
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        self.duplicates += len(answer.get("writeErrors", ()))

    @staticmethod
    def _labelled(answer: Answer, command: dict[str, Any]) -> Answer:
        """With what tells a driver that trying again is right."""
        label = "RetryableWriteError" if "txnNumber" in command else "ResumableChangeStreamError"
        if command.get("autocommit") is False and ("commitTransaction" not in command or answer.get("code") == 251):
            label = "TransientTransactionError"
        return {**answer, "errorLabels": [label]}


def _key_of(command: dict[str, Any]) -> tuple[bytes, int] | None:
    return (bytes(command["lsid"]["id"]), command["txnNumber"]) if "txnNumber" in command else None


def _done(command: dict[str, Any], written: Documents) -> Answer:
    """A command that reads or writes documents, which are told apart by `_id`."""
    name = next(each for each in (*_WRITES, "find") if each in command)
    there = written.setdefault(command[name], {})
    match name:
        case "insert":
            return _inserted(command["documents"], there)
        case "update":
            return _updated(command["updates"], there)
        case "find":
            found = [each for each in there.values() if _has(each, command.get("filter", {}))]
            return {"ok": 1, "cursor": {"id": 0, "ns": f"d.{command['find']}", "firstBatch": found}}
    return default_answer(command)


def _inserted(documents: list[dict[str, Any]], there: dict[Any, dict[str, Any]]) -> Answer:
    errors = []
    for index, each in enumerate(documents):
        if each["_id"] in there:
            errors.append({"index": index, "code": 11000, "errmsg": "E11000 duplicate key"})
        else:
            there[each["_id"]] = each
    return {"ok": 1, "n": len(documents) - len(errors), **({"writeErrors": errors} if errors else {})}


def _updated(updates: list[dict[str, Any]], there: dict[Any, dict[str, Any]]) -> Answer:
    """Whole documents by `_id`, and by what else they must have."""
    count = 0
    for each in updates:
        number = each["q"]["_id"]
        if each.get("upsert") or (number in there and _has(there[number], each["q"])):
            there[number] = {"_id": number, **each["u"]}
            count += 1
    return {"ok": 1, "n": count, "nModified": count}


def _has(document: dict[str, Any], query: dict[str, Any]) -> bool:
    """By values, or by lists of them; what else a query asks for holds."""
    tests = {name: each for name, each in query.items() if not name.startswith("$")}
    return all(
        document.get(name) in each.get("$in", [document.get(name)])
        if isinstance(each, dict)
        else document.get(name) == each
        for name, each in tests.items()
    )


@asynccontextmanager
async def replica_set() -> AsyncIterator[ReplicaSet]:
    """Two members on free ports, the first of them primary."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(replica()) for _ in range(2)]
        yield ReplicaSet(members)
