"""Whatever happens to instances, their clocks and their way to the store: never two valid owners at one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from mstream.foundation.concurrency import background
from tests.unit.control.lease_twins import CountsFromTheFirstLook, Overwrites, TrustsTheWallClock
from tests.unit.control.rivals import LEASE_SEC, Rival, World
from tests.virtual import run

RIVALS = 3
#: Seconds from the last misfortune until somebody must own; a bit over 15, for the road is slow here.
BOUND = 15.0 + 2 * LEASE_SEC / 3


@dataclass(frozen=True)
class Misfortune:
    after: float
    whom: int
    kind: str
    seconds: float


MISFORTUNES = st.builds(
    Misfortune,
    after=st.floats(0, 8),
    whom=st.integers(0, RIVALS - 1),
    kind=st.sampled_from(["freeze", "cut", "crash", "end", "step"]),
    seconds=st.floats(0.1, 30),
)


async def befall(rival: Rival, each: Misfortune) -> None:
    """It happens now, and is over after its time."""
    match each.kind:
        case "freeze":
            with rival.frozen():
                await asyncio.sleep(each.seconds)
        case "cut":
            rival.is_cut = True
            await asyncio.sleep(each.seconds)
            rival.is_cut = False
        case "step":
            rival.wall_offset += each.seconds * 1000 - 15_000
        case "crash":
            rival.is_dead = True
        case "end":
            rival.ending.set()


async def life(world: World, schedule: Sequence[Misfortune], **options: object) -> None:
    rates = [0.97, 1.0, 1.03]
    for number in range(RIVALS):
        world.rival(rate=rates[number], slowest=2.0, **options)
    spare = world.rival(**options)  # nothing ever happens to it
    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(each.live()) for each in world.rivals]
        misfortunes = []
        for each in schedule:
            await asyncio.sleep(each.after)
            misfortunes.append(group.create_task(befall(world.rivals[each.whom], each)))
        await asyncio.wait([*misfortunes, group.create_task(asyncio.sleep(0))])
        await asyncio.sleep(BOUND)
        world.is_owned = any(each.owns for each in world.rivals)
        for rival in world.rivals:
            rival.ending.set()
        spare.ending.set()
        await asyncio.sleep(BOUND)
        for task in lives:
            task.cancel()


def lived(schedule: Sequence[Misfortune], seed: int, **options: object) -> World:
    async def watched() -> World:
        world = World(Random(seed))
        async with background(world.watch()):
            await life(world, schedule, **options)
        return world

    return run(watched())


@settings(max_examples=60, deadline=None)
@given(schedule=st.lists(MISFORTUNES, max_size=25), seed=st.integers(0, 2**32))
def test_one_owner_at_a_time_and_growing_epochs(schedule: list[Misfortune], seed: int) -> None:
    world = lived(schedule, seed)

    assert world.most_valid == 1
    assert world.is_owned
    assert world.epochs == sorted(set(world.epochs))


def drawn(random: Random) -> list[Misfortune]:
    kinds = ["freeze", "freeze", "cut", "step"]
    return [
        Misfortune(random.uniform(0, 8), random.randrange(RIVALS), random.choice(kinds), random.uniform(0.1, 30))
        for _ in range(25)
    ]


def is_caught(**twin: object) -> bool:
    worlds = (lived(drawn(Random(seed)), seed, **twin) for seed in range(60))
    return any(world.most_valid > 1 or world.epochs != sorted(set(world.epochs)) for world in worlds)


def test_the_simulation_catches_each_wrong_twin() -> None:
    assert is_caught(standby=TrustsTheWallClock)
    assert is_caught(standby=CountsFromTheFirstLook)
    assert is_caught(leases=Overwrites)
