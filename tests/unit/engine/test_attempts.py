"""What is tried again inside a run: steps, acknowledgements, and flushes that have lost nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mstream.errors import (
    AccessDenied,
    DrainTimeout,
    MstreamError,
    NotYetSafe,
    RetriesExhausted,
    StorageFull,
    Unreachable,
)
from tests.unit.engine.scripted import (
    ScriptedMiddleware,
    ScriptedSink,
    ScriptedSource,
    Trial,
    connector,
    numbers,
)
from tests.unit.engine.ways import Near, Way


def _step(*errors: MstreamError, **keys: Any) -> Trial:
    return Trial(
        connector(middleware=True, **keys),
        ScriptedSource([("a", 5)] * 6),
        [ScriptedSink()],
        middleware=ScriptedMiddleware(lambda document: [document], errors=list(errors)),
    )


def _away(count: int) -> list[MstreamError]:
    return [Unreachable("away") for _ in range(count)]


def test_a_step_that_is_away_for_a_while_gets_everything_in_order(way: Way) -> None:
    trial = _step(*_away(5))

    way.run(trial.run(way))

    assert numbers(trial.sinks[0].taken) == list(range(30))
    assert trial.owner.positions == {"a": 30}
    assert trial.meter.errors == 5


def test_the_attempts_of_a_step_run_out(way: Way) -> None:
    trial = _step(*_away(5), retry={"max_attempts": 3})

    with pytest.raises(RetriesExhausted, match="mid/step: given up after 3 attempts"):
        way.run(trial.run(way))

    assert trial.owner.positions == {}


def test_a_step_that_fails_for_good_ends_the_run(way: Way) -> None:
    trial = _step(AccessDenied("no"))

    with pytest.raises(AccessDenied):
        way.run(trial.run(way))

    assert trial.sinks[0].attempts == 0


def test_a_run_that_waits_for_a_step_shows_it(near: Near) -> None:
    trial = _step(*_away(1_000))

    async def look() -> int:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(100)
        shown = trial.meter.retrying
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return shown

    assert near.run(look()) == 1


def test_a_drain_does_not_wait_for_a_step_beyond_its_deadline(near: Near) -> None:
    trial = _step(*_away(1_000), drain_timeout_sec=5)

    async def drained() -> float:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(60)
        trial.control.draining.set()
        with pytest.raises(DrainTimeout):
            await task
        return asyncio.get_running_loop().time()

    assert near.run(drained()) <= 70


def test_an_acknowledgement_is_tried_again_until_it_comes_through(way: Way) -> None:
    source = ScriptedSource([("a", 1)] * 50, delay=0.1, ack_errors=_away(4))
    trial = Trial(connector(), source, [ScriptedSink()])

    way.run(trial.run(way))

    assert source.acked == {"a": 50}
    assert source.ack_errors == []
    assert trial.owner.positions == {"a": 50}


def test_a_late_attempt_to_acknowledge_takes_no_lane_back(way: Way) -> None:
    source = ScriptedSource([("a", 1), ("b", 1)] * 50, delay=0.1, ack_errors=_away(3))
    trial = Trial(connector(), source, [ScriptedSink()])

    way.run(trial.run(way))

    told = [each["a"] or 0 for each in source.acks if "a" in each]
    assert told == sorted(told)
    assert source.acked == {"a": 50, "b": 50}


def test_an_acknowledgement_that_fails_for_good_ends_the_run(way: Way) -> None:
    source = ScriptedSource([("a", 1)], ends=False, ack_errors=[AccessDenied("no")])

    with pytest.raises(AccessDenied):
        way.run(Trial(connector(), source, [ScriptedSink()]).run(way))


def test_why_a_run_ends_is_told_also_when_its_source_cannot_be_told(way: Way) -> None:
    source = ScriptedSource([("a", 1)] * 9, delay=0.5, ack_errors=_away(1_000))
    sink = ScriptedSink(answer=lambda attempt, batch: AccessDenied("no") if attempt == 3 else ())

    with pytest.raises(AccessDenied):
        way.run(Trial(connector(), source, [sink]).run(way))


def test_a_flush_that_lost_nothing_is_tried_again_before_anything_is_saved(way: Way) -> None:
    sink = ScriptedSink(flush_errors=[NotYetSafe("not yet") for _ in range(4)])
    trial = Trial(connector(), ScriptedSource([("a", 1)] * 30, delay=0.1), [sink])

    way.run(trial.run(way))

    assert trial.owner.positions == {"a": 30}
    assert sink.flush_errors == []
    assert trial.meter.errors == 4


def test_a_flush_that_may_have_lost_something_is_not_tried_again_however_retryable_its_error(way: Way) -> None:
    sink = ScriptedSink(flush_errors=[NotYetSafe("not yet"), StorageFull("full")])
    trial = Trial(connector(), ScriptedSource([("a", 1)], ends=False), [sink])

    with pytest.raises(StorageFull):
        way.run(trial.run(way))

    assert trial.owner.positions == {}
    assert sink.flushes == 2


class Hanging(ScriptedSink):
    """Its first flush takes for ever."""

    async def flush(self) -> None:
        await super().flush()
        if self.flushes == 1:
            await asyncio.sleep(1_000)


def test_nothing_is_saved_after_a_flush_that_was_cut_short(way: Way) -> None:
    trial = Trial(connector(drain_timeout_sec=5), ScriptedSource([("a", 1)], ends=False), [Hanging()])

    async def drained() -> None:
        task = asyncio.ensure_future(trial.run(way))
        await trial.control.started.wait()
        await asyncio.sleep(5)
        trial.control.draining.set()
        with pytest.raises(DrainTimeout):
            await task

    way.run(drained())

    assert trial.owner.positions == {}
