"""A job that has cost a worker is a suspect until it has been stable."""

from __future__ import annotations

from mstream.runtimes.suspects import Suspects


def test_a_job_is_a_suspect_from_its_charge_until_it_has_run_for_long_enough() -> None:
    suspects = Suspects(600)
    suspects.charge("job")
    suspects.started("job", 1000)

    assert suspects.cleared(1599) == []
    assert "job" in suspects
    assert suspects.cleared(1600) == ["job"]
    assert "job" not in suspects


def test_time_between_runs_does_not_count() -> None:
    suspects = Suspects(600)
    suspects.charge("job")
    suspects.started("job", 0)
    suspects.ended("job")
    suspects.started("job", 500)

    assert suspects.cleared(700) == []
    assert suspects.cleared(1100) == ["job"]


def test_a_job_that_was_never_charged_is_none() -> None:
    suspects = Suspects(600)
    suspects.started("job", 0)
    suspects.ended("job")

    assert "job" not in suspects
    assert suspects.cleared(10_000) == []
