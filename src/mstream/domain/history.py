"""What is kept of runs that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberEntry:
    """What one of a run's members did, over all its starts; the ending is the last one's."""

    member: int
    run_id: str
    restarts: int
    ending: str
    reason: str | None = None
    message: str | None = None
    records: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run of a job, from its start to its end."""

    job: str
    run_id: str
    epoch: int
    #: RFC 3339, UTC.
    started_at: str
    ended_at: str
    #: How it ended: an `Ending`.
    ending: str
    reason: str | None = None
    message: str | None = None
    records: int = 0
    errors: int = 0
    #: By member, where the run had several.
    members: Sequence[MemberEntry] = ()
