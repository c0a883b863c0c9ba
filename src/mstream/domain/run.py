"""One execution of a job: what it is started with, what is known of it, how it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import ConnectorSpec
from mstream.domain.service import ServiceConfig


class CheckpointMode(StrEnum):
    """Who writes a run's checkpoint."""

    #: Nobody: a restart begins anew.
    OFF = "off"
    #: The owner, by interval.
    SAVED = "saved"
    #: A sink, in the transaction of its records.
    TRANSACTIONAL = "transactional"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """Everything that a run needs to begin: plain data, secrets apart (they are sealed on the way)."""

    job: str
    run_id: str
    epoch: int
    connector: ConnectorSpec
    #: The services that the connector names, references unresolved.
    services: Mapping[str, ServiceConfig]
    #: The versions of the scripts in them, by service.
    script_versions: Mapping[str, str] = field(default_factory=dict)
    positions: Mapping[Lane, Position] = field(default_factory=dict)
    #: How often the job was put somewhere by hand.
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
