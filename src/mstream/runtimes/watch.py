"""Which worker is stalled or silent, judged by its page and its heartbeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from mstream.errors import RunError, Stalled, WorkerLost
from mstream.runtimes.page import BusyStage


class WatchedRun(Protocol):
    """What is seen of a run."""

    #: It was told to end at once.
    aborting: bool

    @property
    def run_id(self) -> str:
        """The run's own id."""


class Page(Protocol):
    """Where runs note what they do."""

    def read(self, slot: int) -> BusyStage | None:
        """What is busy there; None: nothing."""


class Worker(Protocol):
    """What is seen of a worker."""

    #: When it last said anything, and whether it ever has.
    heard_at: float
    is_ready: bool
    #: Nobody waits for it any more.
    is_ending: bool

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def page(self) -> Page:
        """The memory that it shares with us."""

    @property
    def runs(self) -> Mapping[int, WatchedRun]:
        """By slot of the page."""


W = TypeVar("W", bound=Worker)

#: The run that is to blame (None: not known), and why its worker must be ended.
Verdict = tuple[str | None, RunError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds after which the owner acts."""

    #: Between two looks at the workers.
    look_sec: float = 0.25
    #: A worker that says nothing for so long is dead.
    silent_sec: float = 3.0
    #: Longer than that for its first word: it has to load its code.
    first_word_sec: float = 60.0
    #: When the owner itself was away for so long, it counts anew.
    own_gap_sec: float = 1.0
    #: A job that has cost a worker runs alone until it has run for so long.
    stable_sec: float = 600.0
    #: Aborted runs have so long to end by themselves.
    abort_sec: float = 10.0


@dataclass(slots=True)
class Watch:
    """The owner's eyes: looks at regular intervals and knows when it has itself been away."""

    limits: Limits
    #: The last look, and since when time counts against workers.
    looked_at: float
    counts_from: float = 0.0
    _overdue: dict[tuple[int, int], int] = field(default_factory=dict)
    _aborting: dict[str, float] = field(default_factory=dict)

    def look(self, workers: Sequence[W], now: float) -> list[tuple[W, Verdict]]:
        """The workers to be ended, and why."""
        if now - self.looked_at > self.limits.look_sec + self.limits.own_gap_sec:
            self.counts_from = now
        self.looked_at = now
        found = []
        for each in workers:
            verdict = (
                None if each.is_ending else self._stalled(each, now) or self._deaf(each, now) or self._silent(each, now)
            )
            if verdict is not None:
                found.append((each, verdict))
        return found

    def _stalled(self, worker: Worker, now: float) -> Verdict | None:
        for slot, run in worker.runs.items():
            busy = worker.page.read(slot)
            place = (worker.pid, slot)
            if busy is None or now - max(busy.since, self.counts_from) <= busy.deadline_sec:
                self._overdue.pop(place, None)
            elif self._overdue.get(place) == busy.sequence:
                del self._overdue[place]
                message = f"{busy.stage!r} was busy beyond its deadline; its worker was replaced"
                return run.run_id, Stalled(message)
            else:
                self._overdue[place] = busy.sequence
        return None

    def _deaf(self, worker: Worker, now: float) -> Verdict | None:
        """Runs that do not end when they are told to."""
        for run in worker.runs.values():
            if run.aborting and now - self._aborting.setdefault(run.run_id, now) > self.limits.abort_sec:
                del self._aborting[run.run_id]
                return run.run_id, WorkerLost("it did not end when it was aborted; its worker was replaced")
        return None

    def forget(self, run_id: str) -> None:
        """The run has ended."""
        self._aborting.pop(run_id, None)

    def _silent(self, worker: Worker, now: float) -> Verdict | None:
        allowed = self.limits.silent_sec if worker.is_ready else self.limits.first_word_sec
        silent = now - max(worker.heard_at, self.counts_from)
        if silent <= allowed:
            return None
        return None, WorkerLost(f"the worker (process {worker.pid}) has said nothing for {silent:.1f} seconds")
