"""Each check of the sinks catches a sink that is wrong in just that way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mstream.domain.batch import Batch
from mstream.errors import OutcomeUnknown, RecordRefused, StaleCheckpoint, Unreachable
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure, Sink
from tests.contracts import sink_checks as checks
from tests.contracts.memory_harness import MemorySinkHarness
from tests.contracts.sink_checks import PLANTED


class Twin:
    """A sink like another one; what is wrong stands in the classes below."""

    overlap = 1

    def __init__(self, sink: Any) -> None:
        self.sink = sink
        self.accepts = sink.accepts

    async def write(self, batch: Batch) -> Sequence[Failure]:
        failures: Sequence[Failure] = await self.sink.write(batch)
        return failures

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        failures: Sequence[Failure] = await self.sink.write_with(batches, checkpoint)
        return failures

    async def flush(self) -> None:
        await self.sink.flush()


class Backwards(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        return await super().write(batch.pick(range(len(batch))[::-1]))


class Overtaking(Twin):
    """It promises to keep the order of four writes, and lets the later ones pass."""

    overlap = 4
    begun = 0

    async def write(self, batch: Batch) -> Sequence[Failure]:
        self.begun += 1
        await asyncio.sleep(0.02 / self.begun)
        return await super().write(batch)


class AllOrNothing(Twin):
    """One record that is refused takes its batch with it."""

    async def write(self, batch: Batch) -> Sequence[Failure]:
        failures = self.sink._refused([batch])
        return failures or await super().write(batch)


class OnlyTheFirst(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        return (await super().write(batch))[:1]


class GoesDeaf(Twin):
    """After an error it takes writes and does nothing."""

    is_deaf = False

    async def write(self, batch: Batch) -> Sequence[Failure]:
        if self.is_deaf:
            return ()
        try:
            return await super().write(batch)
        except Unreachable:
            self.is_deaf = True
            raise


class ShowsAnErrorForGood(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        try:
            return await super().write(batch)
        except Unreachable as error:
            raise RecordRefused(str(error)) from error


class BeginsAnew(Twin):
    """Opening it empties what is there."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        sink._queue.lanes.clear()


class WritesSomethingOfNothing(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        return await super().write(batch if len(batch) else replace(batch, payloads=[b"{}"]))


class AsciiOnly(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        plain = [(each or b"").decode("ascii", "replace").encode() for each in batch.payloads or ()]
        return await super().write(replace(batch, payloads=plain))


class Scribbles(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        failures = await super().write(batch)
        assert isinstance(batch.payloads, list)
        batch.payloads[:] = [b"{}"] * len(batch)
        return failures


class FlushesNothing(Twin):
    async def flush(self) -> None:
        return None


class Talkative(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        failures = await super().write(batch)
        return [replace(each, error=RecordRefused(f"refused, after {PLANTED}")) for each in failures]


class RecordsFirst(Twin):
    """Records are committed whether or not the checkpoint can be."""

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        for each in batches:
            await self.sink.write(each)
        return await super().write_with([], checkpoint)


class RecordsAlone(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        return await super().write_with(batches, replace(checkpoint, entries=[]))


class NotWithoutRecords(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        return await super().write_with(batches, checkpoint) if batches else ()


class CountsEachBatchAnew(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        failures = await super().write_with(batches, checkpoint)
        return [replace(each, index=each.index - len(batches[0])) for each in failures]


class TakesSilenceForSuccess(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        try:
            return await super().write_with(batches, checkpoint)
        except OutcomeUnknown:
            return ()


class OverwritesCheckpoints(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        try:
            return await super().write_with(batches, checkpoint)
        except StaleCheckpoint:
            self.sink._documents.commit(checkpoint.entries)
            raise


class Appends(Twin):
    """An ordinary sink: what comes again is there twice."""


class TakesReplaysForErrors(Twin):
    """What is there already is refused."""

    def __init__(self, sink: Any) -> None:
        super().__init__(sink)
        self.seen = {each.payload for each in sink._queue.records()}

    async def write(self, batch: Batch) -> Sequence[Failure]:
        again = [each for each, payload in enumerate(batch.payloads or ()) if payload in self.seen]
        self.seen.update(batch.payloads or ())
        await super().write(batch.without(again))
        return [Failure(index=each, error=RecordRefused("it is there already")) for each in again]


class CutsLargeRecords(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        small = [each if each and len(each) < 1 << 20 else b"{}" for each in batch.payloads or ()]
        return await super().write(replace(batch, payloads=small))


class DropsTheLast(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        return await super().write(batch.head(3999))


Check = Callable[[Any], Awaitable[None]]

TWINS: list[tuple[Check, type[Twin]]] = [
    (checks.check_writes_everything_in_order, Backwards),
    (checks.check_keeps_the_order_of_overlapping_writes, Overtaking),
    (checks.check_refuses_one_record_of_many, AllOrNothing),
    (checks.check_refuses_a_whole_batch_record_by_record, OnlyTheFirst),
    (checks.check_writes_again_after_a_passing_error, GoesDeaf),
    (checks.check_writes_again_after_a_passing_error, ShowsAnErrorForGood),
    (checks.check_adds_to_what_is_there, BeginsAnew),
    (checks.check_can_be_opened_and_closed_with_nothing_written, WritesSomethingOfNothing),
    (checks.check_keeps_every_character, AsciiOnly),
    (checks.check_leaves_the_batch_as_it_is, Scribbles),
    (checks.check_what_was_flushed_outlives_a_crash, FlushesNothing),
    (checks.check_prints_nothing_secret, Talkative),
    (checks.check_commits_records_and_checkpoint_together, RecordsAlone),
    (checks.check_commits_positions_without_records, NotWithoutRecords),
    (checks.check_commits_nothing_over_a_checkpoint_that_was_moved, RecordsFirst),
    (checks.check_commits_nothing_over_a_checkpoint_that_was_moved, OverwritesCheckpoints),
    (checks.check_commits_nothing_with_a_refused_record, RecordsFirst),
    (checks.check_commits_nothing_with_a_refused_record, CountsEachBatchAnew),
    (checks.check_says_when_the_outcome_is_unknown, TakesSilenceForSuccess),
    (checks.check_takes_a_batch_again, Appends),
    (checks.check_takes_a_batch_again, TakesReplaysForErrors),
]
SLOW_TWINS: list[tuple[Check, type[Twin]]] = [
    (checks.check_writes_a_record_of_10_mb, CutsLargeRecords),
    (checks.check_writes_100_000_records, DropsTheLast),
]


class TwinHarness(MemorySinkHarness):
    """Opens the wrong sink instead of the right one."""

    def __init__(self, twin: type[Twin]) -> None:
        super().__init__()
        self.twin = twin

    def wrapped(self, sink: Sink) -> Sink:
        return self.twin(sink)


@pytest.mark.parametrize(("check", "twin"), TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_sink_is_caught(check: Check, twin: type[Twin]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await check(TwinHarness(twin))


@pytest.mark.slow
@pytest.mark.parametrize(("check", "twin"), SLOW_TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_sink_with_much_to_carry_is_caught(check: Check, twin: type[Twin]) -> None:
    with pytest.raises(AssertionError):
        await check(TwinHarness(twin))


def test_no_check_is_without_a_twin() -> None:
    assert {check for check, _ in TWINS} == {*checks.EVERY_SINK, *checks.TRANSACTIONAL, *checks.REPEATABLE}
    assert {check for check, _ in SLOW_TWINS} == set(checks.SLOW)
