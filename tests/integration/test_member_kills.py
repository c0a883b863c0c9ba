"""Members of one job in real worker processes: killed, begun anew, while lanes move; nothing lost, order kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from mstream.domain.job import Phase
from mstream.foundation.clock import SystemClock
from mstream.providers.memory.config import MemoryConfig
from mstream.runtimes.process import ProcessRuntime
from tests.integration import locked_lanes
from tests.integration.locked_lanes import laid_out, seats
from tests.unit.control.scripted import Plane, connector, plane

LANES = [f"lane-{number}" for number in range(12)]


@dataclass
class Shop:
    """A job with members in real processes, and what it reads and writes."""

    folder: Path
    plane: Plane
    runtime: ProcessRuntime
    count: int = 0

    def feed(self, count: int) -> None:
        """So many more records in every lane."""
        lines = b"".join(b"%d\n" % each for each in range(self.count, self.count + count))
        self.count += count
        for lane in LANES:
            with (self.folder / "in" / lane).open("ab") as file:
                file.write(lines)

    def taken(self, lane: str) -> list[int]:
        """The numbers of its records, as they were written."""
        return [int(each) for each in (self.folder / "out" / lane).read_bytes().split()]

    def is_there(self) -> bool:
        """Whether everything has arrived."""
        return all(set(self.taken(lane)) == set(range(self.count)) for lane in LANES)


@asynccontextmanager
async def shop(folder: Path, *, members: int, workers: int) -> AsyncIterator[Shop]:
    service = laid_out(folder, LANES)
    ref = {"service_name": "lanes", "resource": "all"}
    spec = connector(
        source=ref, sinks=[ref], parallelism=members, checkpoint={"interval_ms": 100}, retry={"base_ms": 10}
    )
    runtime = ProcessRuntime(workers=workers, catalog=f"{locked_lanes.__name__}:CATALOG")
    async with (
        runtime,
        plane(
            connectors=[spec],
            services=[service, MemoryConfig(name="a")],
            catalog=locked_lanes.CATALOG,
            clock=SystemClock(),
            on=runtime,
        ) as it,
    ):
        yield Shop(folder, it, runtime)


async def until(holds: Callable[[], bool], what: str, seconds: float = 60) -> None:
    clock = SystemClock()
    try:
        async with asyncio.timeout(seconds):
            while not holds():
                await clock.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"not within {seconds:g} s: {what}")


@pytest.mark.slow
async def test_a_lost_worker_costs_its_own_members_a_restart_and_the_others_nothing(tmp_path: Path) -> None:
    async with shop(tmp_path, members=4, workers=2) as it:
        it.feed(500)
        await until(lambda: len(seats(tmp_path)) == 4 and it.is_there(), "every member has its seat")
        before = seats(tmp_path)
        pids = sorted(set(before.values()))
        assert [list(before.values()).count(each) for each in pids] == [2, 2]
        hit = {member for member, pid in before.items() if pid == pids[0]}
        run_id = it.plane.manager.view("copy").job.run_id

        os.kill(pids[0], signal.SIGKILL)
        it.feed(500)
        await until(it.is_there, "everything has arrived")
        await until(lambda: it.plane.manager.view("copy").job.phase is Phase.RUNNING, "the job runs as a whole")

        view = it.plane.manager.view("copy")
        assert view.job.run_id == run_id
        assert {each.member for each in view.members if each.restarts} == hit
        after = seats(tmp_path)
        assert {member: after[member] for member in before.keys() - hit} == {
            member: before[member] for member in before.keys() - hit
        }


@pytest.mark.slow
@pytest.mark.chaos
async def test_whatever_worker_is_killed_nothing_is_lost_and_order_is_kept(tmp_path: Path) -> None:
    dice = Random(7)
    async with shop(tmp_path, members=4, workers=2) as it:
        for _ in range(10):
            it.feed(1000)
            await asyncio.sleep(dice.uniform(0.1, 0.8))
            if pids := it.runtime.worker_pids:
                os.kill(dice.choice(pids), signal.SIGKILL)
        it.feed(200)
        await until(it.is_there, "everything has arrived")

        assert it.plane.manager.view("copy").job.phase is not Phase.FAILED
    # Some of the kills came in the middle of something.
    assert sum(len(it.taken(lane)) for lane in LANES) > it.count * len(LANES)
    for lane in LANES:
        first_seen = list(dict.fromkeys(it.taken(lane)))
        assert first_seen == list(range(it.count))
