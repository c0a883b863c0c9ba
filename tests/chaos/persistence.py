"""Kill whole programs over a store, at every write and at random moments, and read what they leave."""

from __future__ import annotations

import itertools
import os
import platform
import random
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.chaos.trial import PHASES, Tally, Trial
from tests.chaos.world import World
from tests.servers import postgresql
from tests.servers.postgresql import PostgresServer

#: Seconds between two lines of progress.
_PROGRESS: Final = 15.0


@dataclass(frozen=True, slots=True)
class Leg:
    """One kind of world, and its share of the kills."""

    name: str
    share: float
    runtime: str = "inline"
    #: Of those that are to die at no write, so many are started as commands of their own.
    fresh: float = 0.0
    is_postgres: bool = False


LEGS: Final = (
    Leg("SQLite, runs inline", 0.84),
    Leg("SQLite, runs in worker processes", 0.08, runtime="process", fresh=0.2),
    Leg("PostgreSQL, runs inline", 0.08, is_postgres=True),
)


def run(
    *, kills: int | None, seconds: float | None, seed: int, parallel: int = 2, only: str = ""
) -> list[dict[str, Any]]:
    """A report per leg."""
    reports = []
    legs = [each for each in LEGS if only in each.name]
    total = sum(each.share for each in legs)
    for leg in legs:
        if leg.is_postgres and not has_postgres():
            reports.append({"leg": leg.name, "kills": 0, "skipped": "PostgreSQL is not installed"})
            continue
        share = leg.share / total
        wanted = None if kills is None else max(1, round(kills * share))
        reports.append(one_leg(leg, kills=wanted, seconds=seconds and seconds * share, seed=seed, parallel=parallel))
    return reports


def one_leg(leg: Leg, *, kills: int | None, seconds: float | None, seed: int, parallel: int = 2) -> dict[str, Any]:
    """Until there were so many kills and so much time has passed; violations stand in the report."""
    tally, began = Tally(), time.monotonic()

    def is_over() -> bool:
        return tally.kills >= (kills or 0) and time.monotonic() - began >= (seconds or 0.0)

    with _worlds(leg) as made:
        # An import finds services that the file names, and that differ: the database is another one.
        phases = [each for each in PHASES if not (leg.is_postgres and each == "import")]
        trials = [Trial(made, tally, seed=seed + 1000 * number, phases=phases) for number in range(parallel)]
        failures: list[BaseException] = []
        threads = [threading.Thread(target=_run, args=(each, is_over, failures)) for each in trials]
        for each in threads:
            each.start()
        _tell(leg, tally, kills, threads)
    spent = time.monotonic() - began
    report = {"leg": leg.name, "seed": seed, "seconds": round(spent, 1), **tally.report()}
    # The harness itself did not do what it should: what it has found until then counts all the same.
    return {**report, "cut_off_by": [repr(each) for each in failures]} if failures else report


def has_postgres() -> bool:
    return postgresql.is_installed()


def machine() -> dict[str, Any]:
    """Where it was run, without names."""
    return {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def commit() -> str:
    """What was tried."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return found.stdout.strip()


def new_seed() -> int:
    return random.SystemRandom().randrange(1_000_000)


@contextmanager
def _worlds(leg: Leg) -> Iterator[Callable[[], World]]:
    numbers = itertools.count(1)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mstream-chaos-")))
        server = _server(stack) if leg.is_postgres else None

        def made() -> World:
            url = server.create_database() if server else None
            return World(folder / f"world-{next(numbers)}", runtime=leg.runtime, url=url, fresh=leg.fresh)

        yield made


def _server(stack: ExitStack) -> PostgresServer:
    server = PostgresServer()
    stack.callback(server.remove)
    server.start()
    return server


def _run(trial: Trial, is_over: Callable[[], bool], failures: list[BaseException]) -> None:
    try:
        trial.run(is_over)
    except Exception as error:  # noqa: BLE001 - told in the report
        traceback.print_exc()
        failures.append(error)


def _tell(leg: Leg, tally: Tally, kills: int | None, threads: list[threading.Thread]) -> None:
    began = time.monotonic()
    while alive := [each for each in threads if each.is_alive()]:
        alive[0].join(_PROGRESS)
        spent = time.monotonic() - began
        left = f", about {(kills - tally.kills) * spent / max(1, tally.kills):.0f} s to go" if kills else ""
        print(f"{leg.name}: {tally.kills} kills, {len(tally.violations)} violations, {spent:.0f} s{left}", flush=True)
