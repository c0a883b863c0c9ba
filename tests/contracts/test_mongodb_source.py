"""The mongodb source keeps to the contract on a change stream that is played, and wrong ones are caught."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Lane, Position
from mstream.ports.roles import Source
from tests.contracts.replay_harness import ReplaySourceHarness, SnapshotHarness, Unpacked
from tests.contracts.source_checks import (
    EVERY_SOURCE,
    NEEDS,
    check_can_stop_in_mid_batch,
    check_knows_how_far_behind_it_is,
)
from tests.contracts.test_source import named
from tests.servers.replica import Replica, replica

Check = Callable[[ReplaySourceHarness], Awaitable[None]]

#: A server does not tell how many events lie ahead.
NOT_KNOWN = {check_knows_how_far_behind_it_is}


@pytest.fixture
async def member() -> AsyncIterator[Replica]:
    async with replica() as found:
        yield found


@pytest.mark.parametrize(
    "check",
    [each for each in EVERY_SOURCE if each not in NOT_KNOWN and NEEDS.get(each) != "can_end"],
    ids=named,
)
@pytest.mark.parametrize("harness", [ReplaySourceHarness, SnapshotHarness])
async def test_a_source(check: Check, harness: type[ReplaySourceHarness], member: Replica) -> None:
    await check(harness(member))


class OneBehind(Unpacked):
    """Wrong: gives the place in front of the last record that was delivered."""

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        return super().positions(batch, max(count - 1, 0))


class WrongHarness(ReplaySourceHarness):
    def wrapped(self, source: Source) -> Source:
        assert isinstance(source, Unpacked)
        return OneBehind(source._source)


class WrongSnapshotHarness(SnapshotHarness):
    def wrapped(self, source: Source) -> Source:
        assert isinstance(source, Unpacked)
        return OneBehind(source._source)


@pytest.mark.parametrize("harness", [WrongHarness, WrongSnapshotHarness])
async def test_a_source_that_repeats_a_record_is_caught(harness: type[ReplaySourceHarness], member: Replica) -> None:
    with pytest.raises(AssertionError):
        await check_can_stop_in_mid_batch(harness(member))
