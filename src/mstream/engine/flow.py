"""Batches on their way: read, transform, deliver, settle; each in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from mstream.domain.batch import Batch
from mstream.domain.run import RunSpec
from mstream.engine.attempts import Retry
from mstream.engine.batching import Batcher
from mstream.engine.checkpointing import Checkpointer
from mstream.engine.control import RunControl
from mstream.engine.delivery import Deliverer
from mstream.engine.lanes import LaneBook
from mstream.engine.meter import Meter
from mstream.engine.policy import FailurePolicy
from mstream.engine.settlement import Settlement, Ticket
from mstream.engine.transforms import Prepared, Refusal, Transforms
from mstream.errors import MstreamError
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import Interruption, interruption, settling
from mstream.ports.roles import Finite, Source


@dataclass(slots=True, eq=False)
class Flight:
    """One batch on its way, from reading to settled."""

    batch: Batch
    ticket: Ticket
    prepared: Sequence[Prepared]
    refusals: list[Refusal]
    #: Sinks that are not done with it yet.
    pending: set[int]
    #: Set when the last sink but a transactional one is done.
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    #: Only so many of its records will be settled; None: all.
    kept: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a flow is made of."""

    spec: RunSpec
    source: Source
    batcher: Batcher
    transforms: Transforms
    deliverers: Sequence[Deliverer]
    policy: FailurePolicy
    checkpointer: Checkpointer
    settlement: Settlement
    lanes: LaneBook
    control: RunControl
    meter: Meter
    clock: Clock
    #: Set when nothing new may be begun.
    halted: asyncio.Event


class Flow:
    """The tasks of one run and the queues between them; bounded by `max_in_flight`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._window = asyncio.Semaphore(parts.spec.connector.max_in_flight)
        self._read: asyncio.Queue[Flight | None] = asyncio.Queue()
        self.queues: list[asyncio.Queue[Flight | None]] = [asyncio.Queue() for _ in parts.deliverers]
        #: Why the run ends early, once a record was refused under `on_error = "stop"`.
        self.stopped: MstreamError | None = None
        #: Nothing after this ticket is begun.
        self._last: int | None = None
        #: The source was told to end at its head.
        self._is_finishing = False

    async def read(self, retry: Retry) -> None:
        """Read until the source ends, or the run drains or halts."""
        try:
            await self._read_all(retry)
        finally:
            self._read.put_nowait(None)

    async def _read_all(self, retry: Retry) -> None:
        ends = (self.parts.control.draining, self.parts.halted)
        async with interruption(*ends) as ending:
            is_told = True
            while is_told:
                async with interruption(*ends, *self._turns()) as turning:
                    is_told = await self._read_on(retry, ending, turning)

    def _turns(self) -> list[asyncio.Event]:
        """What reading is given up for, and then goes on."""
        control = self.parts.control
        return [control.orders.waiting, *([] if self._is_finishing else [control.finishing])]

    async def _read_on(self, retry: Retry, ending: Interruption, turning: Interruption) -> bool:
        """Whether the run was told something: reading goes on then."""
        while await ending.unless(self._window.acquire):
            try:
                batch, is_told = await self._next(ending, turning)
            except MstreamError as error:
                self._window.release()
                if not error.retryable:
                    raise
                await retry.pause(error)
                continue
            if batch is not None:
                retry.reset()
                self.parts.control.orders.entered(self._enter(batch))
            else:
                self._window.release()
            if is_told or batch is None:
                return is_told
        return False

    async def _next(self, ending: Interruption, turning: Interruption) -> tuple[Batch | None, bool]:
        """The next batch; whether reading was given up only because the run was told something."""
        batch = await turning.unless(self.parts.batcher.read)
        if batch is not None:
            return batch, False
        control, source = self.parts.control, self.parts.source
        if control.finishing.is_set() and not self._is_finishing:
            if isinstance(source, Finite):
                await source.finish()
            self._is_finishing = True
            return self.parts.batcher.rest(), True
        # Last: what it holds must not be taken before a call that may fail.
        batch, is_told = self.parts.batcher.rest(), control.orders.waiting.is_set()
        if batch is None and is_told:
            batch = await ending.unless(partial(control.orders.taken, source))
        return batch, is_told

    def _enter(self, batch: Batch) -> Ticket:
        parts = self.parts
        ticket = parts.settlement.track(batch.positions)
        parts.lanes.hold(ticket)
        meter = parts.meter
        if len(batch):
            meter.records_read += len(batch)
            meter.bytes_read += batch.size()
            meter.active_at = parts.clock.monotonic()
        meter.in_flight += 1
        self._read.put_nowait(
            Flight(batch=batch, ticket=ticket, prepared=(), refusals=[], pending=set(range(len(self.queues))))
        )
        return ticket

    async def transform(self) -> None:
        """Prepare each batch for its sinks, in order."""
        try:
            while (flight := await self._read.get()) is not None:
                if self.parts.halted.is_set() or self.stopped is not None:
                    return
                flight.prepared, refusals = await self.parts.transforms.apply(flight.batch)
                if refusals:
                    await self.refused(flight, refusals)
                for queue in self.queues:
                    queue.put_nowait(flight)
        finally:
            for queue in self.queues:
                queue.put_nowait(None)

    async def refused(self, flight: Flight, refusals: list[Refusal]) -> None:
        """Apply the connector's policy; under `stop` cut the batch before the first of them."""
        flight.refusals += refusals
        if not self.parts.policy.stops:
            await self.parts.policy.give_up(flight.batch, refusals)
            return
        first = min(each.index for each in refusals)
        self.stopped = self.stopped or self.parts.policy.stopped(refusals)
        self.parts.control.draining.set()
        self._last = min(self._last or flight.ticket.sequence, flight.ticket.sequence)
        if flight.kept is None or first < flight.kept:
            flight.kept = first
            flight.prepared = [_cut(each, first) for each in flight.prepared]
            self.parts.settlement.cut(flight.ticket, self.parts.source.positions(flight.batch, first))
            self.parts.lanes.hold(flight.ticket)

    def may_begin(self, flight: Flight) -> bool:
        """Whether this batch is still to be delivered."""
        return not self.parts.halted.is_set() and (self._last is None or flight.ticket.sequence <= self._last)

    async def deliver(self, deliverer: Deliverer) -> None:
        """Give one sink its batches, in order, up to `overlap` at a time."""
        queue, loop = self.queues[deliverer.index], asyncio.get_running_loop()
        async with settling() as begin:
            while (flight := await queue.get()) is not None:
                if deliverer.sink.overlap == 1:
                    await self._deliver_one(deliverer, flight)
                    # Its records go while the next ones are written: the sink must not wait for that.
                    loop.call_soon(_let_go, flight)
                    continue
                await deliverer.has_room()
                begin(self._deliver_beside(deliverer, flight))
                await asyncio.sleep(0)

    async def _deliver_beside(self, deliverer: Deliverer, flight: Flight) -> None:
        fine = False
        try:
            await self._deliver_one(deliverer, flight)
            fine = True
        finally:
            if not fine:
                # Nobody awaits it yet: the run must know now, or it would wait for room that is never given back.
                self.parts.halted.set()

    async def _deliver_one(self, deliverer: Deliverer, flight: Flight) -> None:
        if not self.may_begin(flight):
            # A transactional sink must not wait for what will not come.
            flight.ready.set()
            return
        prepared = flight.prepared[deliverer.index]
        refusals = await deliverer.deliver(flight.ticket.sequence, prepared)
        if refusals:
            await self.refused(flight, refusals)
        await self.done(flight, deliverer.index)

    async def done(self, flight: Flight, sink: int) -> None:
        """One sink is done with this batch; the last one settles it."""
        flight.pending.discard(sink)
        if len(flight.pending) <= 1:
            flight.ready.set()
        if flight.pending:
            return
        parts = self.parts
        parts.checkpointer.advance(parts.settlement.settle(flight.ticket))
        await parts.lanes.settled()
        self._count(flight)
        self._window.release()

    def _count(self, flight: Flight) -> None:
        meter = self.parts.meter
        meter.in_flight -= 1
        total = len(flight.batch) if flight.kept is None else flight.kept
        if not total:
            return
        refused = {each.index for each in flight.refusals}
        reached: set[int] | range = range(total)
        if any(each.origins is not None for each in flight.prepared):
            reached = {origin for each in flight.prepared for origin in each.origins or ()}
        delivered = len(reached) if not refused else sum(each not in refused for each in reached)
        meter.records_delivered += delivered
        meter.records_dropped += max(0, total - delivered - sum(each < total for each in refused))
        meter.active_at = self.parts.clock.monotonic()
        if flight.batch.times:
            meter.last_source_time_ms = flight.batch.times[-1] or meter.last_source_time_ms


def _let_go(flight: Flight) -> None:
    """The last reference is that of this call."""


def _cut(prepared: Prepared, count: int) -> Prepared:
    if prepared.origins is None:
        return Prepared(batch=prepared.batch.head(count), origins=None)
    kept = sum(each < count for each in prepared.origins)
    return Prepared(batch=prepared.batch.head(kept), origins=prepared.origins[:kept])
