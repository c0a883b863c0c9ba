"""Batches into a queue, alone or in one transaction with a checkpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count

from mstream.domain.batch import Batch, Form, Operation
from mstream.domain.checkpoint import Lane
from mstream.errors import MstreamError, OutcomeUnknown
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure
from mstream.providers.memory.config import MemorySinkOptions
from mstream.providers.memory.documents import MemoryDocuments
from mstream.providers.memory.queue import MemoryQueue, MemoryRecord


class MemorySink:
    """Appends to a queue; writes that overlap take effect in the order in which they began."""

    accepts: Form = Form.PAYLOADS

    def __init__(self, queue: MemoryQueue, documents: MemoryDocuments, options: MemorySinkOptions) -> None:
        self.overlap = options.overlap
        self._queue = queue
        self._documents = documents
        self._keep_lanes = options.keep_lanes
        # its waiters are served in the order in which they came
        self._order = asyncio.Lock()

    async def write(self, batch: Batch) -> Sequence[Failure]:
        """All records but those that a fault refuses, and those that must not overtake them."""
        async with self._order:
            await self._fault()
            return self._append(batch)

    async def flush(self) -> None:
        """A crash of the queue leaves what was written before."""
        if self._queue.faults.flushes:
            raise self._queue.faults.flushes.popleft()
        self._queue.flush()

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        """Records and checkpoint together; both are there at once or neither is."""
        async with self._order:
            await self._fault()
            failures = self._refused(batches)
            if failures:
                return failures
            self._documents.check(checkpoint.entries)
            faults = self._queue.faults
            if faults.lost_commits:
                faults.lost_commits -= 1
                raise OutcomeUnknown("the connection was lost before the commit was answered; ask the store")
            for each in batches:
                self._append(each)
            self._documents.commit(checkpoint.entries)
            self._queue.flush()
            if faults.lost_answers:
                faults.lost_answers -= 1
                raise OutcomeUnknown("the connection was lost before the commit was answered; ask the store")
            return ()

    async def _fault(self) -> None:
        faults = self._queue.faults
        if faults.write_seconds:
            await asyncio.sleep(faults.write_seconds)
        if faults.writes:
            raise faults.writes.popleft()

    def _refused(self, batches: Sequence[Batch]) -> list[Failure]:
        number = count()
        return [
            Failure(index=index, error=error)
            for batch in batches
            for record, index in zip(_records(batch), number, strict=False)
            if (error := self._queue.faults.refuse(record)) is not None
        ]

    def _append(self, batch: Batch) -> Sequence[Failure]:
        failures: list[Failure] = []
        held: dict[object, MstreamError] = {}
        by_lane: dict[Lane, list[MemoryRecord]] = {}
        for index, record in enumerate(_records(batch)):
            lane = batch.lane_of(index)
            order = record.key if record.key is not None else ("lane", lane)
            error = self._queue.faults.refuse(record)
            if error is None:
                error = held.get(order)
            if error is None:
                by_lane.setdefault(lane if self._keep_lanes else "", []).append(record)
                continue
            failures.append(Failure(index=index, error=error))
            if error.retryable:
                held[order] = error
        for lane, records in by_lane.items():
            self._queue.append(records, lane=lane)
        return failures


def _records(batch: Batch) -> list[MemoryRecord]:
    return [
        MemoryRecord(
            payload=batch.payloads[index] if batch.payloads is not None else None,
            document=batch.documents[index] if batch.documents is not None else None,
            key=batch.keys[index] if batch.keys is not None else None,
            headers=batch.headers[index] if batch.headers is not None else None,
            operation=batch.operations[index] if batch.operations is not None else Operation.INSERT,
            time=batch.times[index] if batch.times is not None else None,
        )
        for index in range(len(batch))
    ]
