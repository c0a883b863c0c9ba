"""Whenever lanes are given, revoked and lost: no checkpoint is ahead, and what is another's is left alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstream.domain.checkpoint import Lane
from mstream.engine.attempts import Retry
from mstream.engine.checkpointing import Checkpointer
from mstream.engine.flow import Flight, Flow
from mstream.engine.lanes import LaneBook
from mstream.engine.run import Run
from mstream.engine.settlement import Ticket
from mstream.engine.transactions import Transactions
from mstream.errors import MstreamError, NotYetSafe, RecordRefused, StaleCheckpoint, Unreachable
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.providers.memory.queue import MemoryRecord
from tests.unit.engine.rebalances import Membership, Together
from tests.unit.engine.scripted import RememberingOwner
from tests.unit.engine.ways import Direct
from tests.virtual import run

LANES = "abc"


@dataclass
class WatchfulOwner(RememberingOwner):
    """Looks at every save as it is asked for."""

    world: Any = None
    seconds: float = 0.0

    async def save(self, positions: Mapping[str, Any]) -> None:
        self.world.check_save(positions)
        await asyncio.sleep(self.seconds)
        await super().save(positions)


@dataclass
class World:
    """A job that is a member of a group, and what nobody may break."""

    dice: Random
    engine: type[Run]
    #: Lanes that the group has given to the job.
    held: set[str] = field(default_factory=set)
    #: By lane, how many of its records were there when it was given, each time.
    given: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.owner = WatchfulOwner(world=self)
        keys: dict[str, Any] = {
            "max_in_flight": self.dice.choice([1, 3]),
            "on_error": "dead_letter",
            "retry": {"max_ms": 1_000},
        }
        if self.dice.random() < 0.5:
            keys["batch"] = {"kind": "count", "size": 3, "max_wait_ms": self.dice.choice([0, 50, 2_000])}
        self.member = Membership(self.owner, Direct(self.engine), **keys)
        self.member.out.faults.refuse = self._refuse

    def check_save(self, positions: Mapping[str, Any]) -> None:
        """Only of lanes that the job has, and never ahead of what was written or buried."""
        strangers = set(positions) - self.held
        assert not strangers, f"saves {positions}, has {self.held}"
        buried = {(each.lane, int(each.payload or b"")) for each in self.owner.letters}
        for lane, missing in self.member.lacks(positions).items():
            lost = [each for each in missing if (lane, each) not in buried]
            assert not lost, f"{lost} of lane {lane} are nowhere, saved {positions[lane]}"

    def _refuse(self, record: MemoryRecord) -> MstreamError | None:
        lane = record.headers["lane"] if record.headers else ""
        assert lane in self.held, f"writes a record of lane {lane}, has {self.held}"
        return RecordRefused("does not fit") if self.dice.random() < 0.05 else None

    def put(self, lane: str, count: int) -> None:
        """The lane's next records."""
        first = len(self.member.queue.lanes.get(lane, ()))
        records = [MemoryRecord(payload=b"%d" % each, headers={"lane": lane}) for each in range(first, first + count)]
        self.member.queue.append(records, lane=lane)

    async def step(self) -> None:
        """Something happens."""
        lane, faults = self.dice.choice(LANES), self.member.out.faults
        match self.dice.randrange(8):
            case 0 | 1:
                self.put(lane, self.dice.randrange(1, 6))
            case 2 | 3:
                await self.give(lane)
            case 4:
                await self.take(lane)
            case 5:
                faults.writes.extend(Unreachable("down") for _ in range(self.dice.choice([1, 2, 6])))
            case 6:
                faults.flushes.extend(NotYetSafe("not yet") for _ in range(self.dice.choice([1, 2, 6])))
            case _:
                self.owner.seconds = self.dice.choice([0.0, 0.0, 0.3])

    async def give(self, lane: str) -> None:
        """The group gives the lane to the job, if it has it not."""
        if lane not in self.held:
            self.held.add(lane)
            self.given.setdefault(lane, []).append(len(self.member.taken(lane)))
            await self.member.source.assign(lane)

    async def take(self, lane: str) -> None:
        """The group takes it away."""
        if lane not in self.held:
            return
        if self.dice.random() < 0.5:
            self.held.remove(lane)
            await self.member.source.lose(lane)
        else:
            await self.member.source.revoke(lane, deadline=self.dice.choice([0.0, 0.05, 5.0]))
            self.held.remove(lane)

    async def pause(self) -> None:
        """Some time, or only some turns of the loop."""
        if self.dice.random() < 0.5:
            for _ in range(self.dice.randrange(30)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.dice.choice([0.01, 0.1, 1.0, 5.0]))

    async def live(self, lives: int, steps: int) -> None:
        """Several runs; all but the last one crash."""
        for _ in range(lives - 1):
            with contextlib.suppress(asyncio.CancelledError):
                await self._run(steps, crashes=True)
        await self._run(steps, crashes=False)

    async def _run(self, steps: int, *, crashes: bool) -> None:
        self.held.clear()
        async with self.member.running(self.owner.positions) as task:
            for _ in range(steps):
                await self.step()
                await self.pause()
                if task.done():
                    await task
            if crashes:
                task.cancel()
                return
            for lane in LANES:
                await self.give(lane)
            await asyncio.sleep(100)


def _live(dice: Random, lives: int, steps: int, engine: type[Run] = Run) -> World:
    world = World(dice, engine)
    run(world.live(lives, steps))
    return world


@settings(max_examples=80)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 25))
def test_lanes_that_come_and_go_lose_nothing_and_leave_nothing_behind(seed: int, lives: int, steps: int) -> None:
    world = _live(Random(seed), lives, steps)

    totals = {lane: len(entries) for lane, entries in world.member.queue.lanes.items() if entries}
    assert world.owner.positions == totals
    world.check_save(totals)


@settings(max_examples=50)
@given(st.integers(0, 2**32), st.integers(1, 25))
def test_order_is_kept_while_a_lane_is_held(seed: int, steps: int) -> None:
    world = _live(Random(seed), 1, steps)

    for lane, begins in world.given.items():
        taken = world.member.taken(lane)
        for begin, end in zip(begins, [*begins[1:], len(taken)], strict=True):
            assert taken[begin:end] == sorted(set(taken[begin:end]))


async def _commit(dice: Random, lives: int, steps: int, engine: type[Run]) -> Together:
    """A job whose sink commits the positions; its lanes come and go, its commits fail, their answers are lost."""
    job = Together(Direct(engine), batch={"kind": "count", "size": 3, "max_wait_ms": 0}, retry={"max_ms": 1_000})
    faults = job.out.faults
    for life in range(lives):
        held: set[str] = set()
        await job.begin()
        begin = {lane: at for lane, at in (await job.positions()).items() if at is not None}
        with contextlib.suppress(asyncio.CancelledError):
            async with job.running(begin) as task:
                for _ in range(steps):
                    lane = dice.choice(LANES)
                    faults.write_seconds = dice.choice([0.0, 0.1, 1.0])
                    match dice.randrange(7):
                        case 0 | 1:
                            job.put(lane, dice.randrange(1, 6))
                        case 2 | 3 if lane not in held:
                            held.add(lane)
                            await job.source.assign(lane)
                        case 4 if lane in held:
                            held.remove(lane)
                            gives = dice.random() < 0.5
                            await (job.source.revoke(lane, deadline=0.5) if gives else job.source.lose(lane))
                        case 5:
                            faults.writes.extend(Unreachable("down") for _ in range(dice.choice([1, 3])))
                        case 6:
                            faults.lost_answers, faults.lost_commits = dice.choice([(1, 0), (0, 1), (2, 2)])
                    await asyncio.sleep(dice.choice([0.0, 0.01, 0.3, 2.0]))
                    if task.done():
                        await task
                if life < lives - 1:
                    task.cancel()
                    continue
                await job.source.assign(*(set(LANES) - held))
                await asyncio.sleep(100)
    return job


def _check_once(job: Together) -> None:
    for lane in LANES:
        assert job.taken(lane) == list(range(len(job.queue.lanes.get(lane, ()))))


@settings(max_examples=80)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 25))
def test_what_is_committed_with_its_positions_is_there_once_and_in_order(seed: int, lives: int, steps: int) -> None:
    _check_once(run(_commit(Random(seed), lives, steps, Run)))


class NeverForgets(Checkpointer):
    """Wrong on purpose: saves what was safe of a lane after it was given up."""

    def forget(self, lanes: Collection[Lane]) -> None:
        return


class SavesForStrangers(Run):
    checkpointer_kind = NeverForgets


class DropsNothing(LaneBook):
    """Wrong on purpose: what was read of a lane is written although it is gone."""

    def any_gone(self) -> bool:
        return False


class WritesForStrangers(Run):
    lanes_kind = DropsNothing


class Hurried(LaneBook):
    """Wrong on purpose: gives a lane up without waiting for anything."""

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Any]:
        return {}


class GivesUpEarly(Run):
    lanes_kind = Hurried


class CountsReadAsSaved(LaneBook):
    """Wrong on purpose: a lane that comes back goes on after what was read, not after what was saved."""

    def hold(self, ticket: Ticket) -> None:
        super().hold(ticket)
        assert self.checkpointer is not None
        self.checkpointer.saved.update(ticket.positions)


class SkipsAhead(Run):
    lanes_kind = CountsReadAsSaved


class ForgetsAsDelivered(Flow):
    """Wrong on purpose: a batch is done before it is written."""

    async def _deliver_one(self, deliverer: Any, flight: Flight) -> None:
        await self.done(flight, deliverer.index)
        with contextlib.suppress(MstreamError):
            await deliverer.sink.write(flight.prepared[deliverer.index].batch)


class SettlesEarly(Run):
    flow_kind = ForgetsAsDelivered


WRONG = [SavesForStrangers, WritesForStrangers, GivesUpEarly, SkipsAhead, SettlesEarly]


def _live_until_caught(engine: type[Run]) -> None:
    for seed in range(300):
        _live(Random(seed), 1, 20, engine)


@pytest.mark.parametrize("engine", WRONG)
def test_an_engine_that_is_wrong_on_purpose_is_caught(engine: type[Run]) -> None:
    with pytest.raises(AssertionError):
        _live_until_caught(engine)


class TakesSilenceForFailure(Transactions):
    """Wrong on purpose: a commit whose answer was lost is made again."""

    async def _was_ours(
        self, flights: list[Flight], error: MstreamError, pending: PendingCheckpoint | None, retry: Retry
    ) -> bool:
        return False


class CommitsAgain(Run):
    transactions_kind = TakesSilenceForFailure


class KeepsItsPositions(Transactions):
    """Wrong on purpose: what an attempt was to commit stays as it is, whatever lanes are gone since."""

    def _still_ours(self, flights: list[Flight], pending: PendingCheckpoint | None) -> PendingCheckpoint | None:
        return pending


class CommitsForStrangers(Run):
    transactions_kind = KeepsItsPositions


def _commit_until_caught(engine: type[Run]) -> None:
    for seed in range(300):
        _check_once(run(_commit(Random(seed), 1, 20, engine)))


@pytest.mark.parametrize("engine", [WritesForStrangers, CommitsAgain, CommitsForStrangers])
def test_an_engine_that_commits_wrongly_is_caught(engine: type[Run]) -> None:
    with pytest.raises((AssertionError, StaleCheckpoint)):
        _commit_until_caught(engine)
