"""Restart, stop and end a job again and again while records flow: what is meant holds every time, in time."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos import findings, image
from tests.chaos.flows import Table
from tests.chaos.killed_program import Order
from tests.chaos.lives import Life, until
from tests.chaos.stream import Writer

JOB: Final = "flow"
#: Seconds that a job has to drain, and a little for everything around it: the deadline of a stop.
DEADLINE: Final = 32.0
#: Seconds to wait for an answer; more than any deadline, so that a late one is seen as late.
_WAIT: Final = 60
_PER_SECOND: Final = 500.0
#: Of the programs that are ended so many have worker processes; the others run everything in one.
_WITH_WORKERS: Final = 0.2
#: And so many are ended before they have come up.
_EARLY: Final = 0.15
_LATEST: Final = 0.4


class Broken(AssertionError):
    """A promise did not hold."""


@dataclass(slots=True)
class Turns:
    """What came of one kind of turn."""

    verb: str
    count: int = 0
    seconds: float = 0.0
    #: The longest that a single one took.
    longest: float = 0.0
    records: int = 0
    repeats: int = 0

    def report(self) -> dict[str, Any]:
        """As it stands in the file of results."""
        return {
            "turns": self.verb,
            "count": self.count,
            "seconds": round(self.seconds, 1),
            "longest_seconds": round(self.longest, 2),
            "records": self.records,
            "lost": 0,
            "repeats": self.repeats,
        }


@dataclass
class Restarts:
    """One flow from a file to SQLite, and the programs that run it one after the other."""

    folder: Path
    seed: int
    lives: int = 0
    _runtime: str = "process"
    _born: list[Life] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._target = Table(self.folder)
        self._writer = Writer(self._target.source, at_least=1000, per_second=_PER_SECOND)
        self._text = self._target.config.read_text()
        self._dice = random.Random(self.seed)

    def restarts(self, count: int) -> Turns:
        """Each leaves the job running, in one new run. Raises Broken."""
        with self._flowing("restart", count) as turns:
            life = self._up()
            for _ in self._each(turns, count):
                before = self._job(life)
                self._move(life)
                job = self._ordered(life, "restart", turns)
                _require(job["phase"] == "running" and job["intent"] == "running", f"after a restart: {job}")
                _require(job["run_id"] != before["run_id"], "a restart has kept its run")
                self._stored(phase="running", intent="running", run_id=job["run_id"])
                _require(not (wrong := overlapping(life.log)), f"not one run after the other: {wrong}")
            self._complete(turns, life)
        return turns

    def stops(self, count: int) -> Turns:
        """Each leaves the job stopped, in time, and nothing moves until it is started. Raises Broken."""
        with self._flowing("stop", count) as turns:
            life = self._up()
            for _ in self._each(turns, count):
                self._move(life)
                job = self._ordered(life, "stop", turns)
                _require((job["phase"], job["state"], job["intent"]) == ("stopped",) * 3, f"after a stop: {job}")
                self._stored(phase="stopped", intent="stopped")
                extent = self._target.extent()
                time.sleep(self._dice.uniform(0, 0.05))
                _require(self._target.extent() == extent, "a stopped job delivers")
                self._ordered(life, "start", None)
                _require(not (wrong := overlapping(life.log)), f"not one run after the other: {wrong}")
            self._complete(turns, life)
        return turns

    def ends(self, count: int) -> Turns:
        """SIGTERM: each time the program ends in time, with its job stopped and meant to run. Raises Broken."""
        with self._flowing("SIGTERM", count) as turns:
            self._terminated(self._up(), turns)
            for _ in self._each(turns, count):
                self._runtime = "process" if self._dice.random() < _WITH_WORKERS else "inline"
                if turns.count and self._dice.random() < _EARLY:
                    life = self._new()
                    time.sleep(self._dice.uniform(0, _LATEST))
                else:
                    life = self._up()
                    self._move(life)
                self._terminated(life, turns)
            self._complete(turns, self._up())
        return turns

    @contextmanager
    def _flowing(self, verb: str, count: int) -> Iterator[Turns]:
        began = time.monotonic()
        turns = Turns(verb)
        self._writer.start()
        try:
            yield turns
        finally:
            self._writer.finish()
            for each in self._born:
                workers = each.workers() if each.code is None else []
                each.kill()
                for worker in workers:
                    worker.kill()
            turns.seconds = time.monotonic() - began

    def _each(self, turns: Turns, count: int) -> Iterator[None]:
        told = time.monotonic()
        while turns.count < count:
            yield
            turns.count += 1
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print(f"{turns.verb}: {turns.count} of {count}, the longest took {turns.longest:.2f} s", flush=True)

    def _new(self) -> Life:
        self.lives += 1
        self._target.config.write_text(self._text.replace("workers = 1", f'workers = 1\nkind = "{self._runtime}"'))
        order = Order(
            folder=self.folder, config=self._target.config.name, log=self.folder / f"log-{self.lives}", command="run"
        )
        life = Life(order)
        self._born = [*(each for each in self._born if each.code is None), life]
        return life

    def _up(self) -> Life:
        life = self._new()
        _require(life.ready(), "somebody else has killed it")
        until(lambda: self._job(life)["phase"] == "running", lambda: f"the job runs\n{life.log[-2000:]}")
        return life

    def _move(self, life: Life) -> None:
        """Records flow, and a random moment passes."""
        start = self._target.extent()
        until(lambda: self._target.extent() > start, lambda: f"records flow\n{life.log[-2000:]}")
        time.sleep(self._dice.uniform(0, 0.05))

    def _ordered(self, life: Life, verb: str, turns: Turns | None) -> dict[str, Any]:
        began = time.monotonic()
        status, answer = life.ask("POST", "jobs", JOB, verb, wait=_WAIT)
        spent = time.monotonic() - began
        _require(status == 200, f"{verb}: {status} {answer}")
        if turns is not None:
            turns.longest = max(turns.longest, spent)
            _require(spent < DEADLINE, f"{verb} took {spent:.1f} s")
        item: dict[str, Any] = answer["item"]
        return item

    def _terminated(self, life: Life, turns: Turns) -> None:
        workers = life.workers()
        began = time.monotonic()
        life.terminate()
        code = life.ended()
        turns.longest = max(turns.longest, time.monotonic() - began)
        _require(turns.longest < DEADLINE, f"it took {turns.longest:.1f} s to end")
        # A signal that comes before anybody listens ends the process as it ends any; nothing was begun by then.
        early = "event=program_started" not in life.log
        _require(code == 0 or early, f"it ended with {code}\n{life.log[-2000:]}")
        until(lambda: not any(each.is_alive for each in workers), "the workers end", DEADLINE)
        self._stored(phase="stopped", intent="running", state="stopped", desired_state="running")

    def _job(self, life: Life) -> dict[str, Any]:
        status, job = life.ask("GET", "jobs", JOB)
        _require(status == 200, f"{status} {job}\n{life.log[-2000:]}")
        found: dict[str, Any] = job
        return found

    def _stored(self, **expected: Any) -> None:
        """What was observed is stored a moment after it is shown; what is meant was stored before."""

        def wrong() -> dict[str, Any]:
            found = image.of_sqlite(self.folder / self._target.state, self.folder / "mstream.key").jobs[JOB]
            return {key: found[key] for key, value in expected.items() if found[key] != value}

        _require("intent" not in wrong(), "the intent is not stored")
        until(lambda: not wrong(), lambda: f"stored is {expected}; it is {wrong()}", DEADLINE)

    def _complete(self, turns: Turns, life: Life) -> None:
        """Everything that was written arrives, once: nobody was killed."""
        self._writer.finish()
        turns.records = self._writer.written
        until(lambda: self._target.extent() >= turns.records, "everything arrives")
        self._terminated(life, Turns("the last"))
        arrived = self._target.arrived()
        turns.repeats = findings.repeated(arrived)
        _require(not findings.missing(arrived, turns.records), "records are lost")
        _require(not findings.altered(arrived), "records were altered")
        _require(not findings.out_of_order(arrived), "records are out of order")
        _require(turns.repeats == 0, f"{turns.repeats} records came twice, and nobody was killed")


def overlapping(log: str) -> list[str]:
    """Runs that began while another of the same job had not ended, and ends of others than the one that ran."""
    found, runs = [], ""
    for event, run in re.findall(rf"event=(run_started|run_ended) .*?job={JOB} run=(\S+)", log):
        if event == "run_started":
            found += [f"{run} began while {runs} ran"] if runs else []
            runs = run
        else:
            found += [f"{run} ended while {runs or 'nothing'} ran"] if runs != run else []
            runs = ""
    return found


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise Broken(text)
