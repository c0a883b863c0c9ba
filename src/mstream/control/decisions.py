"""What becomes of one job at a start, or by `apply`, and why."""

from __future__ import annotations

from typing import Final

from mstream.control.differences import changes
from mstream.control.faults import Surroundings
from mstream.domain.audit import PLAN
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job
from mstream.domain.plan import Action, Damaged, JobAction

#: The verb by which an operator keeps a job from running.
_VERBS: Final = {
    Intent.PAUSED: "pause",
    Intent.STOPPED: "stop",
    Intent.FINISHING: "finish",
}


def damaged(document: Damaged, stored: Job | None) -> JobAction:
    """A document that cannot be read stays as it is, whatever the file says."""
    reason = f"its stored document cannot be used: {document.reason}; it stays as it is"
    return JobAction(job=document.name, action=Action.INVALID, intent=None, reason=reason, stored=stored)


def not_stored(name: str, why: str) -> JobAction:
    """The file has it, and nothing is done with it."""
    return JobAction(job=name, action=Action.LEAVE, intent=None, reason=why)


def removed(stored: Job, why: str) -> JobAction:
    """Its definition is taken away."""
    return JobAction(job=stored.name, action=Action.REMOVE, intent=None, reason=why, stored=stored)


def begun_removal(stored: Job) -> str:
    """Why something that is still stored goes."""
    return f"its removal was begun{_since(stored, 'delete')} and is completed"


def created(spec: ConnectorSpec, why: str, surroundings: Surroundings, stored: Job | None = None) -> JobAction:
    """A definition that is not stored; `stored`: one of that name whose removal is completed first."""
    intent = Intent.RUNNING if spec.enabled else Intent.STOPPED
    fault = surroundings.fault_of(spec)
    action = Action.ADD if fault or not spec.enabled else Action.START
    if not spec.enabled:
        why += "; it is not started: enabled = false"
    elif fault:
        why += f"; it cannot run yet: {fault}"
    return JobAction(job=spec.name, action=action, intent=intent, reason=why, spec=spec, stored=stored)


def resumed(stored: Job, surroundings: Surroundings) -> JobAction:
    """What is stored goes on as it was left; an operator's word holds."""
    fault = surroundings.fault_of_stored(stored.spec)
    if fault:
        return _kept(stored, Action.INVALID, fault)
    match stored.intent:
        case Intent.RUNNING:
            return _kept(stored, Action.RESUME, "it is meant to run: it goes on from its checkpoint")
        case Intent.FINISHING:
            since = _since(stored, "finish")
            return _kept(stored, Action.RESUME, f"it is to finish{since}: it goes on until it has")
        case Intent.PAUSED:
            return _kept(
                stored, Action.LEAVE, f"it is paused{_since(stored, 'pause')}: it stays so until it is resumed"
            )
        case Intent.STOPPED:
            return _kept(
                stored, Action.LEAVE, f"it is stopped{_since(stored, 'stop')}: it stays so until it is started"
            )


def orphaned(stored: Job, surroundings: Surroundings) -> JobAction:
    """force_from_file: what the file does not name is stopped, and stays listed."""
    fault = surroundings.fault_of_stored(stored.spec)
    if stored.intent is not Intent.STOPPED:
        reason = "force_from_file stops it, the file does not name it; its definition stays"
        reason += f" (it could not run: {fault})" if fault else ""
        return JobAction(
            job=stored.name,
            action=Action.STOP,
            intent=Intent.STOPPED,
            reason=reason,
            spec=stored.spec,
            stored=stored,
        )
    if fault:
        return _kept(stored, Action.INVALID, fault)
    return _kept(stored, Action.LEAVE, "it is stopped, and the file does not name it; its definition stays")


def forced(spec: ConnectorSpec, stored: Job, surroundings: Surroundings) -> JobAction:
    """force_from_file: definition and intent are the file's."""
    intent = Intent.RUNNING if spec.enabled else Intent.STOPPED
    differing = changes(stored.spec, spec)
    fault = surroundings.fault_of(spec) if differing else surroundings.fault_of_stored(stored.spec)
    if fault:
        return _kept(stored, Action.INVALID, fault)
    reasons: list[str] = []
    if differing:
        reasons.append("its definition becomes the file's")
    if stored.intent is intent:
        action = Action.RESUME if spec.enabled else Action.LEAVE
        if not differing:
            reasons.append("the file names it: it goes on from its checkpoint" if spec.enabled else "enabled = false")
    else:
        action = Action.START if spec.enabled else Action.STOP
        reasons.append(_overridden(stored) if spec.enabled else "enabled = false: force_from_file stops it")
    return JobAction(
        job=spec.name,
        action=Action.REPLACE if differing else action,
        intent=intent,
        reason="; ".join(reasons),
        changes=differing,
        spec=spec if differing else stored.spec,
        stored=stored,
    )


def applied(spec: ConnectorSpec, stored: Job, surroundings: Surroundings) -> JobAction:
    """`apply`: the definition is the file's, the intent is the operators'."""
    differing = changes(stored.spec, spec)
    fault = surroundings.fault_of(spec) if differing else surroundings.fault_of_stored(stored.spec)
    if fault:
        return _kept(stored, Action.INVALID, fault)
    if not differing:
        return _kept(stored, Action.LEAVE, f"its definition is the file's; it stays {stored.intent.value}")
    return JobAction(
        job=spec.name,
        action=Action.REPLACE,
        intent=stored.intent,
        reason=f"its definition becomes the file's; it stays {stored.intent.value}",
        changes=differing,
        spec=spec,
        stored=stored,
    )


def unnamed(stored: Job, surroundings: Surroundings, *, prune: bool) -> JobAction:
    """`apply`: what the file does not name stays, unless it is to be pruned."""
    maker = "it was made through the API" if stored.origin == "api" else "it came from a file"
    if prune:
        return removed(stored, f"the file does not name it ({maker}), and --prune removes it")
    fault = surroundings.fault_of_stored(stored.spec)
    if fault:
        return _kept(stored, Action.INVALID, fault)
    return _kept(stored, Action.LEAVE, f"the file does not name it ({maker}); without --prune it stays")


def _kept(stored: Job, action: Action, reason: str) -> JobAction:
    return JobAction(
        job=stored.name, action=action, intent=stored.intent, reason=reason, spec=stored.spec, stored=stored
    )


def _since(stored: Job, verb: str) -> str:
    """When and by whom, if the last change is the one that is spoken of."""
    change = stored.last_change
    return f" since {change.at} by {change.by.who}" if change and change.verb == verb else ""


def _overridden(stored: Job) -> str:
    verb, change = _VERBS[stored.intent], stored.last_change
    if change is None or change.verb != verb:
        return f"that it is {stored.intent.value} is overridden by force_from_file"
    if change.by.who == PLAN.who:
        return f"force_from_file had stopped it {change.at}; now the file enables it"
    return f"operator's {verb} of {change.at} by {change.by.who} is overridden by force_from_file"
