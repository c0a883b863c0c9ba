"""What `apply` does: the file's definitions, the operators' intents."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mstream.control.differences import file_hash
from mstream.control.planning import plan_of_apply, plan_start
from mstream.domain.plan import Damaged, MarkerPhase, SeedMarker, StoredService
from tests.unit.control.situations import STATES, applied, connector, decided, job, of_job, of_service, situation

INTENTS = ["running", "paused", "stopped", "finishing"]


def test_new_ones_are_added_and_started_where_they_are_enabled() -> None:
    plan = plan_of_apply(situation(file=[connector("b"), connector("a", enabled=False)]))

    assert decided(plan) == {"b": ("start", "running"), "a": ("add", "stopped")}
    assert plan.startup_state == "apply"


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize("intent", INTENTS)
@pytest.mark.parametrize("state", STATES)
def test_a_stored_definition_is_replaced_and_the_intent_stays(state: str, intent: str, enabled: bool) -> None:
    file = [connector("b", resource="other", enabled=enabled)]
    before = situation(state, file=file, jobs=[job("b", intent)])

    plan = plan_of_apply(before)

    assert decided(plan) == {"b": ("replace", intent)}
    assert of_job(plan, "b").changes == ("source.resource",)
    assert decided(plan_of_apply(applied(before, plan))) == {"b": ("leave", intent)}


@pytest.mark.parametrize("intent", INTENTS)
def test_what_is_the_same_is_left(intent: str) -> None:
    plan = plan_of_apply(situation(file=[connector("b", enabled=False)], jobs=[job("b", intent)]))

    assert decided(plan) == {"b": ("leave", intent)}


@pytest.mark.parametrize("origin", ["file", "api"])
def test_what_the_file_does_not_name_stays_unless_it_is_pruned(origin: str) -> None:
    before = situation(jobs=[job("b", "paused", origin=origin)])

    assert decided(plan_of_apply(before)) == {"b": ("leave", "paused")}
    assert [(each.name, each.reason) for each in plan_of_apply(before).drift] == [("b", "only the store has it")]
    assert decided(plan_of_apply(before, prune=True)) == {"b": ("remove", None)}
    assert plan_of_apply(before, prune=True).drift == ()
    for prune in (False, True):
        reason = of_job(plan_of_apply(before, prune=prune), "b").reason
        assert ("made through the API" in reason) == (origin == "api")


def test_what_was_deleted_is_seeded_again() -> None:
    before = situation(file=[connector("b")])

    after = applied(before, plan_of_apply(before))

    assert decided(plan_start(after)) == {"b": ("resume", "running")}


def test_a_damaged_document_stays_even_when_pruned() -> None:
    before = situation(file=[connector("b")], damaged_jobs=[Damaged(name=name, reason="?") for name in "bc"])

    assert decided(plan_of_apply(before, prune=True)) == {"b": ("invalid", None), "c": ("invalid", None)}


def test_a_faulty_job_is_healed_by_the_file_left_without_it_and_can_be_pruned() -> None:
    faulty = [job(connector(name, service="gone"), "paused") for name in "bc"]
    before = situation(file=[connector("b")], jobs=faulty)

    assert decided(plan_of_apply(before)) == {"b": ("replace", "paused"), "c": ("invalid", "paused")}
    assert decided(plan_of_apply(before, prune=True)) == {"b": ("replace", "paused"), "c": ("remove", None)}


def test_a_faulty_job_that_the_file_defines_the_same_is_invalid() -> None:
    before = situation(file=[connector("b")], jobs=[job("b")], faulty_jobs={"b": "no role"})

    assert decided(plan_of_apply(before)) == {"b": ("invalid", "running")}


def test_a_removal_that_has_begun_is_completed_and_the_files_is_added() -> None:
    removing = [job(name, "stopped", removing=True) for name in "bc"]

    plan = plan_of_apply(situation(file=[connector("b")], jobs=removing))

    assert decided(plan) == {"b": ("start", "running"), "c": ("remove", None)}


def test_services_come_over_as_at_a_start() -> None:
    plan = plan_of_apply(situation(services={"files": "d2", "bus": "d3"}))

    assert {each.service: each.action for each in plan.services} == {"files": "replace", "bus": "add"}


def test_pruning_takes_services_that_no_remaining_job_needs() -> None:
    stored = {name: StoredService(digest="d", origin="api") for name in ("files", "idle", "of_c")}
    before = situation(
        file=[connector("b")],
        jobs=[job("b"), job(connector("c", service="of_c"))],
        stored_services=stored,
    )

    assert {each.service: each.action for each in plan_of_apply(before).services} == {
        "files": "replace",
        "idle": "leave",
        "of_c": "leave",
    }
    assert {each.service: each.action for each in plan_of_apply(before, prune=True).services} == {
        "files": "replace",
        "idle": "remove",
        "of_c": "remove",
    }


def test_pruning_spares_a_service_that_a_job_of_the_file_needs() -> None:
    stored = {"mine": StoredService(digest="d", origin="api")}

    plan = plan_of_apply(situation(file=[connector("b", service="mine")], stored_services=stored), prune=True)

    assert of_service(plan, "mine").action == "leave"
    assert "a job that stays needs it" in of_service(plan, "mine").reason


def test_pruning_spares_every_service_while_a_job_cannot_be_read() -> None:
    stored = {"mine": StoredService(digest="d", origin="api")}
    damaged = [Damaged(name="c", reason="?")]

    plan = plan_of_apply(situation(stored_services=stored, damaged_jobs=damaged), prune=True)

    assert of_service(plan, "mine").action == "leave"
    assert "cannot be read" in of_service(plan, "mine").reason


def test_the_hash_of_a_pruning_plan_is_another() -> None:
    before = situation(jobs=[job("b")])

    assert plan_of_apply(before).hash != plan_of_apply(before, prune=True).hash
    assert plan_of_apply(before).hash != plan_start(before).hash


@pytest.mark.parametrize("state", STATES)
def test_a_store_that_was_applied_to_is_filled(state: str) -> None:
    before = situation(state, file=[connector("b")])

    plan = plan_of_apply(before)

    assert plan.marker == SeedMarker(phase=MarkerPhase.DONE, file_hash=file_hash([connector("b")]), origin="applied")
    emptied = replace(applied(before, plan), startup_state="seed_from_file", jobs=())
    assert decided(plan_start(emptied)) == {"b": ("leave", None)}


@pytest.mark.parametrize(
    "fields",
    [
        {"marker": SeedMarker(phase=MarkerPhase.BEGUN)},
        {"marker": SeedMarker(phase=MarkerPhase.DONE)},
        {"damaged_marker": Damaged(name="seed", reason="?")},
        {"keeps_jobs": False},
    ],
)
def test_any_other_marker_stays(fields: dict[str, Any]) -> None:
    assert plan_of_apply(situation(file=[connector("b")], **fields)).marker is None
