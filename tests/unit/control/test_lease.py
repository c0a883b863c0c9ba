"""One owner at a time, whatever clocks say and whoever is frozen when."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from mstream.control.lease import NoLease, kept, present_owner
from mstream.control.standby import acquire
from mstream.domain.lease import Identity
from mstream.errors import DocumentDamaged, StaleOwner, StoreOwned
from mstream.foundation.concurrency import background
from mstream.foundation.locks import FileLock
from mstream.foundation.processes import Process, this_process
from mstream.providers.memory.documents import MemoryDocuments
from tests.unit.control.lease_twins import (
    CountsFromTheAnswer,
    CountsFromTheFirstLook,
    Overwrites,
    TrustsTheWallClock,
)
from tests.unit.control.rivals import LEASE_SEC, Rival, World, true_time
from tests.virtual import VirtualClock, run

LONGEST_TAKEOVER = 15.0


def identity(instance: str = "one", process: Process | None = None) -> Identity:
    return Identity(instance=instance, process=process or this_process(), address="http://127.0.0.1:1")


def told(story: Callable[[World], Awaitable[None]], seed: int = 1) -> World:
    """The story, with somebody who counts valid owners all the time."""

    async def watched() -> World:
        world = World(Random(seed))
        async with background(world.watch()):
            await story(world)
        return world

    return run(watched())


def test_a_free_store_is_owned_at_once_in_the_first_epoch() -> None:
    async def story(world: World) -> None:
        rival = world.rival(slowest=0)

        lease = await rival.attempt()

        assert (lease.epoch, true_time(), lease.is_valid) == (1, 0.0, True)

    told(story)


def test_a_released_store_is_owned_at_once_in_the_next_epoch() -> None:
    async def story(world: World) -> None:
        first, second = world.rival(slowest=0), world.rival(slowest=0)
        async with kept(await first.attempt()):
            await asyncio.sleep(100)
        ended = true_time()

        lease = await second.attempt()

        assert (lease.epoch, true_time()) == (2, ended)

    told(story)


def test_a_lease_is_held_as_long_as_it_is_renewed() -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(), world.rival()
        async with owner.living_first(), background(other.live()):
            await asyncio.sleep(1000)

        assert (owner.acquired, other.acquired) == (1, 0)

    told(story)


@pytest.mark.parametrize("seed", range(20))
def test_an_owner_on_another_machine_that_died_is_taken_over_within_the_bound(seed: int) -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(), world.rival(rate=0.98)
        async with owner.living_first(), background(other.live()):
            await asyncio.sleep(world.random.uniform(1, 60))
            owner.is_dead = True
            died = true_time()
            await asyncio.sleep(LONGEST_TAKEOVER)

            assert other.acquired_at is not None
            assert other.acquired_at - died >= 0
            assert other.owns

    assert told(story, seed).most_valid == 1


@pytest.mark.parametrize("step", [-1e9, -60.0, 60.0, 1e9])
def test_what_wall_clocks_say_does_not_matter(step: float) -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(), world.rival()
        async with owner.living_first(), background(other.live()):
            await asyncio.sleep(30)
            other.wall_offset = step
            await asyncio.sleep(30)
            owner.wall_offset = -step
            await asyncio.sleep(30)

        assert (owner.acquired, other.acquired) == (1, 0)

    assert told(story).most_valid == 1


async def cut_off(world: World, **options: object) -> tuple[Rival, Rival]:
    """The owner's way to the store is cut for a minute."""
    owner, other = world.rival(**options), world.rival()
    async with owner.living_first(), background(other.live()):
        await asyncio.sleep(20)
        owner.is_cut = True
        await asyncio.sleep(60)
        owner.is_cut = False
        await asyncio.sleep(20)
    return owner, other


def test_an_owner_that_is_cut_off_gives_up_before_another_can_own() -> None:
    async def story(world: World) -> None:
        owner, other = await cut_off(world)

        assert (owner.acquired, other.acquired) == (1, 1)

    assert told(story).most_valid == 1


def test_a_short_outage_of_the_store_costs_nothing() -> None:
    async def story(world: World) -> None:
        owner = world.rival()
        async with owner.living_first():
            await asyncio.sleep(20)
            owner.is_cut = True
            await asyncio.sleep(2)
            owner.is_cut = False
            await asyncio.sleep(20)

        assert owner.acquired == 1

    told(story)


def test_an_owner_that_was_cut_off_alone_owns_again_in_a_higher_epoch() -> None:
    async def story(world: World) -> None:
        owner = world.rival()
        async with owner.living_first():
            await asyncio.sleep(20)
            owner.is_cut = True
            await asyncio.sleep(60)
            assert not owner.owns
            owner.is_cut = False
            await asyncio.sleep(5)

            assert owner.owns
            assert owner.lease is not None
            assert owner.lease.epoch > 1

    told(story)


def test_a_frozen_owner_is_not_valid_when_it_wakes_and_finds_its_successor() -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(), world.rival()
        async with background(owner.own_once()):
            await owner.has_owned.wait()
            async with background(other.live()):
                await asyncio.sleep(20)
                lease = owner.lease
                assert lease is not None
                with owner.frozen():
                    await asyncio.sleep(30)

                with pytest.raises(StaleOwner, match="does not own the store"):
                    lease.require()
                assert other.owns

    assert told(story).most_valid == 1


def test_a_doubt_shows_a_successor_at_once() -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(slowest=0), world.rival(slowest=0)
        lease = await owner.attempt()
        async with kept(lease):
            await asyncio.sleep(1)
            await world.store.delete("lease")
            await other.attempt()

            lease.doubt()
            await asyncio.sleep(0.1)

            assert lease.lost.is_set()
            assert lease.reason is not None
            assert "host-1" in lease.reason

    told(story)


def test_a_doubt_without_a_successor_changes_nothing() -> None:
    async def story(world: World) -> None:
        owner = world.rival(slowest=0)
        lease = await owner.attempt()
        async with kept(lease):
            lease.doubt()
            await asyncio.sleep(0.1)

            assert lease.is_valid
            lease.require()

    told(story)


def test_a_lease_begins_above_every_epoch_that_is_stored() -> None:
    async def story() -> None:
        async def highest() -> int:
            return 41

        system = MemoryDocuments().collection("system")
        clock = VirtualClock()
        first = await acquire(system, identity(), clock=clock, highest_epoch=highest)
        await first.release()
        second = await acquire(system, identity("two"), clock=clock)

        assert (first.epoch, second.epoch) == (42, 43)

    run(story())


def test_a_second_instance_may_refuse_to_wait_for_a_live_owner_of_this_machine() -> None:
    async def story() -> None:
        system, clock = MemoryDocuments().collection("system"), VirtualClock()
        await acquire(system, identity(), clock=clock)

        with pytest.raises(StoreOwned, match=r"127\.0\.0\.1:1"):
            await acquire(system, identity("two"), clock=clock, on_conflict="exit")

        assert true_time() == 0

    run(story())


def test_a_second_instance_refuses_once_it_has_seen_an_owner_elsewhere_renew() -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(), world.rival()
        async with owner.living_first():
            await asyncio.sleep(1)

            with pytest.raises(StoreOwned, match="host-0"):
                await other.attempt("exit")

            assert true_time() < LEASE_SEC / 2

    told(story)


def test_a_dead_owner_elsewhere_is_no_reason_to_refuse() -> None:
    async def story(world: World) -> None:
        owner, other = world.rival(), world.rival()
        async with owner.living_first():
            await asyncio.sleep(1)
            owner.is_dead = True

            assert (await other.attempt("exit")).epoch == 2

    assert told(story).most_valid == 1


def test_the_present_owner_can_be_looked_up_until_it_releases() -> None:
    async def story() -> None:
        system, clock = MemoryDocuments().collection("system"), VirtualClock()
        assert await present_owner(system, clock) is None
        async with kept(await acquire(system, identity(), clock=clock)):
            owner = await present_owner(system, clock)
            assert owner is not None
            assert owner.identity == identity()

        assert await present_owner(system, clock) is None

    run(story())


def test_a_document_that_is_no_lease_is_not_written_over() -> None:
    async def story() -> None:
        system, clock = MemoryDocuments().collection("system"), VirtualClock()
        await system.put("lease", {"name": "lease", "epoch": "many"})

        with pytest.raises(DocumentDamaged, match="lease"):
            await acquire(system, identity(), clock=clock)

    run(story())


def test_without_a_store_nobody_ever_loses_the_lease() -> None:
    async def story() -> None:
        lease = NoLease()
        async with kept(lease):
            lease.doubt()
            lease.require()

            assert (lease.epoch, lease.is_valid, lease.lost.is_set()) == (0, True, False)

    run(story())


def test_a_process_of_this_machine_that_is_gone_is_taken_over_within_two_seconds() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    gone = replace(this_process(), pid=child.pid)

    async def story() -> None:
        system, clock = MemoryDocuments().collection("system"), VirtualClock()
        await acquire(system, identity("one", gone), clock=clock, lease_sec=3600)

        assert (await acquire(system, identity("two"), clock=clock)).epoch == 2
        assert 1 < true_time() <= 2

    run(story())


ELSEWHERE = Process(host="elsewhere", boot_id="b", namespace="n", pid=1, started="1")


def test_a_lock_that_is_free_shows_that_its_owner_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        system, clock = MemoryDocuments().collection("system"), VirtualClock()
        one, two = FileLock(tmp_path / "a.lock"), FileLock(tmp_path / "a.lock")
        await acquire(system, identity("one", ELSEWHERE), clock=clock, lock=one)
        one.release()  # as the system does when its holders have ended

        lease = await acquire(system, identity("two"), clock=clock, lock=two)

        assert (lease.epoch, true_time(), len(lease.inherited)) == (2, 0, 1)
        await lease.release()
        assert one.acquire()
        one.release()

    run(story())


@pytest.mark.parametrize("held", ["no lock", "another lock"])
def test_a_lock_that_the_owner_never_held_says_nothing_about_it(held: str, tmp_path: Path) -> None:
    async def story() -> None:
        system, clock = MemoryDocuments().collection("system"), VirtualClock()
        path = tmp_path / "a.lock"
        owner = await acquire(
            system,
            identity("one", ELSEWHERE),
            clock=clock,
            lock=None if held == "no lock" else FileLock(tmp_path / "b.lock"),
        )
        wait = acquire(system, identity("two"), clock=clock, lock=FileLock(path))
        async with kept(owner), background(wait) as waiting:
            await asyncio.sleep(100)
            assert not waiting.done()
            assert owner.is_valid
            assert FileLock(path).acquire()  # nobody keeps it for nothing

    run(story())


def test_a_lock_that_cannot_be_had_at_all_is_done_without(tmp_path: Path) -> None:
    async def story() -> None:
        system = MemoryDocuments().collection("system")
        lock = FileLock(tmp_path / "missing" / "a.lock")

        lease = await acquire(system, identity(), clock=VirtualClock(), lock=lock)

        assert (lease.epoch, lease.inherited) == (1, ())

    run(story())


async def slow_answers(world: World, **options: object) -> None:
    """The owner freezes while the answer to each of its renewals is on its way."""
    owner, other = world.rival(slowest=1.0, **options), world.rival()
    async with owner.living_first(), background(other.live()):
        for _ in range(50):
            await asyncio.sleep(world.random.uniform(1, 5))
            with owner.frozen():
                await asyncio.sleep(world.random.uniform(5, 11))


async def clocks_apart(world: World, **options: object) -> None:
    """The standby's wall clock is ahead."""
    owner, other = world.rival(), world.rival(**options)
    other.wall_offset = 60
    async with owner.living_first():
        await asyncio.sleep(1)
        async with background(other.live()):
            await asyncio.sleep(60)


async def many_at_once(world: World, **options: object) -> None:
    """All want it at the same moment."""
    rivals = [world.rival(slowest=0.5, **options) for _ in range(5)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.live()) for each in rivals]
        await asyncio.sleep(60)
        for each in tasks:
            each.cancel()


TWINS = [
    (slow_answers, "lease", CountsFromTheAnswer),
    (clocks_apart, "standby", TrustsTheWallClock),
    (clocks_apart, "standby", CountsFromTheFirstLook),
    (many_at_once, "leases", Overwrites),
]


@pytest.mark.parametrize(("story", "part", "twin"), TWINS)
def test_wrong_twins_are_caught_where_the_right_ones_hold(
    story: Callable[..., Awaitable[None]], part: str, twin: type
) -> None:
    caught = False
    for seed in range(10):
        assert told(story, seed).most_valid == 1
        caught = caught or told(lambda world: story(world, **{part: twin}), seed).most_valid > 1
        if caught:
            break

    assert caught
