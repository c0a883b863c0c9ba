"""A job that is a member of a group: a queue whose lanes come and go, and a queue that it writes to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from mstream.control.owner import JobOwner, Stores
from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.ports.owner import Owner
from mstream.providers.memory import provider_on
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.memory.documents import MemoryDocuments
from mstream.providers.memory.queue import MemoryQueue
from mstream.providers.memory.service import MemoryHub
from mstream.providers.memory.source import MemorySource
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.engine.scripted import RememberingOwner
from tests.unit.engine.ways import Direct, Near
from tests.virtual import VirtualClock

SERVICE = "queues"


@dataclass
class PatientOwner(RememberingOwner):
    """Takes so long for a save; knows which lanes were given up."""

    save_seconds: float = 0.0
    released: list[str] = field(default_factory=list)

    async def save(self, positions: Mapping[str, Any]) -> None:
        await asyncio.sleep(self.save_seconds)
        await super().save(positions)

    async def release(self, lanes: Collection[str]) -> None:
        self.released += lanes


class Membership:
    """One job over the two queues; its runs follow each other."""

    def __init__(self, owner: Owner, near: Near | None = None, *, transactional: bool = False, **keys: Any) -> None:
        self.hub = MemoryHub()
        self.owner = owner
        self.control = RunControl()
        self.meter = Meter()
        self._near = near or Direct()
        self._transactional = transactional
        self._connector = ConnectorSpec.model_validate(
            {
                "name": "job",
                "source": {"service_name": SERVICE, "resource": "in", "member": True},
                "sinks": [{"service_name": SERVICE, "resource": "out", "keep_lanes": True}],
                **keys,
            }
        )

    @property
    def queue(self) -> MemoryQueue:
        """What it reads."""
        return self.hub.service(SERVICE).queue("in")

    @property
    def out(self) -> MemoryQueue:
        """What it writes."""
        return self.hub.service(SERVICE).queue("out")

    @property
    def source(self) -> MemorySource:
        """The run's source, in the hands of the group's coordinator."""
        (member,) = self.queue.members
        assert isinstance(member, MemorySource)
        return member

    def put(self, lane: str, count: int) -> None:
        """The lane's next records, numbered from 0."""
        first = len(self.queue.lanes.get(lane, ()))
        self.queue.put(*(b"%d" % each for each in range(first, first + count)), lane=lane)

    def taken(self, lane: str) -> list[int]:
        """The numbers of the lane's records, as they were written."""
        return [int(each or b"") for each in self.out.payloads(lane)]

    def lacks(self, positions: Mapping[str, Any]) -> dict[str, Sequence[int]]:
        """By lane, what was not written although these positions say so."""
        missing = {lane: sorted(set(range(at)) - set(self.taken(lane))) for lane, at in positions.items()}
        return {lane: numbers for lane, numbers in missing.items() if numbers}

    @asynccontextmanager
    async def running(self, positions: Mapping[str, Any] | None = None) -> AsyncIterator[asyncio.Task[None]]:
        """A run that reads; at the end of the body it is drained."""
        self.control, self.meter = RunControl(), Meter()
        spec = RunSpec(
            job="job",
            run_id="run-1",
            epoch=1,
            connector=self._connector,
            services={SERVICE: MemoryConfig(name=SERVICE)},
            positions=positions or {},
            checkpoint=CheckpointMode.TRANSACTIONAL if self._transactional else CheckpointMode.SAVED,
            checkpoint_resource="checkpoints",
            transactional_sink=0 if self._transactional else None,
        )
        provider = provider_on(self.hub)
        work = self._near.on(provider, spec, owner=self.owner, control=self.control, meter=self.meter)
        task = asyncio.ensure_future(work)
        await self.control.started.wait()
        try:
            yield task
            self.control.draining.set()
            await task
        finally:
            task.cancel()
            await asyncio.wait({task})


def owner_on(documents: MemoryDocuments) -> JobOwner:
    """The real owner of a job, over documents in memory."""
    checkpoints = CheckpointStore(documents.collection("checkpoints", key="job_name"), VirtualClock())
    stores = Stores(checkpoints=checkpoints)
    return JobOwner(job="job", run_id="run-1", stores=stores, clock=VirtualClock(), random=Random(1))


class Together(Membership):
    """Records and positions in the same memory."""

    def __init__(self, near: Near | None = None, **keys: Any) -> None:
        super().__init__(RememberingOwner(), near, transactional=True, **keys)
        self.owner = self.jobs = owner_on(self.hub.service(SERVICE).documents)

    async def begin(self) -> None:
        """Claim the job, as before each run."""
        await self.jobs.begin(CheckpointMode.TRANSACTIONAL, "memory")

    async def positions(self) -> dict[str, Any]:
        """What is committed, by lane."""
        return {lane: each.position for lane, each in (await self.jobs.lookup("abc")).items()}
