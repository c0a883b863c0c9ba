"""Deliver to a sink that commits the checkpoint together with the records."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from mstream.domain.batch import Batch, concat
from mstream.engine.attempts import Retry
from mstream.engine.checkpointing import CheckpointsInSource, TransactionalCheckpoints
from mstream.engine.delivery import Deliverer
from mstream.engine.flow import Flight, Flow
from mstream.engine.transforms import Prepared, Refusal
from mstream.errors import MstreamError, OutcomeUnknown, StaleCheckpoint
from mstream.foundation.concurrency import any_set
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure, TransactionalSink, TransactionHandle

#: What one transaction takes of what has gathered, in records and in bytes as they were read.
_RECORDS = 20_000
_BYTES = 1 << 26


class Transactions:
    """One transaction at a time, strictly in order; each takes what has gathered meanwhile."""

    def __init__(
        self,
        flow: Flow,
        deliverer: Deliverer,
        sink: TransactionalSink,
        checkpoints: TransactionalCheckpoints | CheckpointsInSource,
    ) -> None:
        self._flow = flow
        self._deliverer = deliverer
        self._sink = sink
        self._checkpoints = checkpoints
        self._ended = False

    async def run(self) -> None:
        """Until the flow has ended; a batch is taken once every other sink is done with it."""
        queue = self._flow.queues[self._deliverer.index]
        while not self._ended:
            flights = await self._gather(queue)
            for flight in flights:
                if len(flight.pending) > 1:
                    await any_set(self._flow.parts.halted, flight.ready)
            flights = [each for each in flights if self._flow.may_begin(each) and len(each.pending) <= 1]
            if flights:
                await self._commit(flights)

    async def _gather(self, queue: asyncio.Queue[Flight | None]) -> list[Flight]:
        flights: list[Flight] = []
        count = size = 0
        while not self._ended and count < _RECORDS and size < _BYTES and (not flights or not queue.empty()):
            flight = await queue.get()
            if flight is None:
                self._ended = True
            else:
                flights.append(flight)
                count += len(flight.prepared[self._deliverer.index].batch)
                size += flight.batch.size()
        return flights

    async def _commit(self, flights: list[Flight]) -> None:
        retry = self._deliverer.retry()
        pending: PendingCheckpoint | None = None
        unsure = False
        while True:
            flights = self._until_cut(flights)
            pending = self._still_ours(flights, pending)
            parts = [self._present(each) for each in flights]
            self._deliverer.check_lease()
            try:
                if pending is None:
                    pending = await self._prepared(flights)
                failures = await self._sink.write_with([each.batch for each in parts], pending)
            except MstreamError as error:
                unsure = unsure or isinstance(error, OutcomeUnknown)
                if unsure and await self._was_ours(flights, error, pending, retry):
                    break
                if isinstance(error, StaleCheckpoint) and pending and self._still_ours(flights, pending) is None:
                    continue  # another member has one of the lanes already; the next attempt leaves it out
                if not error.retryable and not isinstance(error, OutcomeUnknown):
                    raise
                await retry.pause(error)
                pending = pending and self._checkpoints.again(pending)
                continue
            if not failures:
                break
            final = [each for each in failures if not each.error.retryable or retry.exhausted]
            if not final:
                await retry.pause(failures[0].error)
                pending = self._checkpoints.again(pending)
                continue
            await self._give_up(flights, parts, final)
            pending = None
        await self._committed(flights, pending)

    def _still_ours(self, flights: list[Flight], pending: PendingCheckpoint | None) -> PendingCheckpoint | None:
        """None when a lane in it is gone: its records are left out of the next attempt, so must its position be."""
        if pending is None or self._flow.parts.lanes.holds(flights[-1].ticket.sequence, pending.positions):
            return pending
        return None

    async def _was_ours(
        self, flights: list[Flight], error: MstreamError, pending: PendingCheckpoint | None, retry: Retry
    ) -> bool:
        """Whether an attempt whose answer was lost has happened; a stale checkpoint may be its doing."""
        if pending is None or not isinstance(error, OutcomeUnknown | StaleCheckpoint):
            return False
        lanes, sequence = self._flow.parts.lanes, flights[-1].ticket.sequence
        while True:
            try:
                held = [lane for lane in pending.positions if lanes.holds(sequence, [lane])]
                happened = await self._checkpoints.has_happened(pending, held)
                # What is another's by now may be where it is by the other's doing: it is looked at anew.
                if not happened or lanes.holds(sequence, held):
                    return happened
            except MstreamError as unanswered:
                if not unanswered.retryable:
                    raise
                await retry.pause(unanswered)

    def _until_cut(self, flights: list[Flight]) -> list[Flight]:
        """Nothing after a batch that was cut is committed."""
        for number, each in enumerate(flights):
            if each.kept is not None:
                return flights[: number + 1]
        return flights

    def _present(self, flight: Flight) -> Prepared:
        prepared = flight.prepared[self._deliverer.index]
        left: Sequence[int] = range(len(prepared.batch))
        batch, left = self._deliverer.present(flight.ticket.sequence, prepared.batch, left)
        if len(left) == len(prepared.batch):
            return prepared
        return Prepared(batch=batch, origins=[prepared.origin(each) for each in left])

    async def _prepared(self, flights: list[Flight]) -> PendingCheckpoint:
        positions = concat([Batch(positions=each.ticket.positions) for each in flights]).positions
        source = self._flow.parts.source
        handle = await source.handle() if isinstance(source, TransactionHandle) else None
        return await self._checkpoints.prepare(positions, handle)

    async def _give_up(self, flights: list[Flight], parts: list[Prepared], failures: list[Failure]) -> None:
        """By policy, acknowledged, before the transaction is tried again without these records."""
        start = 0
        for flight, part in zip(flights, parts, strict=True):
            stop = start + len(part.batch)
            here = [each.index - start for each in failures if start <= each.index < stop]
            errors = [each.error for each in failures if start <= each.index < stop]
            start = stop
            if not here:
                continue
            refusals = [
                Refusal(
                    index=part.origin(index),
                    output=part.output(index),
                    error=error,
                    stage=f"sink {self._deliverer.name}",
                    sink=self._deliverer.index,
                )
                for index, error in zip(here, errors, strict=True)
            ]
            gone = set(here)
            left = [part.origin(index) for index in range(len(part.batch)) if index not in gone]
            prepared = list(flight.prepared)
            prepared[self._deliverer.index] = Prepared(batch=part.batch.without(gone), origins=left)
            flight.prepared = prepared
            await self._flow.refused(flight, refusals)

    async def _committed(self, flights: list[Flight], pending: PendingCheckpoint | None) -> None:
        if pending is not None:
            self._checkpoints.committed(pending)
        for flight in flights:
            await self._flow.done(flight, self._deliverer.index)
        if pending is not None and self._checkpoints.spares_saves:
            self._flow.parts.checkpointer.drop(pending.positions)
            self._flow.parts.checkpointer.committed(pending.positions)
