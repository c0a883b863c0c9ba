"""What a start does, and why: markers, faults, removals, services, notes, hash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mstream.control.differences import file_hash
from mstream.control.planning import plan_start
from mstream.control.seeding import NOTHING_KEPT, SEED_AGAIN
from mstream.domain.audit import PLAN, Actor, Change
from mstream.domain.job import Job
from mstream.domain.plan import (
    Damaged,
    MarkerPhase,
    SeedMarker,
    Situation,
    StoredService,
    to_document,
)
from tests.unit.control.situations import STATES, applied, connector, decided, job, of_job, of_service, situation

FILE = (connector("b"), connector("a", enabled=False))
DONE = SeedMarker(phase=MarkerPhase.DONE, file_hash="x")
BEGUN = SeedMarker(phase=MarkerPhase.BEGUN, file_hash="x", connectors=(connector("b"), connector("old")))


# ------------------------------------------------------------------------------------------------------ without a store
@pytest.mark.parametrize("state", STATES)
def test_without_a_store_the_file_alone_decides_every_time(state: str) -> None:
    memory = situation(state, file=FILE, keeps_jobs=False)

    plan = plan_start(memory)

    assert decided(plan) == {"b": ("start", "running"), "a": ("add", "stopped")}
    assert plan.notes == (NOTHING_KEPT,)
    assert plan.marker is None
    assert plan.drift == ()
    assert plan_start(applied(memory, plan)) == plan


# ----------------------------------------------------------------------------------------------------------- the marker
def test_an_empty_store_without_a_marker_is_filled_with_everything_that_the_file_has() -> None:
    plan = plan_start(situation(file=FILE))

    assert decided(plan) == {"b": ("start", "running"), "a": ("add", "stopped")}
    assert plan.marker == SeedMarker(phase=MarkerPhase.BEGUN, file_hash=file_hash(FILE), connectors=FILE)
    assert "filled from the file" in of_job(plan, "b").reason
    assert "enabled = false" in of_job(plan, "a").reason


def test_a_filling_that_was_cut_off_goes_on_with_its_own_definitions() -> None:
    changed = (connector("b", resource="changed"), connector("new"))

    plan = plan_start(situation(file=changed, marker=BEGUN))

    assert decided(plan) == {"b": ("start", "running"), "new": ("leave", None), "old": ("start", "running")}
    assert of_job(plan, "b").spec == connector("b")
    assert plan.marker == BEGUN
    assert {(each.name, each.reason, each.changes) for each in plan.drift} == {
        ("b", "the stored definition differs from the file's, and holds", ("source.resource",)),
        ("new", "only the file has it", ()),
        ("old", "only the store has it", ()),
    }
    assert any("cut off" in each for each in plan.notes)


def test_what_a_filling_has_stored_already_goes_on_as_it_is_stored() -> None:
    plan = plan_start(situation(file=FILE, marker=BEGUN, jobs=[job("b", "running", by=None)]))

    assert decided(plan) == {"b": ("resume", "running"), "a": ("leave", None), "old": ("start", "running")}


def test_a_connector_of_a_filling_whose_service_is_gone_is_stored_and_waits() -> None:
    marker = replace(BEGUN, connectors=(connector("b", service="gone"),))

    plan = plan_start(situation(marker=marker))

    assert decided(plan) == {"b": ("add", "running")}
    assert "'gone'" in of_job(plan, "b").reason


def test_jobs_without_a_marker_are_adopted_and_resumed() -> None:
    plan = plan_start(situation(file=FILE, jobs=[job("b", "stopped", by=None), job("c", by=None)]))

    assert decided(plan) == {"b": ("leave", "stopped"), "a": ("leave", None), "c": ("resume", "running")}
    assert plan.marker == SeedMarker(phase=MarkerPhase.DONE, origin="adopted")
    assert any("adopted" in each for each in plan.notes)


def test_a_store_with_nothing_but_a_damaged_document_is_not_empty() -> None:
    plan = plan_start(situation(file=FILE, damaged_jobs=(Damaged(name="c", reason="it is no JSON"),)))

    assert decided(plan) == {"b": ("leave", None), "a": ("leave", None), "c": ("invalid", None)}
    assert plan.marker == SeedMarker(phase=MarkerPhase.DONE, origin="adopted")


def test_a_filled_store_is_resumed_and_its_marker_stays() -> None:
    plan = plan_start(situation(file=FILE, jobs=[job("b")], marker=DONE))

    assert decided(plan) == {"b": ("resume", "running"), "a": ("leave", None)}
    assert "mstream apply" in of_job(plan, "a").reason
    assert plan.marker is None


def test_a_store_that_was_emptied_stays_empty_and_says_how_to_seed_again() -> None:
    plan = plan_start(situation(file=FILE, marker=DONE))

    assert decided(plan) == {"b": ("leave", None), "a": ("leave", None)}
    assert plan.notes == (SEED_AGAIN,)
    assert of_job(plan, "b").reason == SEED_AGAIN
    assert plan.marker is None


def test_under_a_marker_that_cannot_be_read_nothing_is_seeded() -> None:
    damaged = Damaged(name="seed", reason="it is no JSON")

    plan = plan_start(situation(file=FILE, damaged_marker=damaged))

    assert decided(plan) == {"b": ("leave", None), "a": ("leave", None)}
    assert plan.marker is None
    assert any("it is no JSON" in each for each in plan.notes)


@pytest.mark.parametrize("state", ["force_from_file", "keep"])
@pytest.mark.parametrize("marker", [None, BEGUN, DONE])
def test_other_states_neither_ask_the_marker_nor_change_it(state: str, marker: SeedMarker | None) -> None:
    plan = plan_start(situation(state, file=FILE, marker=marker))

    assert plan.marker is None
    wanted = {"b": ("start", "running"), "a": ("add", "stopped")}
    assert decided(plan) == (wanted if state == "force_from_file" else dict.fromkeys(wanted, ("leave", None)))
    assert any("cut off" in each for each in plan.notes) == (marker is BEGUN)


def test_keep_says_why_the_files_connectors_do_not_run() -> None:
    plan = plan_start(situation("keep", file=FILE))

    assert of_job(plan, "b").reason == "startup_state = keep ignores the file's connectors"
    assert any("nothing is stored" in each for each in plan.notes)


# ----------------------------------------------------------------------------------------------------- operators' words
@pytest.mark.parametrize(("intent", "verb"), [("stopped", "stop"), ("paused", "pause"), ("finishing", "finish")])
def test_force_names_the_operator_whose_word_it_overrides(intent: str, verb: str) -> None:
    plan = plan_start(situation("force_from_file", file=FILE, jobs=[job("b", intent)]))

    wanted = f"operator's {verb} of 2026-11-20T08:00:00Z by ada is overridden by force_from_file"
    assert of_job(plan, "b").reason == wanted


def test_force_says_so_when_nobody_knows_who_has_stopped_a_job() -> None:
    plan = plan_start(situation("force_from_file", file=FILE, jobs=[job("b", "stopped", by=None)]))

    assert of_job(plan, "b").reason == "that it is stopped is overridden by force_from_file"


def test_a_later_change_of_the_definition_is_not_taken_for_the_stop() -> None:
    change = Change(at="2026-11-21T08:00:00Z", by=Actor(who="bob"), verb="replace", revision="r3", intent="stopped")

    plan = plan_start(situation("force_from_file", file=FILE, jobs=[job("b", "stopped", last_change=change)]))

    assert "bob" not in of_job(plan, "b").reason


def test_what_force_has_stopped_itself_is_no_operators_word() -> None:
    plan = plan_start(situation("force_from_file", file=FILE, jobs=[job("b", "stopped", by=PLAN.who)]))

    assert of_job(plan, "b").reason == "force_from_file had stopped it 2026-11-20T08:00:00Z; now the file enables it"


def test_a_replaced_definition_still_tells_of_the_overridden_stop() -> None:
    changed = (connector("b", resource="other"),)

    action = of_job(plan_start(situation("force_from_file", file=changed, jobs=[job("b", "stopped")])), "b")

    assert action.changes == ("source.resource",)
    assert action.reason == (
        "its definition becomes the file's;"
        " operator's stop of 2026-11-20T08:00:00Z by ada is overridden by force_from_file"
    )


@pytest.mark.parametrize("intent", ["stopped", "paused", "finishing"])
@pytest.mark.parametrize("state", ["seed_from_file", "keep"])
def test_elsewhere_the_reason_names_who_has_said_it_and_when(state: str, intent: str) -> None:
    plan = plan_start(situation(state, file=FILE, jobs=[job("b", intent)], marker=DONE))

    assert " since 2026-11-20T08:00:00Z by ada" in of_job(plan, "b").reason


# --------------------------------------------------------------------------------------------------------------- faults
BROKEN = {
    "no such service": (connector("b", service="gone"), {}, "'gone'"),
    "a damaged service": (connector("b", service="sealed"), {}, "the key is another"),
    "no such schema": (
        connector("b", middlewares=[{"service_name": "files", "resource": "x", "schema_id": "nowhere"}]),
        {},
        "'nowhere'",
    ),
    "what the checks have found": (connector("b"), {"b": "service 'files' cannot be a source"}, "cannot be a source"),
}


@pytest.mark.parametrize("intent", ["running", "paused", "stopped", "finishing"])
@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("state", ["seed_from_file", "keep"])
def test_a_stored_job_at_fault_is_invalid_keeps_its_intent_and_hinders_nobody(
    state: str, fault: str, intent: str
) -> None:
    spec, faulty, wanted = BROKEN[fault]
    damaged = (Damaged(name="sealed", reason="the key is another"),)
    jobs = [job(spec, intent), job("c")]

    plan = plan_start(situation(state, jobs=jobs, marker=DONE, damaged_services=damaged, faulty_jobs=faulty))

    assert decided(plan) == {"b": ("invalid", intent), "c": ("resume", "running")}
    assert wanted in of_job(plan, "b").reason


def test_a_service_that_only_the_store_knows_serves_its_jobs() -> None:
    services = {"mine": StoredService(digest="d", origin="api")}

    plan = plan_start(situation(jobs=[job(connector("b", service="mine"))], marker=DONE, stored_services=services))

    assert decided(plan) == {"b": ("resume", "running")}


def test_the_files_definition_serves_although_the_stored_copy_is_damaged() -> None:
    damaged = (Damaged(name="files", reason="the key is another"),)

    plan = plan_start(situation(jobs=[job("b")], marker=DONE, stored_services={}, damaged_services=damaged))

    assert decided(plan) == {"b": ("resume", "running")}
    assert of_service(plan, "files").action == "invalid"
    assert "the file's definition is used" in of_service(plan, "files").reason


@pytest.mark.parametrize("state", STATES)
def test_a_damaged_document_stays_as_it_is_whatever_the_file_says(state: str) -> None:
    damaged = (Damaged(name="b", reason="it is no JSON"),)

    plan = plan_start(situation(state, file=FILE, damaged_jobs=damaged, jobs=[job("c")], marker=DONE))

    assert decided(plan)["b"] == ("invalid", None)
    assert of_job(plan, "b").reason == "its stored document cannot be used: it is no JSON; it stays as it is"
    assert plan.notes == ("1 stored document(s) cannot be used; they stay as they are",)


def test_of_two_documents_of_one_name_neither_is_used() -> None:
    damaged = (Damaged(name="b", reason="there are two of it"),)

    plan = plan_start(situation(damaged_jobs=damaged, jobs=[job("b")], marker=DONE))

    assert decided(plan) == {"b": ("invalid", None)}


def test_force_heals_a_faulty_job_that_the_file_defines_otherwise() -> None:
    jobs = [job(connector("b", service="gone"), "stopped")]

    plan = plan_start(situation("force_from_file", file=FILE, jobs=jobs))

    assert of_job(plan, "b").action == "replace"


def test_force_leaves_a_faulty_job_that_the_file_defines_the_same() -> None:
    plan = plan_start(situation("force_from_file", file=FILE, jobs=[job("b")], faulty_jobs={"b": "no role"}))

    assert decided(plan)["b"] == ("invalid", "running")


def test_force_stops_even_an_orphan_that_could_not_run() -> None:
    orphan = job(connector("o", service="gone"), "running")
    first = situation("force_from_file", jobs=[orphan])

    plan = plan_start(first)

    assert decided(plan) == {"o": ("stop", "stopped")}
    assert "'gone'" in of_job(plan, "o").reason
    assert decided(plan_start(applied(first, plan))) == {"o": ("invalid", "stopped")}


# -------------------------------------------------------------------------------------------------------------- removal
@pytest.mark.parametrize("state", STATES)
def test_a_removal_that_had_begun_is_completed(state: str) -> None:
    removing = job("b", "stopped", removing=True)

    plan = plan_start(situation(state, jobs=[removing], marker=DONE))

    assert decided(plan) == {"b": ("remove", None)}
    assert "removal was begun" in of_job(plan, "b").reason


def test_force_adds_what_the_file_names_after_its_removal() -> None:
    plan = plan_start(situation("force_from_file", file=FILE, jobs=[job("b", "stopped", removing=True)]))

    assert decided(plan)["b"] == ("start", "running")
    assert of_job(plan, "b").stored is not None


def test_a_removed_job_is_not_seeded_again() -> None:
    first = situation(file=FILE, jobs=[job("b", "stopped", removing=True)], marker=DONE)

    second = applied(first, plan_start(first))

    assert decided(plan_start(second)) == {"b": ("leave", None), "a": ("leave", None)}


# ------------------------------------------------------------------------------------------------------------- services
SERVICES = {
    "not stored": (None, "add"),
    "the same": (StoredService(digest="d1", origin="file"), "leave"),
    "another": (StoredService(digest="d2", origin="file"), "replace"),
    "another, of the API": (StoredService(digest="d2", origin="api"), "replace"),
    "the same, of the API": (StoredService(digest="d1", origin="api"), "replace"),
}


@pytest.mark.parametrize("stored", SERVICES)
@pytest.mark.parametrize("state", STATES)
def test_for_equal_names_the_file_wins(state: str, stored: str) -> None:
    copy, wanted = SERVICES[stored]
    before = situation(state, stored_services={"files": copy} if copy else {})

    plan = plan_start(before)

    assert [(each.service, each.action, each.origin) for each in plan.services] == [("files", wanted, "file")]
    assert of_service(plan_start(applied(before, plan)), "files").action == "leave"


@pytest.mark.parametrize("origin", ["file", "api"])
def test_a_service_that_the_file_does_not_name_is_left_with_its_origin_and_reported(origin: str) -> None:
    plan = plan_start(situation(stored_services={"old": StoredService(digest="d", origin=origin)}))

    found = of_service(plan, "old")
    assert (found.action, found.origin) == ("leave", origin)
    assert [(each.kind, each.name) for each in plan.drift] == [("service", "old")]


def test_a_damaged_service_that_the_file_does_not_name_is_invalid() -> None:
    plan = plan_start(situation(damaged_services=(Damaged(name="sealed", reason="the key is another"),)))

    assert of_service(plan, "sealed").action == "invalid"
    assert "the key is another" in of_service(plan, "sealed").reason


def test_without_a_store_every_service_is_left() -> None:
    plan = plan_start(situation(services={"files": "d1", "bus": "d2"}, stored_services={}, keeps_services=False))

    assert [(each.service, each.action) for each in plan.services] == [("files", "leave"), ("bus", "leave")]


def test_the_service_of_state_is_hidden_and_serves_no_job() -> None:
    services = {"files": "d1", "_state": "d2"}
    jobs = [job(connector("b", service="_state"))]

    plan = plan_start(situation(services=services, stored_services={}, jobs=jobs, marker=DONE))

    assert [each.service for each in plan.services] == ["files"]
    assert decided(plan) == {"b": ("invalid", "running")}


# ----------------------------------------------------------------------------------------------------------------- hash
def base() -> Situation:
    return situation("force_from_file", file=FILE, jobs=[job("b", "stopped"), job("z")])


CHANGES = {
    "the state": lambda s: replace(s, startup_state="seed_from_file"),
    "a definition in the file": lambda s: replace(s, connectors=(connector("b", resource="x"), FILE[1])),
    "a stored definition": lambda s: replace(s, jobs=(job(connector("b", resource="x"), "stopped"), s.jobs[1])),
    "whether one is enabled": lambda s: replace(s, connectors=(FILE[0], connector("a"))),
    "one more in the file": lambda s: replace(s, connectors=(*FILE, connector("n"))),
    "one less in the store": lambda s: replace(s, jobs=s.jobs[:1]),
    "a stored intent": lambda s: replace(s, jobs=(job("b", "paused"), s.jobs[1])),
    "a fault": lambda s: replace(s, jobs=(s.jobs[0], job(connector("z", service="gone")))),
    "a damaged document": lambda s: replace(s, damaged_jobs=(Damaged(name="q", reason="?"),)),
    "a service in the file": lambda s: replace(s, services={"files": "d9"}),
    "a stored service": lambda s: replace(s, stored_services={}),
    "an origin": lambda s: replace(s, stored_services={"files": StoredService(digest="d1", origin="api")}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_hash_changes_with(change: str) -> None:
    assert plan_start(CHANGES[change](base())).hash != plan_start(base()).hash


def test_the_hash_changes_with_the_marker() -> None:
    hashes = {plan_start(situation(marker=marker)).hash for marker in (None, DONE, BEGUN)}

    assert len(hashes) == 3


UNSEEN = {
    "the order of the store": lambda s: replace(s, jobs=tuple(reversed(s.jobs))),
    "the order of the file": lambda s: replace(s, connectors=tuple(reversed(s.connectors))),
    "what was observed": lambda s: replace(s, jobs=tuple(observed(each) for each in s.jobs)),
    "who has changed it last": lambda s: replace(s, jobs=tuple(replace(each, last_change=None) for each in s.jobs)),
}


def observed(stored: Job) -> Job:
    return replace(stored, run_id="r", epoch=7, attempts=3, started_at="2026-01-01T00:00:00Z")


@pytest.mark.parametrize("change", UNSEEN)
def test_the_hash_does_not_change_with(change: str) -> None:
    assert plan_start(UNSEEN[change](base())).hash == plan_start(base()).hash


def test_a_plan_shows_no_value_of_a_definition() -> None:
    secret = connector("b", resource="s3cr3t-old")
    changed = connector("b", resource="s3cr3t-new")

    for state in STATES:
        plan = plan_start(situation(state, file=[changed], jobs=[job(secret)], marker=DONE))
        assert "s3cr3t" not in str(to_document(plan))
