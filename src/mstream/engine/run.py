"""One run of a job, from open roles to the last saved position."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from itertools import count
from random import Random
from typing import Any

from mstream.domain.batch import Encoding
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.attempts import Retry
from mstream.engine.batching import Batcher
from mstream.engine.checkpointing import Checkpointer, CheckpointsInSource, TransactionalCheckpoints
from mstream.engine.control import RunControl
from mstream.engine.dead_letters import DeadLetters, Letters, OwnersDeadLetters, SinkDeadLetters
from mstream.engine.delivery import Deliverer
from mstream.engine.flow import Flow, Parts
from mstream.engine.lanes import LaneBook
from mstream.engine.meter import Meter, StagePage
from mstream.engine.pipeline import Pipeline, opened
from mstream.engine.policy import FailurePolicy
from mstream.engine.services import Services
from mstream.engine.settlement import Settlement
from mstream.engine.transactions import Transactions
from mstream.engine.transforms import Transforms
from mstream.errors import DrainTimeout, GuaranteeUnavailable, Halted, MstreamError
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import background, finish_all, first_of, within
from mstream.observability.logs import get_logger
from mstream.ports.owner import Owner
from mstream.ports.roles import Joining, Lagging, Sink, Source, TransactionalSink, TransactionHandle

log = get_logger(__name__)

#: Seconds between two questions how far behind the source is.
_LAG_INTERVAL = 2.0


async def run(
    spec: RunSpec,
    *,
    services: Services,
    owner: Owner,
    control: RunControl,
    meter: Meter,
    page: StagePage,
    clock: Clock,
    random: Random,
) -> None:
    """Returns when the run was drained or its source has ended, all delivered and saved; raises why it failed.

    Cancelling it aborts: nothing more is delivered or saved.
    """
    await Run(spec, owner, control, meter, page, clock, random).execute(services)


class Run:
    """The parts of one run and their ending."""

    #: What it is made of. Tests put parts in that are wrong on purpose, to see that they are caught.
    flow_kind: type[Flow] = Flow
    lanes_kind: type[LaneBook] = LaneBook
    checkpointer_kind: type[Checkpointer] = Checkpointer
    transactions_kind: type[Transactions] = Transactions

    def __init__(
        self,
        spec: RunSpec,
        owner: Owner,
        control: RunControl,
        meter: Meter,
        page: StagePage,
        clock: Clock,
        random: Random,
    ) -> None:
        self._spec = spec
        self._owner = owner
        self._control = control
        self._meter = meter
        self._page = page
        self._clock = clock
        self._random = random
        self._halted = asyncio.Event()
        #: Monotonic seconds at which a drain is over; None: it does not drain.
        self._deadline: float | None = None
        self._settlement = Settlement()
        transactional = spec.checkpoint is CheckpointMode.TRANSACTIONAL
        self._transactional = TransactionalCheckpoints(spec, owner=owner, clock=clock) if transactional else None
        self._lanes = self.lanes_kind(
            settlement=self._settlement,
            positions=spec.positions,
            owner=owner,
            transactional=self._transactional,
            is_alone=spec.members == 1,
        )

    async def execute(self, services: Services) -> None:
        """Open, run, close."""
        async with opened(self._spec, services, self._lanes) as pipeline:
            flow = self._flow(pipeline)
            self._control.started.set()
            await self._run(flow)

    async def _run(self, flow: Flow) -> None:
        done = asyncio.Event()
        checkpointer = flow.parts.checkpointer
        work = [
            self._guarded(lambda: flow.read(self._retry("source", self._control.draining))),
            self._guarded(flow.transform),
            *(self._guarded(partial(self._delivery, flow, each)) for each in flow.parts.deliverers),
        ]
        try:
            async with (
                background(self._keep(checkpointer, done)) as saving,
                background(self._watch_lag(flow)),
                background(self._count_idle_time(flow.parts.source)),
                background(self._control.orders.confirm(self._lanes.until_safe, checkpointer.kept)),
                background(self._drain_deadline()) as deadline,
            ):
                await self._finish(work, deadline)
                done.set()
                await asyncio.wait({saving, deadline}, return_when=asyncio.FIRST_COMPLETED)
                if not saving.done():
                    raise self._too_late()
                await saving
        except BaseExceptionGroup as group:
            raise _cause(group) from None
        finally:
            if not _aborted():
                await self._last_save(checkpointer)
        if flow.stopped is not None:
            raise flow.stopped

    async def _keep(self, checkpointer: Checkpointer, done: asyncio.Event) -> None:
        await finish_all(
            self._guarded(lambda: checkpointer.run(done)), self._guarded(lambda: checkpointer.acknowledge(done))
        )

    async def _finish(self, work: list[Coroutine[Any, Any, None]], deadline: asyncio.Task[None]) -> None:
        """Let every task end by itself; past the drain deadline cut them short."""
        if not await within(deadline, *work):
            raise self._too_late()

    async def _last_save(self, checkpointer: Checkpointer) -> None:
        try:
            async with asyncio.timeout(self._left()):
                await checkpointer.save_now()
        except TimeoutError:
            raise self._too_late() from None
        except MstreamError as error:
            if not self._halted.is_set():
                raise
            # The run ends for another reason already, and that one counts.
            log.warning("last_save_failed", error_code=error.code, error=str(error))

    def _left(self) -> float:
        """Seconds for the last save; a second also when the deadline is past."""
        most = self._spec.connector.drain_timeout_sec
        return most if self._deadline is None else max(1.0, self._deadline - self._clock.monotonic())

    def _too_late(self) -> DrainTimeout:
        message = (
            "what was under way was not delivered and saved within drain_timeout_sec = "
            f"{self._spec.connector.drain_timeout_sec:g}; it comes again after the next start"
        )
        return DrainTimeout(message)

    async def _drain_deadline(self) -> None:
        await self._control.draining.wait()
        self._deadline = self._clock.monotonic() + self._spec.connector.drain_timeout_sec
        await self._clock.sleep(self._spec.connector.drain_timeout_sec)

    async def _guarded(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """When one task fails, nothing new is begun anywhere; writes under way are finished.

        The work is made when its turn comes: a run may be aborted before that.
        """
        fine = False
        try:
            await work()
            fine = True
        finally:
            if not fine:
                self._halted.set()

    def _delivery(self, flow: Flow, deliverer: Deliverer) -> Coroutine[Any, Any, None]:
        if deliverer.index != self._spec.transactional_sink:
            return flow.deliver(deliverer)
        if not isinstance(deliverer.sink, TransactionalSink):
            message = f"sink {deliverer.name} cannot commit a checkpoint together with its records"
            raise GuaranteeUnavailable(message)
        return self.transactions_kind(flow, deliverer, deliverer.sink, self._committed_by_sink(flow)).run()

    def _committed_by_sink(self, flow: Flow) -> TransactionalCheckpoints | CheckpointsInSource:
        if self._transactional is not None:
            return self._transactional
        source = flow.parts.source
        if not isinstance(source, TransactionHandle):
            message = f"job {self._spec.job!r}: its source keeps no places that a sink could commit"
            raise GuaranteeUnavailable(message)
        return CheckpointsInSource(source)

    async def _count_idle_time(self, source: Source) -> None:
        """From here: who opens for long, or waits for what it is to read, is not idle."""
        if isinstance(source, Joining):
            await source.joined()
        self._meter.active_at = self._meter.active_at or self._clock.monotonic()

    async def _watch_lag(self, flow: Flow) -> None:
        source, meter = flow.parts.source, self._meter
        if not isinstance(source, Lagging):
            return
        while True:
            try:
                by_lane = await source.lag()
            except MstreamError as error:
                meter.last_error_code, meter.last_error = error.code, str(error)
            else:
                lags = by_lane.values()
                meter.lags = by_lane
                meter.lag_records = _total([each.records for each in lags])
                meter.lag_bytes = _total([each.bytes for each in lags])
                meter.lag_seconds = max((each.seconds for each in lags if each.seconds is not None), default=None)
            if await first_of(self._tick(), self._halted) is None:
                return

    async def _tick(self) -> bool:
        await self._clock.sleep(_LAG_INTERVAL)
        return True

    def _retry(self, what: str, *enough: asyncio.Event) -> Retry:
        return Retry(
            self._spec.connector.retry,
            what=what,
            meter=self._meter,
            clock=self._clock,
            random=self._random,
            halted=self._halted,
            enough=enough,
        )

    def _deliverer(self, sink: Sink, index: int, name: str) -> Deliverer:
        return Deliverer(
            sink,
            index=index,
            name=name,
            policy=self._spec.connector.retry,
            control=self._control,
            meter=self._meter,
            clock=self._clock,
            random=self._random,
            halted=self._halted,
            is_gone=self._lanes.is_gone,
            may_be_gone=self._lanes.any_gone,
        )

    def _dead_letters(self, pipeline: Pipeline) -> DeadLetters:
        letters = Letters(self._spec, pipeline.source, self._clock)
        ref = self._spec.connector.dead_letters
        if pipeline.dead_letters is None or ref is None:
            return OwnersDeadLetters(letters, self._owner)
        deliverer = self._deliverer(pipeline.dead_letters, -1, f"{ref.service_name}/{ref.resource}")
        return SinkDeadLetters(letters, deliverer, pipeline.encodings.codecs[Encoding.JSON], count(1).__next__)

    def _flow(self, pipeline: Pipeline) -> Flow:
        spec, connector = self._spec, self._spec.connector
        dead_letters = self._dead_letters(pipeline)
        checkpointer = self.checkpointer_kind(
            spec,
            source=pipeline.source,
            sinks=[*pipeline.sinks, *([pipeline.dead_letters] if pipeline.dead_letters else [])],
            owner=self._owner,
            meter=self._meter,
            clock=self._clock,
            retry=self._retry,
        )
        self._lanes.checkpointer = checkpointer
        self._lanes.batcher = batcher = Batcher(pipeline.source, connector.batch, self._clock)
        return self.flow_kind(
            Parts(
                spec=spec,
                source=pipeline.source,
                batcher=batcher,
                transforms=Transforms(
                    way=pipeline.way,
                    steps=pipeline.steps,
                    wants=pipeline.wants,
                    encodings=pipeline.encodings,
                    schemas=pipeline.schemas,
                    page=self._page,
                    clock=self._clock,
                    retry=self._retry,
                ),
                deliverers=[
                    self._deliverer(sink, index, f"{ref.service_name}/{ref.resource}")
                    for index, (sink, ref) in enumerate(zip(pipeline.sinks, connector.sinks, strict=True))
                ],
                policy=FailurePolicy(connector, dead_letters=dead_letters, meter=self._meter, clock=self._clock),
                checkpointer=checkpointer,
                settlement=self._settlement,
                lanes=self._lanes,
                control=self._control,
                meter=self._meter,
                clock=self._clock,
                halted=self._halted,
            )
        )


def _cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error that says something; `Halted` is only an echo of it."""
    flat: list[BaseException] = []
    pending: list[BaseException] = [group]
    while pending:
        each = pending.pop(0)
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions
        else:
            flat.append(each)
    return next((each for each in flat if not isinstance(each, Halted)), flat[0])


def _total(values: list[int | None]) -> int | None:
    known = [each for each in values if each is not None]
    return sum(known) if known else None


def _aborted() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
