"""What a run counts about itself, and which stage is busy since when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mstream.domain.run import Lag


@dataclass(slots=True)
class Meter:
    """Plain counters, changed per batch on the run's loop and read from any thread."""

    records_read: int = 0
    bytes_read: int = 0
    records_delivered: int = 0
    records_dropped: int = 0
    records_skipped: int = 0
    records_dead_lettered: int = 0
    errors: int = 0
    in_flight: int = 0
    checkpoints_saved: int = 0
    last_source_time_ms: int | None = None
    #: Monotonic seconds of the last record read or delivered.
    active_at: float = 0.0
    retrying: int = 0
    last_error_code: str | None = None
    last_error: str | None = None
    lag_records: int | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    #: By lane.
    lags: Mapping[str, Lag] = field(default_factory=dict)


class StagePage(Protocol):
    """Where a run notes that it blocks its loop, for an observer that shares no lock with it."""

    def busy(self, stage: str, deadline_sec: float) -> None:
        """From now on this stage works; it is overdue after so many seconds."""

    def idle(self) -> None:
        """It has returned."""


class NoPage:
    """For runs that nobody watches from outside."""

    def busy(self, stage: str, deadline_sec: float) -> None:
        """Nothing to note."""

    def idle(self) -> None:
        """Nothing to note."""
