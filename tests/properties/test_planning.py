"""Whatever is stored and whatever the file says: a plan keeps the promises, and planners that do not are caught."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import cycle, product
from random import Random
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import Phase as Phases
from hypothesis import given, settings
from hypothesis import strategies as st

from mstream.control.differences import definition
from mstream.control.planning import plan_of_apply, plan_start
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase
from mstream.domain.plan import (
    Action,
    Damaged,
    JobAction,
    MarkerPhase,
    Plan,
    SeedMarker,
    Situation,
    StoredService,
)
from tests.unit.control.situations import STATES, applied, connector, decided, job

T = TypeVar("T")
Planner: TypeAlias = Callable[[Situation], Plan]
Check: TypeAlias = Callable[[Planner, Situation], None]

NAMES = ("a", "b", "c")
SERVICES = ("s", "t")


#: Every definition of a name, and every way in which its job can have been left; few draws make a quick search.
DEFINITIONS = {
    name: [
        connector(name, resource=resource, service=service, enabled=enabled)
        for resource, service, enabled in product(["one", "two"], ["s", "s", "t"], [True, False])
    ]
    for name in NAMES
}
_OTHERS = cycle(product(Phase, ["file", "api"]))
JOBS = {
    name: [
        job(spec, intent.value, by=by, phase=phase, origin=origin, removing=removing)
        for spec, intent, by, removing in product(
            DEFINITIONS[name], Intent, ["ada", "plan", None], [False, False, False, False, True]
        )
        for phase, origin in [next(_OTHERS)]
    ]
    for name in NAMES
}


def files() -> st.SearchStrategy[tuple[ConnectorSpec, ...]]:
    return st.tuples(*(st.sampled_from([None, None, *DEFINITIONS[name]]) for name in NAMES)).map(present)


def present(found: Iterable[T | None]) -> tuple[T, ...]:
    return tuple(each for each in found if each is not None)


def torn(names: Iterable[str]) -> st.SearchStrategy[tuple[Damaged, ...]]:
    """Rarely more than none."""
    some = [(Damaged(name=name, reason="it is torn"),) for name in names]
    return st.sampled_from([(), (), (), (), *some])


COPIES = [None, *(StoredService(digest=digest, origin=origin) for digest in "de" for origin in ("file", "api"))]
MARKERS = st.one_of(
    st.sampled_from([None, SeedMarker(phase=MarkerPhase.DONE)]),
    files().map(lambda file: SeedMarker(phase=MarkerPhase.BEGUN, file_hash="h", connectors=file)),
)


#: Made once: to make a strategy costs more than to draw from it.
FILE = files()
STORED = st.tuples(*(st.sampled_from([None] * (len(JOBS[name]) // 3) + JOBS[name]) for name in NAMES)).map(present)
TORN_JOBS, TORN_SERVICES = torn(NAMES), torn(SERVICES)
COPY = st.sampled_from(COPIES)
STATE = st.sampled_from(STATES)
SERVED = st.sampled_from([{"s": "d"}, {"s": "d"}, {"s": "d", "t": "d"}, {"t": "d"}, {}])
KEEPS = st.sampled_from([True] * 5 + [False])
FAULTY = st.sampled_from([{}, {}, {}, *({name: "no such role"} for name in NAMES)])
TORN_MARKER = st.sampled_from([None, None, None, Damaged(name="seed", reason="it is torn")])


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    keeps, keeps_services = draw(KEEPS), draw(KEEPS)
    given = Situation(
        startup_state=draw(STATE),
        connectors=draw(FILE),
        services=draw(SERVED),
        keeps_jobs=keeps,
        keeps_services=keeps_services,
    )
    if keeps_services:
        copies = {name: copy for name in SERVICES if (copy := draw(COPY))}
        given = replace(given, stored_services=copies, damaged_services=draw(TORN_SERVICES))
    if not keeps:
        return given
    return replace(
        given,
        jobs=draw(STORED),
        damaged_jobs=draw(TORN_JOBS),
        faulty_jobs=draw(FAULTY),
        marker=draw(MARKERS),
        damaged_marker=draw(TORN_MARKER),
    )


def model(given: Situation) -> dict[str, tuple[str, str | None]]:  # noqa: C901 - one case after the other
    """What becomes of every job, written a second time and in another way."""
    file, old = {each.name: each for each in given.connectors}, {each.name: each for each in given.jobs}
    torn = {each.name for each in given.damaged_jobs}
    force = given.startup_state == "force_from_file" or not given.keeps_jobs
    seed = given.startup_state == "seed_from_file" and not force and not given.damaged_marker
    begun = {each.name: each for each in given.marker.connectors} if given.marker and seed else {}
    empty = seed and not given.marker and not old and not torn
    new = file if force or empty else begun

    def sound(spec: ConnectorSpec) -> bool:
        return all(each in given.services or each in given.stored_services for each in spec.service_names)

    def made(spec: ConnectorSpec) -> tuple[str, str | None]:
        if not spec.enabled:
            return "add", "stopped"
        return ("start" if sound(spec) else "add"), "running"

    def one(name: str) -> tuple[str, str | None]:  # noqa: PLR0911 - the same
        if name in torn:
            return "invalid", None
        if name not in old:
            return made(new[name]) if name in new else ("leave", None)
        before = old[name]
        if before.removing:
            return made(file[name]) if force and name in file else ("remove", None)
        intent = before.intent.value
        if force and name in file:
            same = definition(before.spec) == definition(file[name])
            wish = "running" if file[name].enabled else "stopped"
            if not sound(file[name]) or (same and name in given.faulty_jobs):
                return "invalid", intent
            if not same:
                return "replace", wish
            if intent != wish:
                return ("start" if wish == "running" else "stop"), wish
            return ("resume" if wish == "running" else "leave"), wish
        if force and intent != "stopped":
            return "stop", "stopped"
        if not sound(before.spec) or name in given.faulty_jobs:
            return "invalid", intent
        return ("resume" if intent in {"running", "finishing"} else "leave"), intent

    return {name: one(name) for name in {*file, *old, *torn, *begun}}


# --------------------------------------------------------------------------------------------------- what must be true
def as_the_model_says(planner: Planner, before: Situation) -> None:
    assert decided(planner(before)) == model(before)


def nothing_is_left_to_do_afterwards(planner: Planner, before: Situation) -> None:
    first = planner(before)
    after = applied(before, first)
    again = planner(after)

    allowed = {Action.RESUME, Action.LEAVE, Action.INVALID}
    if before.keeps_jobs:
        assert {each.action for each in again.actions} <= allowed
        assert again.marker is None
        assert set(again.drift) == set(first.drift)
    assert {each.action for each in again.services} <= allowed
    assert applied(after, again) == after


def every_job_appears_once_and_is_explained(planner: Planner, before: Situation) -> None:
    plan = planner(before)

    named = [each.job for each in plan.actions]
    assert len(named) == len(set(named))
    everything = {each.name for each in (*before.connectors, *before.jobs, *before.damaged_jobs)}
    assert everything <= set(named)
    assert all(each.reason.strip() for each in (*plan.actions, *plan.services, *plan.drift))
    services = [each.service for each in plan.services]
    unreadable = {each.name for each in before.damaged_services}
    assert sorted(services) == sorted({*before.services, *before.stored_services, *unreadable})


def no_definition_is_lost(planner: Planner, before: Situation) -> None:
    if not before.keeps_jobs:
        return
    after = {each.name: each.spec for each in applied(before, planner(before)).jobs}

    file = {each.name: each for each in before.connectors}
    for each in before.jobs:
        if not each.removing:
            allowed = [definition(each.spec)]
            if before.startup_state == "force_from_file" and each.name in file:
                allowed.append(definition(file[each.name]))
            assert definition(after[each.name]) in allowed
    torn = {each.name for each in before.damaged_jobs}
    assert after.keys() - torn == {each.job for each in planner(before).actions if each.spec}


def a_filling_stores_everything(planner: Planner, before: Situation) -> None:
    if before.startup_state != "seed_from_file" or not before.keeps_jobs or before.damaged_marker:
        return
    empty = before.marker is None and not before.jobs and not before.damaged_jobs
    promised = before.marker.connectors if before.marker else before.connectors if empty else ()
    after = {each.name for each in applied(before, planner(before)).jobs}

    gone = {each.name for each in before.jobs if each.removing} | {each.name for each in before.damaged_jobs}
    assert {each.name for each in promised} - gone <= after
    if not before.jobs and before.marker and before.marker.phase is MarkerPhase.DONE:
        assert not after


def intents_are_kept(planner: Planner, before: Situation) -> None:
    if not before.keeps_jobs:
        return
    plan = planner(before)
    actions = {each.job: each for each in plan.actions}
    after = {each.name: each.intent for each in applied(before, plan).jobs}

    file = {each.name: each for each in before.connectors}
    for each in before.jobs:
        if each.removing:
            continue
        if before.startup_state != "force_from_file" or actions[each.name].action is Action.INVALID:
            assert after[each.name] is each.intent
        elif each.name in file:
            assert after[each.name] is (Intent.RUNNING if file[each.name].enabled else Intent.STOPPED)
        else:
            assert after[each.name] is Intent.STOPPED


def nothing_at_fault_runs(planner: Planner, before: Situation) -> None:
    known = {*before.services, *before.stored_services}
    for each in planner(before).actions:
        if each.action in {Action.START, Action.RESUME}:
            assert each.spec is not None
            assert known >= set(each.spec.service_names)
            assert each.job not in {torn.name for torn in before.damaged_jobs}


def an_override_names_its_operator(planner: Planner, before: Situation) -> None:
    for each in planner(before).actions:
        stored = each.stored
        if stored is None or each.intent is not Intent.RUNNING or stored.intent is Intent.RUNNING or stored.removing:
            continue
        change = stored.last_change
        if each.action in {Action.START, Action.REPLACE} and change and change.by.who == "ada":
            assert f"of {change.at} by ada is overridden by force_from_file" in each.reason


CHECKS = (
    as_the_model_says,
    nothing_is_left_to_do_afterwards,
    every_job_appears_once_and_is_explained,
    no_definition_is_lost,
    a_filling_stores_everything,
    intents_are_kept,
    nothing_at_fault_runs,
    an_override_names_its_operator,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda each: each.__name__)
@settings(max_examples=300, deadline=None)
@given(before=situations())
def test_of_every_situation(check: Check, before: Situation) -> None:
    check(plan_start, before)


# ------------------------------------------------------------------------------------------------------------ the hash
def decisions(plan: Plan) -> object:
    """Everything that is decided."""
    marker = plan.marker
    return (
        plan.startup_state,
        [marker.phase, marker.origin, marker.file_hash] if marker else None,
        {each.job: (each.action, each.intent, definition(each.spec) if each.spec else None) for each in plan.actions},
        {each.service: (each.action, each.origin) for each in plan.services},
    )


@settings(max_examples=300, deadline=None)
@given(situations(), situations())
def test_other_decisions_have_another_hash(one: Situation, other: Situation) -> None:
    for planner in (plan_start, plan_of_apply):
        first, second = planner(one), planner(other)
        assert decisions(first) == decisions(second) or first.hash != second.hash


@settings(max_examples=300, deadline=None)
@given(situations(), st.data())
def test_a_change_of_one_thing_changes_the_hash_if_it_changes_a_decision(one: Situation, data: st.DataObject) -> None:
    other = data.draw(situations())
    field = data.draw(st.sampled_from(["startup_state", "connectors", "services", "stored_services", "marker"]))
    changed = replace(one, **{field: getattr(other, field)})

    first, second = plan_start(one), plan_start(changed)

    assert decisions(first) == decisions(second) or first.hash != second.hash


@settings(deadline=None)
@given(situations(), st.integers())
def test_neither_order_nor_what_was_observed_changes_the_hash(before: Situation, seed: int) -> None:
    random = Random(seed)

    def observed(each: Job) -> Job:
        return replace(each, phase=random.choice(list(Phase)), attempts=random.randrange(9), epoch=random.randrange(9))

    jobs = random.sample(before.jobs, len(before.jobs))
    shuffled = replace(
        before,
        connectors=tuple(random.sample(before.connectors, len(before.connectors))),
        jobs=tuple(observed(each) for each in jobs),
        stored_services=dict(reversed(before.stored_services.items())),
    )
    if before.marker is None or before.marker.phase is MarkerPhase.DONE:
        assert plan_start(shuffled).hash == plan_start(before).hash
    assert plan_of_apply(shuffled).hash == plan_of_apply(before).hash


# --------------------------------------------------------------------------------------------------------------- apply
@settings(max_examples=300, deadline=None)
@given(situations(), st.booleans())
def test_apply_keeps_every_intent_and_removes_nothing_unasked(before: Situation, prune: bool) -> None:
    before = replace(before, keeps_jobs=True)
    plan = plan_of_apply(before, prune=prune)
    after = applied(before, plan)

    kept = {each.name: each for each in after.jobs}
    file = {each.name: each for each in before.connectors}
    torn = {each.name for each in before.damaged_jobs}
    for each in before.jobs:
        if each.removing or (prune and each.name not in file and each.name not in torn):
            continue
        assert kept[each.name].intent is each.intent
    assert set(file) - torn <= set(kept)
    for each in plan.actions:
        if each.job in file and each.action is not Action.INVALID:
            assert each.spec is not None
            assert definition(each.spec) == definition(file[each.job])
    again = plan_of_apply(after, prune=prune)
    assert {each.action for each in (*again.actions, *again.services)} <= {Action.LEAVE, Action.INVALID}
    needed = {name for each in after.jobs for name in each.spec.service_names}
    assert needed & set(before.stored_services) <= set(after.stored_services)


# ------------------------------------------------------------------------------------------------------ must-fail twins
def counting_jobs(before: Situation) -> Plan:
    """Takes a store without jobs for one that was never filled."""
    return plan_start(before if before.jobs else replace(before, marker=None))


def trusting_the_count(before: Situation) -> Plan:
    """Takes a store with some jobs for one that is filled."""
    begun = before.marker is not None and before.marker.phase is MarkerPhase.BEGUN
    return plan_start(replace(before, marker=SeedMarker(phase=MarkerPhase.DONE)) if begun and before.jobs else before)


def forgetting_orphans(before: Situation) -> Plan:
    """Looks at what the file names alone."""
    plan = plan_start(before)
    file = {each.name for each in before.connectors}
    return replace(plan, actions=tuple(each for each in plan.actions if each.job in file))


def starting_what_was_stopped(before: Situation) -> Plan:
    """Overrides an operator's stop, whatever the state."""

    def started(each: JobAction) -> JobAction:
        if each.action is Action.LEAVE and each.intent is Intent.STOPPED:
            return replace(each, action=Action.START, intent=Intent.RUNNING)
        return each

    plan = plan_start(before)
    return replace(plan, actions=tuple(started(each) for each in plan.actions))


def forcing_always(before: Situation) -> Plan:
    """Takes the file's word in every state."""
    return plan_start(replace(before, startup_state="force_from_file"))


def seeding_enabled_ones(before: Situation) -> Plan:
    """Fills the store with what is to run alone."""
    plan = plan_start(before)
    return replace(plan, actions=tuple(each for each in plan.actions if each.action is not Action.ADD))


def keeping_the_marker(before: Situation) -> Plan:
    """Never ends a filling."""
    plan = plan_start(before)
    marker = replace(plan.marker, phase=MarkerPhase.DONE) if plan.marker else None
    return replace(plan, marker=replace(marker, origin="again") if marker else before.marker)


def passing_over_faults(before: Situation) -> Plan:
    """Starts what names a service that is not there."""
    return plan_start(replace(before, services={**before.services, "s": "d", "t": "d"}))


def silent(before: Situation) -> Plan:
    """Overrides without saying whose word it was."""
    plan = plan_start(before)
    return replace(plan, actions=tuple(replace(each, reason="it is to run") for each in plan.actions))


TWINS: dict[Planner, Check] = {
    counting_jobs: a_filling_stores_everything,
    trusting_the_count: a_filling_stores_everything,
    forgetting_orphans: every_job_appears_once_and_is_explained,
    starting_what_was_stopped: intents_are_kept,
    forcing_always: intents_are_kept,
    seeding_enabled_ones: a_filling_stores_everything,
    keeping_the_marker: nothing_is_left_to_do_afterwards,
    passing_over_faults: nothing_at_fault_runs,
    silent: an_override_names_its_operator,
}


@pytest.mark.parametrize("twin", TWINS, ids=lambda each: each.__name__)
def test_a_planner_that_breaks_a_promise_is_caught(twin: Planner) -> None:
    @settings(
        max_examples=3000,
        deadline=None,
        database=None,
        phases=[Phases.generate],
        derandomize=True,
        report_multiple_bugs=False,
    )
    @given(situations())
    def search(before: Situation) -> None:
        TWINS[twin](twin, before)

    with pytest.raises(AssertionError):
        search()
