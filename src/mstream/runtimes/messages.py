"""What an owner and its runs say to each other: plain data, picklable, versioned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Outcome, RunSpec, RunStatus

#: Raised with every change that the other side would not understand.
VERSION = 3


class Verb(StrEnum):
    """What a run can ask of its owner; called as the methods of the `Owner` port."""

    SAVE = "save"
    CLAIM = "claim"
    RELEASE = "release"
    LOOKUP = "lookup"
    BURY = "bury"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """An error on its way to the other side: its class comes back by its code."""

    code: str
    message: str


# --------------------------------------------------------------------------------------------------------- owner to run
@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Begin a run. What crosses a border has its services sealed, and none in the spec."""

    run_id: str
    spec: RunSpec
    #: The definitions of its services, encrypted; None: they stand in the spec.
    sealed: bytes | None = None
    #: The run's place in the shared page of its worker.
    slot: int = 0
    #: The owner has a lease: nothing may be opened before it is known how long that holds.
    leased: bool = False
    version: int = VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """Read no more, deliver and save what was read, end."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """Deliver up to the source's head of this moment, then end."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Do this beside everything else; answered under the same number."""

    run_id: str
    number: int
    order: SnapshotOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """End at once."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a request: a result, or a fault."""

    run_id: str
    request_id: int
    result: Any = None
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseValid:
    """The owner's lease holds for so long, counted from when the heartbeat was sent that this answers.

    It is for every run of the executor; 0 ends them.
    """

    seconds: float
    heartbeat_sent_at: float


# --------------------------------------------------------------------------------------------------------- run to owner
@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Every role is open, reading begins."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The run waits for an answer with this id."""

    run_id: str
    request_id: int
    verb: Verb
    args: Sequence[Any] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What became of an order: it is kept now, or there is something against it."""

    run_id: str
    number: int
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """Alive, and what every run of this executor says of itself."""

    #: Monotonic seconds of the sender.
    sent_at: float
    statuses: Mapping[str, RunStatus] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One event of a worker's log."""

    level: str
    logger: str
    event: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLines:
    """Events since the last such message; some may have been dropped, they are counted."""

    lines: Sequence[LogLine]
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The run's last word."""

    run_id: str
    outcome: Outcome


ToRun = Start | Drain | Finish | Ask | Abort | Reply | LeaseValid
ToOwner = Started | Request | Answered | Heartbeat | LogLines | Exited
Message = ToRun | ToOwner
