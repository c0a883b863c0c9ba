"""Several members of one job over two queues, with a coordinator that gives them lanes and takes them away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from mstream.control.owner import JobOwner, MemberOwner, Stores
from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.providers.memory import provider_on
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.memory.queue import MemoryQueue
from mstream.providers.memory.service import MemoryHub
from mstream.providers.memory.source import MemorySource
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.control.scripted import Flaky
from tests.unit.engine.ways import Direct, Near
from tests.virtual import VirtualClock

SERVICE = "queues"


@dataclass
class Member:
    """One of them, with what the coordinator holds of it."""

    source: MemorySource
    owner: MemberOwner
    task: asyncio.Task[None]
    control: RunControl
    meter: Meter = field(default_factory=Meter)


class Group:
    """One job; whoever is there of its members shares its lanes."""

    #: What stands between a member and the job's owner; tests put one there that is wrong on purpose.
    owner_kind: type[MemberOwner] = MemberOwner

    def __init__(self, near: Near | None = None, *, transactional: bool = False, members: int = 2, **keys: Any) -> None:
        self.hub = MemoryHub()
        self._near = near or Direct()
        self._members = members
        self.mode = CheckpointMode.TRANSACTIONAL if transactional else CheckpointMode.SAVED
        self.store = Flaky(self.hub.service(SERVICE).documents.collection("checkpoints", key="job_name"))
        self.checkpoints = CheckpointStore(self.store, VirtualClock())
        stores = Stores(checkpoints=self.checkpoints)
        self.owner = JobOwner(job="job", run_id="run", stores=stores, clock=VirtualClock(), random=Random(1))
        self._connector = ConnectorSpec.model_validate(
            {
                "name": "job",
                "source": {"service_name": SERVICE, "resource": "in", "member": True},
                "sinks": [{"service_name": SERVICE, "resource": "out", "keep_lanes": True}],
                "parallelism": members,
                **keys,
            }
        )

    @property
    def queue(self) -> MemoryQueue:
        """What they read."""
        return self.hub.service(SERVICE).queue("in")

    @property
    def out(self) -> MemoryQueue:
        """What they write."""
        return self.hub.service(SERVICE).queue("out")

    def put(self, lane: str, count: int) -> None:
        """The lane's next records, numbered from 0."""
        first = len(self.queue.lanes.get(lane, ()))
        self.queue.put(*(b"%d" % each for each in range(first, first + count)), lane=lane)

    def taken(self, lane: str) -> list[int]:
        """The numbers of the lane's records, as they were written."""
        return [int(each or b"") for each in self.out.payloads(lane)]

    async def stored(self) -> Mapping[str, Any]:
        """Where each lane stands, as the store has it."""
        (checkpoint,), _ = await self.checkpoints.everything()
        return checkpoint.positions

    async def begin(self) -> None:
        """Claim the job, as before each run."""
        await self.owner.begin(self.mode, "memory")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[Member]]:
        """As many members as it has; drained at the end of the body."""
        await self.begin()
        async with AsyncExitStack() as stack:
            yield [await stack.enter_async_context(self.member(each)) for each in range(self._members)]

    @asynccontextmanager
    async def member(self, number: int) -> AsyncIterator[Member]:
        """One that reads; drained at the end of the body, unless it has ended."""
        owner, control, meter = self.owner_kind(self.owner), RunControl(), Meter()
        spec = RunSpec(
            job="job",
            run_id=f"run.{number}",
            epoch=1,
            member=number,
            members=self._members,
            connector=self._connector,
            services={SERVICE: MemoryConfig(name=SERVICE)},
            positions=dict(self.owner.positions),
            checkpoint=self.mode,
            checkpoint_resource="checkpoints",
            transactional_sink=0 if self.mode is CheckpointMode.TRANSACTIONAL else None,
        )
        work = self._near.on(provider_on(self.hub), spec, owner=owner, control=control, meter=meter)
        task = asyncio.ensure_future(work)
        await control.started.wait()
        source = self.queue.members[-1]
        assert isinstance(source, MemorySource)
        try:
            yield Member(source, owner, task, control, meter)
            control.draining.set()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        finally:
            task.cancel()
            await asyncio.wait({task})
