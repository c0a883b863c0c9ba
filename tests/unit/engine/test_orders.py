"""Orders to a run: between two reads, and answered only once they are kept."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from mstream.domain.batch import Batch
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.errors import Conflict, IllegalTransition, MstreamError, Unavailable, Unreachable
from mstream.foundation.concurrency import background
from mstream.ports.roles import Limit
from tests.unit.engine.scripted import RememberingOwner, ScriptedSink, ScriptedSource, Trial, connector, numbers
from tests.unit.engine.test_transactions import Database, TransactionalScriptedSink
from tests.unit.engine.ways import Direct, Near, Way

ORDER = SnapshotOrder(collection="orders", filter='{"n": 1}')


@dataclass
class Obedient(ScriptedSource):
    """Keeps orders in a lane of their own; looks whether it is asked while it is read."""

    refuses: list[MstreamError] = field(default_factory=list)
    orders: list[SnapshotOrder] = field(default_factory=list)
    is_read: bool = False
    takes: float = 0.0

    async def read(self, limit: Limit) -> Batch | None:
        self.is_read = True
        try:
            return await super().read(limit)
        finally:
            self.is_read = False

    async def snapshot(self, order: SnapshotOrder) -> Batch:
        assert not self.is_read
        await asyncio.sleep(self.takes)
        if self.refuses:
            raise self.refuses.pop(0)
        self.orders.append(order)
        return Batch(payloads=[], positions={"orders": [each.collection for each in self.orders]})


def trial(source: ScriptedSource, **more: object) -> Trial:
    return Trial(connector(checkpoint={"interval_ms": 60_000}), source, [ScriptedSink()], **more)  # type: ignore[arg-type]


def test_an_order_is_kept_when_it_is_answered(way: Way) -> None:
    it = trial(Obedient([("a", 3)], ends=False))

    async def story() -> list[str]:
        async with background(it.run(way)) as run:
            await it.control.started.wait()
            await asyncio.sleep(30)
            await it.control.orders.give(ORDER)
            kept = list(it.owner.positions["orders"])
            it.control.draining.set()
            await run
        return kept

    assert way.run(story()) == ["orders"]
    assert it.owner.positions == {"a": 3, "orders": ["orders"]}
    assert numbers(it.sinks[0].taken) == [0, 1, 2]


def test_it_waits_for_no_interval_and_for_no_record(near: Near) -> None:
    it = trial(Obedient([("a", 3)], ends=False))

    async def story() -> float:
        async with background(it.run(near)) as run:
            await asyncio.sleep(1000)
            began = asyncio.get_running_loop().time()
            await it.control.orders.give(ORDER)
            taken = asyncio.get_running_loop().time() - began
            it.control.draining.set()
            await run
        return taken

    assert near.run(story()) < 1


def test_it_is_not_answered_before_everything_in_front_of_it_is_delivered(near: Near) -> None:
    sink = ScriptedSink(answer=lambda attempt, batch: Unreachable("down") if attempt < 5 else ())
    it = Trial(connector(retry={"base_ms": 1000, "max_ms": 1000}), Obedient([("a", 3)], ends=False), [sink])

    async def story() -> None:
        async with background(it.run(near)) as run:
            await asyncio.sleep(0.1)
            await it.control.orders.give(ORDER)
            assert numbers(sink.taken) == [0, 1, 2]
            it.control.draining.set()
            await run

    near.run(story())
    assert it.owner.saves[0] != {"orders": ["orders"]}


def test_several_are_taken_one_after_the_other(way: Way) -> None:
    it = trial(Obedient([("a", 3)] * 5, ends=False))

    async def story() -> None:
        async with background(it.run(way)) as run:
            async with asyncio.TaskGroup() as group:
                for name in "xyz":
                    group.create_task(it.control.orders.give(SnapshotOrder(collection=name)))
            it.control.draining.set()
            await run

    way.run(story())
    assert it.owner.positions == {"a": 15, "orders": ["x", "y", "z"]}


def test_what_the_source_has_against_it_is_answered_and_the_run_goes_on(way: Way) -> None:
    it = trial(Obedient([("a", 3)], ends=False, refuses=[Conflict("one is under way")]))

    async def story() -> None:
        async with background(it.run(way)) as run:
            with pytest.raises(Conflict, match="one is under way"):
                await it.control.orders.give(ORDER)
            await it.control.orders.give(ORDER)
            it.control.draining.set()
            await run

    way.run(story())
    assert it.owner.positions == {"a": 3, "orders": ["orders"]}


def test_a_source_that_cannot_is_left_alone(way: Way) -> None:
    it = trial(ScriptedSource([("a", 3)], ends=False))

    async def story() -> None:
        async with background(it.run(way)) as run:
            with pytest.raises(IllegalTransition, match="cannot be read again"):
                await it.control.orders.give(ORDER)
            it.control.finishing.set()
            await run

    way.run(story())
    assert it.owner.positions == {"a": 3}


def test_a_part_of_a_batch_goes_before_it(way: Way) -> None:
    spec = connector(batch={"kind": "count", "size": 100, "max_wait_ms": 60_000})
    it = Trial(spec, Obedient([("a", 7)], ends=False), [ScriptedSink()])

    async def story() -> None:
        async with background(it.run(way)) as run:
            await it.control.started.wait()
            await asyncio.sleep(5)
            await it.control.orders.give(ORDER)
            assert it.owner.positions == {"a": 7, "orders": ["orders"]}
            it.control.draining.set()
            await run

    way.run(story())
    assert len(it.sinks[0].taken) == 7


def test_a_drain_does_not_wait_for_a_source_that_thinks_about_it(near: Near) -> None:
    it = trial(Obedient([("a", 3)], ends=False, takes=1000))

    async def story() -> float:
        async with background(it.run(near)) as run, background(_given(it)):
            await asyncio.sleep(10)
            began = asyncio.get_running_loop().time()
            it.control.draining.set()
            await run
            return asyncio.get_running_loop().time() - began

    assert near.run(story()) < 5
    assert "orders" not in it.owner.positions


async def _given(it: Trial) -> None:
    """A run that ends says so instead of an answer."""
    with suppress(Unavailable):
        await it.control.orders.give(ORDER)


def test_a_finish_comes_through_beside_orders(way: Way) -> None:
    it = trial(Obedient([("a", 3)] * 3, ends=False))

    async def story() -> None:
        async with background(it.run(way)) as run:
            await it.control.started.wait()
            it.control.finishing.set()
            async with background(_given(it)):
                await run

    way.run(story())
    assert it.owner.positions["a"] == 9


class Forgetful(RememberingOwner):
    """Wrong: answers without having kept anything."""

    async def save(self, positions: object) -> None:
        return


def test_an_answer_before_the_save_would_be_noticed() -> None:
    it = trial(Obedient([("a", 3)], ends=False), owner=Forgetful())

    async def story() -> None:
        async with background(it.run(Direct())) as run:
            await it.control.orders.give(ORDER)
            assert "orders" in it.owner.positions
            it.control.draining.set()
            await run

    with pytest.raises(AssertionError):
        Direct().run(story())


def test_a_sink_that_commits_places_has_committed_that_of_an_order(near: Near) -> None:
    database, control = Database(), RunControl()
    spec = RunSpec(
        job="job",
        run_id="run",
        epoch=1,
        connector=connector(),
        services={},
        checkpoint=CheckpointMode.TRANSACTIONAL,
        checkpoint_resource="checkpoints",
        transactional_sink=0,
    )
    source = Obedient([("a", 3)], ends=False)
    parts = {"src": source, "s0": TransactionalScriptedSink(database, ["ok", "down", "lost answer"])}

    async def story() -> None:
        work = near.execute(spec, parts, owner=database, control=control, meter=Meter())
        async with background(work) as run:
            await asyncio.sleep(1)
            await control.orders.give(ORDER)
            assert database.lanes["orders"][0] == ["orders"]
            control.draining.set()
            await run

    near.run(story())
    assert database.lanes["a"][0] == 3
