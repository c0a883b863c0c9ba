"""Runs deliver as long as the lease of their owner holds, and not a moment longer; in every runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mstream.domain.run import Ending
from mstream.foundation.clock import monotonic
from mstream.foundation.locks import FileLock
from mstream.runtimes.base import Runtime
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.process import ProcessRuntime
from tests.unit.runtimes import stand_in
from tests.unit.runtimes.stand_in import CATALOG, RecordingOwner, spec

STAND_IN = "tests.unit.runtimes.stand_in"
Remaining = Callable[[], float]


def process(lease: Remaining | None = None, inherited: tuple[int, ...] = ()) -> ProcessRuntime:
    names = {"catalog": f"{STAND_IN}:CATALOG", "run": f"{STAND_IN}:run"}
    return ProcessRuntime(workers=1, lease=lease, inherited=inherited, **names)


RUNTIMES: dict[str, Callable[[Remaining], Runtime]] = {
    "inline": lambda lease: InlineRuntime(CATALOG, run=stand_in.run, lease=lease),
    "pickled": lambda lease: InlineRuntime(CATALOG, run=stand_in.run, pickled=True, lease=lease),
    "process": process,
}


@pytest.fixture(params=RUNTIMES)
def under(request: pytest.FixtureRequest) -> Callable[[Remaining], Runtime]:
    """A runtime whose owner has this lease."""
    return RUNTIMES[request.param]


async def test_a_run_knows_from_the_first_how_long_the_lease_holds(
    under: Callable[[Remaining], Runtime],
) -> None:
    owner = RecordingOwner()
    async with under(lambda: 100.0) as runtime:
        for number in range(2):
            handle = await runtime.start(spec("leased", run_id=f"run-{number}"), owner)
            await handle.outcome()

            assert 0 < owner.saved.pop("lease_sec") <= 100


async def test_a_run_ends_by_itself_when_the_lease_is_not_renewed(under: Callable[[Remaining], Runtime]) -> None:
    until = monotonic() + 3
    async with under(lambda: max(0.0, until - monotonic())) as runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        outcome = await handle.outcome()

    assert (outcome.ending, outcome.reason, outcome.retryable) == (Ending.FAILED, "lease_lost", True)


async def test_a_run_goes_on_while_the_lease_is_renewed(under: Callable[[Remaining], Runtime]) -> None:
    async with under(lambda: 2.0) as runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        await asyncio.sleep(4)
        handle.drain()

        assert (await handle.outcome()).ending is Ending.DRAINED


async def test_a_lost_lease_ends_every_run_and_a_new_one_lets_them_begin(under: Callable[[Remaining], Runtime]) -> None:
    left = 60.0
    async with under(lambda: left) as runtime:
        handles = [await runtime.start(spec("quiet", run_id=f"run-{each}"), RecordingOwner()) for each in range(3)]
        for each in handles:
            await each.started()
        left = 0.0
        reasons = [(await each.outcome()).reason for each in handles]
        left = 60.0
        await asyncio.sleep(1.5)
        after = await runtime.start(spec("quiet", run_id="run-4"), RecordingOwner())
        await after.started()
        after.drain()

        assert reasons == ["lease_lost"] * 3
        assert (await after.outcome()).ending is Ending.DRAINED


async def test_without_a_lease_a_run_is_not_bound() -> None:
    owner = RecordingOwner()
    async with process() as runtime:
        await (await runtime.start(spec("leased"), owner)).outcome()

    assert owner.saved == {"lease_sec": None}


async def test_the_lock_of_the_store_is_held_as_long_as_a_worker_lives(tmp_path: Path) -> None:
    lock, other = FileLock(tmp_path / "state.lock"), FileLock(tmp_path / "state.lock")
    lock.acquire()
    assert lock.fd is not None
    async with process(inherited=(lock.fd,)) as runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        lock.release()

        assert not other.acquire()

    assert other.acquire()
    other.release()
