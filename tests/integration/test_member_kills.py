"""Members of one job in real worker processes: killed, begun anew, while lanes move; nothing lost, order kept."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from mstream.domain.job import Phase
from mstream.foundation.clock import SystemClock
from mstream.foundation.secrets import Secret
from mstream.ports.documents import DocumentStore
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.sql import PROVIDER as SQL
from mstream.providers.sql.config import SqlConfig
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
    #: The numbers of a lane's records, as they were written.
    taken: Callable[[str], list[int]]
    count: int = 0

    def feed(self, count: int) -> None:
        """So many more records in every lane."""
        numbers = range(self.count, self.count + count)
        self.count += count
        for lane in LANES:
            lines = b"".join(b'{"lane":"%s","n":%d}\n' % (lane.encode(), each) for each in numbers)
            with (self.folder / "in" / lane).open("ab") as file:
                file.write(lines)

    def is_there(self) -> bool:
        """Whether everything has arrived."""
        return all(set(self.taken(lane)) == set(range(self.count)) for lane in LANES)

    def arrived(self) -> int:
        """How many records were written, repeats included."""
        return sum(len(self.taken(lane)) for lane in LANES)

    async def feed_and_kill(self, dice: Random, kills: int, records: int) -> None:
        """Any of the workers, soon after something has moved; in the end everything arrives."""
        for _ in range(kills):
            before = self.arrived()
            self.feed(records)
            await until(lambda before=before: self.arrived() > before, "something has moved")  # type: ignore[misc]
            await asyncio.sleep(dice.uniform(0.0, 0.3))
            if pids := self.runtime.worker_pids:
                os.kill(dice.choice(pids), signal.SIGKILL)
        self.feed(records)
        await until(self.is_there, "everything has arrived")
        assert self.plane.manager.view("copy").job.phase is not Phase.FAILED


@asynccontextmanager
async def shop(folder: Path, *, members: int, workers: int) -> AsyncIterator[Shop]:
    """What arrives is appended to files."""

    def taken(lane: str) -> list[int]:
        lines = (folder / "out" / lane).read_bytes().splitlines()
        return [int(each.rpartition(b":")[2].rstrip(b"}")) for each in lines]

    sink = {"service_name": "lanes", "resource": "all"}
    services = [laid_out(folder, LANES), MemoryConfig(name="a")]
    async with _opened(folder, members, workers, taken, services=services, sinks=[sink]) as it:
        yield it


@asynccontextmanager
async def till(folder: Path, *, members: int, workers: int) -> AsyncIterator[Shop]:
    """What arrives is committed with its positions, in one database."""
    path = folder / "till.db"

    def taken(lane: str) -> list[int]:
        with closing(sqlite3.connect(path, timeout=20)) as database:
            try:
                return [
                    each for (each,) in database.execute("select n from sold where lane = ? order by rowid", [lane])
                ]
            except sqlite3.OperationalError:
                return []  # there is no table yet

    config = SqlConfig(name="a", url=Secret(f"sqlite:///{path}"))
    sink = {"service_name": "a", "resource": "sold"}
    async with SQL.connect(config) as live:
        assert SQL.documents is not None
        changes: dict[str, Any] = {"sinks": [sink], "delivery": "effectively_once"}
        given: dict[str, Any] = {"services": [laid_out(folder, LANES), config], "documents": SQL.documents(live)}
        async with _opened(folder, members, workers, taken, **given, **changes) as it:
            yield it


@asynccontextmanager
async def _opened(
    folder: Path,
    members: int,
    workers: int,
    taken: Callable[[str], list[int]],
    *,
    services: list[Any],
    documents: DocumentStore | None = None,
    **changes: Any,
) -> AsyncIterator[Shop]:
    spec = connector(
        source={"service_name": "lanes", "resource": "all"},
        parallelism=members,
        checkpoint={"interval_ms": 100},
        retry={"base_ms": 10, "max_ms": 1_000},
        **changes,
    )
    runtime = ProcessRuntime(workers=workers, catalog=f"{locked_lanes.__name__}:CATALOG")
    async with (
        runtime,
        plane(
            connectors=[spec],
            services=services,
            catalog=locked_lanes.CATALOG,
            clock=SystemClock(),
            documents=documents,
            on=runtime,
        ) as it,
    ):
        yield Shop(folder, it, runtime, taken)


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
    async with shop(tmp_path, members=4, workers=2) as it:
        await it.feed_and_kill(Random(7), kills=10, records=1000)

    for lane in LANES:
        assert list(dict.fromkeys(it.taken(lane))) == list(range(it.count))
    # Some of the kills came in the middle of something.
    assert it.arrived() > it.count * len(LANES)


@pytest.mark.slow
@pytest.mark.chaos
async def test_whatever_worker_is_killed_nothing_is_committed_twice(tmp_path: Path) -> None:
    async with till(tmp_path, members=4, workers=2) as it:
        await it.feed_and_kill(Random(7), kills=8, records=200)

    for lane in LANES:
        assert it.taken(lane) == list(range(it.count))
