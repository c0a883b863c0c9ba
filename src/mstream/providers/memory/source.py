"""A queue's records as batches; its lanes come and go as those of a consumer group do."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.run import Lag
from mstream.errors import PositionLost
from mstream.ports.roles import Lanes, Limit, Resume
from mstream.providers.memory.config import MemorySourceOptions
from mstream.providers.memory.queue import MemoryQueue, MemoryRecord


class MemorySource:
    """Reads all lanes of a queue, or, as a member, those that it is given."""

    def __init__(self, queue: MemoryQueue, options: MemorySourceOptions, resume: Resume, lanes: Lanes) -> None:
        self._queue = queue
        self._options = options
        self._lanes = lanes
        self._stored = dict(resume.positions)
        #: How far each lane was read, and what was told of it.
        self._offsets: dict[Lane, int] = {}
        self._paused: set[Lane] = set()
        self._ended: set[Lane] = set()
        self._heads: dict[Lane, int] | None = None
        self._at_open = {lane: len(entries) for lane, entries in queue.lanes.items()}

    async def read(self, limit: Limit) -> Batch | None:
        """Waits for a change of the queue while there is nothing."""
        while True:
            if self._queue.faults.reads:
                raise self._queue.faults.reads.popleft()
            self._discover()
            batch = self._gathered(limit)
            if batch is not None:
                return batch
            if self._is_done():
                return None
            await self._queue.change()

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        """A record's mark is how many entries of its lane were passed with it."""
        if count >= len(batch) or batch.marks is None:
            return batch.positions
        return {batch.lane_of(index): batch.marks[index] for index in range(count)}

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        """Noted on the queue, in order."""
        self._queue.acked.append(dict(positions))

    async def pause(self, lanes: Collection[Lane]) -> None:
        """Brings nothing more from these lanes."""
        self._paused |= set(lanes)

    async def resume(self, lanes: Collection[Lane]) -> None:
        """Brings their records again."""
        self._paused -= set(lanes)
        self._queue.wake()

    async def lag(self) -> Mapping[Lane, Lag]:
        """Records between what was read and the head."""
        return {
            lane: Lag(records=sum(each is not None for each in self._queue.lanes[lane][offset:]))
            for lane, offset in self._offsets.items()
        }

    async def finish(self) -> None:
        """Ends at the present head of its lanes."""
        self._discover()
        self._heads = {lane: len(self._queue.lanes[lane]) for lane in self._offsets}
        self._queue.wake()

    async def assign(self, *lanes: Lane) -> None:
        """The group gives these lanes to this member."""
        stored = await self._lanes.assigned(lanes)
        for lane in lanes:
            self._queue.lanes.setdefault(lane, [])
            self._offsets[lane] = self._first(lane, stored.get(lane))
        self._queue.wake()

    async def revoke(self, *lanes: Lane, deadline: float = 5.0) -> None:
        """The group takes them back, once the run has settled what it can."""
        saved = await self._lanes.revoked(lanes, deadline)
        self._forget(lanes)
        self._queue.acked.append(dict(saved))

    async def lose(self, *lanes: Lane) -> None:
        """Another member has them already."""
        self._forget(lanes)
        await self._lanes.lost(lanes)

    def _forget(self, lanes: Collection[Lane]) -> None:
        for lane in lanes:
            self._offsets.pop(lane, None)
            self._paused.discard(lane)

    def _discover(self) -> None:
        if self._options.member:
            return
        for lane in self._queue.lanes:
            if lane not in self._offsets and lane not in self._ended:
                self._offsets[lane] = self._first(lane, self._stored.pop(lane, None))

    def _first(self, lane: Lane, stored: Position | None) -> int:
        if stored is not None:
            if int(stored) > len(self._queue.lanes[lane]):
                raise PositionLost(f"queue lane {lane!r} ends before the stored position; reset the job's checkpoint")
            return int(stored)
        return self._at_open.get(lane, 0) if self._options.start == "end" else 0

    def _gathered(self, limit: Limit) -> Batch | None:
        gathering = _Gathering(limit)
        for lane in list(self._offsets):
            if lane in self._paused:
                continue
            entries = self._queue.lanes[lane]
            offset = gathering.take(lane, entries, self._offsets[lane], self._head(lane))
            self._offsets[lane] = offset
            if lane in self._queue.ended and offset >= len(entries):
                gathering.positions[lane] = None
                del self._offsets[lane]
                self._ended.add(lane)
        return gathering.batch()

    def _head(self, lane: Lane) -> int:
        there = len(self._queue.lanes[lane])
        return there if self._heads is None else min(there, self._heads.get(lane, 0))

    def _is_done(self) -> bool:
        if self._heads is None and not self._queue.is_closed:
            return False
        return all(offset >= self._head(lane) for lane, offset in self._offsets.items())


class _Gathering:
    """What goes into one batch."""

    def __init__(self, limit: Limit) -> None:
        self.positions: dict[Lane, Position | None] = {}
        self._records: list[MemoryRecord] = []
        self._lanes: list[Lane] = []
        self._marks: list[int] = []
        self._count = limit.records
        self._room = limit.bytes

    def take(self, lane: Lane, entries: Sequence[MemoryRecord | None], offset: int, head: int) -> int:
        """Take what fits; answers how far the lane was passed."""
        for entry in entries[offset:head]:
            if entry is not None:
                size = len(entry.payload or b"")
                if self._records and (len(self._records) >= self._count or size > self._room):
                    self._count = 0
                    break
                self._room -= size
                self._records.append(entry)
                self._lanes.append(lane)
                self._marks.append(offset + 1)
            offset += 1
            self.positions[lane] = offset
        return offset

    def batch(self) -> Batch | None:
        """The batch, perhaps of positions alone; None: nothing has moved."""
        if not self.positions:
            return None
        records = self._records
        has_documents = any(each.document is not None for each in records)
        return Batch(
            payloads=[each.payload for each in records],
            documents=[each.document for each in records] if has_documents else None,
            keys=[each.key for each in records],
            headers=[each.headers for each in records],
            operations=[each.operation for each in records],
            times=[each.time for each in records],
            lanes=None if len(self.positions) == 1 else self._lanes,
            marks=self._marks,
            positions=self.positions,
        )
