"""Restart, stop and end again and again; `make chaos SUITE=restart` is the full number."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.restart import Restarts, overlapping

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TURNS = 10


@pytest.fixture
def restarts(tmp_path: Path) -> Restarts:
    return Restarts(tmp_path, seed=random.SystemRandom().randrange(1_000_000))


def test_a_job_that_is_restarted_again_and_again_runs_once_and_loses_nothing(restarts: Restarts) -> None:
    assert restarts.restarts(TURNS).count == TURNS


def test_a_job_that_is_stopped_again_and_again_is_stopped_every_time(restarts: Restarts) -> None:
    assert restarts.stops(TURNS).count == TURNS


def test_a_program_that_is_ended_again_and_again_leaves_its_job_stopped_and_meant_to_run(restarts: Restarts) -> None:
    assert restarts.ends(TURNS).count == TURNS


def line(event: str, run: str) -> str:
    return f"time=x level=info event={event} module=m job=flow run={run} more=1"


def test_a_run_that_begins_before_another_has_ended_is_noticed() -> None:
    one = [line("run_started", "a"), line("run_ended", "a"), line("run_started", "b")]

    assert overlapping("\n".join(one)) == []
    assert overlapping("\n".join([*one, line("run_started", "c")])) != []
    assert overlapping("\n".join([*one, line("run_ended", "a")])) != []
