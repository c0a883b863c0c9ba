from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

import pytest

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.errors import PositionLost
from mstream.ports.roles import Limit, Pausable, Resume, Source
from mstream.providers.memory import PROVIDER, provider_on
from mstream.providers.memory.config import MemoryConfig, MemorySourceOptions
from mstream.providers.memory.queue import MemoryQueue
from mstream.providers.memory.service import MemoryHub


class NotedLanes:
    """Keeps positions as an engine would, and notes what it is told."""

    def __init__(self, stored: Mapping[Lane, Position]) -> None:
        self.stored = dict(stored)
        self.told: list[tuple[str, tuple[Lane, ...]]] = []

    async def assigned(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        self.told.append(("assigned", tuple(lanes)))
        return {lane: self.stored[lane] for lane in lanes if lane in self.stored}

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Position]:
        self.told.append(("revoked", tuple(lanes)))
        return {lane: self.stored[lane] for lane in lanes if lane in self.stored}

    async def lost(self, lanes: Collection[Lane]) -> None:
        self.told.append(("lost", tuple(lanes)))


@pytest.fixture
def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
def queue(hub: MemoryHub) -> MemoryQueue:
    return hub.service("queues").queue("records")


@asynccontextmanager
async def opened(
    hub: MemoryHub,
    *,
    member: bool = False,
    lanes: NotedLanes | None = None,
    positions: Mapping[Lane, int] | None = None,
) -> AsyncIterator[Source]:
    provider = provider_on(hub)
    assert provider.source is not None
    ref = SourceRef(service_name="queues", resource="records")
    options = MemorySourceOptions(member=member)
    async with (
        provider.connect(MemoryConfig(name="queues")) as live,
        provider.source.open(live, ref, options, Resume(positions=positions or {}), lanes or NotedLanes({})) as source,
    ):
        yield source


async def test_lanes_travel_together_in_one_batch(hub: MemoryHub, queue: MemoryQueue) -> None:
    queue.put(b"1", b"2", lane="a")
    queue.put(b"3", lane="b")

    async with opened(hub) as source:
        batch = await source.read(Limit())
        assert batch is not None
        after_two = source.positions(batch, 2)

    assert batch.payloads == [b"1", b"2", b"3"]
    assert batch.lanes == ["a", "a", "b"]
    assert batch.positions == {"a": 2, "b": 1}
    assert after_two == {"a": 2}


async def test_a_member_reads_the_lanes_that_it_is_given_from_their_stored_positions(
    hub: MemoryHub, queue: MemoryQueue
) -> None:
    queue.put(b"1", b"2", lane="a")
    queue.put(b"3", lane="b")
    lanes = NotedLanes({"a": 1})

    async with opened(hub, member=True, lanes=lanes) as source:
        await queue.members[0].assign("a")
        batch = await source.read(Limit())

    assert batch is not None
    assert batch.payloads == [b"2"]
    assert lanes.told == [("assigned", ("a",))]


async def test_what_a_revocation_saved_is_acknowledged_and_no_more_is_read(hub: MemoryHub, queue: MemoryQueue) -> None:
    queue.put(b"1", lane="a")
    queue.put(b"2", lane="b")
    lanes = NotedLanes({})

    async with opened(hub, member=True, lanes=lanes) as source:
        await queue.members[0].assign("a", "b")
        await source.read(Limit())
        lanes.stored["a"] = 1
        await queue.members[0].revoke("a")
        queue.put(b"3", lane="a")
        queue.put(b"4", lane="b")
        batch = await source.read(Limit())

    assert batch is not None
    assert batch.payloads == [b"4"]
    assert queue.acked == [{"a": 1}]
    assert lanes.told[-1] == ("revoked", ("a",))


async def test_a_lost_lane_saves_nothing(hub: MemoryHub, queue: MemoryQueue) -> None:
    queue.put(b"1", lane="a")
    lanes = NotedLanes({})

    async with opened(hub, member=True, lanes=lanes) as source:
        await queue.members[0].assign("a")
        await source.read(Limit())
        await queue.members[0].lose("a")

    assert queue.acked == []
    assert lanes.told[-1] == ("lost", ("a",))


async def test_a_paused_lane_waits_for_its_turn(hub: MemoryHub, queue: MemoryQueue) -> None:
    async with opened(hub) as source:
        assert isinstance(source, Pausable)
        await source.pause(["a"])
        queue.put(b"1", lane="a")
        queue.put(b"2", lane="b")
        first = await source.read(Limit())
        await source.resume(["a"])
        second = await source.read(Limit())

    assert first is not None
    assert second is not None
    assert (first.payloads, second.payloads) == ([b"2"], [b"1"])


async def test_a_reader_that_waits_ends_when_the_queue_is_closed(hub: MemoryHub, queue: MemoryQueue) -> None:
    async with opened(hub) as source:
        reader = asyncio.create_task(source.read(Limit()))
        await asyncio.sleep(0)
        queue.close()
        assert await reader is None


async def test_a_position_beyond_the_queue_is_lost(hub: MemoryHub, queue: MemoryQueue) -> None:
    queue.put(b"1")

    async with opened(hub, positions={"": 2}) as source:
        with pytest.raises(PositionLost):
            await source.read(Limit())


async def test_without_a_hub_every_connection_begins_empty() -> None:
    config = MemoryConfig(name="queues")
    async with PROVIDER.connect(config) as first:
        first.queue("records").put(b"1")
    async with PROVIDER.connect(config) as second:
        assert second.queue("records").payloads() == []


async def test_a_closed_source_is_no_member_any_more(hub: MemoryHub, queue: MemoryQueue) -> None:
    async with opened(hub):
        during = len(queue.members)

    assert during == 1
    assert queue.members == []
