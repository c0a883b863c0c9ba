"""What becomes of a job: how it was left, by startup state, by what the file says of it now."""

from __future__ import annotations

import pytest

from mstream.control.planning import plan_start
from mstream.domain.job import Job, Phase
from mstream.domain.plan import MarkerPhase, SeedMarker
from tests.unit.control.situations import STATES, connector, decided, job, situation

LEFT = {
    "running": job("a", "running", phase=Phase.RUNNING),
    "paused": job("a", "paused", phase=Phase.PAUSED),
    "stopped": job("a", "stopped", phase=Phase.STOPPED),
    "finishing": job("a", "finishing", phase=Phase.RUNNING),
    "failed": job("a", "running", phase=Phase.FAILED),
}
FILES = {
    "same": (connector("a"),),
    "disabled": (connector("a", enabled=False),),
    "changed": (connector("a", resource="other"),),
    "changed+disabled": (connector("a", resource="other", enabled=False),),
    "removed": (),
    "added": (connector("a"), connector("new"), connector("later", enabled=False)),
}

FORCE = """
left       same            disabled       changed          changed+disabled  removed        added
running    resume/running  stop/stopped   replace/running  replace/stopped   stop/stopped   resume/running
paused     start/running   stop/stopped   replace/running  replace/stopped   stop/stopped   start/running
stopped    start/running   leave/stopped  replace/running  replace/stopped   leave/stopped  start/running
finishing  start/running   stop/stopped   replace/running  replace/stopped   stop/stopped   start/running
failed     resume/running  stop/stopped   replace/running  replace/stopped   stop/stopped   resume/running
"""
#: Whatever the file says.
OTHERWISE = {
    "running": "resume/running",
    "paused": "leave/paused",
    "stopped": "leave/stopped",
    "finishing": "resume/finishing",
    "failed": "resume/running",
}


def expected(state: str, left: str, file: str) -> str:
    if state != "force_from_file":
        return OTHERWISE[left]
    header, *rows = [line.split() for line in FORCE.strip().splitlines()]
    table = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
    return table[left][file]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("state", STATES)
def test_every_combination_is_decided_as_promised(state: str, left: str, file: str) -> None:
    done = SeedMarker(phase=MarkerPhase.DONE)

    plan = plan_start(situation(state, file=FILES[file], jobs=[LEFT[left]], marker=done))

    wanted: dict[str, tuple[str, str | None]] = {"a": split(expected(state, left, file))}
    if file == "added":
        force = state == "force_from_file"
        wanted["new"] = ("start", "running") if force else ("leave", None)
        wanted["later"] = ("add", "stopped") if force else ("leave", None)
    assert decided(plan) == wanted
    assert all(each.reason for each in plan.actions)
    assert {(each.name, each.reason) for each in plan.drift} == drift(state, file)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("left", LEFT)
def test_the_definition_that_holds_is_the_one_that_the_state_promises(state: str, left: str) -> None:
    stored: Job = LEFT[left]

    (action,) = plan_start(situation(state, file=FILES["changed"], jobs=[stored])).actions

    assert action.stored == stored
    assert action.spec == (FILES["changed"][0] if state == "force_from_file" else stored.spec)
    assert action.changes == (("source.resource",) if state == "force_from_file" else ())


def split(text: str) -> tuple[str, str]:
    action, intent = text.split("/")
    return action, intent


def drift(state: str, file: str) -> set[tuple[str, str]]:
    """What differs once the plan is carried out."""
    if file == "removed":
        return {("a", "only the store has it")}
    if state == "force_from_file":
        return set()
    if file.startswith("changed"):
        return {("a", "the stored definition differs from the file's, and holds")}
    if file == "added":
        return {(name, "only the file has it") for name in ("new", "later")}
    return set()
