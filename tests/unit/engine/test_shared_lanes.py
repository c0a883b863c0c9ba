"""Lanes that move between the members of one job: where each goes on, and whose word counts."""

from __future__ import annotations

import asyncio

import pytest

from mstream.errors import StaleCheckpoint
from tests.unit.engine.groups import Group
from tests.unit.engine.ways import Near
from tests.virtual import run

#: Small batches, so that many are on their way at once.
SMALL = {"kind": "count", "size": 2, "max_wait_ms": 0}


@pytest.fixture(params=[False, True], ids=["saved", "transactional"])
def transactional(request: pytest.FixtureRequest) -> bool:
    """Who keeps the positions."""
    return bool(request.param)


def test_a_lane_goes_on_where_the_member_before_has_left_it(near: Near, *, transactional: bool) -> None:
    group = Group(near, transactional=transactional, batch=SMALL)

    async def story() -> None:
        async with group.running() as (one, two):
            for number, member in enumerate([one, two, one, two]):
                await member.source.assign("a")
                group.put("a", 5)
                await asyncio.sleep(5)
                assert group.taken("a") == list(range(5 * number + 5))
                await member.source.revoke("a")
            assert await group.stored() == {"a": 20}

    near.run(story())

    assert group.taken("a") == list(range(20))


def test_a_lane_that_is_given_up_unread_is_acknowledged_where_it_stands(near: Near, *, transactional: bool) -> None:
    group = Group(near, transactional=transactional)

    async def story() -> None:
        async with group.running() as (one, two):
            for member in (one, two):
                await member.source.assign("a")
                group.put("a", 5)
                await asyncio.sleep(5)
                await member.source.revoke("a")
            await one.source.assign("a")
            await one.source.revoke("a")

            # It had left it at 5 itself.
            assert group.queue.acked[-1] == {"a": 10}

    near.run(story())


def test_members_save_into_one_checkpoint(near: Near, *, transactional: bool) -> None:
    group = Group(near, transactional=transactional, members=3)

    async def story() -> None:
        async with group.running() as members:
            for lane, member in zip("abc", members, strict=True):
                await member.source.assign(lane)
                group.put(lane, 4)
            await asyncio.sleep(5)
            assert await group.stored() == {"a": 4, "b": 4, "c": 4}

    near.run(story())


def test_who_takes_a_lane_waits_for_the_save_that_is_under_way(near: Near) -> None:
    group = Group(near, batch=SMALL)

    async def story() -> None:
        async with group.running() as (one, two):
            await one.source.assign("a")
            group.store.answers_after = 10
            group.put("a", 4)
            await asyncio.sleep(1)
            assert group.taken("a") == [0, 1, 2, 3]
            await one.source.lose("a")
            taking = asyncio.ensure_future(two.source.assign("a"))
            await asyncio.sleep(1)
            assert not taking.done()
            group.store.answers_after = 0
            await taking
            group.put("a", 4)
            await asyncio.sleep(20)
            assert await group.stored() == {"a": 8}

    near.run(story())

    assert group.taken("a") == list(range(8))


def test_a_save_that_was_cut_short_with_its_member_counts_if_it_came_through() -> None:
    group = Group()

    async def story() -> None:
        async with group.running() as (one, two):
            await one.source.assign("a")
            group.store.answers_after = 10
            group.put("a", 4)
            await asyncio.sleep(1)
            one.task.cancel()
            await asyncio.wait({one.task})
            group.store.answers_after = 0
            await two.source.assign("a")
            await asyncio.sleep(5)

    run(story())

    assert group.taken("a") == [0, 1, 2, 3]


def test_who_does_not_know_that_its_lane_is_anothers_moves_it_no_more(near: Near) -> None:
    group = Group(near)

    async def story() -> None:
        async with group.running() as (one, two):
            await one.source.assign("a", "b")
            group.out.faults.write_seconds = 60
            group.put("a", 4)
            group.put("b", 4)
            await asyncio.sleep(1)
            # Nobody has told the first one, which writes still.
            group.out.faults.write_seconds = 0
            await two.source.assign("a")
            group.put("a", 2)
            await asyncio.sleep(30)
            assert await group.stored() == {"a": 6}
            group.out.faults.write_seconds = 60
            await asyncio.sleep(60)
            assert await group.stored() == {"a": 6, "b": 4}
            group.out.faults.write_seconds = 0

    near.run(story())

    assert {each["positions"].get("a", 0) for each in group.store.writes} == {0, 6}


def test_a_commit_of_who_does_not_know_that_its_lane_is_anothers_does_not_happen(near: Near) -> None:
    group = Group(near, transactional=True)

    async def story() -> None:
        async with group.running() as (one, two):
            await one.source.assign("a")
            group.put("a", 3)
            await asyncio.sleep(5)
            await two.source.assign("a")
            group.put("a", 3)
            await asyncio.sleep(5)

    with pytest.raises(StaleCheckpoint):
        near.run(story())

    assert group.taken("a") == list(range(6))
