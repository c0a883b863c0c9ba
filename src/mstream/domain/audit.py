"""Who changed what intent or definition, when, and from where; a change rides in the write that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """On whose behalf something is changed."""

    #: A user's name, or the part of the program that acts by itself.
    who: str
    #: The address of a client, the path of a file, a host.
    where: str = ""


#: What a start decides by itself: the plan.
PLAN = Actor(who="plan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a job's or a service's intent or definition."""

    #: RFC 3339, UTC.
    at: str
    by: Actor
    #: create, replace, start, stop, pause, resume, finish, restart, delete, reset, adopt.
    verb: str
    #: The revision that it made, and the one before; "" for none.
    revision: str
    revision_before: str = ""
    intent: str | None = None
    intent_before: str | None = None
    #: In words, where the verb does not say it all.
    reason: str = ""


class Subject(StrEnum):
    """What a change is of."""

    JOB = "job"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A change, and what it is of."""

    kind: Subject
    name: str
    change: Change
    #: The last definition of what was deleted; of a service its name and origin.
    definition: Mapping[str, Any] | None = None


def to_document(change: Change) -> dict[str, Any]:
    """How a change is stored: inside the document that it has changed, and in the audit trail."""
    return asdict(change)


def from_document(document: Mapping[str, Any]) -> Change:
    """Read back what `to_document` made; raises KeyError or TypeError when it did not."""
    fields = {key: value for key, value in document.items() if key in Change.__dataclass_fields__}
    return Change(**{**fields, "by": Actor(**document["by"])})
