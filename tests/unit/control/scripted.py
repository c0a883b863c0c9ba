"""Runs that do what a test says, and a control plane around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

from mstream.config.document import ConfigFile
from mstream.control.authority import SoleOwner
from mstream.control.checkpoints import Checkpoints
from mstream.control.chronicle import Chronicle
from mstream.control.jobs import JobManager, Parts
from mstream.control.launch import Launcher
from mstream.control.operations import Operations
from mstream.control.owner import Stores
from mstream.control.services import ServiceRegistry
from mstream.control.startup import Archive, Startup
from mstream.domain.connector import ConnectorSpec
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Ending, Outcome, RunSpec, RunStatus
from mstream.errors import MstreamError, StoreUnreachable
from mstream.foundation.clock import Clock
from mstream.ports.documents import Collection, Document, DocumentStore, Revision, Stored
from mstream.ports.owner import Owner
from mstream.ports.provider import Catalog
from mstream.providers import CATALOG
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.memory.documents import MemoryDocuments
from mstream.runtimes.base import Runtime
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.jobs import JobStore
from tests.virtual import VirtualClock


@dataclass
class Script:
    """How one run goes."""

    #: Seconds that handing it over takes.
    starts_after: float = 0.0
    #: Why there is no place for it.
    refused: Exception | None = None
    #: Seconds until it ends by itself; None: never.
    lasts: float | None = None
    ends: Outcome = field(default_factory=lambda: Outcome(ending=Ending.FINISHED))
    #: Seconds until its roles are open; None: it never gets there.
    opens_after: float | None = 0.0
    #: Seconds that a drain takes; None: it hangs.
    drain_takes: float | None = 0.0
    #: What it saves as soon as it is open.
    saves: Any = None
    status: RunStatus = field(default_factory=RunStatus)
    #: What it has against orders.
    against: MstreamError | None = None
    #: Seconds until it says that it has heard one.
    hears_after: float = 0.0


class ScriptedRun:
    """Implements `RunHandle`."""

    def __init__(self, spec: RunSpec, owner: Owner, script: Script) -> None:
        self.spec = spec
        self.owner = owner
        self.script = script
        self.told: list[str] = []
        self.orders: list[SnapshotOrder] = []
        self._open = asyncio.Event()
        self._over = asyncio.Event()
        self._outcome: Outcome | None = None

    @property
    def run_id(self) -> str:
        return self.spec.run_id

    @property
    def status(self) -> RunStatus:
        return self.script.status

    async def started(self) -> None:
        await self._open.wait()

    async def outcome(self) -> Outcome:
        await self._over.wait()
        assert self._outcome is not None
        return self._outcome

    def drain(self) -> None:
        self.told.append("drain")
        if self.script.drain_takes is not None:
            asyncio.get_running_loop().call_later(self.script.drain_takes, self.end, Outcome(ending=Ending.DRAINED))

    def finish(self) -> None:
        self.told.append("finish")
        asyncio.get_running_loop().call_later(1, self.end, Outcome(ending=Ending.FINISHED))

    async def snapshot(self, order: SnapshotOrder) -> None:
        await asyncio.sleep(self.script.hears_after)
        if self.script.against is not None:
            raise self.script.against
        self.orders.append(order)

    def abort(self) -> None:
        self.told.append("abort")
        self.end(Outcome(ending=Ending.ABORTED))

    def end(self, outcome: Outcome) -> None:
        if self._outcome is None:
            self._outcome = outcome
            self._open.set()
            self._over.set()

    async def live(self) -> None:
        if self.script.opens_after is not None:
            await asyncio.sleep(self.script.opens_after)
            if self.script.saves is not None:
                await self.owner.save({"": self.script.saves})
            self._open.set()
        if self.script.lasts is not None:
            await asyncio.sleep(self.script.lasts)
            self.end(self.script.ends)
        await self._over.wait()


class ScriptedRuntime:
    """Implements `Runtime`: each start takes the next script, the last one again and again."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = list(scripts) or [Script()]
        self.runs: list[ScriptedRun] = []
        self._group = asyncio.TaskGroup()

    @property
    def alive(self) -> list[ScriptedRun]:
        return [each for each in self.runs if not each._over.is_set()]

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self.alive:
            each.abort()
        await self._group.__aexit__(kind, error, trace)

    async def start(self, spec: RunSpec, owner: Owner) -> ScriptedRun:
        script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
        await asyncio.sleep(script.starts_after)
        if script.refused is not None:
            raise script.refused
        run = ScriptedRun(spec, owner, script)
        self.runs.append(run)
        self._group.create_task(run.live())
        return run


class Flaky:
    """Implements `Collection` over another one; refuses writes while it is told to."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner
        self.is_down = False
        #: Writes come through, and nobody is told.
        self.loses_answers = False
        #: Nothing can be read.
        self.is_blind = False
        #: Seconds between a write and its answer.
        self.answers_after = 0.0
        self.writes: list[Document] = []

    async def get(self, key: str) -> Stored | None:
        self._check()
        if self.is_blind:
            message = "the store does not answer"
            raise StoreUnreachable(message)
        return await self._inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        self._check()
        return await self._inner.scan(after=after, limit=limit)

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        self._check()
        self.writes.append(dict(document))
        done = await self._inner.put(key, document, expect=expect, revision=revision)
        if self.answers_after:
            await asyncio.sleep(self.answers_after)
        if self.loses_answers:
            message = "the answer was lost"
            raise StoreUnreachable(message)
        return done

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        self._check()
        return await self._inner.delete(key, expect=expect)

    def _check(self) -> None:
        if self.is_down:
            message = "the store does not answer"
            raise StoreUnreachable(message)


def connector(name: str = "copy", **changes: Any) -> ConnectorSpec:
    return ConnectorSpec.model_validate(
        {
            "name": name,
            "source": {"service_name": "a", "resource": "in"},
            "sinks": [{"service_name": "b", "resource": "out"}],
            **changes,
        }
    )


@dataclass
class Plane:
    """A control plane under test."""

    manager: JobManager
    runtime: ScriptedRuntime
    jobs: Flaky
    checkpoints: Flaky
    operations: Operations


@asynccontextmanager
async def plane(
    *scripts: Script,
    connectors: Sequence[ConnectorSpec] = (),
    system: dict[str, Any] | None = None,
    services: Sequence[Any] | None = None,
    catalog: Catalog = CATALOG,
    clock: Clock | None = None,
    chronicle: Chronicle | None = None,
    on: Runtime | None = None,
    documents: DocumentStore | None = None,
) -> AsyncIterator[Plane]:
    """Jobs that were told to start; drained at the end. `on`: where they really run; `documents`: the store."""
    clock = clock or VirtualClock()
    found = [MemoryConfig(provider="memory", name="a"), MemoryConfig(provider="memory", name="b")]
    file = ConfigFile.model_validate(
        {
            "system": {"checkpoints": {"service_name": "a", "resource": "places"}} if system is None else system,
            "services": found if services is None else services,
            "connectors": connectors or [connector()],
        }
    )
    documents = documents or MemoryDocuments()
    jobs, checkpoints = Flaky(documents.collection("jobs")), Flaky(documents.collection("places", key="job_name"))
    runtime = ScriptedRuntime(*scripts)
    manager = JobManager(clock=clock, random=Random(1))
    places = CheckpointStore(checkpoints, clock)
    async with runtime:
        launcher = Launcher(
            system=file.system,
            service=file.service,
            catalog=catalog,
            runtime=on or runtime,
            stores=Stores(checkpoints=places),
            clock=clock,
            random=Random(1),
        )
        async with manager:
            registry = ServiceRegistry(file=file, catalog=CATALOG, clock=clock, naming=manager.naming)
            await registry.open(None, audit=None, authority=SoleOwner())
            startup = Startup(
                file=file,
                catalog=CATALOG,
                services=registry,
                archive=Archive(jobs=JobStore(jobs), chronicle=chronicle or Chronicle()),
                authority=SoleOwner(),
                clock=clock,
            )
            manager.open(
                Parts(
                    store=startup.archive.jobs,
                    launcher=launcher,
                    chronicle=startup.archive.chronicle,
                    authority=SoleOwner(),
                    checkpoints=places,
                )
            )
            await startup.bring_up(manager)
            operations = Operations(manager=manager, services=registry, catalog=catalog, read_file=lambda: startup.file)
            operations.open(
                startup,
                Checkpoints(
                    places,
                    service=registry.service,
                    catalog=catalog,
                    authority=SoleOwner(),
                    clock=clock,
                ),
            )
            yield Plane(manager, runtime, jobs, checkpoints, operations)
