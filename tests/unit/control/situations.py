"""Small situations to plan for, and what they become once a plan is carried out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mstream.domain.audit import Actor, Change
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase
from mstream.domain.plan import Action, JobAction, MarkerPhase, Plan, ServiceAction, Situation, StoredService

STATES = ("force_from_file", "seed_from_file", "keep")
SERVICE = "files"
VERBS = {"running": "start", "paused": "pause", "stopped": "stop", "finishing": "finish"}


def connector(name: str, *, resource: str = "in", service: str = SERVICE, **fields: Any) -> ConnectorSpec:
    """A definition; another `resource` makes it another one."""
    source = {"service_name": service, "resource": resource}
    sink = {"service_name": service, "resource": f"{name}-out"}
    return ConnectorSpec.model_validate({"name": name, "source": source, "sinks": [sink], **fields})


def job(spec: ConnectorSpec | str, intent: str = "running", *, by: str | None = "ada", **fields: Any) -> Job:
    """A stored job whose intent was last changed by somebody; `by` None: nobody knows, as in v0.47."""
    spec = connector(spec) if isinstance(spec, str) else spec
    change = None
    if by is not None:
        change = Change(
            at="2026-11-20T08:00:00Z",
            by=Actor(who=by),
            verb=VERBS[intent],
            revision="r2",
            revision_before="r1",
            intent=intent,
        )
    phase = fields.pop("phase", Phase.STOPPED)
    return Job(spec=spec, intent=Intent(intent), phase=phase, **{"last_change": change, **fields})


def situation(state: str = "seed_from_file", *, file: Iterable[ConnectorSpec] = (), **fields: Any) -> Situation:
    """The file with one service that it has stored, and whatever else is given."""
    given: dict[str, Any] = {
        "services": {SERVICE: "d1"},
        "stored_services": {SERVICE: StoredService(digest="d1", origin="file")},
        **fields,
    }
    given["jobs"] = tuple(given.get("jobs", ()))
    return Situation(startup_state=state, connectors=tuple(file), **given)


def of_job(plan: Plan, name: str) -> JobAction:
    """What a plan does with a job."""
    (found,) = [each for each in plan.actions if each.job == name]
    return found


def of_service(plan: Plan, name: str) -> ServiceAction:
    """What a plan does with a service."""
    (found,) = [each for each in plan.services if each.service == name]
    return found


def decided(plan: Plan) -> dict[str, tuple[str, str | None]]:
    """Action and later intent of every job."""
    return {each.job: (each.action.value, each.intent.value if each.intent else None) for each in plan.actions}


def applied(before: Situation, plan: Plan) -> Situation:
    """The situation of the next planning, had this plan been carried out and nothing else happened."""
    jobs = {each.name: each for each in before.jobs} if before.keeps_jobs else {}
    faulty = dict(before.faulty_jobs)
    for each in plan.actions if before.keeps_jobs else ():
        _carry_out(each, jobs, faulty)
    services = dict(before.stored_services)
    for service in plan.services:
        match service.action:
            case Action.ADD | Action.REPLACE:
                services[service.service] = StoredService(digest=before.services[service.service], origin="file")
            case Action.REMOVE:
                del services[service.service]
            case _:
                pass
    marker = before.marker
    if plan.marker is not None:
        marker = plan.marker.finished() if plan.marker.phase is MarkerPhase.BEGUN else plan.marker
    return replace(
        before, jobs=tuple(jobs.values()), faulty_jobs=faulty, stored_services=_sorted(services), marker=marker
    )


def _carry_out(action: JobAction, jobs: dict[str, Job], faulty: dict[str, str]) -> None:
    if action.action is Action.REMOVE:
        del jobs[action.job]
        return
    if action.action in {Action.LEAVE, Action.INVALID, Action.RESUME}:
        return
    assert action.spec is not None
    assert action.intent is not None
    if action.action in {Action.START, Action.ADD} and (action.stored is None or action.stored.removing):
        jobs[action.job] = Job(spec=action.spec, intent=action.intent)
        faulty.pop(action.job, None)
        return
    jobs[action.job] = replace(jobs[action.job], spec=action.spec, intent=action.intent)
    if action.action is Action.REPLACE:
        faulty.pop(action.job, None)


def _sorted(services: Mapping[str, StoredService]) -> dict[str, StoredService]:
    return {name: services[name] for name in sorted(services)}
