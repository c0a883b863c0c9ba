"""What a run does with healthy and unhealthy sources, steps and sinks."""

from __future__ import annotations

import asyncio
from itertools import chain, pairwise

import pytest

from mstream.errors import (
    AccessDenied,
    DeadLettersFull,
    DrainTimeout,
    FailureBudgetSpent,
    RecordStopped,
    RetriesExhausted,
    ScriptError,
    StaleOwner,
    StorageFull,
    Unreachable,
)
from tests.unit.engine.scripted import (
    RememberingOwner,
    ScriptedMiddleware,
    ScriptedSink,
    ScriptedSource,
    Trial,
    connector,
    not_now,
    numbers,
    refuse,
)
from tests.unit.engine.ways import Near, Way


def test_everything_is_delivered_in_order_and_the_end_is_saved(way: Way) -> None:
    trial = Trial(connector(), ScriptedSource([("a", 10)] * 20), [ScriptedSink()])

    way.run(trial.run(way))

    assert numbers(trial.sinks[0].taken) == list(range(200))
    assert trial.owner.positions == {"a": 200}
    assert trial.source.acked == {"a": 200}
    assert trial.meter.records_delivered == 200
    assert trial.meter.in_flight == 0


def test_a_run_goes_on_from_the_stored_position(way: Way) -> None:
    owner = RememberingOwner(positions={"a": 15})
    trial = Trial(connector(), ScriptedSource([("a", 10)] * 3), [ScriptedSink()], owner=owner)

    way.run(trial.run(way))

    assert numbers(trial.sinks[0].taken) == list(range(15, 30))


def test_a_sink_that_is_down_for_a_while_gets_everything_in_order(way: Way) -> None:
    down = ScriptedSink(answer=lambda attempt, batch: Unreachable("down") if attempt < 8 else ())
    trial = Trial(connector(), ScriptedSource([("a", 5)] * 10), [down])

    way.run(trial.run(way))

    assert numbers(down.taken) == list(range(50))
    assert trial.meter.errors == 7


def test_a_slow_sink_does_not_hold_back_the_other_within_the_window(near: Near) -> None:
    slow = ScriptedSink(delay=10.0)
    fast = ScriptedSink()
    trial = Trial(connector(2, max_in_flight=4), ScriptedSource([("a", 1)] * 6), [slow, fast])

    async def look() -> int:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(5)
        ahead = len(fast.taken)
        await task
        return ahead

    assert near.run(look()) == 4
    assert numbers(slow.taken) == numbers(fast.taken) == list(range(6))


def test_records_that_must_be_tried_again_alone_are_tried_again_alone(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: [not_now(1), not_now(3)] if attempt == 1 else ())
    trial = Trial(connector(), ScriptedSource([("a", 5)]), [sink])

    way.run(trial.run(way))

    assert numbers(sink.taken) == [0, 2, 4, 1, 3]
    assert trial.owner.positions == {"a": 5}


def test_stop_keeps_the_position_before_the_refused_record(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: [refuse(3)] if attempt == 2 else ())
    trial = Trial(connector(), ScriptedSource([("a", 5)] * 4), [sink])

    with pytest.raises(RecordStopped, match="does not fit"):
        way.run(trial.run(way))

    assert trial.owner.positions == {"a": 8}
    assert max(numbers(sink.taken)) < 10


def test_stop_at_a_step_delivers_what_came_before_the_record(way: Way) -> None:
    def change(document: dict[str, int]) -> list[object]:
        if document["n"] == 7:
            message = "no"
            raise ScriptError(message)
        return [document]

    trial = Trial(
        connector(middleware=True),
        ScriptedSource([("a", 5)] * 4),
        [ScriptedSink()],
        middleware=ScriptedMiddleware(change),
    )

    with pytest.raises(RecordStopped):
        way.run(trial.run(way))

    assert numbers(trial.sinks[0].taken) == list(range(7))
    assert trial.owner.positions == {"a": 7}


def test_dead_letters_carry_the_original_bytes_and_the_flow_goes_on(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: [refuse(1)] if attempt == 1 else ())
    trial = Trial(connector(on_error="dead_letter"), ScriptedSource([("a", 3)] * 2), [sink])

    way.run(trial.run(way))

    (letter,) = trial.owner.letters
    assert letter.payload == b'{"lane":"a","n":1}'
    assert (letter.lane, letter.position, letter.sink, letter.error_code) == ("a", 2, 0, "record_refused")
    assert trial.owner.positions == {"a": 6}
    assert trial.meter.records_dead_lettered == 1


def test_a_full_dead_letter_collection_ends_the_run_and_saves_nothing_beyond(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: [refuse(0)] if attempt == 2 else ())
    owner = RememberingOwner(bury_error=DeadLettersFull("full"))
    trial = Trial(connector(on_error="dead_letter"), ScriptedSource([("a", 3)] * 4), [sink], owner=owner)

    with pytest.raises(DeadLettersFull):
        way.run(trial.run(way))

    assert owner.positions == {"a": 3}


def test_a_spent_failure_budget_ends_the_run(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: [refuse(0)])
    spec = connector(on_error="skip", failure_budget={"records": 2, "per_sec": 60})
    trial = Trial(spec, ScriptedSource([("a", 2)] * 9), [sink])

    with pytest.raises(FailureBudgetSpent):
        way.run(trial.run(way))

    assert trial.meter.records_skipped == 2


def test_a_sink_that_fails_for_good_ends_the_run_and_lets_the_other_finish_its_write(way: Way) -> None:
    broken = ScriptedSink(answer=lambda attempt, batch: AccessDenied("no") if attempt == 2 else ())
    slow = ScriptedSink(delay=3.0)
    trial = Trial(connector(2), ScriptedSource([("a", 2)] * 9), [broken, slow])

    with pytest.raises(AccessDenied):
        way.run(trial.run(way))

    assert numbers(slow.taken)[:2] == [0, 1]
    assert slow.under_way == 0
    assert trial.owner.positions == {"a": 2}


def test_attempts_that_run_out_end_the_run(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: Unreachable("down"))
    trial = Trial(connector(retry={"max_attempts": 3}), ScriptedSource([("a", 1)]), [sink])

    with pytest.raises(RetriesExhausted):
        way.run(trial.run(way))

    assert sink.attempts == 3


def test_reading_is_tried_again_after_an_outage(way: Way) -> None:
    source = ScriptedSource([("a", 2)] * 3, errors={2: Unreachable("gone"), 3: Unreachable("gone")})
    trial = Trial(connector(), source, [ScriptedSink()])

    way.run(trial.run(way))

    assert numbers(trial.sinks[0].taken) == list(range(6))


def test_a_drain_leaves_a_quiet_source_at_once(near: Near) -> None:
    trial = Trial(connector(), ScriptedSource([("a", 3)], ends=False), [ScriptedSink()])

    async def drained() -> float:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(100)
        began = asyncio.get_running_loop().time()
        trial.control.draining.set()
        await task
        return asyncio.get_running_loop().time() - began

    assert near.run(drained()) == 0
    assert trial.owner.positions == {"a": 3}


def test_a_drain_that_takes_too_long_is_cut_and_saves_only_what_is_delivered(near: Near) -> None:
    stuck = ScriptedSink(answer=lambda attempt, batch: Unreachable("down") if attempt > 1 else ())
    trial = Trial(connector(drain_timeout_sec=5), ScriptedSource([("a", 3)] * 9), [stuck])

    async def drained() -> float:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(1)
        trial.control.draining.set()
        with pytest.raises(DrainTimeout):
            await task
        return asyncio.get_running_loop().time()

    assert near.run(drained()) == pytest.approx(6, abs=0.1)
    assert trial.owner.positions == {"a": 3}


def test_finish_ends_at_the_head_of_the_moment(way: Way) -> None:
    trial = Trial(connector(), ScriptedSource([("a", 3)], ends=False), [ScriptedSink()])

    async def finished() -> None:
        task = asyncio.ensure_future(trial.run(way))
        await trial.control.started.wait()
        await asyncio.sleep(10)
        trial.control.finishing.set()
        await task

    way.run(finished())
    assert trial.owner.positions == {"a": 3}


def test_one_record_can_become_many_or_none(way: Way) -> None:
    trial = Trial(
        connector(middleware=True),
        ScriptedSource([("a", 6)]),
        [ScriptedSink()],
        middleware=ScriptedMiddleware(lambda document: [document] * (document["n"] % 3)),
    )

    way.run(trial.run(way))

    assert numbers(trial.sinks[0].taken) == [1, 2, 2, 4, 5, 5]
    assert trial.owner.positions == {"a": 6}
    assert (trial.meter.records_delivered, trial.meter.records_dropped) == (4, 2)


def test_a_partial_batch_leaves_after_its_longest_wait(near: Near) -> None:
    spec = connector(batch={"kind": "count", "size": 100, "max_wait_ms": 200})
    trial = Trial(spec, ScriptedSource([("a", 7)], ends=False), [ScriptedSink()])

    async def look() -> tuple[int, int]:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(0.15)
        before = len(trial.sinks[0].taken)
        await asyncio.sleep(0.1)
        after = len(trial.sinks[0].taken)
        trial.control.draining.set()
        await task
        return before, after

    assert near.run(look()) == (0, 7)


def test_a_part_of_a_batch_is_delivered_by_a_drain(way: Way) -> None:
    spec = connector(batch={"kind": "count", "size": 100, "max_wait_ms": 60_000})
    trial = Trial(spec, ScriptedSource([("a", 7)], ends=False), [ScriptedSink()])

    async def drained() -> None:
        task = asyncio.ensure_future(trial.run(way))
        await trial.control.started.wait()
        await asyncio.sleep(5)
        trial.control.draining.set()
        await task

    way.run(drained())
    assert len(trial.sinks[0].taken) == 7
    assert trial.owner.positions == {"a": 7}


def test_batches_of_the_configured_size_are_built(way: Way) -> None:
    trial = Trial(connector(batch={"kind": "count", "size": 4}), ScriptedSource([("a", 3)] * 4), [ScriptedSink()])

    way.run(trial.run(way))

    assert [len(each) for each in trial.sinks[0].begun] == [4, 4, 4]


def test_overlapping_writes_are_bounded_and_keep_their_order(way: Way) -> None:
    sink = ScriptedSink(delay=1.0, overlap=3)
    trial = Trial(connector(max_in_flight=10), ScriptedSource([("a", 1)] * 12), [sink])

    way.run(trial.run(way))

    assert sink.most == 3
    assert numbers(list(chain.from_iterable(sink.begun))) == list(range(12))


def test_an_overlapping_write_that_fails_is_tried_again_before_a_later_one_begins(near: Near) -> None:
    sink = ScriptedSink(
        answer=lambda attempt, batch: Unreachable("down") if attempt in {2, 3} else (), delay=1.0, overlap=3
    )
    trial = Trial(connector(max_in_flight=10), ScriptedSource([("a", 1)] * 6), [sink])

    near.run(trial.run(near))

    assert numbers(list(chain.from_iterable(sink.begun))) == [0, 1, 2, 1, 2, 3, 4, 5]


def test_an_overlapping_write_that_fails_for_good_ends_the_run_and_cuts_no_other(way: Way) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: AccessDenied("no") if attempt == 2 else (), delay=1.0, overlap=3)
    trial = Trial(connector(max_in_flight=4), ScriptedSource([("a", 1)] * 50), [sink])

    with pytest.raises(AccessDenied):
        way.run(trial.run(way))

    assert 0 in numbers(sink.taken)
    assert trial.owner.positions == {"a": 1}
    assert sink.under_way == 0


class Reluctant(ScriptedSource):
    """Refuses to finish once, and has more to read then."""

    refused = False

    async def finish(self) -> None:
        if not self.refused:
            self.refused = True
            self.schedule.append(("a", 2))
            message = "not now"
            raise Unreachable(message)
        await super().finish()


def test_a_batch_is_not_lost_when_the_source_cannot_finish_yet(way: Way) -> None:
    spec = connector(batch={"kind": "count", "size": 100, "max_wait_ms": 60_000})
    trial = Trial(spec, Reluctant([("a", 3)], ends=False), [ScriptedSink()])

    async def finished() -> None:
        task = asyncio.ensure_future(trial.run(way))
        await trial.control.started.wait()
        await asyncio.sleep(1)
        trial.control.finishing.set()
        await asyncio.sleep(120)
        trial.control.draining.set()
        await task

    way.run(finished())
    assert numbers(trial.sinks[0].taken) == list(range(5))


def test_a_flush_that_failed_is_followed_by_no_save(way: Way) -> None:
    sink = ScriptedSink(flush_errors=[StorageFull("full")])
    trial = Trial(connector(), ScriptedSource([("a", 1)], ends=False), [sink])

    with pytest.raises(StorageFull):
        way.run(trial.run(way))

    assert trial.owner.positions == {}


def test_a_drain_ends_at_its_deadline_also_when_the_store_is_away(near: Near) -> None:
    class Away(RememberingOwner):
        async def save(self, positions: object) -> None:
            await asyncio.sleep(1000)

    trial = Trial(
        connector(drain_timeout_sec=5), ScriptedSource([("a", 1)], ends=False), [ScriptedSink()], owner=Away()
    )

    async def drained() -> float:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(1)
        trial.control.draining.set()
        with pytest.raises(DrainTimeout):
            await task
        return asyncio.get_running_loop().time()

    assert near.run(drained()) <= 10


def test_a_drain_does_not_wait_for_a_source_that_is_down(near: Near) -> None:
    source = ScriptedSource([("a", 1)], errors={each: Unreachable("down") for each in range(1, 100)})
    trial = Trial(connector(drain_timeout_sec=5), source, [ScriptedSink()])

    async def drained() -> float:
        task = asyncio.ensure_future(trial.run(near))
        await asyncio.sleep(60)
        trial.control.draining.set()
        await task
        return asyncio.get_running_loop().time()

    assert near.run(drained()) == 60


def test_a_newer_owner_ends_the_run(way: Way) -> None:
    def refuse_saves(positions: object) -> None:
        message = "a newer owner has the job"
        raise StaleOwner(message)

    owner = RememberingOwner(on_save=refuse_saves)
    source = ScriptedSource([("a", 1)] * 1000, delay=1.0)
    trial = Trial(connector(), source, [ScriptedSink()], owner=owner)

    with pytest.raises(StaleOwner):
        way.run(trial.run(way))

    assert len(trial.sinks[0].taken) < 10


def test_the_first_save_comes_soon_and_the_next_ones_by_the_interval(near: Near) -> None:
    times: list[float] = []
    owner = RememberingOwner(on_save=lambda positions: times.append(asyncio.get_running_loop().time()))
    trial = Trial(connector(), ScriptedSource([("a", 1)] * 1000, delay=0.01), [ScriptedSink()], owner=owner)

    near.run(trial.run(near))

    assert times[0] == pytest.approx(0.05, abs=0.02)
    gaps = [after - before for before, after in pairwise(times)]
    assert max(gaps) == pytest.approx(1.0, abs=0.05)


def test_a_lease_that_ran_out_stops_delivery(near: Near) -> None:
    trial = Trial(connector(), ScriptedSource([("a", 1)] * 1000, delay=0.5), [ScriptedSink()])
    trial.control.lease_until = 3.0

    with pytest.raises(Exception, match="lease"):
        near.run(trial.run(near))

    assert len(trial.sinks[0].taken) <= 6


def test_an_aborted_run_saves_nothing_more(near: Near) -> None:
    trial = Trial(connector(), ScriptedSource([("a", 1)] * 1000, delay=0.3), [ScriptedSink()])

    async def aborted() -> int:
        task = asyncio.ensure_future(trial.run(near))
        await trial.control.started.wait()
        await asyncio.sleep(2.5)
        saves = len(trial.owner.saves)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(trial.owner.saves) - saves

    assert near.run(aborted()) == 0
