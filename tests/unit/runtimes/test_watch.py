"""Who is stalled and who is silent, by a clock that the test turns."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mstream.runtimes.page import BusyStage
from mstream.runtimes.watch import Limits, Watch

LIMITS = Limits()
LOOK = LIMITS.look_sec


@dataclass
class Run:
    run_id: str = "run-1"
    aborting: bool = False


@dataclass
class Page:
    slots: dict[int, BusyStage] = field(default_factory=dict)

    def read(self, slot: int) -> BusyStage | None:
        return self.slots.get(slot)


@dataclass
class Worker:
    heard_at: float = 1000.0
    is_ready: bool = True
    is_ending: bool = False
    pid: int = 4711
    page: Page = field(default_factory=Page)
    runs: dict[int, Run] = field(default_factory=lambda: {0: Run()})


def watched(worker: Worker, seconds: float, *, start: float = 1000.0) -> list[tuple[float, str | None, str]]:
    """Every verdict while time goes by in steps of a look: when, who, why."""
    watch, found = Watch(limits=LIMITS, looked_at=start), []
    for step in range(1, int(seconds / LOOK) + 1):
        now = start + step * LOOK
        found += [(now - start, run_id, error.code) for _, (run_id, error) in watch.look([worker], now)]
    return found


def test_a_worker_that_speaks_and_works_is_left_alone() -> None:
    worker = Worker(heard_at=1100.0)
    worker.page.slots[0] = BusyStage(sequence=1, stage="s", since=1000.0, deadline_sec=200)

    assert watched(worker, 100) == []


def test_a_stage_beyond_its_deadline_is_seen_at_the_second_look() -> None:
    worker = Worker(heard_at=1100.0)
    worker.page.slots[0] = BusyStage(sequence=1, stage="s", since=1000.0, deadline_sec=2)

    assert watched(worker, 2.5) == [(2.5, "run-1", "stalled")]


def test_other_work_at_the_second_look_is_no_stall() -> None:
    worker = Worker()
    watch = Watch(limits=LIMITS, looked_at=1000.0)
    for sequence in range(8):
        worker.page.slots[0] = BusyStage(sequence=sequence, stage="s", since=990.0, deadline_sec=1)
        assert watch.look([worker], 1000 + sequence * LOOK) == []


def test_silence_is_death_after_three_seconds() -> None:
    assert watched(Worker(), 3) == []
    assert watched(Worker(), 3.25) == [(3.25, None, "worker_lost")]


def test_a_worker_that_still_loads_its_code_may_be_silent_for_longer() -> None:
    worker = Worker(is_ready=False)

    assert watched(worker, LIMITS.first_word_sec) == []
    assert watched(worker, LIMITS.first_word_sec + LOOK) != []


@pytest.mark.parametrize("busy", [True, False])
def test_an_owner_that_was_away_counts_anew(busy: bool) -> None:
    worker = Worker()
    if busy:
        worker.page.slots[0] = BusyStage(sequence=1, stage="s", since=1000.0, deadline_sec=2)
    watch = Watch(limits=LIMITS, looked_at=1000.0)

    at = 1500.0  # the owner was frozen since its last look
    assert watch.look([worker], at) == []
    while at < 1502:
        at += LOOK
        assert watch.look([worker], at) == []
    while at < 1503:
        at += LOOK
        last = watch.look([worker], at)
    assert bool(last) == busy
    assert watch.look([worker], 1503.25) != []


def test_a_run_that_does_not_end_when_aborted_costs_its_worker() -> None:
    worker = Worker(heard_at=1100.0)
    worker.runs[0].aborting = True

    found = watched(worker, LIMITS.abort_sec + 1)

    assert found
    assert found[0] == (LIMITS.abort_sec + 2 * LOOK, "run-1", "worker_lost")


def test_a_worker_that_is_ending_anyway_is_left_alone() -> None:
    assert watched(Worker(is_ending=True), 100) == []
