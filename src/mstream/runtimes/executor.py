"""Executes runs from messages; the same code in this process, in a worker, and wherever else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from types import TracebackType
from typing import Protocol, Self

import structlog

from mstream.domain.run import Ending, Outcome, RunSpec, RunStatus
from mstream.engine import run as engine
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter, NoPage, StagePage
from mstream.engine.services import Services
from mstream.errors import Crashed, LeaseLost, MstreamError, Unavailable
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import background, first_of
from mstream.ports.owner import Owner
from mstream.ports.provider import Catalog
from mstream.runtimes.faults import failed, fault_of
from mstream.runtimes.messages import (
    VERSION,
    Abort,
    Answered,
    Ask,
    Drain,
    Exited,
    Finish,
    Heartbeat,
    LeaseValid,
    Reply,
    Start,
    Started,
    ToOwner,
    ToRun,
)
from mstream.runtimes.remote_owner import RemoteOwner
from mstream.runtimes.sealing import unseal
from mstream.runtimes.services import SharedServices

#: Seconds between two looks at the lease.
_LOOK = 0.5
_LEASE_OVER = "the owner has not renewed its lease in time, or has lost it; nothing more is delivered by this run"


class RunFunction(Protocol):
    """The engine's `run`, or what stands for it in a test."""

    def __call__(
        self,
        spec: RunSpec,
        *,
        services: Services,
        owner: Owner,
        control: RunControl,
        meter: Meter,
        page: StagePage,
        clock: Clock,
        random: Random,
    ) -> Awaitable[None]: ...


class Executor:
    """Every run of one process; an async context manager that ends when they have ended."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        send: Callable[[ToOwner], None],
        clock: Clock,
        key: bytes = b"",
        slot: Callable[[int], StagePage] = lambda number: NoPage(),
        run: RunFunction = engine.run,
    ) -> None:
        self._catalog = catalog
        self._send = send
        self._clock = clock
        self._key = key
        self._slot = slot
        self._run = run
        self._group = asyncio.TaskGroup()
        self._runs: dict[str, _Run] = {}
        self._services: SharedServices | None = None
        #: Monotonic seconds until which the owner's lease is known to hold.
        self._lease_until: float | None = None
        self._lease_told = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._services = SharedServices(self._catalog, group=self._group)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._runs.values():
            each.abort()
        if self._watching is not None:
            self._watching.cancel()
        await self._group.__aexit__(None, None, None)

    def receive(self, message: ToRun) -> None:
        """Do what it says; on the executor's loop. A message to a run that is no longer there means nothing."""
        if isinstance(message, Start):
            self._start(message)
            return
        if isinstance(message, LeaseValid):
            self.lease_holds(message)
            self._lease_told.set()
            return
        run = self._runs.get(message.run_id)
        if run is None:
            return
        match message:
            case Drain():
                run.control.draining.set()
            case Finish():
                run.control.finishing.set()
            case Ask():
                self._group.create_task(self._ask(run, message))
            case Abort():
                run.abort()
            case Reply():
                run.owner.answered(message)

    def lease_holds(self, message: LeaseValid) -> None:
        """So long may runs deliver; from any thread."""
        self._lease_until = message.heartbeat_sent_at + message.seconds
        for each in tuple(self._runs.values()):
            if each.leased:
                each.control.lease_until = self._lease_until

    def heartbeat(self) -> Heartbeat:
        """What every run says of itself now; from any thread."""
        now = self._clock.monotonic()
        statuses = {each.run_id: status_of(each.meter, now) for each in tuple(self._runs.values())}
        return Heartbeat(sent_at=now, statuses=statuses)

    def _start(self, message: Start) -> None:
        run = _Run(message.run_id, RemoteOwner(message.run_id, self._send), leased=message.leased)
        self._runs[message.run_id] = run
        if run.leased and self._watching is None:
            self._send(self.heartbeat())  # its answer tells how long the lease holds
            self._watching = self._group.create_task(self._watch_lease())
        self._group.create_task(self._supervise(run, message))

    async def _supervise(self, run: _Run, message: Start) -> None:
        """One run from its start message to its last word."""
        structlog.contextvars.bind_contextvars(job=message.spec.job, run=run.run_id)  # of this task alone
        outcome = Outcome(ending=Ending.ABORTED)
        try:
            outcome = await self._outcome(run, message)
        finally:
            run.over.set()
            self._send(self.heartbeat())
            del self._runs[run.run_id]
            self._send(Exited(run_id=run.run_id, outcome=outcome))

    async def _outcome(self, run: _Run, message: Start) -> Outcome:
        try:
            async with (
                background(self._execute(run, message)) as work,
                background(run.aborted.wait()) as aborted,
                background(self._tell_started(run)),
            ):
                await asyncio.wait({work, aborted}, return_when=asyncio.FIRST_COMPLETED)
        except Exception as error:  # noqa: BLE001 - whatever a run dies of becomes its outcome
            return failed(error) if not run.aborted.is_set() else run.cut()
        if work.cancelled():
            return run.cut()
        return Outcome(ending=Ending.DRAINED if run.control.draining.is_set() else Ending.FINISHED)

    async def _execute(self, run: _Run, message: Start) -> None:
        if message.version != VERSION:
            text = f"the owner speaks version {message.version} and this worker {VERSION}; run the same mstream on both"
            raise Unavailable(text)
        if run.leased:
            await self._lease_told.wait()
            run.control.lease_until = self._lease_until
        spec = message.spec
        if message.sealed is not None:
            definitions = unseal(message.sealed, key=self._key, run_id=run.run_id, catalog=self._catalog)
            spec = replace(spec, services=definitions)
        assert self._services is not None  # noqa: S101 - opened before any message comes
        services = self._services.of_run(spec.services)
        try:
            await self._run(
                spec,
                services=services,
                owner=run.owner,
                control=run.control,
                meter=run.meter,
                page=self._slot(message.slot),
                clock=self._clock,
                random=Random(),
            )
        except SystemExit as error:
            text = "a script or a driver tried to end the process"
            raise Crashed(text) from error
        finally:
            await services.close()

    async def _watch_lease(self) -> None:
        """End what may not deliver any more; a timer alone would not count the time that the machine sleeps."""
        await self._lease_told.wait()
        while True:
            left = (self._lease_until or 0.0) - self._clock.monotonic()
            if left <= 0:
                for each in self._runs.values():
                    if each.leased:
                        each.abort(LeaseLost(_LEASE_OVER))
            await self._clock.sleep(_LOOK if left <= 0 else min(left, _LOOK))

    async def _ask(self, run: _Run, message: Ask) -> None:
        """A run that has ended answers nothing: its end says so."""
        fault = None
        try:
            await first_of(run.control.orders.give(message.order), run.over)
        except MstreamError as error:
            fault = fault_of(error)
        if not run.over.is_set():
            self._send(Answered(run_id=run.run_id, number=message.number, fault=fault))

    async def _tell_started(self, run: _Run) -> None:
        await run.control.started.wait()
        self._send(Started(run_id=run.run_id))


class _Run:
    """What the executor holds of one run."""

    def __init__(self, run_id: str, owner: RemoteOwner, *, leased: bool) -> None:
        self.run_id = run_id
        self.leased = leased
        #: What it was cut short by; None: it was told to end.
        self._fault: MstreamError | None = None
        self.owner = owner
        self.control = RunControl()
        self.meter = Meter()
        self.aborted = asyncio.Event()
        self.over = asyncio.Event()

    def abort(self, fault: MstreamError | None = None) -> None:
        """Its work is cancelled at the loop's next turn; the first reason counts."""
        if not self.aborted.is_set():
            self._fault = fault
            self.aborted.set()

    def cut(self) -> Outcome:
        """How it ends that was aborted."""
        return failed(self._fault) if self._fault else Outcome(ending=Ending.ABORTED)


def status_of(meter: Meter, now: float) -> RunStatus:
    """The counters as they stand, for the owner."""
    return RunStatus(
        records_read=meter.records_read,
        bytes_read=meter.bytes_read,
        records_delivered=meter.records_delivered,
        records_dropped=meter.records_dropped,
        records_skipped=meter.records_skipped,
        records_dead_lettered=meter.records_dead_lettered,
        errors=meter.errors,
        in_flight=meter.in_flight,
        checkpoints_saved=meter.checkpoints_saved,
        last_source_time_ms=meter.last_source_time_ms,
        idle_seconds=max(0.0, now - meter.active_at) if meter.active_at else 0.0,
        retrying=meter.retrying > 0,
        last_error_code=meter.last_error_code,
        last_error=meter.last_error,
        lag_records=meter.lag_records,
        lag_bytes=meter.lag_bytes,
        lag_seconds=meter.lag_seconds,
        lags=meter.lags,
    )
