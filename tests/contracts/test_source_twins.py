"""Each check of the sources catches a source that is wrong in just that way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.run import Lag
from mstream.errors import PositionLost, ServiceError, Unreachable
from mstream.ports.roles import Limit, Source
from tests.contracts import source_checks as checks
from tests.contracts.memory_harness import MemorySourceHarness
from tests.contracts.source_checks import PLANTED, SourceHarness


class Twin:
    """A source like another one; what is wrong stands in the classes below."""

    def __init__(self, source: Any) -> None:
        self.source = source

    async def read(self, limit: Limit) -> Batch | None:
        batch: Batch | None = await self.source.read(limit)
        return batch

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        positions: Mapping[Lane, Position | None] = self.source.positions(batch, count)
        return positions

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    async def finish(self) -> None:
        await self.source.finish()

    async def lag(self) -> Mapping[Lane, Lag]:
        lag: Mapping[Lane, Lag] = await self.source.lag()
        return lag


class Unordered(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        return batch.pick(range(len(batch))[::-1]) if batch else batch


class Ahead(Twin):
    """Its positions are one record further than what it brought."""

    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        return batch and replace(batch, positions={lane: at + 1 for lane, at in batch.positions.items()})


class WholeBatchesOnly(Twin):
    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        return batch.positions


class CountsFromTheStart(Twin):
    """It takes the count for a position, which is right for the first batch as it came alone."""

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        return {batch.lane: count}


class Greedy(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        return await super().read(Limit())


class DropsWhatIsNotAskedFor(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(Limit())
        return batch and batch.head(limit.records)


class Restless(Twin):
    """It answers with nothing at all instead of waiting."""

    async def read(self, limit: Limit) -> Batch | None:
        try:
            async with asyncio.timeout(0.05):
                return await super().read(limit)
        except TimeoutError:
            return None


class MovesBeforeItsLastAwait(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        await asyncio.sleep(0.004)
        return batch


class AsciiOnly(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        return batch and replace(
            batch, payloads=[(each or b"").decode("ascii", "replace").encode() for each in batch.payloads or ()]
        )


class Endless(Twin):
    async def finish(self) -> None:
        return None


class EndsAtOnce(Twin):
    has_ended = False

    async def finish(self) -> None:
        self.has_ended = True

    async def read(self, limit: Limit) -> Batch | None:
        return None if self.has_ended else await super().read(limit)


class SlowToBeGivenUp(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        try:
            return await super().read(limit)
        except asyncio.CancelledError:
            await asyncio.sleep(60)
            raise


class AlwaysLevel(Twin):
    async def lag(self) -> Mapping[Lane, Lag]:
        return dict.fromkeys(await super().lag(), Lag(records=0))


class GivesUp(Twin):
    """It takes a passing error for a lasting one."""

    async def read(self, limit: Limit) -> Batch | None:
        try:
            return await super().read(limit)
        except Unreachable as error:
            raise ServiceError(str(error)) from error


class LosesABatchWithAnError(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        try:
            return await super().read(limit)
        except Unreachable:
            await super().read(limit)
            raise


class Silent(Twin):
    """It keeps newer positions to itself until a record comes."""

    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        while batch is not None and not len(batch):
            batch = await super().read(limit)
        return batch


class NeverEndsALane(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        return batch and replace(batch, positions={lane: at or 0 for lane, at in batch.positions.items()})


class RewindsOnAck(Twin):
    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        await self.source.ack(positions)
        self.source._offsets.update(positions)


class ForgetsAcks(Twin):
    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        return None


class Talkative(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        try:
            return await super().read(limit)
        except PositionLost as error:
            raise PositionLost(f"{error}; the last record was {PLANTED}") from error


class CutsLargeRecords(Twin):
    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        return batch and replace(batch, payloads=[each and each[: 1 << 20] for each in batch.payloads or ()])


class DropsEveryTenThousandth(Twin):
    passed = 0

    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        if not batch:
            return batch
        gone = [index for index in range(len(batch)) if (self.passed + index) % 10_000 == 9_999]
        self.passed += len(batch)
        return batch.without(gone)


TWINS: list[tuple[Callable[[SourceHarness], Awaitable[None]], type[Twin]]] = [
    (checks.check_brings_everything_in_order, Unordered),
    (checks.check_goes_on_from_a_position, Ahead),
    (checks.check_can_stop_in_mid_batch, WholeBatchesOnly),
    (checks.check_tells_where_a_rest_begins_after_a_cut, CountsFromTheStart),
    (checks.check_keeps_to_the_limit, Greedy),
    (checks.check_brings_no_more_than_is_asked_for, DropsWhatIsNotAskedFor),
    (checks.check_waits_while_there_is_nothing, Restless),
    (checks.check_loses_nothing_when_a_read_is_given_up, MovesBeforeItsLastAwait),
    (checks.check_keeps_every_character, AsciiOnly),
    (checks.check_can_be_opened_and_closed_with_nothing_there, Endless),
    (checks.check_closes_while_a_reader_waits, SlowToBeGivenUp),
    (checks.check_ends_at_the_head_of_the_moment, EndsAtOnce),
    (checks.check_knows_how_far_behind_it_is, AlwaysLevel),
    (checks.check_goes_on_after_a_passing_error, GivesUp),
    (checks.check_goes_on_after_a_passing_error, LosesABatchWithAnError),
    (checks.check_tells_of_progress_without_records, Silent),
    (checks.check_says_when_a_lane_has_ended, NeverEndsALane),
    (checks.check_is_not_moved_by_acknowledgements, RewindsOnAck),
    (checks.check_is_not_moved_by_acknowledgements, ForgetsAcks),
    (checks.check_prints_nothing_secret, Talkative),
]
SLOW_TWINS: list[tuple[Callable[[SourceHarness], Awaitable[None]], type[Twin]]] = [
    (checks.check_brings_a_record_of_10_mb, CutsLargeRecords),
    (checks.check_brings_100_000_records, DropsEveryTenThousandth),
]


class TwinHarness(MemorySourceHarness):
    """Opens the wrong source instead of the right one."""

    def __init__(self, twin: type[Twin]) -> None:
        super().__init__()
        self.twin = twin

    def wrapped(self, source: Source) -> Source:
        return self.twin(source)  # type: ignore[return-value]  # `ack` is passed on by __getattr__


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong source that brings nothing need not be waited for that long."""
    monkeypatch.setattr(checks, "PATIENCE", 1.0)


@pytest.mark.parametrize(("check", "twin"), TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_source_is_caught(check: Callable[[SourceHarness], Awaitable[None]], twin: type[Twin]) -> None:
    with pytest.raises((AssertionError, TimeoutError)):
        await check(TwinHarness(twin))


@pytest.mark.slow
@pytest.mark.parametrize(("check", "twin"), SLOW_TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_source_with_much_to_carry_is_caught(
    check: Callable[[SourceHarness], Awaitable[None]], twin: type[Twin]
) -> None:
    with pytest.raises(AssertionError):
        await check(TwinHarness(twin))


def test_no_check_is_without_a_twin() -> None:
    assert {check for check, _ in TWINS} == set(checks.EVERY_SOURCE)
    assert {check for check, _ in SLOW_TWINS} == set(checks.SLOW)
