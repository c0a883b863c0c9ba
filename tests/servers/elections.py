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
        #: By session and number, the answer to a write: a driver may send it again.
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
        """The next write is made, and its answer says that the primary has stepped down."""
        await self._during_a_write(self._interrupted)

    async def roll_a_write_back(self) -> None:
        """The next write is made by the primary alone, and lost with it."""
        await self._during_a_write(self._rolled_back)

    def _step_down(self) -> Replica:
        primary = next(each for each in self.members if each.is_primary)
        primary.is_primary = False
        self._former = primary
        self._term += 1
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
        self._write(command)
        self._step_down()
        return self._labelled(refusal(*_INTERRUPTED), command)

    def _rolled_back(self, command: dict[str, Any]) -> Answer:
        before, answers = copy.deepcopy(self.written), dict(self._answers)
        answer = self._write(command)
        self.written, self._answers = before, answers
        self._step_down()
        code, name = _INTERRUPTED
        concern = {"code": code, "codeName": name, "errmsg": "the majority has not confirmed it"}
        return self._labelled({**answer, "writeConcernError": concern}, command)

    # -------------------------------------------------------------------------------------------------------- answers
    def _answer(self, member: Replica, command: dict[str, Any]) -> Answer:
        if not member.is_primary:
            return self._labelled(refusal(*_NO_PRIMARY), command)
        if any(each in command for each in _WRITES):
            instead, self._instead = self._instead, None
            return instead(command) if instead else self._write(command)
        if "find" in command and command["find"] in self.written:
            wanted = command["filter"].get("_id", {}).get("$in", ())
            there = self.written[command["find"]]
            found = [there[each] for each in wanted if each in there]
            return {"ok": 1, "cursor": {"id": 0, "ns": f"d.{command['find']}", "firstBatch": found}}
        if "aggregate" in command:
            self._opened_in = self._term
        if "getMore" in command and self._opened_in != self._term:
            return self._labelled(refusal(43, "CursorNotFound"), command)
        return self._play(command)

    def _write(self, command: dict[str, Any]) -> Answer:
        key = (bytes(command["lsid"]["id"]), command["txnNumber"]) if "txnNumber" in command else None
        if key is not None and key in self._answers:
            return self._answers[key]
        answer = self._inserted(command) if "insert" in command else self._updated(command)
        if key is not None:
            self._answers[key] = answer
        return answer

    def _inserted(self, command: dict[str, Any]) -> Answer:
        there = self.written.setdefault(command["insert"], {})
        errors = []
        for index, each in enumerate(command["documents"]):
            if each["_id"] in there:
                errors.append({"index": index, "code": 11000, "errmsg": "E11000 duplicate key"})
            else:
                there[each["_id"]] = each
        count = len(command["documents"]) - len(errors)
        return {"ok": 1, "n": count, **({"writeErrors": errors} if errors else {})}

    def _updated(self, command: dict[str, Any]) -> Answer:
        if "update" not in command:
            return default_answer(command)
        there = self.written.setdefault(command["update"], {})
        for each in command["updates"]:
            there[each["q"]["_id"]] = each["u"]
        return {"ok": 1, "n": len(command["updates"]), "nModified": len(command["updates"])}

    @staticmethod
    def _labelled(answer: Answer, command: dict[str, Any]) -> Answer:
        """With what tells a driver that trying again is right."""
        label = "RetryableWriteError" if "txnNumber" in command else "ResumableChangeStreamError"
        return {**answer, "errorLabels": [label]}


@asynccontextmanager
async def replica_set() -> AsyncIterator[ReplicaSet]:
    """Two members on free ports, the first of them primary."""
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(replica()) for _ in range(2)]
        yield ReplicaSet(members)
