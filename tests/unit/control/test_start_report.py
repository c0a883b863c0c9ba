"""What a start tells of its plan stays readable, however much differs."""

from __future__ import annotations

from structlog.testing import capture_logs

from mstream.control.startup import tell
from mstream.domain.plan import Drift, Plan


def test_of_many_differences_a_few_are_told_and_the_rest_counted() -> None:
    drift = tuple(Drift(kind="service", name=f"service-{each}", reason="only the store has it") for each in range(33))

    with capture_logs() as logs:
        tell(Plan(startup_state="keep", hash="h", drift=drift))

    told = [each["resource"] for each in logs if each["event"] == "plan_drift"]
    assert told == [each.name for each in drift[:20]]
    assert [each["count"] for each in logs if each["event"] == "plan_drift_more"] == [13]


def test_a_few_differences_are_told_one_by_one() -> None:
    with capture_logs() as logs:
        tell(Plan(startup_state="keep", hash="h", drift=(Drift(kind="connector", name="a", reason="differs"),)))

    assert [each["event"] for each in logs] == ["plan_made", "plan_drift"]
