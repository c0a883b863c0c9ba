"""Lanes that come and go while their positions are committed together with their records."""

from __future__ import annotations

import asyncio

from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.checkpointing import TransactionalCheckpoints
from mstream.errors import StorageFull
from mstream.providers.memory.documents import MemoryDocuments
from tests.unit.engine.rebalances import Together, owner_on
from tests.unit.engine.scripted import connector
from tests.unit.engine.ways import Near
from tests.virtual import VirtualClock, run


def test_a_lane_that_is_revoked_during_a_commit_is_given_up_after_it(near: Near) -> None:
    together = Together(near)
    together.out.faults.write_seconds = 1

    async def story() -> None:
        await together.begin()
        async with together.running():
            await together.source.assign("a", "b")
            together.put("a", 3)
            together.put("b", 3)
            await asyncio.sleep(0.5)
            await together.source.revoke("a", deadline=5)
            assert together.queue.acked[-1] == {"a": 3}
            together.put("a", 3)
            together.put("b", 3)
            await asyncio.sleep(10)
        assert await together.positions() == {"a": 3, "b": 6}

    near.run(story())

    assert (together.taken("a"), together.taken("b")) == ([0, 1, 2], list(range(6)))


def test_a_commit_leaves_out_a_lane_that_another_member_has_claimed_meanwhile(near: Near) -> None:
    together = Together(near)
    together.out.faults.write_seconds = 1

    async def story() -> None:
        await together.begin()
        async with together.running():
            await together.source.assign("a", "b")
            together.put("a", 3)
            together.put("b", 3)
            await asyncio.sleep(0.5)
            await together.source.lose("a")
            await together.jobs.claim(["a"])
            await asyncio.sleep(10)
        assert await together.positions() == {"a": None, "b": 3}

    near.run(story())

    assert (together.taken("a"), together.taken("b")) == ([], [0, 1, 2])


def test_a_commit_that_happens_while_its_lane_is_lost_is_whole(near: Near) -> None:
    together = Together(near)
    together.out.faults.write_seconds = 1

    async def story() -> None:
        await together.begin()
        async with together.running():
            await together.source.assign("a", "b")
            together.put("a", 3)
            await asyncio.sleep(0.5)
            await together.source.lose("a")
            await asyncio.sleep(10)
            assert await together.positions() == {"a": 3, "b": None}
            together.put("b", 3)
            await asyncio.sleep(10)

    near.run(story())

    assert (together.taken("a"), together.taken("b")) == ([0, 1, 2], [0, 1, 2])
    assert together.queue.acked == [{"b": 3}]


def test_a_commit_that_must_be_tried_again_leaves_out_a_lane_that_was_lost_meanwhile(near: Near) -> None:
    together = Together(near)
    together.out.faults.writes.append(StorageFull("full"))

    async def story() -> None:
        await together.begin()
        async with together.running():
            await together.source.assign("a", "b")
            together.put("a", 3)
            together.put("b", 3)
            await asyncio.sleep(0.01)
            await together.source.lose("a")
            await asyncio.sleep(10)
        assert await together.positions() == {"a": None, "b": 3}

    near.run(story())

    assert (together.taken("a"), together.taken("b")) == ([], [0, 1, 2])


def test_a_lane_that_comes_back_goes_on_after_its_last_commit(near: Near) -> None:
    together = Together(near, batch={"kind": "count", "size": 2, "max_wait_ms": 0}, max_in_flight=1)
    together.out.faults.write_seconds = 0.1

    async def story() -> None:
        await together.begin()
        together.put("a", 40)
        async with together.running():
            for number in range(4):
                await together.source.assign("a")
                await asyncio.sleep(0.45)
                await (together.source.lose("a") if number % 2 else together.source.revoke("a"))
            await together.source.assign("a")
            await asyncio.sleep(100)
        assert await together.positions() == {"a": 40}

    near.run(story())

    assert together.taken("a") == list(range(40))


def test_a_commit_whose_answer_was_lost_is_recognised_by_any_of_its_lanes() -> None:
    documents = MemoryDocuments()

    async def story() -> bool:
        owner = owner_on(documents)
        await owner.begin(CheckpointMode.TRANSACTIONAL, "memory")
        spec = RunSpec(
            job="job",
            run_id="run-1",
            epoch=1,
            connector=connector(),
            services={},
            checkpoint_resource="checkpoints",
        )
        checkpoints = TransactionalCheckpoints(spec, owner=owner, clock=VirtualClock())
        pending = await checkpoints.prepare({"a": 3, "b": 3})
        assert not await checkpoints.has_happened(pending, [])
        documents.commit(pending.entries)
        await owner.claim(["a"])
        return await checkpoints.has_happened(pending, [])

    assert run(story())
