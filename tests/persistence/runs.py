"""Runs in worker processes of their own: they read numbers, deliver them, save where they stand, as the engine does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from functools import partial
from random import Random
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from mstream.control.lease import Lease
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.run import CheckpointMode, Ending, Outcome, RunSpec, RunStatus
from mstream.engine.checkpointing import TransactionalCheckpoints
from mstream.errors import LeaseLost, MstreamError, OutcomeUnknown, StaleCheckpoint, StoreUnreachable, Unreachable
from mstream.foundation.clock import Clock
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.owner import LaneClaim, Owner
from tests.persistence.ledger import Ledger, Sending
from tests.persistence.lives import Life
from tests.persistence.network import Connection
from tests.persistence.witness import Witness, now

T = TypeVar("T")
LANE = ""


class Host(Protocol):
    """The process that runs are started by, and the one that they are in."""

    name: str
    random: Random
    clock: Clock
    life: Life
    worker: Life
    sink: Connection
    witness: Witness
    lease: Lease | None
    is_dead: bool
    #: How often a run fails by itself.
    trouble: float

    def later(self, seconds: float, work: Callable[..., object], *args: object) -> None: ...


class Remote:
    """Implements `Owner` for a run: what it asks for happens in the process of its owner."""

    def __init__(self, owner: Owner, runtime: WorkerRuntime) -> None:
        self._owner = owner
        self._runtime = runtime

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        await self._runtime.asked(self._owner.save(positions))

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        return await self._runtime.asked(self._owner.claim(lanes))

    async def release(self, lanes: Collection[Lane]) -> None:
        await self._runtime.asked(self._owner.release(lanes))

    async def lookup(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        return await self._runtime.asked(self._owner.lookup(lanes))

    async def bury(self, letters: object) -> None:
        raise NotImplementedError


class Run:
    """Implements `RunHandle`; the same object is the run itself, in its worker."""

    def __init__(self, spec: RunSpec, runtime: WorkerRuntime, owner: Owner, ledger: Ledger) -> None:
        self.spec = spec
        self.status = RunStatus()
        self.ledger = ledger
        self.ordinal = len(runtime.runs)
        self.position: int = spec.positions.get(LANE, 0)
        #: Its process is gone.
        self.is_dead = False
        self.is_open = asyncio.Event()
        self.is_over = asyncio.Event()
        self._told: asyncio.Event = asyncio.Event()
        self._runtime = runtime
        self._host = runtime.host
        self._owner = Remote(owner, runtime)
        self._outcome: Outcome | None = None
        self._saving: asyncio.Task[None] | None = None

    # ----------------------------------------------------------------------------------- as its owner sees it
    @property
    def run_id(self) -> str:
        return self.spec.run_id

    async def started(self) -> None:
        await self.is_open.wait()

    async def outcome(self) -> Outcome:
        await self.is_over.wait()
        assert self._outcome is not None
        return self._outcome

    def drain(self) -> None:
        self._told.set()

    def finish(self) -> None:
        raise NotImplementedError

    async def snapshot(self, order: object) -> None:
        raise NotImplementedError

    def abort(self) -> None:
        """Its process is ended if it has to be."""
        self.is_dead = True
        self._told.set()
        self.conclude(Outcome(ending=Ending.ABORTED))

    def conclude(self, outcome: Outcome) -> None:
        """The owner knows how it ended; the first word counts."""
        if self._outcome is None:
            self._outcome = outcome
            self.is_open.set()
            self.is_over.set()

    # ------------------------------------------------------------------------------------------ in its worker
    async def live(self) -> None:
        try:
            outcome = await self._lived()
        except MstreamError as error:
            outcome = _failed(error)
        finally:
            if self._saving is not None:
                self._saving.cancel()
        self._runtime.reported(self, outcome)

    async def _lived(self) -> Outcome:
        await asyncio.sleep(self._host.random.uniform(0, 0.5))
        self._host.later(0, self.is_open.set)
        is_saved = self.spec.checkpoint is CheckpointMode.SAVED
        deliver = self._deliver if is_saved else self._commits()
        while not self._told.is_set():
            await self._pause()
            if self._told.is_set() or self.is_dead:
                break
            if self._host.random.random() < self._host.trouble:
                raise Unreachable("the source does not answer")
            if count := min(self.ledger.available - self.position, self._host.random.randint(1, 5)):
                await deliver(range(self.position, self.position + count))
                self.position += count
                if is_saved:
                    self._save_beside()
        if self.is_dead:
            return Outcome(ending=Ending.ABORTED)
        if is_saved:
            await self._last_save()
        self.ledger.drained(self.position)
        return Outcome(ending=Ending.DRAINED)

    async def _pause(self) -> None:
        """Between two reads; for as long as nothing new can come."""
        if self.ledger.is_closed and self.position == self.ledger.available:
            await self._told.wait()
        await asyncio.sleep(self._host.random.uniform(0.2, 1.5))

    def _save_beside(self) -> None:
        if self._saving is not None and self._saving.done():
            saving, self._saving = self._saving, None
            saving.result()
        if self._saving is None and self._host.random.random() < 0.5:
            self._saving = asyncio.ensure_future(self._owner.save({LANE: self.position}))

    async def _last_save(self) -> None:
        if self._saving is not None:
            await self._saving
        await self._owner.save({LANE: self.position})

    def _may_deliver(self) -> bool:
        lease = self._host.lease
        return lease is not None and lease.remaining() > 0

    def _sending(self, numbers: range) -> Sending:
        """Raises LeaseLost once nothing more may be delivered."""
        if self._runtime.heeds_lease and not self._may_deliver():
            raise LeaseLost("the lease has run out")
        name, freezes = self._host.name, self._host.worker.freezes
        return Sending(name, self.spec.epoch, self.ordinal, self.run_id, numbers, now(), freezes, lambda: self.is_dead)

    async def _ask(self, act: Callable[[int], None]) -> None:
        worker = self._host.worker
        await self._host.sink.ask(lambda: act(worker.freezes), gone=lambda: self.is_dead)

    async def _deliver(self, numbers: range) -> None:
        while not self.is_dead:
            sending = self._sending(numbers)
            try:
                await self._ask(partial(self.ledger.take, sending))
                return
            except StoreUnreachable:
                await asyncio.sleep(self._host.random.uniform(0.1, 1))

    def _commits(self) -> Callable[[range], Coroutine[Any, Any, None]]:
        """One transaction after the other, as the engine makes them."""
        checkpoints = TransactionalCheckpoints(self.spec, owner=self._owner, clock=self._host.clock)

        async def commit(numbers: range) -> None:
            pending: PendingCheckpoint | None = None
            is_unsure = False
            while not self.is_dead:
                sending = self._sending(numbers)
                try:
                    pending = pending or await checkpoints.prepare({LANE: numbers[-1] + 1})
                    await self._ask(partial(self.ledger.commit, sending, entries=pending.entries))
                    break
                except (StoreUnreachable, OutcomeUnknown, StaleCheckpoint) as error:
                    is_unsure = is_unsure or not isinstance(error, StaleCheckpoint)
                    if (
                        is_unsure
                        and pending is not None
                        and await checkpoints.has_happened(pending, list(pending.positions))
                    ):
                        break
                    if isinstance(error, StaleCheckpoint):
                        raise
                    await asyncio.sleep(self._host.random.uniform(0.1, 1))
            if pending is not None:
                checkpoints.committed(pending)

        return commit


class WorkerRuntime:
    """Implements `Runtime`: one worker process for all runs."""

    #: False: the wrong twin.
    heeds_lease = True

    def __init__(self, host: Host) -> None:
        self.host = host
        self.runs: list[Run] = []
        self._asked: set[asyncio.Task[Any]] = set()
        self._lives: list[asyncio.Task[None]] = []

    @property
    def alive(self) -> list[Run]:
        return [each for each in self.runs if not each.is_over.is_set()]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.alive:
            each.abort()
        for task in [*self._asked, *self._lives]:
            task.cancel()

    async def start(self, spec: RunSpec, owner: Owner) -> Run:
        ledger = self.host.witness.launched(self.host.name, spec)
        run = Run(spec, self, owner, ledger)
        ledger.launched(spec.epoch, run.ordinal, run.position)
        self.runs.append(run)
        self._lives.append(self.host.worker.does(run.live()))
        return run

    async def asked(self, work: Coroutine[Any, Any, T]) -> T:
        """In the owner's process."""
        task = self.host.life.does(work)
        self._asked.add(task)
        task.add_done_callback(self._heard)
        return await asyncio.shield(task)

    def reported(self, run: Run, outcome: Outcome) -> None:
        """The worker's word of how a run ended travels to its owner."""
        self.host.witness.tell(f"{self.host.name}: run {run.run_id[:4]} ends {outcome.ending} {outcome.reason or ''}")
        self.host.later(
            self.host.random.uniform(0, 0.5 if outcome.ending is not Ending.ABORTED else 8), self.exited, run, outcome
        )

    def exited(self, run: Run, outcome: Outcome) -> None:
        """It has come; it is about this run and no other."""
        run.conclude(outcome)

    def lose(self) -> None:
        """The worker is gone with all that ran in it; another one takes its place."""
        for each in self.alive:
            each.is_dead = True
            each.drain()
            lost = Outcome(ending=Ending.FAILED, reason="worker_lost", message="gone", retryable=True, charged=True)
            each.conclude(lost)
        self.host.worker.thaw()

    def _heard(self, task: asyncio.Task[Any]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()


def _failed(error: MstreamError) -> Outcome:
    return Outcome(ending=Ending.FAILED, reason=error.code, message=str(error), retryable=error.retryable)
