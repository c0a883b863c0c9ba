"""CheckpointLog protocol: what a run needs of its job's checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mstream.domain.checkpoint import Lane, Position
from mstream.ports.documents import Document, Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointEntry:
    """One document that a transaction must write together with its records."""

    #: The collection in the checkpoint store.
    resource: str
    #: The database of the sink's deployment that holds it; "" where there is one alone.
    database: str = ""
    #: The field that carries the key, and the key.
    key_field: str
    key: str
    document: Document
    #: What must still be stored, and what will be stored instead.
    expect: Revision
    revision: Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingCheckpoint:
    """Positions that become true with the transaction that carries them."""

    positions: Mapping[Lane, Position | None]
    entries: Sequence[CheckpointEntry]
    #: What the source's own system needs to commit these positions, where it takes part.
    source_handle: object = None


class CheckpointLog(Protocol):
    """One job's checkpoint, as its run sees it; the owner keeps it."""

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """Returns once these are stored; None ends a lane. Raises StaleOwner when a newer owner has the job."""

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        """Make these lanes this run's; answers their stored positions."""

    async def release(self, lanes: Collection[Lane]) -> None:
        """Give them up."""

    async def prepare(
        self, positions: Mapping[Lane, Position | None], source_handle: object = None
    ) -> PendingCheckpoint:
        """What a transaction must carry; lanes that are not claimed yet are claimed first."""

    def committed(self, pending: PendingCheckpoint) -> None:
        """The transaction that carried it has happened: the next one expects its revisions."""

    async def has_happened(self, pending: PendingCheckpoint) -> bool:
        """Ask the store whether a transaction whose answer was lost has happened."""
