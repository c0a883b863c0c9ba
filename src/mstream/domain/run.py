"""One execution of a job: what it is started with, what is known of it, how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import ConnectorSpec
from mstream.domain.service import ServiceConfig

T = TypeVar("T")


class CheckpointMode(StrEnum):
    """Who writes a run's checkpoint."""

    #: Nobody: a restart begins anew.
    OFF = "off"
    #: The owner, by interval.
    SAVED = "saved"
    #: A sink, in the transaction of its records.
    TRANSACTIONAL = "transactional"
    #: The same, in the source's own system: what the owner saves is a copy.
    IN_SOURCE = "in_source"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that a run needs to begin: plain data, secrets apart (they are sealed on the way)."""

    job: str
    run_id: str
    epoch: int
    #: Which of the job's members it is, and how many there are; several share the lanes of their source.
    member: int = 0
    members: int = 1
    connector: ConnectorSpec
    #: The services that the connector names, references unresolved.
    services: Mapping[str, ServiceConfig]
    #: The versions of the scripts in them, by service.
    script_versions: Mapping[str, str] = field(default_factory=dict)
    #: The collection in which document stores that the connector names keep schemas.
    schemas_resource: str = "schemas"
    positions: Mapping[Lane, Position] = field(default_factory=dict)
    #: Grows whenever the job is put somewhere by hand.
    resets: int = 0
    fingerprint: str = ""
    checkpoint: CheckpointMode = CheckpointMode.OFF
    #: The collection of the checkpoint store that a transaction writes to.
    checkpoint_resource: str = ""
    #: The database that holds it, where a transaction can reach several; else "".
    checkpoint_database: str = ""
    #: The place of the sink that commits the checkpoint.
    transactional_sink: int | None = None
    log_level: str = "info"


class Ending(StrEnum):
    """How a run ended."""

    #: Told to drain, and everything that was read is delivered and saved.
    DRAINED = "drained"
    #: The source has ended, and everything is delivered and saved.
    FINISHED = "finished"
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How and why a run ended."""

    ending: Ending
    #: The code of the error, where it failed.
    reason: str | None = None
    message: str | None = None
    retryable: bool = False
    #: It cost its worker process: it is charged with that, its neighbours are not.
    charged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far behind its head a lane is; None: unknown."""

    records: int | None = None
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """The last that is known of a run; counters never fall within a run."""

    records_read: int = 0
    bytes_read: int = 0
    #: Records that every sink has (a record that became several counts once).
    records_delivered: int = 0
    records_dropped: int = 0
    records_skipped: int = 0
    records_dead_lettered: int = 0
    #: Failed attempts.
    errors: int = 0
    #: Batches on their way.
    in_flight: int = 0
    checkpoints_saved: int = 0
    #: Source time of the last delivered record, in milliseconds since the epoch.
    last_source_time_ms: int | None = None
    #: Seconds since a record was last read or delivered.
    idle_seconds: float = 0.0
    #: A stage waits for its next attempt.
    retrying: bool = False
    last_error_code: str | None = None
    last_error: str | None = None
    #: Behind the head, over all lanes; None: unknown.
    lag_records: int | None = None
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    #: The same by lane.
    lags: Mapping[str, Lag] = field(default_factory=dict)


_COUNTERS = (
    "records_read",
    "bytes_read",
    "records_delivered",
    "records_dropped",
    "records_skipped",
    "records_dead_lettered",
    "errors",
    "checkpoints_saved",
)


def together(now: Sequence[RunStatus], before: Sequence[RunStatus] = ()) -> RunStatus:
    """Several runs seen as one: the counters of all, everything else of those that go on now."""
    everything = (*now, *before)
    # An attempt that is under way says more than one that has come through.
    told = next((each for each in sorted(now, key=lambda each: not each.retrying) if each.last_error_code), RunStatus())
    return RunStatus(
        **{name: sum(getattr(each, name) for each in everything) for name in _COUNTERS},
        in_flight=sum(each.in_flight for each in now),
        last_source_time_ms=max(_known(each.last_source_time_ms for each in everything), default=None),
        idle_seconds=min((each.idle_seconds for each in now), default=0.0),
        retrying=any(each.retrying for each in now),
        last_error_code=told.last_error_code,
        last_error=told.last_error,
        lag_records=_sum(each.lag_records for each in now),
        lag_bytes=_sum(each.lag_bytes for each in now),
        lag_seconds=max(_known(each.lag_seconds for each in now), default=None),
        lags={lane: lag for each in now for lane, lag in each.lags.items()},
    )


def _known(values: Iterable[T | None]) -> list[T]:
    return [each for each in values if each is not None]


def _sum(values: Iterable[int | None]) -> int | None:
    known = _known(values)
    return sum(known) if known else None
