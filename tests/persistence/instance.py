"""One instance of the program over the shared store: a process for itself, and one for its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING

from mstream.bootstrap.stores import Opened, highest_epoch
from mstream.control.chronicle import Chronicle
from mstream.control.jobs import JobManager, Parts
from mstream.control.launch import Launcher
from mstream.control.lease import Lease, kept
from mstream.control.owner import Stores
from mstream.control.services import ServiceRegistry
from mstream.control.standby import Standby
from mstream.control.startup import Archive, Startup
from mstream.domain.lease import Identity
from mstream.errors import IllegalTransition, JobNotFound, MstreamError, StaleOwner, Unavailable
from mstream.foundation.backoff import delays
from mstream.foundation.concurrency import background, first_of
from mstream.foundation.processes import Process
from mstream.providers import CATALOG
from mstream.stores.audit import AuditLog
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.jobs import JobStore
from mstream.stores.leases import LeaseStore
from mstream.stores.runs import RunLog
from tests.persistence.lives import Life
from tests.persistence.network import Connection, Wire
from tests.persistence.runs import WorkerRuntime
from tests.persistence.witness import Command, now

if TYPE_CHECKING:
    from tests.persistence.simulation import World

LEASE_SEC = 10.0
#: What says for certain that a command has done nothing.
_REFUSED = (IllegalTransition, JobNotFound, Unavailable)


@dataclass(frozen=True)
class Make:
    """Of what an instance is made; the wrong twins differ in one of these."""

    manager: type[JobManager] = JobManager
    lease: type[Lease] = Lease
    startup: type[Startup] = Startup
    runtime: type[WorkerRuntime] = WorkerRuntime
    #: The way to the collections of these names is another.
    wires: Mapping[str, type[Wire]] = field(default_factory=dict)


class Instance:
    """Implements `runs.Host`, and a `Clock` that is nobody else's."""

    def __init__(self, world: World, number: int, make: Make) -> None:
        self.world = world
        self.witness = world.witness
        self.name = f"owner-{number}"
        self.random = Random(world.random.random())
        self.life, self.worker = Life(self.name), Life(f"{self.name}-worker")
        self.store = Connection(self.life, self.random, world.weather, world.context)
        gentle = replace(world.weather, rare=min(world.weather.rare, 1.0))
        self.sink = Connection(self.worker, self.random, gentle, world.context)
        self.clock = self
        self.trouble = world.trouble
        self.is_dead = False
        self.is_ready = False
        self.lease: Lease | None = None
        self.failure: BaseException | None = None
        self.ending = asyncio.Event()
        self.runtime: WorkerRuntime | None = None
        self.manager = make.manager(clock=self, random=self.random)
        self._make = make
        self._offset, self._rate = self.random.uniform(0, 1e6), self.random.uniform(0.97, 1.03)
        self.wall = self.random.uniform(-60, 60)
        process = Process(host=self.name, boot_id=self.name, namespace="n", pid=1, started="1")
        self._identity = Identity(instance=self.name, process=process, address=f"http://{self.name}")
        self.main = self.life.does(self._live())

    # -------------------------------------------------------------------------------------------------- as a Clock
    def monotonic(self) -> float:
        return self._offset + self._rate * now()

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=now() + self.wall)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._rate)

    # ------------------------------------------------------------------------------------------------- misfortunes
    def later(self, seconds: float, work: Callable[..., object], *args: object) -> None:
        """In nobody's process: on a wire."""
        self.world.later(seconds, work, *args)

    @property
    def owns(self) -> bool:
        """As far as it believes."""
        return self.lease is not None and not self.is_dead and self.lease.is_valid

    @property
    def epoch(self) -> int:
        return self.lease.epoch if self.lease is not None else 0

    def kill(self) -> None:
        """It is gone with its workers; what is left of it here says nothing any more to anybody."""
        self.is_dead = True
        self.is_ready = False
        self.store.is_dead = self.sink.is_dead = True
        for each in self.runtime.runs if self.runtime else ():
            each.is_dead = True
        self.life.thaw()
        self.worker.thaw()
        self.life.context.run(self._cut)

    def _cut(self) -> None:
        self.manager.cut_short()
        self.main.cancel()

    # -------------------------------------------------------------------------------------------------------- life
    async def _live(self) -> None:
        """As the program does: own, run jobs, stand by again when the store is lost."""
        try:
            waits = delays(base_ms=200, max_ms=10_000, random=self.random)
            while not self.ending.is_set():
                lease = await first_of(self._acquired(), self.ending)
                if lease is None:
                    return
                reason = await self._hold(lease)
                if reason is None:
                    return
                self.witness.tell(f"{self.name} stands by: {reason}")
                await first_of(self.sleep(next(waits)), self.ending)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the story wants to know of it
            if not self.is_dead:
                self.failure = error

    async def _acquired(self) -> Lease:
        found = Opened(collections={"job_lifecycle": self._wire("jobs"), "checkpoints": self._wire("places")})
        standby = Standby(
            LeaseStore(self._wire("system"), self),
            self._identity,
            clock=self,
            lease_sec=LEASE_SEC,
            highest_epoch=lambda: highest_epoch(found),
            kind=self._make.lease,
        )
        return await standby.acquire("wait", self.random)

    async def _hold(self, lease: Lease) -> str | None:
        self.lease = lease
        self.witness.look()
        reason: str | None = None
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(kept(lease))
            try:
                await self._begin(stack, lease)
                await first_of(lease.lost.wait(), self.ending)
            except StaleOwner as error:
                lease.forfeit(str(error))
            except MstreamError as error:
                if not error.retryable:
                    raise
                reason = str(error)
            self.is_ready = False
            if lease.lost.is_set():
                self.manager.cut_short()
                return lease.reason or reason
            self.manager.close()
        return reason

    async def _begin(self, stack: AsyncExitStack, lease: Lease) -> None:
        registry = ServiceRegistry(file=self.world.file, catalog=CATALOG, clock=self, naming=self.manager.naming)
        await registry.open(None, audit=None, authority=lease)
        places = CheckpointStore(self._wire("places"), self)
        startup = self._startup(lease, registry, places)
        self.runtime = await stack.enter_async_context(self._make.runtime(self))
        launcher = Launcher(
            system=self.world.file.system,
            service=registry.service,
            catalog=CATALOG,
            runtime=self.runtime,
            stores=Stores(checkpoints=places, authority=lease),
            clock=self,
            random=self.random,
        )
        await stack.enter_async_context(self.manager)
        archive = startup.archive
        self.manager.open(
            Parts(
                store=archive.jobs,
                launcher=launcher,
                chronicle=archive.chronicle,
                authority=lease,
                checkpoints=places,
            )
        )
        await first_of(startup.bring_up(self.manager), self.ending, lease.lost)
        if not self.ending.is_set() and not lease.lost.is_set():
            self.is_ready = True
            self.witness.tell(f"{self.name} is ready")
            await stack.enter_async_context(background(startup.keep_up(self.manager)))

    def _startup(self, lease: Lease, registry: ServiceRegistry, places: CheckpointStore) -> Startup:
        chronicle = Chronicle(audit=AuditLog(self._wire("audit")), runs=RunLog(self._wire("runs")))
        return self._make.startup(
            file=self.world.file,
            catalog=CATALOG,
            services=registry,
            archive=Archive(
                jobs=JobStore(self._wire("jobs")),
                system=self._wire("system"),
                chronicle=chronicle,
                checkpoints=places,
            ),
            authority=lease,
            clock=self,
        )

    def _wire(self, name: str) -> Wire:
        kind = self._make.wires.get(name, Wire)
        return kind(self.store, self.witness, name, lambda: self.epoch)

    # ---------------------------------------------------------------------------------------------------- commands
    async def carry_out(self, command: Command, order: Callable[[JobManager], object]) -> None:
        """Answer an operator, if it comes to that."""
        try:
            await order(self.manager)  # type: ignore[misc]  # every command is awaited
        except _REFUSED as error:
            # A job may have been stored before its maker learned that it owns nothing any more.
            is_sure = command.verb != "create" or not isinstance(error, Unavailable)
            answer, why = "refused" if is_sure else "", str(error)
        except MstreamError as error:
            answer, why = "", str(error)
        else:
            answer, why = "accepted", ""
        if not self.is_dead:
            self.witness.answered(command, answer, why)
