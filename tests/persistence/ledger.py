"""What one job reads and what it has delivered: numbers from 0 on, none left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mstream.ports.checkpoints import CheckpointEntry

if TYPE_CHECKING:
    from tests.persistence.witness import Witness

#: Seconds in which the source gets another number.
_EVERY = 0.7


@dataclass(frozen=True)
class Sending:
    """Some numbers on their way to the sink, with the moment at which their run has last looked at its lease."""

    owner: str
    epoch: int
    #: Of how many runs of its owner this is.
    ordinal: int
    run_id: str
    numbers: Sequence[int]
    checked_at: float
    #: How often the run's process had been frozen by then.
    freezes: int
    #: Its process was ended meanwhile.
    is_gone: Callable[[], bool]


@dataclass
class Ledger:
    """The source's log and the sink's list of one job."""

    log: str
    witness: Witness
    #: Every number below it is in the sink.
    delivered: int = 0
    #: What a run has ended at that drained and saved: nothing below it comes again.
    settled: int = 0
    #: The source gets no more.
    is_closed: bool = False
    _born: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    _closed_at: int = 0
    _launches: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def available(self) -> int:
        """So many numbers are there to read."""
        return self._closed_at if self.is_closed else 3 + int((_now() - self._born) / _EVERY)

    def close(self) -> None:
        self._closed_at, self.is_closed = self.available, True

    def launched(self, epoch: int, ordinal: int, position: int) -> None:
        """A run begins there."""
        self._launches.append((epoch, ordinal, _now()))
        self.witness.require(position <= self.delivered, f"{self.log} begins at {position} of {self.delivered}")

    def drained(self, position: int) -> None:
        """A run has ended there, and has saved it."""
        self.settled = max(self.settled, position)

    def take(self, sending: Sending, freezes: int) -> None:
        """Into a sink that keeps whatever it is given."""
        self._arrived(sending, freezes)
        first, last = sending.numbers[0], sending.numbers[-1]
        who = f"run {sending.run_id[:4]} of {sending.owner}"
        self.witness.require(first <= self.delivered, f"{who} leaves out {self.delivered} to {first} of {self.log}")
        is_held = freezes != sending.freezes or sending.is_gone()
        self.witness.require(
            is_held or first >= self.settled, f"{who} repeats {first} of {self.log}, settled to {self.settled}"
        )
        self.delivered = max(self.delivered, last + 1)

    def commit(self, sending: Sending, freezes: int, *, entries: Sequence[CheckpointEntry]) -> None:
        """Into a sink that commits the checkpoint with it. Raises StaleCheckpoint."""
        documents, witness = self.witness.documents, self.witness
        documents.check(entries)
        self._arrived(sending, freezes, is_immune=True)
        first, last = sending.numbers[0], sending.numbers[-1]
        witness.require(first == self.delivered, f"{sending.owner} commits {first} of {self.log} at {self.delivered}")
        self.delivered = last + 1
        for each in entries:
            before = witness.stored(each.resource, each.key)
            witness.written(sending.owner, sending.epoch, each.resource, each.key, before, each.document)
        documents.commit(entries)

    def _arrived(self, sending: Sending, freezes: int, *, is_immune: bool = False) -> None:
        """Only the newest run delivers, and only while its owner owns.

        What was on its way when that ended still arrives; what was held by a frozen process does so at any time.
        """
        who = f"run {sending.run_id[:4]} of {sending.owner} (epoch {sending.epoch})"
        self.witness.tell(f"{who} delivers {sending.numbers[0]}-{sending.numbers[-1]} of {self.log}")
        newer = self.witness.newer_since(sending.epoch)
        self.witness.require(sending.checked_at < newer, f"{who} delivers {self.log} under a newer owner")
        if freezes == sending.freezes and not sending.is_gone():
            self.witness.require(_now() < newer, f"{who} delivers {self.log} beyond the margin")
        for epoch, ordinal, at in self._launches:
            if (epoch, ordinal) > (sending.epoch, sending.ordinal):
                self.witness.require(sending.checked_at <= at, f"{who} delivers {self.log} beside a newer run")


def _now() -> float:
    return asyncio.get_running_loop().time()
