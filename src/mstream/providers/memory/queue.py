"""A queue: records by lane, kept for as long as the queue is there, with faults on demand."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mstream.domain.batch import Document, Headers, Operation
from mstream.domain.checkpoint import Lane, Position
from mstream.errors import MstreamError


class Member(Protocol):
    """A source in the hands of whoever plays the group's coordinator."""

    async def assign(self, *lanes: Lane) -> None:
        """It reads these lanes from now on."""

    async def revoke(self, *lanes: Lane, deadline: float = 5.0) -> None:
        """It settles what it can, and reads them no more."""

    async def lose(self, *lanes: Lane) -> None:
        """They are another's already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """One record in a queue."""

    payload: bytes | None
    document: Document = None
    key: bytes | None = None
    headers: Headers | None = None
    operation: Operation = Operation.INSERT
    time: int | None = None


@dataclass(slots=True)
class Faults:
    """What goes wrong next; each error in a list is raised once, in order."""

    reads: deque[MstreamError] = field(default_factory=deque)
    writes: deque[MstreamError] = field(default_factory=deque)
    flushes: deque[MstreamError] = field(default_factory=deque)
    #: The error of a record that the sink refuses; None: it takes it.
    refuse: Callable[[MemoryRecord], MstreamError | None] = lambda record: None
    #: How long a write takes.
    write_seconds: float = 0.0
    #: So many commits happen, and their answers are lost.
    lost_answers: int = 0
    #: So many commits do not happen, and their answers are lost.
    lost_commits: int = 0


class MemoryQueue:
    """Lanes of records; a position is how many entries of its lane were passed.

    An entry without a record is progress: a reader passes it and brings nothing.
    """

    def __init__(self) -> None:
        self.lanes: dict[Lane, list[MemoryRecord | None]] = {}
        self.ended: set[Lane] = set()
        #: Positions that readers acknowledged, in order.
        self.acked: list[Mapping[Lane, Position | None]] = []
        self.faults = Faults()
        #: The sources that are open on it.
        self.members: list[Member] = []
        #: Entries of each lane that a crash leaves.
        self.flushed: dict[Lane, int] = {}
        self.is_closed = False
        self._changed = asyncio.Event()

    def put(self, *payloads: bytes | None, lane: Lane = "") -> None:
        """Append records that are payloads alone."""
        self.append([MemoryRecord(payload=each) for each in payloads], lane=lane)

    def append(self, records: list[MemoryRecord], *, lane: Lane = "") -> None:
        """Append records to a lane, which begins with its first."""
        self.lanes.setdefault(lane, []).extend(records)
        self.wake()

    def skip(self, *, lane: Lane = "", count: int = 1) -> None:
        """The lane moves on without records."""
        self.lanes.setdefault(lane, []).extend([None] * count)
        self.wake()

    def end(self, lane: Lane) -> None:
        """Nothing follows in this lane; it leaves the checkpoint once it is read."""
        self.lanes.setdefault(lane, [])
        self.ended.add(lane)
        self.wake()

    def close(self) -> None:
        """Nothing follows at all; readers end."""
        self.is_closed = True
        self.wake()

    def payloads(self, lane: Lane = "") -> list[bytes | None]:
        """The payloads of a lane's records, in order."""
        return [each.payload for each in self.lanes.get(lane, []) if each is not None]

    def records(self, lane: Lane = "") -> list[MemoryRecord]:
        """The records of a lane, in order."""
        return [each for each in self.lanes.get(lane, []) if each is not None]

    def flush(self) -> None:
        """What is there now outlives a crash."""
        self.flushed = {lane: len(entries) for lane, entries in self.lanes.items()}

    def crash(self) -> None:
        """Whatever was not flushed is gone."""
        for lane, entries in self.lanes.items():
            del entries[self.flushed.get(lane, 0) :]

    def wake(self) -> None:
        """Readers that wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self) -> None:
        """Returns at the next change of any kind."""
        await self._changed.wait()
