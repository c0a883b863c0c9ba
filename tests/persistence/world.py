"""A store, and owners that are born and die over it; runs follow scripts, time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from mstream.config.document import ConfigFile
from mstream.config.system import StartupState
from mstream.control.authority import SoleOwner
from mstream.control.chronicle import Chronicle
from mstream.control.jobs import JobManager, Parts
from mstream.control.launch import Launcher
from mstream.control.operations import Operations
from mstream.control.owner import Stores
from mstream.control.services import ServiceRegistry
from mstream.control.startup import Archive, Startup
from mstream.domain.connector import ConnectorSpec
from mstream.domain.plan import Plan
from mstream.ports.documents import Collection
from mstream.providers import CATALOG
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.audit import AuditLog
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.jobs import JobStore, StoredJob
from mstream.stores.runs import RunLog
from tests.persistence.faults import Connection, Faulty
from tests.unit.control.scripted import Script, ScriptedRuntime
from tests.virtual import VirtualClock

#: Virtual seconds in which everything that was begun comes to rest.
REST = 300.0


@dataclass
class Owner:
    """One life of the program."""

    manager: JobManager
    runtime: ScriptedRuntime
    connection: Connection
    operations: Operations
    #: What `apply` reads.
    file: ConfigFile
    plan: Plan | None = None
    #: What kept it from coming up.
    failure: Exception | None = None

    def running(self) -> list[str]:
        """The jobs that a run is under way for, one name per run."""
        return sorted(each.spec.job for each in self.runtime.alive)


@dataclass
class World:
    """What outlives every owner."""

    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    clock: VirtualClock = field(default_factory=VirtualClock)

    def collection(self, name: str, key: str = "name") -> Collection:
        """As it is, without anybody's way to it."""
        return self.documents.collection(name, key=key)

    async def stored(self) -> dict[str, StoredJob]:
        """The jobs, read by somebody who knows nothing else."""
        jobs, damaged = await JobStore(self.collection("jobs")).everything()
        assert not damaged
        return {each.job.name: each for each in jobs}

    @asynccontextmanager
    async def owner(
        self,
        connectors: Sequence[ConnectorSpec],
        state: StartupState = StartupState.SEED_FROM_FILE,
        *scripts: Script,
        connection: Connection | None = None,
        is_killed: bool = False,
    ) -> AsyncIterator[Owner]:
        """Comes up, or not; at the end it drains, or is gone in the middle of whatever it does."""
        way, clock = connection or Connection(), self.clock
        file = config(connectors, state)
        runtime = ScriptedRuntime(*scripts)
        manager = JobManager(clock=clock, random=Random(1))
        async with runtime, manager:
            registry = ServiceRegistry(file=file, catalog=CATALOG, clock=clock, naming=manager.naming)
            await registry.open(None, audit=None, authority=SoleOwner())
            startup = Startup(
                file=file,
                catalog=CATALOG,
                services=registry,
                archive=Archive(
                    jobs=JobStore(self._by(way, "jobs")),
                    system=self._by(way, "system"),
                    chronicle=Chronicle(
                        audit=AuditLog(self._by(way, "audit", "key")), runs=RunLog(self._by(way, "runs", "key"))
                    ),
                ),
                authority=SoleOwner(),
                clock=clock,
            )
            places = CheckpointStore(self._by(way, "places", "job_name"), clock)
            launcher = Launcher(
                system=file.system,
                service=file.service,
                catalog=CATALOG,
                runtime=runtime,
                stores=Stores(checkpoints=places),
                clock=clock,
                random=Random(1),
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
            operations = Operations(manager=manager, services=registry, catalog=CATALOG, read_file=lambda: found.file)
            operations.open(startup, None)
            found = Owner(manager, runtime, way, operations, file)
            try:
                found.plan = await startup.bring_up(manager)
                await startup.complete()
            except Exception as error:  # noqa: BLE001 - what a killed owner meets is its own affair
                found.failure = error
            yield found
            if is_killed:
                way.is_dead = True
                manager.cut_short()

    def _by(self, way: Connection, name: str, key: str = "name") -> Collection:
        return Faulty(self.collection(name, key), way, name)


def config(connectors: Sequence[ConnectorSpec], state: StartupState) -> ConfigFile:
    """A file with these connectors, whose stores are all kept."""
    names = sorted({name for each in connectors for name in each.service_names} | {"a", "b"})
    return ConfigFile.model_validate(
        {
            "system": {
                "job_lifecycle": {"service_name": "a", "resource": "jobs", "startup_state": state},
                "checkpoints": {"service_name": "a", "resource": "places"},
            },
            "services": [MemoryConfig(provider="memory", name=each) for each in names],
            "connectors": connectors,
        }
    )


async def at_rest(**_: Any) -> None:
    """Let everything happen that was begun."""
    await asyncio.sleep(REST)
