"""Owners that freeze between reading and writing, in any interleaving: checkpoints keep their order, and their news."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mstream.domain.audit import Actor
from mstream.domain.checkpoint import Checkpoint
from mstream.domain.reset import ToBegin, ToPositions
from mstream.errors import RevisionConflict, StaleOwner
from mstream.ports.documents import ABSENT, Collection, Document, Revision, Stored
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.stores.clocks import SteppedClock

JOB = "orders"


@dataclass(frozen=True)
class Act:
    """Something that an owner does; `steps` decides who goes on next, each time that somebody may."""

    kind: str
    epoch: int
    run: int
    clock: int


@dataclass
class Write:
    """A document as it was put, and by what."""

    act: Act
    document: Document
    before: Document


@dataclass
class World:
    """One store, its clock, and everything that was written and answered."""

    clock: SteppedClock = field(default_factory=SteppedClock)
    inner: Collection = field(default_factory=lambda: MemoryDocuments().collection("checkpoints"))
    writes: list[Write] = field(default_factory=list)
    #: Positions that a save has answered for, with the number of writes at that moment.
    promised: list[tuple[int, Act, Checkpoint]] = field(default_factory=list)
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    saved: int = 0
    stores: dict[int, CheckpointStore] = field(default_factory=dict)


#: Who writes; each task has its own.
ACTING: ContextVar[Act] = ContextVar("ACTING")


class Gated:
    """A collection whose callers are let through one at a time, when the schedule says so."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def get(self, key: str) -> Stored | None:
        await self._turn()
        return await self._world.inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Any:
        await self._turn()
        return await self._world.inner.scan(after=after, limit=limit)

    async def put(self, key: str, document: Document, *, expect: Revision | None = None, **how: Any) -> Revision:
        await self._turn()
        stored = await self._world.inner.get(key)
        revision = await self._world.inner.put(key, document, expect=expect, **how)
        self._world.writes.append(Write(ACTING.get(), document, stored.document if stored else {}))
        return revision

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        await self._turn()
        return await self._world.inner.delete(key, expect=expect)

    async def _turn(self) -> None:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._world.waiting.append(gate)
        await gate


Make = Callable[[Collection, SteppedClock], CheckpointStore]


async def perform(world: World, act: Act, make: Make) -> None:
    # An owner keeps its store, and what that remembers.
    store = world.stores.setdefault(act.epoch, make(Gated(world), world.clock))
    ACTING.set(act)
    world.clock.step(act.clock)
    run_id = f"{act.epoch}.{act.run}"
    try:
        match act.kind:
            case "claim":
                await store.claim(JOB, run_id, act.epoch, "f")
            case "save":
                world.saved += 1
                answer = await store.save(JOB, {"": world.saved}, run_id, act.epoch)
                world.promised.append((len(world.writes), act, answer))
            case "reset":
                await store.reset(JOB, ToBegin(), epoch=act.epoch, by=Actor(who="x"))
            case "place":
                await store.reset(JOB, ToPositions(positions={"": -act.epoch - 1}), epoch=act.epoch, by=Actor(who="x"))
    except StaleOwner:
        pass


async def play(acts: list[Act], steps: list[int], make: Make, world: World) -> World:
    """Every act at once, one step at a time."""
    turns = iter(steps)

    async def direct(work: list[Coroutine[Any, Any, None]]) -> None:
        tasks = [asyncio.create_task(each) for each in work]
        while not all(each.done() for each in tasks):
            for _ in range(5):
                await asyncio.sleep(0)
            if world.waiting:
                world.waiting.pop(next(turns, 0) % len(world.waiting)).set_result(None)
        for each in tasks:
            each.result()

    await direct([perform(world, each, make) for each in acts])
    return world


def order(document: Mapping[str, Any]) -> tuple[int, int]:
    return document.get("epoch", -1), document.get("sequence", 0)


def check(world: World) -> None:
    """What must hold of every history of writes."""
    for each, following in zip(world.writes, world.writes[1:], strict=False):
        assert order(each.document) < order(following.document), "the order has not grown"
        assert following.before == each.document, "a write was put over another one that it had not seen"
    for each in world.writes:
        was, now = each.before.get("positions", {}), each.document["positions"]
        match each.act.kind:
            case "claim":
                assert was == now, "a claim has moved the job"
            case "save":
                assert each.before["run_id"] == f"{each.act.epoch}.{each.act.run}", "a run saved over another's claim"
    for _, act, answer in world.promised:
        mine = [each for each in world.writes if each.act is act]
        assert [each.document["positions"] for each in mine] == [answer.positions], "what was answered was not written"
    history = [each["sequence"] for each in (world.writes[-1].document.get("history", []) if world.writes else [])]
    assert history == sorted(set(history)), "the history is not in order"


def ours(collection: Collection, clock: SteppedClock) -> CheckpointStore:
    return CheckpointStore(collection, clock)


ACTS = st.builds(
    Act,
    kind=st.sampled_from(["claim", "save", "save", "reset", "place"]),
    epoch=st.integers(0, 3),
    run=st.integers(0, 1),
    clock=st.sampled_from([0, 1, 100, -1, -100_000]),
)
STEPS = st.lists(st.integers(0, 7), max_size=60)
FEW = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@given(acts=st.lists(ACTS, min_size=1, max_size=8), steps=STEPS)
@FEW
def test_every_write_comes_after_what_it_replaces_and_loses_nothing_of_it(acts: list[Act], steps: list[int]) -> None:
    world = asyncio.run(play(acts, steps, ours, World()))

    check(world)


# ------------------------------------------------------------------------------------------------------------- twins
class Careless:
    """A collection that does not compare."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = ABSENT, revision: Revision | None = None
    ) -> Revision:
        return await self._inner.put(key, document)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def careless(collection: Collection, clock: SteppedClock) -> CheckpointStore:
    return CheckpointStore(Careless(collection), clock)


class Epochless(CheckpointStore):
    """A store that lets any owner write."""

    def __init__(self, collection: Collection, clock: SteppedClock) -> None:
        super().__init__(collection, clock)
        self._collection = collection

    async def claim(self, job: str, run_id: str, epoch: int, fingerprint: str) -> Checkpoint:
        found = await self._collection.get(job)
        if found is None:
            return await super().claim(job, run_id, epoch, fingerprint)
        document = {**found.document, "run_id": run_id, "epoch": epoch, "sequence": found.document["sequence"] + 1}
        try:
            await self._collection.put(job, document, expect=found.revision)
        except RevisionConflict:
            raise StaleOwner from None
        return Checkpoint(job=job)


class ByTheClock(CheckpointStore):
    """A store whose newest checkpoint is that with the latest time."""

    def __init__(self, collection: Collection, clock: SteppedClock) -> None:
        super().__init__(collection, clock)
        self._collection = collection
        self._wall = clock

    async def save(self, job: str, positions: Mapping[Any, Any], run_id: str, epoch: int) -> Checkpoint:
        found = await self._collection.get(job)
        written = found.document if found else {}
        now = int(self._wall.now().timestamp())
        if found is None or written["run_id"] != run_id or now < written.get("at", 0):
            raise StaleOwner
        document = {**written, "positions": dict(positions), "at": now, "sequence": now}
        await self._collection.put(job, document)
        return Checkpoint(job=job, positions=dict(positions))


def act(kind: str, *, epoch: int = 0) -> Act:
    return Act(kind, epoch=epoch, run=0, clock=0)


@pytest.mark.parametrize(
    ("twin", "rounds"),
    [
        (careless, [[act("claim"), act("claim")]]),
        (Epochless, [[act("claim", epoch=3)], [act("claim")]]),
        (ByTheClock, [[act("claim")], [act("save")], [act("save")]]),
    ],
)
def test_a_store_without_one_of_the_rules_is_found_out(twin: Make, rounds: list[list[Act]]) -> None:
    with pytest.raises(AssertionError, match=r"order|not seen"):
        check(played(rounds, twin))

    check(played(rounds, ours))


def played(rounds: list[list[Act]], make: Make) -> World:
    """One round after the other, each with everybody taking turns."""

    async def story() -> World:
        world = World()
        for acts in rounds:
            await play(acts, [], make, world)
        return world

    return asyncio.run(story())
