"""What a start, or `apply`, would do: a list of actions with their reasons; values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job


class Action(StrEnum):
    """What becomes of a job or a service."""

    #: A job that is not stored yet, or is stored as stopped, and now runs.
    START = "start"
    #: Stored with the intent to run: goes on from its checkpoint.
    RESUME = "resume"
    #: The intent becomes stopped.
    STOP = "stop"
    #: The definition becomes the file's.
    REPLACE = "replace"
    #: Stored, and not started.
    ADD = "add"
    #: Nothing changes.
    LEAVE = "leave"
    #: The definition is taken away: by `apply --prune`, or because its removal had begun before this start.
    REMOVE = "remove"
    #: It cannot be read or is not valid; nothing of it runs and nothing of it is changed.
    INVALID = "invalid"


class MarkerPhase(StrEnum):
    """How far the filling of an empty store has come."""

    BEGUN = "begun"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedMarker:
    """Says whether a store was filled from a file; it decides, not the number of jobs."""

    phase: MarkerPhase
    #: The hash of the connectors' definitions in the file that it was begun with.
    file_hash: str = ""
    #: All definitions of that file, so that a filling that was cut off goes on with the same ones.
    connectors: tuple[ConnectorSpec, ...] = ()
    #: `seeded`; `adopted`: there were jobs and no marker, as v0.47 leaves it; `applied`: `apply` came first.
    origin: str = "seeded"

    def finished(self) -> SeedMarker:
        """What it becomes once all of its definitions are stored."""
        return SeedMarker(phase=MarkerPhase.DONE, file_hash=self.file_hash, origin=self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """A stored document that cannot be used; it stays as it is."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredService:
    """What planning knows of a stored service."""

    #: Equal for equal definitions; tells nothing of the secrets in them.
    digest: str
    #: `file` or `api`.
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAction:
    """One job, what becomes of it, and why."""

    job: str
    action: Action
    #: What holds afterwards; None: it is not stored, or not known (a document that cannot be read).
    intent: Intent | None
    reason: str
    #: Dotted paths in the definition that differ.
    changes: tuple[str, ...] = ()
    #: The definition that holds afterwards; None: none is stored, or none can be read.
    spec: ConnectorSpec | None = None
    #: The job as it is stored; None: it is not.
    stored: Job | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAction:
    """One service, what becomes of its stored copy, and why."""

    service: str
    action: Action
    origin: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Something that differs between file and store, or is only in one of them."""

    kind: str
    name: str
    reason: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that would be done, in order."""

    #: A `StartupState`, or `apply`.
    startup_state: str
    actions: tuple[JobAction, ...] = ()
    services: tuple[ServiceAction, ...] = ()
    drift: tuple[Drift, ...] = ()
    #: What is written as the marker before anything else; None: it stays. One that is BEGUN becomes `finished()`
    #: once everything is stored.
    marker: SeedMarker | None = None
    #: What an operator should know beside the actions.
    notes: tuple[str, ...] = ()
    #: Why it would not be carried out at all; "" where it would.
    refused: str = ""
    #: Covers definitions, intents and decided actions: no clock, no revisions, nothing observed.
    hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a plan is made of."""

    startup_state: str
    #: The file's connectors, in its order.
    connectors: tuple[ConnectorSpec, ...] = ()
    #: The file's services, by name, each with the digest of its definition.
    services: Mapping[str, str] = field(default_factory=dict)
    jobs: tuple[Job, ...] = ()
    damaged_jobs: tuple[Damaged, ...] = ()
    #: Jobs that can be read and whose definitions could not run: why, by name.
    faulty_jobs: Mapping[str, str] = field(default_factory=dict)
    stored_services: Mapping[str, StoredService] = field(default_factory=dict)
    damaged_services: tuple[Damaged, ...] = ()
    marker: SeedMarker | None = None
    damaged_marker: Damaged | None = None
    #: Jobs and services are kept; False: the file alone decides, every time.
    keeps_jobs: bool = True
    keeps_services: bool = True


def to_document(plan: Plan) -> dict[str, Any]:
    """The plan as `mstream plan --json` and `GET /plan` show it."""
    return {
        "startup_state": plan.startup_state,
        "hash": plan.hash,
        "actions": [
            {
                "job": each.job,
                "action": each.action.value,
                "intent": each.intent.value if each.intent else None,
                "reason": each.reason,
                "changes": list(each.changes),
            }
            for each in plan.actions
        ],
        "services": [
            {
                "service": each.service,
                "action": each.action.value,
                "origin": each.origin,
                "reason": each.reason,
            }
            for each in plan.services
        ],
        "drift": [
            {"kind": each.kind, "name": each.name, "reason": each.reason, "changes": list(each.changes)}
            for each in plan.drift
        ],
        "notes": list(plan.notes),
        "refused": plan.refused or None,
    }
