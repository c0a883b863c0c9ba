"""Two owners, each a process with a worker, on one store: killed, frozen, cut off, continued."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mstream.control.lease import present_owner
from mstream.foundation.clock import SystemClock
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from mstream.stores.checkpoints import CheckpointStore
from tests.freezing import freeze_between_writes
from tests.integration.lease_owner import DELIVERIES, PLACES, SYSTEM
from tests.servers.postgresql import PostgresServer

pytestmark = pytest.mark.timeout(180)

#: Seconds for what takes two or three.
PATIENCE = 30.0
#: So long that nothing can come from its end.
FOREVER = 3600.0
SHORT = 3.0


class Owner:
    """One instance, as a process of its own."""

    def __init__(self, folder: Path, url: str, name: str, options: dict[str, Any]) -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._log = (folder / f"{name}.log").open("w")
        given = {"lease_sec": FOREVER, "lock": True, "host": "", "on_conflict": "wait", **options}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.lease_owner", json.dumps({"url": url, "name": name, **given})],
            env={**os.environ, DELIVERIES: str(folder / "deliveries.txt")},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.events.append(json.loads(line))
                self._changed.notify_all()

    def told(self, event: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The first event of this name, once it is there."""
        ends = time.monotonic() + patience
        with self._changed:
            while True:
                found = [each for each in self.events if each["event"] == event]
                if found:
                    return found[0]
                left = ends - time.monotonic()
                assert left > 0, (
                    f"{self.name}: no {event!r} within {patience:g} s, but {self.events}; {self._last_words()}"
                )
                self._changed.wait(left)

    def _last_words(self) -> str:
        return Path(self._log.name).read_text()[-2000:]

    def has_told(self, event: str) -> bool:
        return any(each["event"] == event for each in self.events)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listener.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


class Ground:
    """A database, a folder, and the owners that were started on them."""

    def __init__(self, folder: Path, url: str, stack: ExitStack) -> None:
        self.folder = folder
        self.url = url
        self._stack = stack

    @property
    def file(self) -> Path | None:
        """Where the database lies; None: on a server."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url.startswith("sqlite:") else None

    def owner(self, name: str, **options: Any) -> Owner:
        owner = Owner(self.folder, self.url, name, options)
        self._stack.callback(owner.end)
        return owner

    def deliveries(self, name: str) -> list[float]:
        """The moments at which an owner's worker has delivered."""
        path = self.folder / "deliveries.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [float(line.split()[1]) for line in lines if line.startswith(f"{name} ")]

    def place(self) -> tuple[int, str]:
        """Epoch and writer of what is saved."""
        return asyncio.run(self._place())

    def lease_owner(self) -> str | None:
        """The address that the lease names."""
        return asyncio.run(self._lease_owner())

    async def _place(self) -> tuple[int, str]:
        async with PROVIDER.connect(SqlConfig.model_validate({"name": "it", "url": self.url})) as live:
            assert PROVIDER.documents is not None
            places = PROVIDER.documents(live).collection(PLACES, key="job_name")
            found = await CheckpointStore(places, SystemClock()).load("copy")
        assert found is not None
        return found.epoch, found.positions[""]["by"]

    async def _lease_owner(self) -> str | None:
        async with PROVIDER.connect(SqlConfig.model_validate({"name": "it", "url": self.url})) as live:
            assert PROVIDER.documents is not None
            owner = await present_owner(PROVIDER.documents(live).collection(SYSTEM), SystemClock())
        return owner.identity.address if owner else None


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def ground(tmp_path: Path, stack: ExitStack) -> Ground:
    return Ground(tmp_path, f"sqlite:///{tmp_path / 'state.db'}", stack)


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def any_ground(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> Ground:
    """On each database."""
    if request.param == "sqlite":
        return Ground(tmp_path, f"sqlite:///{tmp_path / 'state.db'}", stack)
    new_database = {"postgres": "new_postgres_database", "mariadb": "new_mysql_database"}[request.param]
    return Ground(tmp_path, request.getfixturevalue(new_database)(), stack)


def two(ground: Ground, first: dict[str, Any], second: dict[str, Any]) -> tuple[Owner, Owner]:
    """The first owns, the second stands by."""
    one = ground.owner("one", **first)
    one.told("owns")
    other = ground.owner("other", **second)
    one.told("runs")
    other.told("stands_by")
    time.sleep(0.5)
    assert not other.has_told("owns")
    return one, other


def test_an_owner_that_was_killed_is_taken_over_without_waiting_for_its_lease(any_ground: Ground) -> None:
    one, other = two(any_ground, {}, {})

    one.send(signal.SIGKILL)

    assert other.told("owns")["epoch"] == 2
    other.told("runs")
    assert max(any_ground.deliveries("one")) < other.told("owns")["at"]


def test_an_owner_that_ends_hands_over_at_once(ground: Ground) -> None:
    one, other = two(ground, {}, {})
    assert ground.lease_owner() == "http://one"

    one.send(signal.SIGTERM)

    assert other.told("owns")["epoch"] == 2
    assert one.told("ended")["reason"] is None
    assert one.told("run_ended")["ending"] == "drained"
    assert one.told("run_ended")["at"] < other.told("owns")["at"]


def test_a_dead_owner_of_another_machine_is_taken_over_when_its_lease_is_over(ground: Ground) -> None:
    one, other = two(ground, {"lease_sec": SHORT, "lock": False}, {"host": "elsewhere", "lock": False})

    one.send(signal.SIGKILL)
    killed = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert other.told("owns")["epoch"] == 2
    assert other.told("owns")["at"] - killed > SHORT / 3


def freeze(ground: Ground, *, everyone: bool) -> None:
    """One is frozen, with its worker or without, until the other has taken over; then it is continued."""
    one, other = two(ground, {"lease_sec": SHORT}, {"lease_sec": SHORT})
    workers = one.told("runs")["workers"] if everyone else []

    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    if ground.file is not None:
        freeze_between_writes(one.process.pid, ground.file)
    else:
        one.send(signal.SIGSTOP)
    other.told("runs")
    time.sleep(1)
    before = ground.deliveries("one")
    for pid in (one.process.pid, *workers):
        os.kill(pid, signal.SIGCONT)
    reason = one.told("ended")["reason"]
    time.sleep(1)

    assert max(before) < other.told("owns")["at"]
    assert ground.deliveries("one") == before
    assert one.told("run_ended")["reason"] == "lease_lost"
    assert "taken it over" in reason or "not renewed" in reason
    assert ground.place() == (2, "other")
    assert not other.has_told("ended")


def test_the_worker_of_a_frozen_owner_stops_delivering_and_nothing_is_written_afterwards(any_ground: Ground) -> None:
    freeze(any_ground, everyone=False)


def test_a_frozen_owner_with_its_worker_does_nothing_more_when_both_are_continued(ground: Ground) -> None:
    freeze(ground, everyone=True)


def test_an_owner_that_was_stopped_with_a_lock_of_the_file_does_not_block_its_successor(ground: Ground) -> None:
    one, other = two(ground, {"lease_sec": SHORT}, {"lease_sec": SHORT})

    one.send(signal.SIGUSR1)

    assert other.told("runs", 2 * PATIENCE)
    assert one.process.wait(PATIENCE) == -signal.SIGKILL
    assert max(ground.deliveries("one")) < other.told("owns")["at"]


def test_a_second_instance_may_refuse_to_wait(ground: Ground) -> None:
    one = ground.owner("one")
    one.told("runs")

    refusal = ground.owner("other", on_conflict="exit").told("refused")

    assert refusal["code"] == "store_owned"
    assert f"process {one.process.pid}" in refusal["message"]
    assert "http://one" in refusal["message"]


def is_gone(pid: int) -> bool:
    """Nobody may have waited for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_nothing_is_left_behind_by_an_owner_that_was_killed_not_even_a_frozen_worker(ground: Ground) -> None:
    one, other = two(ground, {}, {})
    (worker,) = one.told("runs")["workers"]
    os.kill(worker, signal.SIGSTOP)

    one.send(signal.SIGKILL)

    other.told("owns")
    assert is_gone(worker)


def test_an_owner_that_is_cut_off_ends_its_runs_before_its_lease(
    postgres_server: PostgresServer, tmp_path: Path, stack: ExitStack
) -> None:
    ground = Ground(tmp_path, postgres_server.create_database(), stack)
    one = ground.owner("one", lease_sec=SHORT)
    one.told("runs")

    postgres_server.crash()
    down = time.clock_gettime(time.CLOCK_BOOTTIME)
    one.told("run_ended")

    assert max(ground.deliveries("one")) < down + SHORT
    assert one.told("run_ended")["reason"] == "lease_lost"
    assert one.told("ended")["reason"] == "it was not renewed in time"
