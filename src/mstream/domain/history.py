"""What is kept of runs that have ended."""

from __future__ import annotations

from dataclasses import dataclass


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
