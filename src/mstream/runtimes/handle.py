"""The owner's side of one run: its handle, and the answers to what it asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Ending, Outcome, RunSpec, RunStatus
from mstream.errors import Unavailable
from mstream.foundation.concurrency import background
from mstream.ports.owner import Owner
from mstream.runtimes.faults import error_of, fault_of
from mstream.runtimes.messages import (
    Abort,
    Answered,
    Ask,
    Drain,
    Exited,
    Fault,
    Finish,
    Reply,
    Request,
    Started,
    ToRun,
    Verb,
)

#: Seconds that writes of a run that has ended may still take before its end is told.
_LAST_WRITES = 2.0


class MessagedRun:
    """Implements `RunHandle` over messages; lives on the owner's loop."""

    def __init__(self, spec: RunSpec, owner: Owner, *, send: Callable[[ToRun], None], group: asyncio.TaskGroup) -> None:
        self.spec = spec
        self._owner = owner
        self._send = send
        self._group = group
        self._status = RunStatus()
        self._started = asyncio.Event()
        self._ended = asyncio.Event()
        #: Nobody waits for answers any more.
        self._cut = asyncio.Event()
        self._outcome: Outcome | None = None
        self._requests = 0
        self._numbers = count(1)
        #: Orders that are not answered yet, by number.
        self._asked: dict[int, asyncio.Future[None]] = {}
        self._quiet = asyncio.Event()
        self._quiet.set()
        #: It was told to end at once: however its worker ends, that is how it ended.
        self.aborting = False

    @property
    def run_id(self) -> str:
        """The run's own id."""
        return self.spec.run_id

    @property
    def status(self) -> RunStatus:
        """The last that it has said of itself."""
        return self._status

    async def started(self) -> None:
        """Returns once it reads, or has ended."""
        await self._started.wait()

    def drain(self) -> None:
        """Read no more, deliver and save what was read, end."""
        self._send(Drain(run_id=self.run_id))

    def finish(self) -> None:
        """Deliver up to the head of this moment, then end."""
        self._send(Finish(run_id=self.run_id))

    async def snapshot(self, order: SnapshotOrder) -> None:
        """Returns once its saved place carries the order."""
        if self._outcome is not None:
            raise _too_late()
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(Ask(run_id=self.run_id, number=number, order=order))
            await answer
        finally:
            self._asked.pop(number, None)

    def abort(self) -> None:
        """End at once."""
        self.aborting = True
        self._send(Abort(run_id=self.run_id))

    async def outcome(self) -> Outcome:
        """Waits for the end."""
        await self._ended.wait()
        assert self._outcome is not None  # noqa: S101 - set before the event
        return self._outcome

    def heard(self, status: RunStatus) -> None:
        """A heartbeat with its status has come."""
        self._status = status

    def receive(self, message: Started | Request | Answered | Exited) -> None:
        """Something that this run says."""
        match message:
            case Started():
                self._started.set()
            case Request():
                self._requests += 1
                self._quiet.clear()
                self._group.create_task(self._answer(message))
            case Answered():
                self._answered(message)
            case Exited():
                self.end(message.outcome)

    def end(self, outcome: Outcome) -> None:
        """It is over, or its worker is; the first to say so counts."""
        if self._outcome is not None:
            return
        if self.aborting and outcome.ending is Ending.FAILED:
            outcome = Outcome(ending=Ending.ABORTED, charged=outcome.charged)
        self._outcome = outcome
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(_too_late())
        self._group.create_task(self._close())

    def _answered(self, message: Answered) -> None:
        answer = self._asked.get(message.number)
        if answer is None or answer.done():
            return
        if message.fault is not None:
            answer.set_exception(error_of(message.fault))
        else:
            answer.set_result(None)

    async def _close(self) -> None:
        """Let writes under way end first: a next run must not meet them."""
        try:
            for _ in range(2):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WRITES):
                        await self._quiet.wait()
                self._cut.set()
        finally:
            self._started.set()
            self._ended.set()

    async def _answer(self, request: Request) -> None:
        result: Any = None
        fault: Fault | None = None
        try:
            async with background(self._cut.wait()) as cut, background(self._call(request)) as work:
                await asyncio.wait({work, cut}, return_when=asyncio.FIRST_COMPLETED)
            result = None if work.cancelled() else work.result()
        except Exception as error:  # noqa: BLE001 - whatever the owner dies of is the run's answer
            fault = fault_of(error)
        finally:
            self._requests -= 1
            if self._requests == 0:
                self._quiet.set()
        self._send(Reply(run_id=self.run_id, request_id=request.request_id, result=result, fault=fault))

    async def _call(self, request: Request) -> Any:  # noqa: ANN401 - each verb has its own answer
        args = request.args
        match request.verb:
            case Verb.SAVE:
                return await self._owner.save(*args)
            case Verb.CLAIM:
                return _plain(await self._owner.claim(*args))
            case Verb.RELEASE:
                return await self._owner.release(*args)
            case Verb.LOOKUP:
                return _plain(await self._owner.lookup(*args))
            case Verb.BURY:
                return await self._owner.bury(*args)


def _too_late() -> Unavailable:
    message = (
        "the run has ended before it could say that the order is kept; look whether the next one has it, or ask it"
    )
    return Unavailable(message)


def _plain(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping that pickles, whatever kind the owner has."""
    return dict(answer)
