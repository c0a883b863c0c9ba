"""What must be true of a store after any kill; each finding is a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.chaos.image import Document, Image
from tests.chaos.ledger import Kept, Ledger, Sealed

#: Where the definitions of jobs and services in these trials differ.
JOB_MARK = "max_in_flight"
SERVICE_MARK = "path"
#: The wire's two words for the intents.
_WANTED = {"running": "running", "finishing": "running", "stopped": "stopped", "paused": "stopped"}


def kept(document: Document) -> Kept | None:
    """A job's document; None: its removal was begun, and is completed by the next start."""
    if document["removing"]:
        return None
    return Kept(int(document["pipeline"][JOB_MARK]), str(document["intent"]))


def sealed(document: Document, opened: Document | None) -> Sealed | None:
    """As `kept`, of a service."""
    if document.get("removing") or opened is None:
        return None
    return Sealed(number_of(str(opened.get(SERVICE_MARK, ""))))


def number_of(path: str) -> int:
    """Which definition of a service has that path."""
    digits = path.removeprefix("folder-")
    return int(digits) if digits.isdigit() else 0


def lost_or_changed(image: Image, ledger: Ledger) -> list[str]:
    """Jobs that are gone, that nobody made, or whose definition or intent nobody has ordered."""
    found = []
    for name in sorted({*ledger.jobs, *image.jobs}):
        allowed = ledger.jobs.get(name, frozenset({None}))
        document = image.jobs.get(name)
        now = None if document is None else kept(document)
        if now not in allowed:
            found.append(f"job {name!r} is {_shown(now)}, may be {' or '.join(sorted(map(_shown, allowed)))}")
        if document and document["desired_state"] != _WANTED[document["intent"]]:
            found.append(f"job {name!r}: desired_state {document['desired_state']} is not {document['intent']}")
    return found


def lost_or_changed_services(image: Image, ledger: Ledger) -> list[str]:
    """The same of services, and those that no key opens."""
    found = []
    for name in sorted({*ledger.services, *image.services}):
        allowed = ledger.services.get(name, frozenset({None}))
        document = image.services.get(name)
        if document is not None and not document.get("removing") and name not in image.opened:
            found.append(f"service {name!r} cannot be decrypted")
            continue
        now = None if document is None else sealed(document, image.opened.get(name))
        if now not in allowed:
            found.append(f"service {name!r} is {_shown(now)}, may be {' or '.join(sorted(map(_shown, allowed)))}")
    return found


def badly_seeded(image: Image, connectors: Iterable[str]) -> list[str]:
    """A store that was being filled for the first time: whole in the jobs, whole in the marker, or untouched."""
    wanted = set(connectors)
    marker = image.system.get("seed")
    if marker is None:
        return [f"jobs {sorted(image.jobs)} without a marker"] if image.jobs else []
    if marker["phase"] == "done":
        return [f"filled, and {name!r} is missing" for name in sorted(wanted - set(image.jobs))]
    begun = {each["name"] for each in marker["connectors"]}
    return [f"the marker does not know {name!r}" for name in sorted(wanted - begun)]


def order_going_back(before: Image, after: Image) -> list[str]:
    """Checkpoints whose (epoch, sequence) is lower than it was, or that are gone; a lease whose epoch is lower.

    With a job its checkpoint may go, also when one of that name is made right after.
    """
    staying = _there(before) & _there(after)
    found = []
    for key, old in before.checkpoints.items():
        new = after.checkpoints.get(key)
        if new is None and key in staying:
            found.append(f"checkpoint {key!r} is gone")
        elif new is not None and _order(new) < _order(old):
            found.append(f"checkpoint {key!r} went back from {_order(old)} to {_order(new)}")
    if after.epoch < before.epoch:
        found.append(f"the lease went back from epoch {before.epoch} to {after.epoch}")
    if ahead := [name for name, each in after.jobs.items() if each["epoch"] > after.epoch]:
        found.append(f"jobs {ahead} have an epoch that no owner ever had")
    return found


def owners_in_one_epoch(before: Image, after: Image) -> list[str]:
    """Two owners must never have had the same epoch."""
    was, now = before.system.get("lease"), after.system.get("lease")
    if was and now and was["epoch"] == now["epoch"] and was["instance"] != now["instance"]:
        return [f"two owners in epoch {now['epoch']}"]
    return []


def changes_in(image: Image) -> set[tuple[str, str, str]]:
    """Kind, name and revision of every change that its own document carries."""
    found = set()
    for kind, documents in (("job", image.jobs), ("service", image.services)):
        for name, document in documents.items():
            if change := document.get("last_change"):
                found.add((kind, name, str(change["revision"])))
    return found


def missing_in_audit(
    image: Image, carried: Iterable[tuple[str, str, str]], acknowledged: Iterable[tuple[str, str, str]]
) -> list[str]:
    """Changes that documents have carried, and those that were acknowledged, of which the trail knows nothing.

    `acknowledged`: kind, name, and who has ordered it: everybody orders once.
    """
    entries = image.audit.values()
    revisions = {(each["kind"], each["name"], each["change"]["revision"]) for each in entries}
    orders = {(each["kind"], each["name"], each["change"]["by"]["who"]) for each in entries}
    return [
        *(f"the audit lacks revision {each[2]} of {each[0]} {each[1]!r}" for each in sorted(set(carried) - revisions)),
        *(
            f"the audit lacks what {each[2]} did to {each[0]} {each[1]!r}"
            for each in sorted(set(acknowledged) - orders)
        ),
    ]


def falsely_shown(
    views: Sequence[Mapping[str, Any]], earlier_runs: Iterable[str], intended: Iterable[str]
) -> list[str]:
    """Jobs that the new process shows as running, and that run not at all, not any more, or against the intent."""
    earlier, wanted = set(earlier_runs), set(intended)
    found = []
    for view in views:
        name, runs = view["name"], view["phase"] in {"running", "starting", "stopping", "retrying"}
        if runs and name not in wanted:
            found.append(f"job {name!r} is shown as {view['phase']} and is not meant to run")
        if runs and (view["run_id"] is None or view["run_id"] in earlier):
            found.append(
                f"job {name!r} is shown as {view['phase']} in run {view['run_id']}, which ended with a process"
            )
        if view["state"] == "running" and not runs:
            found.append(f"job {name!r} is {view['phase']} and its state says running")
    return found


def _there(image: Image) -> set[str]:
    """The jobs whose removal was not even begun."""
    return {name for name, each in image.jobs.items() if not each["removing"]}


def _order(document: Document) -> tuple[int, int]:
    return int(document["epoch"]), int(document["sequence"])


def _shown(each: Kept | Sealed | None) -> str:
    return "absent" if each is None else str(each)
