"""Owner protocol: what a run asks of the process that owns its job."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.dead_letter import DeadLetter
from mstream.ports.documents import Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneClaim:
    """A lane's own document as it was claimed."""

    position: Position | None
    revision: Revision
    sequence: int = 0


class Owner(Protocol):
    """The one writer of jobs, checkpoints and dead letters, seen from one of its runs."""

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """Returns once they are stored, merged into the job's checkpoint; None ends a lane.

        Raises StaleOwner when a newer owner has claimed the job. Waits out a store that does not answer.
        """

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """These lanes are this run's from now on, and no other's; answers where they stand.

        Where positions are committed with records, each lane's own document is written in this run's name.
        """

    async def release(self, lanes: Collection[Lane]) -> None:
        """The run has no more to do with these lanes."""

    async def lookup(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """The lanes' documents as they stand now; nothing is written."""

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Returns once they are stored. Raises DeadLettersFull, with none of them stored beyond the limit."""
