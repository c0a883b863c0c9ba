"""A store with what belongs to it, and the lives of the program that come and go over it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import image, invariants
from tests.chaos.image import Image
from tests.chaos.killed_program import IMPORTER, Order
from tests.chaos.ledger import Kept, Ledger, Sealed
from tests.chaos.lives import Life, until

_SYSTEM = """\
[system]
encryption_key_path = "keys"
{state}
[system.job_lifecycle]
{place}startup_state = "{startup_state}"
[system.audit]
keep = 100000
[system.api]
port = 0
[system.runtime]
kind = "{runtime}"
workers = 1
[[services]]
provider = "file"
name = "files"
path = "."
{database}
"""
_DATABASE = """\
[system.service_lifecycle]
service_name = "db"
resource = "mstream-services"
[system.checkpoints]
service_name = "db"
resource = "mstream-checkpoints"
[[services]]
provider = "sql"
name = "db"
url = "{url}"
"""
#: Services of the file: they stand in the store as well.
_OF_FILE = {"files": Sealed(0)}


class Violated(AssertionError):
    """An invariant did not hold."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A connector of the file."""

    definition: int
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Kill:
    """How a life ends: at a write, or after some seconds of what it is doing."""

    #: The number of the write, from 1.
    at: int | None = None
    #: Whether that write is still done.
    is_done: bool = False
    seconds: float = 0.0
    #: `owner`, `worker` or `both`.
    whom: str = "owner"


def definition(name: str, mark: int, *, enabled: bool = True) -> dict[str, Any]:
    """A connector; `mark` tells its definitions apart."""
    return {
        "name": name,
        "enabled": enabled,
        "source": {"service_name": "files", "resource": "in.jsonl"},
        "sinks": [{"service_name": "files", "resource": f"out-{name}.jsonl"}],
        "batch": {"size": 50, "max_wait_ms": 10},
        "checkpoint": {"interval_ms": 50},
        invariants.JOB_MARK: mark,
    }


@dataclass
class World:
    """One store, its file, and all that a client knows of it."""

    folder: Path
    startup_state: str = "seed_from_file"
    runtime: str = "inline"
    #: PostgreSQL instead of a SQLite file.
    url: str | None = None
    #: Of those that are to die at no write, so many are started as commands of their own rather than forked.
    fresh: float = 0.0
    file: dict[str, Entry] = field(
        default_factory=lambda: {"one": Entry(1), "two": Entry(1), "off": Entry(1, enabled=False)}
    )
    ledger: Ledger = field(default_factory=Ledger)
    #: As it was read last.
    seen: Image = field(default_factory=Image)
    #: Changes that documents have carried.
    carried: set[tuple[str, str, str]] = field(default_factory=set)
    lives: int = 0
    is_filled: bool = False
    _born: list[Life] = field(default_factory=list)
    _probes: int = 0
    _epoch: int = 0
    #: The jobs as the life that was born last makes them.
    _after_start: dict[str, Kept] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "in.jsonl").touch()
        self.write_file()

    def write_file(self) -> None:
        """The configuration as it is to be now."""
        database = "" if self.url is None else _DATABASE.format(url=self.url)
        place = "" if self.url is None else 'service_name = "db"\nresource = "mstream-jobs"\n'
        state = 'state = "state.db"' if self.url is None else ""
        head = _SYSTEM.format(
            state=state, place=place, startup_state=self.startup_state, runtime=self.runtime, database=database
        )
        tables = [definition(name, each.definition, enabled=each.enabled) for name, each in self.file.items()]
        connectors = "\n".join(f"[[connectors]]\n{_toml(each)}" for each in tables)
        (self.folder / "chaos.toml").write_text(head + connectors)

    def born(
        self,
        kill: Kill | None = None,
        *,
        is_armed: bool = True,
        command: str = "run",
        bundle: Path | None = None,
    ) -> Life:
        """A new life; `is_armed`: its writes are counted from the start, else once `arm` was called."""
        self.lives += 1
        if command == "run":
            self._trigger.unlink(missing_ok=True)
            self._expect_start()
            self.write_file()
        order = Order(
            folder=self.folder,
            config="chaos.toml",
            log=self.folder / f"log-{self.lives}",
            command=command,
            bundle=bundle or self.folder / "bundle.json",
            armed=None if is_armed else self._trigger,
            at=kill.at if kill else None,
            is_done=bool(kill and kill.is_done),
        )
        may_be_fresh = order.at is None and command == "run"
        life = Life(order, is_fresh=may_be_fresh and random.Random(self.lives).random() < self.fresh)
        self._born = [*(each for each in self._born if each.code is None), life]
        return life

    def read_with(self, other: World) -> None:
        """From the same file as another world: positions are only good for the file that they were taken in."""
        mine, theirs = self.folder / "in.jsonl", other.folder / "in.jsonl"
        mine.unlink()
        mine.hardlink_to(theirs)
        self._probes = other._probes = max(self._probes, other._probes)

    def expect(self, other: Ledger) -> None:
        """What another world has may come into this one."""
        for name, job in other.standing().items():
            self.ledger.job_may_become(name, job)
        for name, allowed in other.services.items():
            for service in allowed:
                assert not isinstance(service, Kept)
                self.ledger.service_may_become(name, service)

    def receive(self, other: Ledger) -> None:
        """And it has come. Raises Violated."""
        self.ledger.jobs = {name: frozenset({each}) for name, each in other.standing().items()}
        # What stands in the file as well is stored by the next start.
        self.ledger.services = {
            **other.services,
            **{name: frozenset({each, None}) for name, each in self._services().items()},
        }
        self.ledger.acknowledged |= {("job", name, IMPORTER) for name in self.ledger.jobs}
        self.look()

    def arm(self) -> None:
        """From now on writes are counted."""
        self._trigger.touch()

    def image(self) -> Image:
        """The store as it lies there."""
        keys = self.folder / "keys"
        return (
            image.of_sqlite(self.folder / "state.db", keys) if self.url is None else image.of_postgres(self.url, keys)
        )

    def look(self) -> None:
        """After a kill: nothing but what was ordered has happened, and from now on that is what must hold.

        Raises Violated.
        """
        before, now = self.seen, self.image()
        found = [
            *invariants.lost_or_changed(now, self.ledger),
            *invariants.lost_or_changed_services(now, self.ledger),
            *invariants.order_going_back(before, now),
            *invariants.owners_in_one_epoch(before, now),
        ]
        if not self.is_filled and self.startup_state == "seed_from_file":
            found += invariants.badly_seeded(now, self.file)
        self.seen = now
        self.is_filled = _is_filled(now)
        self.carried |= invariants.changes_in(now)
        self._settle(now)
        _require(found)

    def verify(self, life: Life) -> None:
        """A program that came up runs exactly what it is meant to run, and shows nothing else. Raises Violated."""
        earlier = {each.get("run_id") for each in self.seen.jobs.values()}
        earlier |= {each.get("run_id") for each in self.seen.runs.values()}
        self._settle_start()
        self.look()
        if self.seen.epoch <= self._epoch:
            raise Violated(f"the new owner has epoch {self.seen.epoch}, the one before had {self._epoch}")
        self._epoch = self.seen.epoch
        self.await_running(life)
        views = life.ask("GET", "jobs")[1]
        _require(invariants.falsely_shown(views, {str(each) for each in earlier if each}, self.ledger.running()))
        _require(self._badly_shown(views))
        self.audited()
        self.probe()

    def audited(self) -> None:
        """Every change is in the trail, at the latest a little after a start. Raises Violated."""

        def missing() -> list[str]:
            return invariants.missing_in_audit(self.image(), self.carried, self.ledger.acknowledged)

        try:
            until(lambda: not missing(), "the trail is complete", 20, pause=0.05)
        except AssertionError:
            _require(missing())
        # What was found once must not be asked for again: trails are bounded.
        self.carried.clear()
        self.ledger.acknowledged.clear()

    def await_running(self, life: Life) -> None:
        """Every job that is meant to run does, as the API tells it. Raises Violated."""

        def missing() -> set[str]:
            views = life.ask("GET", "jobs")[1]
            return self.ledger.running() - {each["name"] for each in views if each["phase"] == "running"}

        try:
            until(lambda: not missing(), "every job runs")
        except AssertionError:
            raise Violated(f"meant to run, and not running: {sorted(missing())}\n{life.log[-3000:]}") from None

    def probe(self) -> None:
        """A new record arrives once from each job that is meant to run, and from no other. Raises Violated."""
        self._probes += 1
        others = {name: self.extent(name) for name in self.ledger.standing().keys() - self.ledger.running()}
        self.append(1)
        wanted = f'"probe": {self._probes}}}'
        running = sorted(self.ledger.running())
        arrived: Callable[[str], int] = lambda name: self._out(name).count(wanted)  # noqa: E731 - names a question
        try:
            until(lambda: all(map(arrived, running)), "the probe arrives", pause=0.02)
        except AssertionError:
            raise Violated(f"meant to run, and delivers nothing: {[n for n in running if not arrived(n)]}") from None
        if several := [name for name in running if arrived(name) > 1]:
            raise Violated(f"runs more than once: {several}")
        if moved := [name for name, extent in others.items() if self.extent(name) != extent]:
            raise Violated(f"not meant to run, and delivers: {moved}")

    def append(self, count: int) -> None:
        """Records that every job reads."""
        with (self.folder / "in.jsonl").open("a") as file:
            file.writelines(f'{{"n": {each}, "probe": {self._probes}}}\n' for each in range(count))

    def extent(self, job: str) -> int:
        """How much a job has delivered, in bytes."""
        path = self.folder / f"out-{job}.jsonl"
        return path.stat().st_size if path.exists() else 0

    def end_all(self) -> None:
        """Whatever still lives."""
        for each in self._born:
            self.end(each)

    def end(self, life: Life) -> None:
        """SIGKILL, whatever it does."""
        workers = life.workers() if life.code is None else []
        life.kill()
        for each in workers:
            each.kill()

    def shot(self, life: Life, kill: Kill, dice: random.Random) -> None:
        """Kill at once whom the kill names; with a worker alone the owner lives on."""
        workers = life.workers() if life.code is None else []
        if kill.whom != "worker" or not workers:
            life.kill()
        if kill.whom == "both":
            for each in workers:
                each.kill()
        elif kill.whom == "worker" and workers:
            dice.choice(workers).kill()

    @property
    def has_come_up(self) -> bool:
        """Whether any life was looked at yet."""
        return self._epoch > 0

    @property
    def _trigger(self) -> Path:
        return self.folder / "armed"

    def _out(self, job: str) -> str:
        path = self.folder / f"out-{job}.jsonl"
        return path.read_text() if path.exists() else ""

    def _started(self) -> dict[str, Kept]:
        """The jobs as the next start makes them."""
        file = {
            name: Kept(each.definition, "running" if each.enabled else "stopped") for name, each in self.file.items()
        }
        standing = self.ledger.standing()
        match self.startup_state:
            case "force_from_file":
                orphans = {name: Kept(each.definition, "stopped") for name, each in standing.items()}
                return {**orphans, **file}
            case "seed_from_file" if not self.is_filled:
                return file
            case _:
                return standing

    def _expect_start(self) -> None:
        started = self._started()
        for name, each in started.items():
            self.ledger.job_may_become(name, each)
        for name, service in self._services().items():
            self.ledger.service_may_become(name, service)
        self._after_start = started

    def _settle_start(self) -> None:
        for name, each in self._after_start.items():
            self.ledger.settle_job(name, each)
        for name, service in self._services().items():
            self.ledger.settle_service(name, service)

    def _settle(self, now: Image) -> None:
        """What stands there holds from now on, whatever it should have been: each violation is told once."""
        for name in {*self.ledger.jobs, *now.jobs}:
            self.ledger.settle_job(name, invariants.kept(now.jobs[name]) if name in now.jobs else None)
        for name in {*self.ledger.services, *now.services}:
            found = invariants.sealed(now.services[name], now.opened.get(name)) if name in now.services else None
            self.ledger.settle_service(name, found)

    def _badly_shown(self, views: list[dict[str, Any]]) -> list[str]:
        shown = {each["name"]: Kept(each["pipeline"][invariants.JOB_MARK], each["intent"]) for each in views}
        return [] if shown == self.ledger.standing() else [f"shown are {shown}, there are {self.ledger.standing()}"]

    def _services(self) -> Mapping[str, Sealed]:
        return _OF_FILE if self.url is None else {**_OF_FILE, "db": Sealed(0)}


def _is_filled(found: Image) -> bool:
    """Whether a start by the store would leave the file alone."""
    marker = found.system.get("seed")
    return marker["phase"] == "done" if marker else bool(found.jobs)


def _require(found: list[str]) -> None:
    if found:
        raise Violated("; ".join(found))


def _toml(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {_value(each)}" for key, each in table.items()) + "\n"


def _value(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return json.dumps(value)
