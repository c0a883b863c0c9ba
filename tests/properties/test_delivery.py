"""No interleaving of successes, retries, refusals, stops and crashes lets a checkpoint pass an undelivered record."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstream.domain.batch import Batch
from mstream.engine.checkpointing import Checkpointer
from mstream.engine.delivery import Deliverer
from mstream.engine.flow import Flight, Flow
from mstream.engine.run import Run
from mstream.errors import DrainTimeout, MstreamError, Unreachable
from mstream.ports.roles import Failure
from tests.unit.engine.scripted import (
    RememberingOwner,
    ScriptedSink,
    ScriptedSource,
    Trial,
    connector,
    not_now,
    refuse,
)
from tests.unit.engine.ways import Direct
from tests.virtual import run

_RECORD = re.compile(rb'"lane":"(\w)","n":(\d+)')


@dataclass
class World:
    """What survives crashes: the sinks' contents, the owner's documents; and who checks them."""

    sinks: int
    owner: RememberingOwner = field(default_factory=RememberingOwner)
    #: By run and sink, what was taken in which order.
    runs: list[list[list[bytes]]] = field(default_factory=list)

    def reached(self, sink: int) -> set[tuple[str, int]]:
        """Records that the sink has, or that were buried for it."""
        taken = [each for each_run in self.runs for each in each_run[sink]]
        buried = [each.payload for each in self.owner.letters if each.sink in {None, sink}]
        found = [_RECORD.search(each or b"") for each in [*taken, *buried]]
        return {(match[1].decode(), int(match[2])) for match in found if match}

    def check(self, positions: Mapping[str, Any]) -> None:
        """Everything before these positions is where it belongs."""
        for sink in range(self.sinks):
            reached = self.reached(sink)
            for lane, position in positions.items():
                missing = [n for n in range(position) if (lane, n) not in reached]
                assert not missing, f"sink {sink} lacks {missing} of lane {lane}, saved {position}"


class FaultySink(ScriptedSink):
    """Fails as the dice say; keeps to the contract of a sink."""

    def __init__(self, dice: Random, taken: list[bytes]) -> None:
        super().__init__(answer=self._roll, delay=dice.choice([0.0, 0.01, 0.5]), overlap=1)
        self.taken = taken  # type: ignore[assignment]  # only bytes here
        self._dice = dice

    def _roll(self, attempt: int, batch: Batch) -> Sequence[Failure] | MstreamError:
        self.delay = self._dice.choice([0.0, 0.01, 0.3])
        match self._dice.randrange(6):
            case 0:
                return Unreachable("down")
            case 1:
                return [refuse(self._dice.randrange(len(batch)))]
            case 2:
                first = self._dice.randrange(len(batch))
                return [not_now(each) for each in range(first, len(batch))]
            case _:
                return ()


@dataclass
class Told(ScriptedSource):
    """Is told only of what is saved."""

    world: World = field(default_factory=lambda: World(0))

    async def ack(self, positions: Mapping[str, Any]) -> None:
        saved = self.world.owner.positions
        early = {lane: at for lane, at in positions.items() if saved.get(lane, 0) < at}
        assert not early, f"the store lacks {early}, of which the source was told"
        await super().ack(positions)


async def _end(trial: Trial, task: asyncio.Task[None], dice: Random) -> None:
    """A crash, or a stop in good order."""
    if dice.random() < 0.5:
        task.cancel()
    trial.control.draining.set()
    with contextlib.suppress(asyncio.CancelledError, DrainTimeout):
        await task


async def _lives(
    world: World, schedule: list[tuple[str, int]], dice: Random, crashes: list[float], engine: type[Run]
) -> None:
    for crash in [*crashes, None]:
        outputs: list[list[bytes]] = [[] for _ in range(world.sinks)]
        world.runs.append(outputs)
        trial = Trial(
            connector(world.sinks, on_error="dead_letter", max_in_flight=dice.choice([1, 3])),
            Told(list(schedule), delay=dice.choice([0.0, 0.02]), world=world),
            [FaultySink(dice, each) for each in outputs],
            owner=world.owner,
        )
        task = asyncio.ensure_future(trial.run(Direct(engine)))
        if crash is None:
            await task
            return
        await asyncio.wait({task}, timeout=crash)
        await _end(trial, task, dice)


def _live(
    seed: int, schedule: list[tuple[str, int]], sinks: int, crashes: list[float], engine: type[Run] = Run
) -> World:
    world = World(sinks)
    world.owner.on_save = world.check
    run(_lives(world, schedule, Random(seed), crashes, engine))
    return world


schedules = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 4)), min_size=1, max_size=12)
crash_times = st.lists(st.floats(0.01, 3.0), max_size=3)


@settings(max_examples=150)
@given(st.integers(0, 2**32), schedules, st.integers(1, 3), crash_times)
def test_nothing_is_lost_and_no_checkpoint_is_ahead(
    seed: int, schedule: list[tuple[str, int]], sinks: int, crashes: list[float]
) -> None:
    world = _live(seed, schedule, sinks, crashes)

    totals: dict[str, int] = {}
    for lane, count in schedule:
        totals[lane] = totals.get(lane, 0) + count
    assert world.owner.positions == totals
    world.check(totals)


@settings(max_examples=100)
@given(st.integers(0, 2**32), schedules, crash_times)
def test_order_per_lane_is_kept_within_each_run(
    seed: int, schedule: list[tuple[str, int]], crashes: list[float]
) -> None:
    world = _live(seed, schedule, 1, crashes)

    for (taken,) in world.runs:
        found = [match for each in taken if (match := _RECORD.search(each))]
        for lane in "abc":
            numbers = [int(match[2]) for match in found if match[1].decode() == lane]
            assert numbers == sorted(numbers)


class FirstSinkDecides(Flow):
    """Wrong on purpose: a batch counts as settled when the first sink has it."""

    async def done(self, flight: Flight, sink: int) -> None:
        if not flight.ticket.settled:
            flight.pending.clear()
            await super().done(flight, sink)


class SavesEarly(Checkpointer):
    """Wrong on purpose: saves before anything is delivered."""

    async def run(self, done: asyncio.Event) -> None:
        self._safe.update({"a": 1})
        await self.save_now()
        await super().run(done)


class TellsEarly(Checkpointer):
    """Wrong on purpose: the source is told before anything is saved."""

    async def _save(self) -> None:
        self._unacked.update(self._safe)
        await self._acknowledge()
        await super()._save()


class DropsWhatIsUnderWay(Flow):
    """Wrong on purpose: a stop counts as delivered what it does not deliver any more."""

    async def _deliver_one(self, deliverer: Deliverer, flight: Flight) -> None:
        if self.parts.control.draining.is_set():
            await self.done(flight, deliverer.index)
        else:
            await super()._deliver_one(deliverer, flight)


def _lives_until_caught(engine: type[Run]) -> None:
    for seed in range(200):
        _live(seed, [("a", 2), ("b", 2), ("a", 3), ("b", 1), ("a", 2)], 2, [0.3], engine)


class DecidesByTheFirst(Run):
    flow_kind = FirstSinkDecides


class IsEarly(Run):
    checkpointer_kind = SavesEarly


class AcknowledgesEarly(Run):
    checkpointer_kind = TellsEarly


class DropsOnShutdown(Run):
    flow_kind = DropsWhatIsUnderWay


@pytest.mark.parametrize("engine", [DecidesByTheFirst, IsEarly, AcknowledgesEarly, DropsOnShutdown])
def test_an_engine_that_is_wrong_on_purpose_is_caught(engine: type[Run]) -> None:
    with pytest.raises(AssertionError, match="lacks"):
        _lives_until_caught(engine)


@settings(max_examples=60)
@given(
    crash=st.floats(0.1, 5.0),
    interval_ms=st.sampled_from([100, 1000, 3000]),
    window=st.integers(1, 6),
    delay=st.sampled_from([0.01, 0.05]),
)
def test_a_crash_repeats_at_most_an_interval_of_flow_and_the_window(
    crash: float, interval_ms: int, window: int, delay: float
) -> None:
    """Exactly bounded: what was read since the last save began, and what was on its way."""
    owner, sink = RememberingOwner(), ScriptedSink()
    spec = connector(max_in_flight=window, checkpoint={"interval_ms": interval_ms})
    trial = Trial(spec, ScriptedSource([("a", 100_000)], delay=delay, most=10), [sink], owner=owner)

    async def crashed() -> None:
        task = asyncio.ensure_future(trial.run())
        await asyncio.wait({task}, timeout=crash)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    run(crashed())

    repeats = len(sink.taken) - owner.positions.get("a", 0)
    assert 0 <= repeats <= 10 * (interval_ms / 1000 / delay + window + 1)
