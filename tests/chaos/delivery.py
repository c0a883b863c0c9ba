"""Kill the owner, a worker, or both, at random moments while records flow."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from tests.chaos import findings
from tests.chaos.findings import Kill
from tests.chaos.flows import BATCH, INTERVAL_MS, MAX_IN_FLIGHT, Target
from tests.chaos.processes import Owner, kill_all
from tests.chaos.stream import Writer

#: How long a flow may take to move again after a kill.
_PATIENCE = 60.0
#: A worker whose owner is gone ends within 2 s; five times the room.
_ORPHANED = 10.0
#: Repeats may cover so many intervals of flow.
_INTERVALS = 3
#: A run that does not count yet may have so many times the kills that were asked for.
_MOST_TIMES = 5


class Broken(AssertionError):
    """A promise did not hold."""


@dataclass(slots=True)
class Run:
    """What happened to one flow."""

    flow: str
    records: int
    seed: int
    kills: list[Kill] = field(default_factory=list)
    arrived: int = 0
    repeats: int = 0
    seconds: float = 0.0

    @property
    def mid_flow(self) -> int:
        """Kills that fell while records were moving."""
        return sum(each.mid_flow for each in self.kills)

    def report(self) -> dict[str, Any]:
        """As it stands in the file of results."""
        return {
            "flow": self.flow,
            "records": self.records,
            "seed": self.seed,
            "kills": len(self.kills),
            "of": dict(sorted(Counter(each.whom for each in self.kills).items())),
            "in_mid_flow": self.mid_flow,
            "lost": 0,
            "repeats": self.repeats,
            "seconds": round(self.seconds, 1),
        }


class Observer:
    """Looks at the extent of a target again and again, and remembers the last few seconds."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._seen: deque[tuple[float, int]] = deque(maxlen=1000)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name="observer")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def extent(self, ago: float = 0.0) -> int:
        """What was there so many seconds ago, or earlier where nothing was seen just then."""
        moment = time.monotonic() - ago
        return next((extent for at, extent in reversed(self._seen.copy()) if at <= moment), 0)

    def _look(self) -> None:
        while not self._end.wait(0.02):
            self._seen.append((time.monotonic(), self._target.extent()))


class Delivery:
    """One flow, killed until there were enough kills or the time is up."""

    def __init__(self, target: Target, *, records: int, per_second: float, seed: int, room: float = 1) -> None:
        """`room`: so many times the flow that repeats may cover, where other work holds everybody up."""
        self._target = target
        self._room = room
        self._random = random.Random(seed)
        self._writer = Writer(target.source, at_least=records, per_second=per_second)
        self._owner = Owner(target.folder, target.config)
        self._run = Run(target.name, records, seed)

    def run(self, *, kills: int | None, seconds: float | None) -> Run:
        """Kill at least so often and for at least so long, let it finish, check; raises Broken."""
        began = time.monotonic()
        self._writer.start()
        try:
            with Observer(self._target) as observer:
                self._owner.start()
                while not _enough(self._run, kills, time.monotonic() - began, seconds):
                    self._wait_until_moving(observer)
                    time.sleep(self._random.uniform(0.0, 0.8))
                    self._kill_one(observer)
            self._writer.finish()
            self._run.records = self._writer.written
            self._complete()
            self._check()
        finally:
            self._writer.finish()
            self._owner.stop()
            self._run.seconds = time.monotonic() - began
        return self._run

    def _wait_until_moving(self, observer: Observer) -> None:
        start, end = observer.extent(), time.monotonic() + _PATIENCE
        while observer.extent() <= start:
            if self._owner.ended is not None:
                raise Broken(f"the owner ended by itself with {self._owner.ended}: {self._log()}")
            if time.monotonic() > end:
                raise Broken(f"nothing moved for {_PATIENCE:.0f} s: {self._log()}")
            time.sleep(0.01)

    def _kill_one(self, observer: Observer) -> None:
        whom = self._random.choice(["owner", "worker", "both"])
        workers = self._owner.workers()
        if not workers:
            return
        mid_flow = self._target.extent() > observer.extent(ago=0.15)
        earlier = observer.extent(ago=self._room * _INTERVALS * INTERVAL_MS / 1000)
        if whom == "worker":
            kill_all([self._random.choice(workers)])
        else:
            self._owner.kill()
            if whom == "both":
                kill_all(workers)
        after = self._target.extent()
        self._run.kills.append(Kill(whom, mid_flow, self._target.count(earlier), self._target.count(after)))
        self._check_checkpoint()
        if whom != "worker":
            self._owner.start()

    def _complete(self) -> None:
        """Let the last owner deliver what is left, and end in its own time."""
        self._owner.kill()
        if left := self._owner.left_behind(_ORPHANED):
            raise Broken(f"workers outlived their owner: {left}")
        self._owner.start("--until-idle", "1.5")
        if code := self._owner.wait(120):
            raise Broken(f"the last owner ended with {code}: {self._log()}")
        if left := self._owner.left_behind(_ORPHANED):
            raise Broken(f"workers outlived an owner that ended: {left}")

    def _check_checkpoint(self) -> None:
        checkpoint = self._writer.before(self._target.checkpoint())
        if ahead := findings.ahead(checkpoint, self._target.numbers()):
            raise Broken(f"the checkpoint covers {checkpoint} records, not there: {ahead[:5]}")

    def _check(self) -> None:
        arrived = self._target.arrived()
        self._run.arrived, self._run.repeats = len(arrived), findings.repeated(arrived)
        count = self._run.records
        window = BATCH * (MAX_IN_FLIGHT + 1)
        wrong: dict[str, Sequence[object]] = {
            "lost": findings.missing(arrived, count),
            "altered": findings.altered(arrived),
            "out of order": findings.out_of_order(arrived),
            "more repeats than allowed": findings.unbounded(arrived, self._run.kills, window),
            "twice": [self._run.repeats] if self._target.delivery == "effectively_once" and self._run.repeats else [],
        }
        for what, found in wrong.items():
            if found:
                raise Broken(f"{self._run.flow}, seed {self._run.seed}: {what}: {len(found)}, such as {found[:5]}")
        if self._run.mid_flow * 2 < len(self._run.kills):
            raise Broken(
                f"only {self._run.mid_flow} of {len(self._run.kills)} kills fell in mid-flow: it does not count"
            )

    def _log(self) -> str:
        return (self._target.folder / "log").read_text(errors="replace")[-2000:]


def _enough(run: Run, kills: int | None, spent: float, seconds: float | None) -> bool:
    """A run of which too few kills fell in mid-flow would not count: it goes on for a while."""
    done = len(run.kills)
    counts = run.mid_flow * 2 >= done or done >= _MOST_TIMES * max(kills or 0, 1)
    return done >= (kills or 0) and spent >= (seconds or 0.0) and counts
