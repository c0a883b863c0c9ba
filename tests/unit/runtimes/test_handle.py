"""The owner's side of a run: how its end is told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Ending, Outcome
from mstream.errors import MstreamError
from mstream.runtimes.handle import MessagedRun
from mstream.runtimes.messages import Answered, Ask, Exited, Fault, Reply, Request, ToRun, Verb
from tests.unit.runtimes.stand_in import RecordingOwner, spec
from tests.virtual import run as run_virtually

FINISHED = Outcome(ending=Ending.FINISHED)
LOST = Outcome(ending=Ending.FAILED, reason="worker_lost")


class SlowOwner(RecordingOwner):
    """Stores when it is allowed to."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()
        self.is_under_way = False

    async def save(self, positions: Mapping[str, Any]) -> None:
        self.is_under_way = True
        try:
            await self.may.wait()
            await super().save(positions)
        finally:
            self.is_under_way = False


async def told(run: MessagedRun) -> Outcome | None:
    """The outcome if it has been told by now."""
    try:
        async with asyncio.timeout(0.5):
            return await run.outcome()
    except TimeoutError:
        return None


def saving(owner: SlowOwner, group: asyncio.TaskGroup, sent: list[ToRun]) -> MessagedRun:
    """A run that has just asked for a save."""
    run = MessagedRun(spec("quiet"), owner, send=sent.append, group=group)
    run.receive(Request(run_id="run-1", request_id=1, verb=Verb.SAVE, args=({"lane": 1},)))
    return run


def test_the_end_is_told_after_the_last_write() -> None:
    async def scenario() -> None:
        owner, sent = SlowOwner(), list[ToRun]()
        async with asyncio.TaskGroup() as group:
            run = saving(owner, group, sent)
            run.receive(Exited(run_id="run-1", outcome=LOST))
            assert await told(run) is None
            owner.may.set()

            assert await run.outcome() == LOST
        assert owner.saved == {"lane": 1}
        assert sent == [Reply(run_id="run-1", request_id=1)]

    run_virtually(scenario())


def test_a_write_that_does_not_end_is_given_up_before_the_end_is_told() -> None:
    async def scenario() -> None:
        owner = SlowOwner()
        async with asyncio.TaskGroup() as group:
            run = saving(owner, group, [])
            await asyncio.sleep(0)
            run.end(LOST)

            assert await run.outcome() == LOST
            assert not owner.is_under_way
        assert owner.saved == {}

    run_virtually(scenario())


@pytest.mark.parametrize("second", [FINISHED, LOST])
def test_the_first_who_tells_the_end_is_right(second: Outcome) -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            run = MessagedRun(spec("quiet"), RecordingOwner(), send=lambda message: None, group=group)
            run.end(FINISHED)
            run.end(second)

            assert await run.outcome() == FINISHED
            await run.started()

    run_virtually(scenario())


def test_a_run_that_was_aborted_did_not_fail() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            run = MessagedRun(spec("quiet"), RecordingOwner(), send=lambda message: None, group=group)
            run.abort()
            run.end(LOST)

            assert (await run.outcome()).ending is Ending.ABORTED

    run_virtually(scenario())


async def asked(run: MessagedRun) -> str:
    """The code of what comes back."""
    try:
        await run.snapshot(SnapshotOrder())
    except MstreamError as error:
        return error.code
    return "fine"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answered(run_id="run-1", number=1), "fine"),
        (Answered(run_id="run-1", number=1, fault=Fault(code="conflict", message="no")), "conflict"),
        (Exited(run_id="run-1", outcome=LOST), "unavailable"),
    ],
)
def test_an_order_is_answered_by_the_run_or_by_its_end(answer: Answered | Exited, code: str) -> None:
    async def scenario() -> None:
        sent = list[ToRun]()
        async with asyncio.TaskGroup() as group:
            run = MessagedRun(spec("quiet"), RecordingOwner(), send=sent.append, group=group)
            asking = group.create_task(asked(run))
            await asyncio.sleep(1)
            run.receive(Answered(run_id="run-1", number=7))
            run.receive(answer)

            assert await asking == code
        assert sent == [Ask(run_id="run-1", number=1, order=SnapshotOrder())]

    run_virtually(scenario())


def test_a_run_that_has_ended_takes_no_order() -> None:
    async def scenario() -> None:
        sent = list[ToRun]()
        async with asyncio.TaskGroup() as group:
            run = MessagedRun(spec("quiet"), RecordingOwner(), send=sent.append, group=group)
            run.end(FINISHED)

            assert await asked(run) == "unavailable"
        assert sent == []

    run_virtually(scenario())
