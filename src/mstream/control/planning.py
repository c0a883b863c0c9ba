"""Pure functions from file and store to a plan: what a start would do, what `apply` would do, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from mstream.config.system import StartupState
from mstream.control import decisions
from mstream.control.differences import canonical, changes, definition_hash
from mstream.control.faults import Surroundings
from mstream.control.seeding import Filling, filling, marker_of_apply
from mstream.control.services_planning import pruned, service_actions, service_drift
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Job
from mstream.domain.plan import Drift, JobAction, Plan, ServiceAction, Situation

#: What stands for the startup state in a plan of `apply`.
APPLY: Final = "apply"


def plan_start(situation: Situation) -> Plan:
    """What a start does: the file's jobs in its order, then the others by name."""
    added = filling(situation)
    planning = _Planning(situation)
    jobs = tuple(planning.at_start(name, added) for name in planning.names(added.connectors))
    services = service_actions(situation)
    notes = (*added.notes, *_damage(situation))
    made = Plan(
        startup_state=situation.startup_state, actions=jobs, services=services, marker=added.marker, notes=notes
    )
    return _complete(made, situation)


def plan_of_apply(situation: Situation, *, prune: bool = False) -> Plan:
    """What `apply` does: the file's definitions, the operators' intents; nothing goes without `prune`.

    What a running instance has in memory comes in as stored (`keeps_jobs` does not matter here).
    """
    planning = _Planning(situation)
    jobs = tuple(planning.by_apply(name, prune=prune) for name in planning.names(()))
    services = service_actions(situation)
    if prune:
        services = pruned(services, situation, jobs)
    made = Plan(
        startup_state=APPLY,
        actions=jobs,
        services=services,
        marker=marker_of_apply(situation),
        notes=_damage(situation),
    )
    return _complete(made, situation)


class _Planning:
    """A situation, by names."""

    def __init__(self, situation: Situation) -> None:
        self._file = {each.name: each for each in situation.connectors}
        self._stored = {each.name: each for each in situation.jobs}
        self._damaged = {each.name: each for each in situation.damaged_jobs}
        self._surroundings = Surroundings(situation)
        self._forces = situation.startup_state == StartupState.FORCE_FROM_FILE or not situation.keeps_jobs

    def names(self, others: Iterable[str]) -> list[str]:
        """Every job of file and store, and these others, once."""
        return [*self._file, *sorted({*others, *self._stored, *self._damaged} - {*self._file})]

    def at_start(self, name: str, added: Filling) -> JobAction:
        ours, stored = self._file.get(name), self._stored.get(name)
        if name in self._damaged:
            return decisions.damaged(self._damaged[name], stored)
        if stored is not None:
            return self._stored_at_start(stored, ours)
        if name in added.connectors:
            return decisions.created(added.connectors[name], added.why, self._surroundings)
        return decisions.not_stored(name, added.why_not)

    def by_apply(self, name: str, *, prune: bool) -> JobAction:
        ours, stored = self._file.get(name), self._stored.get(name)
        if name in self._damaged:
            return decisions.damaged(self._damaged[name], stored)
        if stored is None:
            return decisions.created(self._file[name], "the file names it, and it is not stored", self._surroundings)
        if stored.removing:
            return self._completed_removal(stored, ours)
        if ours is None:
            return decisions.unnamed(stored, self._surroundings, prune=prune)
        return decisions.applied(ours, stored, self._surroundings)

    def _stored_at_start(self, stored: Job, ours: ConnectorSpec | None) -> JobAction:
        if stored.removing:
            return self._completed_removal(stored, ours if self._forces else None)
        if not self._forces:
            return decisions.resumed(stored, self._surroundings)
        if ours is None:
            return decisions.orphaned(stored, self._surroundings)
        return decisions.forced(ours, stored, self._surroundings)

    def _completed_removal(self, stored: Job, anew: ConnectorSpec | None) -> JobAction:
        why = decisions.begun_removal(stored)
        if anew is None:
            return decisions.removed(stored, why)
        return decisions.created(anew, f"{why}; then the file's is added", self._surroundings, stored)


def _damage(situation: Situation) -> tuple[str, ...]:
    count = len(situation.damaged_jobs) + len(situation.damaged_services)
    if not count:
        return ()
    return (f"{count} stored document(s) cannot be used; they stay as they are",)


def _complete(made: Plan, situation: Situation) -> Plan:
    drift = (*_job_drift(made.actions, situation), *service_drift(situation, made.services))
    return replace(made, drift=drift, hash=_hash(made, situation))


def _job_drift(actions: Iterable[JobAction], situation: Situation) -> Iterator[Drift]:
    """What will still differ once the plan is carried out."""
    of_file = {each.name: each for each in situation.connectors}
    unreadable = {each.name for each in situation.damaged_jobs}
    for each in actions:
        ours, holds = of_file.get(each.job), each.spec
        if each.job in unreadable:
            continue
        if holds is None and ours is not None:
            yield Drift(kind="connector", name=each.job, reason="only the file has it")
        elif holds is not None and ours is None:
            yield Drift(kind="connector", name=each.job, reason="only the store has it")
        elif holds is not None and ours is not None and (differing := changes(holds, ours)):
            reason = "the stored definition differs from the file's, and holds"
            yield Drift(kind="connector", name=each.job, reason=reason, changes=differing)


def _hash(made: Plan, situation: Situation) -> str:
    """Of everything that is decided and what it is decided about; of nothing that is observed."""
    marker = made.marker
    decided = {
        "startup_state": made.startup_state,
        "marker": [marker.phase, marker.origin, marker.file_hash] if marker else None,
        "jobs": {each.job: _decided_job(each) for each in made.actions},
        "services": {each.service: _decided_service(each, situation) for each in made.services},
    }
    return hashlib.sha256(canonical(decided)).hexdigest()


def _decided_job(action: JobAction) -> list[str | None]:
    before, holds = action.stored, action.spec
    was = definition_hash(before.spec) if before else None
    stays = before is not None and holds is before.spec
    will_be = was if stays else definition_hash(holds) if holds else None
    return [action.action, before.intent if before else None, action.intent, was, will_be]


def _decided_service(action: ServiceAction, situation: Situation) -> list[str | None]:
    stored = situation.stored_services.get(action.service)
    return [
        action.action,
        action.origin,
        situation.services.get(action.service),
        stored.digest if stored else None,
        stored.origin if stored else None,
    ]
