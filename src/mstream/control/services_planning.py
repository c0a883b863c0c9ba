"""What becomes of the stored copy of each service, and why; the file wins for equal names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mstream.config.system import STATE_SERVICE
from mstream.domain.plan import Action, Drift, JobAction, ServiceAction, Situation, StoredService


def service_actions(situation: Situation) -> tuple[ServiceAction, ...]:
    """The file's in their order, then what only the store knows; the service of `state` is nobody's business."""
    damaged = {each.name: each.reason for each in situation.damaged_services}
    names = [*situation.services, *sorted({*situation.stored_services, *damaged} - {*situation.services})]
    return tuple(_action(situation, name, damaged.get(name)) for name in names if name != STATE_SERVICE)


def pruned(
    actions: Iterable[ServiceAction], situation: Situation, jobs: Iterable[JobAction]
) -> tuple[ServiceAction, ...]:
    """`apply --prune`: services that the file does not name, and no job that stays."""
    jobs = tuple(jobs)
    needed = {name for each in jobs if each.spec for name in each.spec.service_names}
    unreadable = any(each.action is Action.INVALID and each.spec is None for each in jobs)
    return tuple(_pruned(each, situation, needed, unreadable=unreadable) for each in actions)


def service_drift(situation: Situation, actions: Iterable[ServiceAction]) -> Iterator[Drift]:
    """What only the store knows; for equal names the file wins, so that nothing differs."""
    for each in actions:
        if each.action is Action.LEAVE and each.service not in situation.services:
            yield Drift(kind="service", name=each.service, reason=f"only the store has it: {_maker(each.origin)}")


def _action(situation: Situation, name: str, damage: str | None) -> ServiceAction:
    digest, stored = situation.services.get(name), situation.stored_services.get(name)
    origin = "file" if digest is not None else stored.origin if stored else ""
    if damage is not None:
        reason = f"its stored document cannot be used: {damage}; it stays as it is"
        if digest is not None:
            reason += ", and the file's definition is used"
        return ServiceAction(service=name, action=Action.INVALID, origin=origin, reason=reason)
    if digest is None:
        action, reason = Action.LEAVE, f"the file does not name it; it is there as it is stored ({_maker(origin)})"
    elif not situation.keeps_services:
        action, reason = Action.LEAVE, "the file names it, and no store keeps services"
    else:
        action, reason = _of_file(digest, stored)
    return ServiceAction(service=name, action=action, origin=origin, reason=reason)


def _of_file(digest: str, stored: StoredService | None) -> tuple[Action, str]:
    if stored is None:
        return Action.ADD, "the file names it, and it is not stored"
    if stored.digest != digest:
        return Action.REPLACE, "it differs from its stored copy, and the file wins"
    if stored.origin != "file":
        return Action.REPLACE, "it is stored as the file has it, as made through the API; from now on it is the file's"
    return Action.LEAVE, "it is stored as the file has it"


def _pruned(action: ServiceAction, situation: Situation, needed: set[str], *, unreadable: bool) -> ServiceAction:
    name = action.service
    if name in situation.services or action.action is not Action.LEAVE:
        return action
    if name in needed:
        reason = "the file does not name it; it stays, a job that stays needs it"
        return ServiceAction(service=name, action=Action.LEAVE, origin=action.origin, reason=reason)
    if unreadable:
        reason = "the file does not name it; it stays, a job whose document cannot be read may need it"
        return ServiceAction(service=name, action=Action.LEAVE, origin=action.origin, reason=reason)
    reason = f"the file does not name it ({_maker(action.origin)}), no job needs it, and --prune removes it"
    return ServiceAction(service=name, action=Action.REMOVE, origin=action.origin, reason=reason)


def _maker(origin: str) -> str:
    return "it was made through the API" if origin == "api" else "it came from a file"
