"""Lanes that come and go while records flow: what is settled, what is forgotten, what is saved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping

import pytest

from mstream.domain.batch import Batch
from mstream.engine.batching import Batcher
from mstream.engine.lanes import LaneBook
from mstream.engine.settlement import Settlement
from mstream.errors import NotYetSafe, Unreachable
from tests.unit.engine.rebalances import Membership, PatientOwner
from tests.unit.engine.scripted import RememberingOwner, ScriptedSource
from tests.unit.engine.ways import Near
from tests.virtual import VirtualClock, run

#: Small batches, so that many are on their way at once.
SMALL = {"kind": "count", "size": 2, "max_wait_ms": 0}


async def _seconds(work: Awaitable[object]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await work
    return loop.time() - began


def test_a_lane_that_comes_later_is_delivered_from_its_stored_position(near: Near) -> None:
    owner = RememberingOwner(positions={"b": 3})
    member = Membership(owner, near, batch=SMALL)

    async def story() -> None:
        member.put("a", 5)
        member.put("b", 6)
        async with member.running({"b": 3}):
            await member.source.assign("a")
            await asyncio.sleep(5)
            assert member.taken("b") == []
            await member.source.assign("b")
            await asyncio.sleep(5)

    near.run(story())

    assert (member.taken("a"), member.taken("b")) == ([0, 1, 2, 3, 4], [3, 4, 5])
    assert owner.positions == {"a": 5, "b": 6}


def test_a_revoked_lane_is_settled_and_saved_before_it_is_given_up(near: Near) -> None:
    owner = PatientOwner(save_seconds=0.2)
    member = Membership(owner, near, batch=SMALL)
    member.out.faults.write_seconds = 0.3

    async def story() -> None:
        member.put("a", 6)
        async with member.running():
            await member.source.assign("a")
            await asyncio.sleep(0.1)
            await member.source.revoke("a", deadline=5)
            assert member.queue.acked[-1] == {"a": 6}
            assert owner.positions == {"a": 6}
            assert owner.released == ["a"]
            member.put("a", 6)
            await asyncio.sleep(10)

    near.run(story())

    assert member.taken("a") == list(range(6))


def test_what_cannot_be_settled_in_time_is_neither_written_nor_saved_afterwards(near: Near) -> None:
    owner = PatientOwner()
    member = Membership(owner, near, batch=SMALL)

    async def story() -> None:
        member.out.faults.writes.extend(Unreachable("down") for _ in range(10))
        member.put("a", 6)
        async with member.running():
            await member.source.assign("a", "b")
            await asyncio.sleep(0.1)
            assert await _seconds(member.source.revoke("a", deadline=5)) <= 5
            assert member.queue.acked[-1] == {}
            member.put("b", 3)
            await asyncio.sleep(1000)

    near.run(story())

    assert member.taken("a") == []
    assert member.taken("b") == [0, 1, 2]
    assert owner.positions == {"b": 3}


def test_a_store_that_is_away_holds_no_rebalance_beyond_its_deadline(near: Near) -> None:
    owner = PatientOwner(save_seconds=100)
    member = Membership(owner, near, batch=SMALL)

    async def story() -> None:
        member.put("a", 2)
        async with member.running():
            await member.source.assign("a")
            await asyncio.sleep(0.01)
            assert await _seconds(member.source.revoke("a", deadline=5)) <= 5
            owner.save_seconds = 0
            await asyncio.sleep(200)

    near.run(story())

    assert member.queue.acked[0] == {}


def test_a_flush_that_takes_too_long_leaves_the_revoked_lane_unsaved_and_the_others_go_on(near: Near) -> None:
    owner = PatientOwner()
    member = Membership(owner, near, batch=SMALL)

    async def story() -> None:
        async with member.running():
            await member.source.assign("a", "b")
            member.out.faults.flushes.extend(NotYetSafe("not yet") for _ in range(8))
            member.put("a", 2)
            member.put("b", 2)
            await asyncio.sleep(0.01)
            assert await _seconds(member.source.revoke("a", deadline=5)) <= 5
            await asyncio.sleep(1000)

    near.run(story())

    assert member.queue.acked[0] == {}
    assert owner.positions == {"b": 2}
    assert all("a" not in each for each in owner.saves)


def test_a_rebalance_whose_save_fails_ends_no_run_that_can_save_later(near: Near) -> None:
    owner = PatientOwner()
    member = Membership(owner, near, checkpoint={"interval_ms": 60_000}, retry={"max_attempts": 1})

    async def story() -> None:
        async with member.running():
            await member.source.assign("a", "b")
            await asyncio.sleep(5)
            member.out.faults.flushes.append(NotYetSafe("not yet"))
            member.put("a", 2)
            member.put("b", 2)
            await asyncio.sleep(0.01)
            await member.source.revoke("a", deadline=5)
            assert member.queue.acked[-1] == {}
            await asyncio.sleep(100)

    near.run(story())

    assert owner.positions == {"b": 2}


def test_a_revoked_lane_is_not_acknowledged_by_the_run(near: Near) -> None:
    member = Membership(PatientOwner(save_seconds=0.5), near, checkpoint={"interval_ms": 60_000})

    async def story() -> None:
        async with member.running():
            await member.source.assign("a", "b")
            await asyncio.sleep(5)
            member.put("a", 2)
            member.put("b", 2)
            await asyncio.sleep(1)
            await member.source.revoke("a", deadline=5)

    near.run(story())

    # The source has told of "a" what it was answered, the run of "b".
    assert sorted(member.queue.acked, key=str) == [{"a": 2}, {"b": 2}]


def test_a_lost_lane_is_forgotten_at_once(near: Near) -> None:
    owner = PatientOwner()
    member = Membership(owner, near, batch=SMALL)
    member.out.faults.write_seconds = 1

    async def story() -> None:
        member.put("a", 20)
        async with member.running():
            await member.source.assign("a")
            await asyncio.sleep(2.5)
            assert await _seconds(member.source.lose("a")) == 0
            under_way = 2
            written = len(member.taken("a"))
            saved = dict(owner.positions)
            await asyncio.sleep(100)
            assert len(member.taken("a")) <= written + under_way
            assert owner.positions == saved

    near.run(story())


def test_a_lane_that_was_lost_and_comes_back_goes_on_after_what_was_saved(near: Near) -> None:
    owner = PatientOwner()
    member = Membership(owner, near, batch=SMALL)
    owner.on_save = lambda positions: _none(member.lacks(positions))

    async def story() -> None:
        member.put("a", 40)
        member.out.faults.write_seconds = 0.1
        async with member.running():
            for _ in range(5):
                await member.source.assign("a")
                await asyncio.sleep(0.45)
                await member.source.lose("a")
            await member.source.assign("a")
            await asyncio.sleep(100)

    near.run(story())

    assert set(member.taken("a")) == set(range(40))
    assert owner.positions == {"a": 40}
    assert member.queue.acked[-1] == {"a": 40}


def test_what_is_read_while_a_lane_is_given_up_is_forgotten(near: Near) -> None:
    owner = PatientOwner(save_seconds=1)
    member = Membership(owner, near)

    async def story() -> None:
        async with member.running():
            await member.source.assign("a")
            member.put("a", 2)
            await asyncio.sleep(0.01)
            revoking = asyncio.ensure_future(member.source.revoke("a", deadline=50))
            await asyncio.sleep(0.5)
            member.put("a", 2)
            await revoking
            await asyncio.sleep(100)

    near.run(story())

    assert member.taken("a") == [0, 1]
    assert owner.positions == {"a": 2}


def test_a_part_of_a_batch_is_forgotten_with_its_lane_and_read_again_when_it_comes_back(near: Near) -> None:
    owner = PatientOwner()
    member = Membership(owner, near, batch={"kind": "count", "size": 100, "max_wait_ms": 5_000})

    async def story() -> None:
        async with member.running():
            await member.source.assign("a", "b")
            member.put("a", 3)
            member.put("b", 3)
            await asyncio.sleep(1)
            await member.source.lose("a")
            await member.source.assign("a")
            await asyncio.sleep(100)

    near.run(story())

    assert (member.taken("a"), member.taken("b")) == ([0, 1, 2], [0, 1, 2])
    assert owner.positions == {"a": 3, "b": 3}


@pytest.mark.parametrize("verb", ["lose", "revoke"])
def test_a_lane_that_goes_at_any_turn_of_the_loop_is_never_saved_later(verb: str) -> None:
    """Wherever its batch is then: in the reader, between two tasks, at a step, at a sink, settled."""

    async def story(turns: int) -> None:
        owner = PatientOwner()
        member = Membership(owner)
        member.out.faults.writes.append(Unreachable("down"))
        async with member.running():
            await member.source.assign("a")
            member.put("a", 2)
            for _ in range(turns):
                await asyncio.sleep(0)
            work = member.source.lose("a") if verb == "lose" else member.source.revoke("a", deadline=0)
            await work
            saved = dict(owner.positions)
            await asyncio.sleep(100)
            assert owner.positions == saved
            assert member.lacks(saved) == {}

    for turns in range(40):
        run(story(turns))


def _none(missing: Mapping[str, object]) -> None:
    assert not missing


def test_a_batch_between_its_reader_and_its_ticket_forgets_a_lost_lane() -> None:
    async def story() -> None:
        settlement = Settlement()
        lanes = LaneBook(settlement=settlement, positions={}, owner=RememberingOwner(), transactional=None)
        lanes.batcher = batcher = Batcher(ScriptedSource([("a", 2), ("a", 2)]), None, VirtualClock())
        batch = await batcher.read()
        assert isinstance(batch, Batch)

        await lanes.lost(["a"])
        await lanes.assigned(["a"])
        ticket = settlement.track(batch.positions)
        lanes.hold(ticket)

        assert lanes.is_gone(ticket.sequence, "a")
        assert settlement.settle(ticket) == {}
        later = await batcher.read()
        assert isinstance(later, Batch)
        ticket = settlement.track(later.positions)
        lanes.hold(ticket)
        assert not lanes.is_gone(ticket.sequence, "a")
        assert settlement.settle(ticket) == {"a": 4}

    run(story())
