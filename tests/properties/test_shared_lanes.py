"""However lanes move between the members of a job, and members come and go: nothing lost, nothing moved back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstream.control.owner import MemberOwner
from mstream.domain.checkpoint import Lane, Position
from mstream.engine.lanes import LaneBook
from mstream.engine.run import Run
from mstream.errors import StaleCheckpoint, Unreachable
from tests.unit.engine.groups import Group, Member
from tests.unit.engine.ways import Direct
from tests.virtual import run

LANES = "abcd"
MEMBERS = 3


@dataclass
class World:
    """A coordinator that gives each lane to one member, and tells the last one sooner, later or not at all."""

    dice: Random
    group: Group
    here: dict[int, tuple[AbstractAsyncContextManager[Member], Member]] = field(default_factory=dict)
    #: Who was given a lane last.
    held: dict[Lane, int] = field(default_factory=dict)
    #: Who reads a lane that is another's already.
    unaware: set[tuple[int, Lane]] = field(default_factory=set)

    async def begin(self, number: int) -> None:
        """Another start of this member."""
        coming = self.group.member(number)
        self.here[number] = coming, await coming.__aenter__()

    async def end(self, number: int, *, crashes: bool) -> None:
        """It goes, and what it had is nobody's; a commit of lanes that were another's has been refused."""
        leaving, member = self.here.pop(number)
        self.held = {lane: holder for lane, holder in self.held.items() if holder != number}
        self.unaware = {each for each in self.unaware if each[0] != number}
        if crashes:
            member.task.cancel()
        with contextlib.suppress(StaleCheckpoint):
            await leaving.__aexit__(None, None, None)

    async def move(self, lane: Lane, to: int) -> None:
        """The lane is another's now."""
        before = self.held.get(lane)
        if before == to or (to, lane) in self.unaware:
            return
        if before is not None:
            await self.take(lane, before)
        self.held[lane] = to
        await self.here[to][1].source.assign(lane)

    async def take(self, lane: Lane, member: int) -> None:
        """From who has it."""
        source = self.here[member][1].source
        match self.dice.randrange(4):
            case 0 | 1:
                await source.revoke(lane, deadline=self.dice.choice([0.05, 5.0]))
            case 2:
                await source.lose(lane)
            case _:
                self.unaware.add((member, lane))

    async def step(self) -> None:
        """Something happens."""
        lane, number, faults = self.dice.choice(LANES), self.dice.randrange(MEMBERS), self.group.out.faults
        match self.dice.randrange(8):
            case 0 | 1:
                self.group.put(lane, self.dice.randrange(1, 6))
            case 2 | 3 | 4:
                await self.move(lane, number)
            case 5:
                await self.end(number, crashes=self.dice.random() < 0.7)
                await self.begin(number)
            case 6:
                faults.writes.extend(Unreachable("down") for _ in range(self.dice.choice([1, 3])))
                faults.write_seconds = self.dice.choice([0.0, 0.0, 0.3, 2.0])
            case _:
                self.group.store.answers_after = self.dice.choice([0.0, 0.0, 0.3])
        for member, lane in sorted(self.unaware):
            if self.dice.random() < 0.3:
                self.unaware.discard((member, lane))
                await self.here[member][1].source.lose(lane)
        for member in [each for each, (_, there) in self.here.items() if there.task.done()]:
            await self.end(member, crashes=False)
            await self.begin(member)

    async def live(self, steps: int) -> Mapping[Lane, Any]:
        """In the end every lane is somebody's for long enough; answers where the store has them."""
        await self.group.begin()
        for number in range(MEMBERS):
            await self.begin(number)
        for _ in range(steps):
            await self.step()
            await asyncio.sleep(self.dice.choice([0.0, 0.01, 0.3, 2.0]))
        for number in range(MEMBERS):
            await self.end(number, crashes=False)
        self.group.store.answers_after = self.group.out.faults.write_seconds = 0.0
        await self.begin(0)
        for lane in LANES:
            await self.move(lane, 0)
        await asyncio.sleep(100)
        await self.end(0, crashes=False)
        return await self.group.stored()


def _live(
    seed: int, steps: int, engine: type[Run] = Run, kind: type[Group] = Group, *, transactional: bool = False
) -> World:
    keys: dict[str, Any] = {
        "batch": {"kind": "count", "size": 3, "max_wait_ms": 0},
        "retry": {"max_ms": 1_000},
        "drain_timeout_sec": 1_000,
    }
    world = World(Random(seed), kind(Direct(engine), transactional=transactional, members=MEMBERS, **keys))
    stored = run(world.live(steps))
    totals = {lane: len(entries) for lane, entries in world.group.queue.lanes.items() if entries}
    assert dict(stored) == totals
    for lane, count in totals.items():
        taken = world.group.taken(lane)
        assert sorted(set(taken)) == list(range(count))
        assert not transactional or taken == list(range(count))
    _check_forward(world.group)
    return world


def _check_forward(group: Group) -> None:
    """What is stored of a lane only grows."""
    seen: dict[Lane, int] = {}
    for each in group.store.writes:
        for lane, position in each["positions"].items():
            assert position >= seen.get(lane, 0), f"lane {lane} was at {seen[lane]} and is put to {position}"
            seen[lane] = position


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_lanes_that_move_between_members_lose_nothing_and_are_never_put_back(seed: int, steps: int) -> None:
    _live(seed, steps)


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_what_members_commit_with_their_positions_is_there_once_and_in_order(seed: int, steps: int) -> None:
    _live(seed, steps, transactional=True)


class KnowsItself(LaneBook):
    """Wrong on purpose: a lane that comes back goes on where this member has left it."""

    def __init__(self, **keys: Any) -> None:
        super().__init__(**{**keys, "is_alone": True})


class AsksNobody(Run):
    lanes_kind = KnowsItself


class Gullible(MemberOwner):
    """Wrong on purpose: takes every save, also of who has lost the lane."""

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        await self._job.save(positions)


class TakesLateSaves(Group):
    owner_kind = Gullible


def _live_until_caught(engine: type[Run] = Run, kind: type[Group] = Group) -> None:
    for seed in range(200):
        _live(seed, 30, engine, kind)


def test_a_member_that_asks_nobody_where_a_lane_stands_is_caught() -> None:
    with pytest.raises(AssertionError):
        _live_until_caught(AsksNobody)


def test_an_owner_that_takes_late_saves_is_caught() -> None:
    with pytest.raises(AssertionError):
        _live_until_caught(kind=TakesLateSaves)
