"""Source, Sink, TransactionalSink, Middleware: what a provider implements to move records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mstream.domain.batch import Batch, Form
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Lag
from mstream.errors import MstreamError
from mstream.ports.checkpoints import PendingCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One record of a batch that was refused."""

    #: Where it stands in the batch that was given.
    index: int
    #: Why; `error.retryable` says whether trying again may help.
    error: MstreamError


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How much one read may bring; at least one record comes whatever its size."""

    records: int = 4000
    bytes: int = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """Where a source goes on."""

    #: Stored positions as the run began; a lane that is not there begins as the source's options say. Where lanes come
    #: and go, `Lanes.assigned` tells what counts.
    positions: Mapping[Lane, Position] = field(default_factory=dict)
    #: Whose they are: what a source calls itself in a system that keeps places for its readers.
    job: str = ""
    #: Which of the job's members reads, where several do; it has its number again after a restart.
    member: int = 0
    #: Grows whenever the job is put somewhere by hand: what such a system noted under a lower number counts no more.
    resets: int = 0
    #: What such a system holds is the truth, and the positions are a copy of it: a sink commits there.
    are_copies: bool = False


class Lanes(Protocol):
    """Given to a source whose lanes come and go (consumer groups)."""

    async def assigned(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        """Claims new lanes for this run; answers their newest stored positions, whichever member has saved them."""

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Position]:
        """Settles or forgets what is in flight from them, saves, answers what was saved.

        Never later than `deadline` (seconds from now). The source acknowledges the answer itself. Forgotten means the
        records too: they are taken out of every batch before it is written, also when it is tried again.
        """

    async def lost(self, lanes: Collection[Lane]) -> None:
        """Forgets them at once; saves nothing."""


class Source(Protocol):
    """Reads one resource of a service."""

    async def read(self, limit: Limit) -> Batch | None:
        """What is there now: at least one record, or newer positions of a quiet source; None: the stream has ended.

        Waits while there is neither. Safe to cancel: nothing of the source's own state moves before the last await, so
        a reader that was given up has lost nothing. Raises PositionLost, or a ServiceError; after a retryable one the
        same source is read again.
        """

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        """Where the lanes stand after the first `count` records of a batch that it gave (a stop in mid-batch)."""

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        """These are saved; the outside system may forget what came before."""


@runtime_checkable
class Pausable(Protocol):
    """A source that can hold single lanes back."""

    async def pause(self, lanes: Collection[Lane]) -> None:
        """Brings nothing more from these lanes."""

    async def resume(self, lanes: Collection[Lane]) -> None:
        """Brings their records again."""


@runtime_checkable
class Lagging(Protocol):
    """A source that knows how far behind it is."""

    async def lag(self) -> Mapping[Lane, Lag]:
        """By lane; called every few seconds at most."""


@runtime_checkable
class Joining(Protocol):
    """A source that is told by others what it is to read, which may take a while."""

    async def joined(self) -> None:
        """Returns once it was told; until then nobody would call it idle."""


@runtime_checkable
class Finite(Protocol):
    """A source that can end at the head of this moment."""

    async def finish(self) -> None:
        """From now on `read` gives None once the head of this moment is passed."""


@runtime_checkable
class Snapshotting(Protocol):
    """A source that can read what is there once more while it goes on with what happens."""

    async def snapshot(self, order: SnapshotOrder) -> Batch:
        """Takes the order; an empty batch whose positions carry it, as do those of all batches that `read` gives later.

        What is read comes out of `read`, so that of each thing the last record is the newest. Called between two reads;
        safe to cancel. Raises UsageError, Conflict or a ServiceError, and nothing has changed.
        """


@runtime_checkable
class TransactionHandle(Protocol):
    """A source that keeps places for its readers, which a sink can commit in the transaction of its records."""

    async def handle(self) -> object:
        """What such a transaction needs; asked for anew before each attempt."""

    async def has_committed(self, positions: Mapping[Lane, Position | None]) -> bool:
        """Whether these places, none of which stood there before, stand there now.

        Tells once no transaction with one of them is open any more. One tells it, as all of them commit together;
        another may have moved on.
        """


@runtime_checkable
class Fenced(Protocol):
    """A transactional sink whose system lets in one writer of a name at a time."""

    async def fence(self, job: str, member: int) -> None:
        """From now on this run alone commits for the job's member; what an earlier one has left open is given up.

        Called once, before the source is opened: what that finds is final then.
        """


class Sink(Protocol):
    """Writes to one resource of a service."""

    #: Which column it reads; spares an encode and a decode per record.
    accepts: Form
    #: How many writes may be under way at once, begun in order, order kept by the sink itself.
    overlap: int

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """The records that were refused, each with its error; all others are written.

        Raises only if the whole batch may have failed. A sink that reports a record as retryable has not written later
        records of the same key (without a key: of the same lane) and reports those too.
        """


@runtime_checkable
class Flushed(Protocol):
    """A sink that makes what was written safe at a call of its own."""

    async def flush(self) -> None:
        """What `write` has returned for is safe after it; called before a checkpoint is saved.

        Raises NotYetSafe when nothing is lost and the same call may be made again. After any other error the run saves
        nothing more and ends, however retryable the error is: what was written may be gone, and another flush would not
        say so (a failed fsync may have dropped the pages that it was to write).
        """


@runtime_checkable
class TransactionalSink(Protocol):
    """A sink that can commit a checkpoint together with records."""

    accepts: Form
    overlap: int

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """As every sink."""

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        """Records and checkpoint in one transaction, all or nothing.

        Failures count through all the batches, as if they were one; if there is any, nothing was committed and the
        engine calls again without those records. There may be no records at all. Raises StaleCheckpoint when what an
        entry expects is no longer stored, OutcomeUnknown when the commit may have happened.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformed:
    """What a middleware made of a batch."""

    batch: Batch
    #: For each output the index of the input it came from, not decreasing; None: each its own.
    origins: Sequence[int] | None = None
    #: The inputs that were refused; they have no outputs.
    failures: Sequence[Failure] = ()


class Middleware(Protocol):
    """Changes records on their way."""

    #: Which column it reads.
    accepts: Form

    async def apply(self, batch: Batch) -> Transformed:
        """The new batch, with documents or payloads as it made them, and what became of each input."""
