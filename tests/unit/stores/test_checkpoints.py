"""The checkpoint store, over the memory provider's documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from mstream.domain.checkpoint import job_key, lane_key
from mstream.errors import PositionOfAnotherSource, StaleOwner
from mstream.foundation.clock import SystemClock
from mstream.ports.documents import Collection, Revision
from mstream.providers.memory import PROVIDER
from mstream.stores.checkpoints import CheckpointStore


@pytest.fixture
async def collection() -> AsyncIterator[Collection]:
    assert PROVIDER.documents is not None
    async with PROVIDER.connect(PROVIDER.config(name="it")) as live:
        yield PROVIDER.documents(live).collection("checkpoints", key="job_name")


@pytest.fixture
def store(collection: Collection) -> CheckpointStore:
    return CheckpointStore(collection, SystemClock())


async def claim(store: CheckpointStore, **changes: Any) -> Any:
    return await store.claim("orders", **{"run_id": "one", "epoch": 1, "fingerprint": "file:x", **changes})


async def save(store: CheckpointStore, positions: dict[str, Any], **changes: Any) -> Any:
    return await store.save("orders", positions, **{"run_id": "one", "epoch": 1, **changes})


async def test_a_job_that_never_ran_has_no_checkpoint(store: CheckpointStore) -> None:
    assert await store.load("orders") is None


async def test_what_is_saved_is_loaded(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, {"a": {"offset": 1}, "b": 2})

    checkpoint = await store.load("orders")

    assert checkpoint is not None
    assert checkpoint.positions == {"a": {"offset": 1}, "b": 2}
    assert (checkpoint.job, checkpoint.run_id, checkpoint.epoch, checkpoint.fingerprint) == (
        "orders",
        "one",
        1,
        "file:x",
    )
    assert checkpoint.saved_at.endswith("Z")


async def test_a_save_merges_lanes_and_ends_those_that_are_none(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, {"a": 1, "b": 1})
    await save(store, {"b": 2, "c": 3})
    await save(store, {"a": None, "never": None})

    checkpoint = await store.load("orders")

    assert checkpoint is not None
    assert checkpoint.positions == {"b": 2, "c": 3}


async def test_every_save_has_the_next_number(store: CheckpointStore) -> None:
    await claim(store)

    numbers = [(await save(store, {"a": each})).sequence for each in range(3)]

    assert numbers == [2, 3, 4]


async def test_a_claim_keeps_the_positions(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, {"a": 1})

    claimed = await claim(store, run_id="two", epoch=2)

    assert claimed.positions == {"a": 1}
    assert (claimed.run_id, claimed.epoch, claimed.sequence) == ("two", 2, 3)


async def test_a_position_of_another_source_is_never_used(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, {"a": 1})

    with pytest.raises(PositionOfAnotherSource, match="mstream checkpoints reset orders"):
        await claim(store, fingerprint="file:y")

    checkpoint = await store.load("orders")
    assert checkpoint is not None
    assert checkpoint.fingerprint == "file:x"


async def test_without_positions_the_source_may_change(store: CheckpointStore) -> None:
    await claim(store)

    claimed = await claim(store, fingerprint="file:y")

    assert claimed.fingerprint == "file:y"


async def test_a_stale_owner_can_neither_claim_nor_save(store: CheckpointStore) -> None:
    await claim(store)
    await claim(store, run_id="two", epoch=2)

    with pytest.raises(StaleOwner):
        await claim(store, run_id="three", epoch=1)
    with pytest.raises(StaleOwner):
        await save(store, {"a": 1})

    checkpoint = await store.load("orders")
    assert checkpoint is not None
    assert (checkpoint.run_id, checkpoint.positions) == ("two", {})


async def test_a_late_save_of_an_old_run_is_refused(store: CheckpointStore) -> None:
    """The same owner, a newer run."""
    await claim(store)
    await claim(store, run_id="two")

    with pytest.raises(StaleOwner):
        await save(store, {"a": 1})


async def test_a_save_in_another_epoch_than_the_claim_is_refused(store: CheckpointStore) -> None:
    await claim(store)

    with pytest.raises(StaleOwner):
        await save(store, {"a": 1}, epoch=2)


async def test_a_save_without_a_claim_is_refused(store: CheckpointStore) -> None:
    with pytest.raises(StaleOwner):
        await save(store, {"a": 1})


async def test_saves_that_meet_lose_nothing(store: CheckpointStore) -> None:
    await claim(store)

    await asyncio.gather(*(save(store, {f"lane-{each}": each}) for each in range(20)))

    checkpoint = await store.load("orders")
    assert checkpoint is not None
    assert checkpoint.positions == {f"lane-{each}": each for each in range(20)}
    assert checkpoint.sequence == 21


class Interrupted:
    """A collection in which somebody else writes just before our first write."""

    def __init__(self, inner: Collection, interruption: Any) -> None:
        self._inner = inner
        self._interruption = interruption

    async def put(self, key: str, document: Any, **how: Any) -> str:
        interruption, self._interruption = self._interruption, None
        if interruption:
            await interruption()
        return await self._inner.put(key, document, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_save_that_meets_another_write_of_its_run_is_tried_again(
    store: CheckpointStore, collection: Collection
) -> None:
    await claim(store)
    slow = CheckpointStore(Interrupted(collection, lambda: save(store, {"a": 1})), SystemClock())

    await save(slow, {"b": 2})

    checkpoint = await store.load("orders")
    assert checkpoint is not None
    assert (checkpoint.positions, checkpoint.sequence) == ({"a": 1, "b": 2}, 3)


async def test_a_save_that_meets_a_newer_owner_is_refused(store: CheckpointStore, collection: Collection) -> None:
    """Frozen between check and write: the compare-and-set notices."""
    await claim(store)
    slow = CheckpointStore(Interrupted(collection, lambda: claim(store, run_id="two", epoch=2)), SystemClock())

    with pytest.raises(StaleOwner):
        await save(slow, {"a": 1})

    checkpoint = await store.load("orders")
    assert checkpoint is not None
    assert (checkpoint.run_id, checkpoint.positions) == ("two", {})


class Counted:
    """A collection that counts what it is asked for."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner
        self.gets = 0

    async def get(self, key: str) -> Any:
        self.gets += 1
        return await self._inner.get(key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_a_run_that_saves_reads_nothing_again(collection: Collection) -> None:
    counted = Counted(collection)
    store = CheckpointStore(counted, SystemClock())
    await claim(store)
    before = counted.gets

    for number in range(10):
        await save(store, {"a": number})

    assert counted.gets == before
    stored = await CheckpointStore(collection, SystemClock()).load("orders")
    assert stored is not None
    assert (stored.positions, stored.sequence) == ({"a": 9}, 11)


async def test_what_a_caller_does_to_its_position_afterwards_is_never_saved(store: CheckpointStore) -> None:
    await claim(store)
    mine = {"offset": 1}
    await save(store, {"a": mine})
    mine["offset"] = 99

    await save(store, {"b": 1})

    checkpoint = await store.load("orders")
    assert checkpoint is not None
    assert checkpoint.positions == {"a": {"offset": 1}, "b": 1}


async def test_what_somebody_else_has_put_there_meanwhile_is_seen(
    store: CheckpointStore, collection: Collection
) -> None:
    await claim(store)
    await save(store, {"a": 1})
    stored = await collection.get("orders")
    assert stored is not None
    await collection.put("orders", {**stored.document, "positions": {"a": 5}, "future": 1}, expect=stored.revision)

    saved = await save(store, {"b": 2})

    assert saved.positions == {"a": 5, "b": 2}


async def test_fields_that_we_do_not_know_are_kept(store: CheckpointStore, collection: Collection) -> None:
    await collection.put("orders", {"job_name": "orders", "positions": {}, "future": {"x": 1}})

    await claim(store)
    await save(store, {"a": 1})

    stored = await collection.get("orders")
    assert stored is not None
    assert stored.document["future"] == {"x": 1}


# ------------------------------------------------------------------------------------------------------------ lanes
async def claim_lanes(store: CheckpointStore, *lanes: str, **changes: Any) -> Any:
    return await store.claim_lanes("orders", lanes, **{"run_id": "one", "epoch": 1, "fingerprint": "f", **changes})


async def test_a_claimed_lane_has_a_document_of_its_own(store: CheckpointStore, collection: Collection) -> None:
    claims = await claim_lanes(store, "", "p1")

    assert [claims[lane].position for lane in ("", "p1")] == [None, None]
    for lane in ("", "p1"):
        stored = await collection.get(lane_key("orders", lane))
        assert stored is not None
        assert stored.revision == claims[lane].revision
        assert stored.document["job_name"] == lane_key("orders", lane)


async def test_a_lane_is_claimed_at_the_position_that_a_transaction_has_left(
    store: CheckpointStore, collection: Collection
) -> None:
    claims = await claim_lanes(store, "p1")
    key = lane_key("orders", "p1")
    stored = await collection.get(key)
    assert stored is not None
    document = {**stored.document, "positions": {"p1": 7}, "sequence": 4}
    await collection.put(key, document, expect=claims["p1"].revision)

    again = await claim_lanes(store, "p1", run_id="two", epoch=2)

    assert (again["p1"].position, again["p1"].sequence) == (7, 5)
    assert again["p1"].revision != claims["p1"].revision
    with pytest.raises(StaleOwner):
        await claim_lanes(store, "p1", run_id="one", epoch=1)
    with pytest.raises(PositionOfAnotherSource):
        await claim_lanes(store, "p1", epoch=2, fingerprint="other")


async def test_looking_up_writes_nothing(store: CheckpointStore) -> None:
    claims = await claim_lanes(store, "p1")

    found = await store.lookup("orders", ["p1", "p2"])

    assert found == claims


async def test_lanes_of_a_job_are_loaded_and_those_of_others_are_not(store: CheckpointStore) -> None:
    await claim_lanes(store, "", "p1", "p2")
    await store.claim_lanes("orders2", ["p3"], run_id="x", epoch=1, fingerprint="f")
    await claim(store)

    lanes = await store.load_lanes("orders")

    assert sorted(lanes) == ["", "p1", "p2"]


async def test_a_job_that_is_forgotten_is_forgotten_alone(store: CheckpointStore, collection: Collection) -> None:
    await claim(store)
    await claim_lanes(store, "", "p1")
    await store.claim_lanes("orders2", ["p3"], run_id="x", epoch=1, fingerprint="f")

    await store.forget("orders", epoch=1)

    assert [each.key for each in await collection.scan()] == [lane_key("orders2", "p3")]


async def test_a_job_that_a_newer_owner_has_is_not_forgotten(store: CheckpointStore, collection: Collection) -> None:
    await claim(store, epoch=2)
    await claim_lanes(store, "p1", epoch=2)
    before = await collection.scan()

    with pytest.raises(StaleOwner, match="newer owner"):
        await store.forget("orders", epoch=1)

    assert await collection.scan() == before


async def test_a_lane_that_a_newer_owner_has_is_not_forgotten(store: CheckpointStore, collection: Collection) -> None:
    await claim_lanes(store, "p1", epoch=2)

    with pytest.raises(StaleOwner, match="newer owner"):
        await store.forget("orders", epoch=1)

    assert [each.key for each in await collection.scan()] == [lane_key("orders", "p1")]


async def test_what_is_damaged_is_forgotten_as_well(store: CheckpointStore, collection: Collection) -> None:
    await collection.put(job_key("orders"), {"job_name": "orders", "positions": 7})

    await store.forget("orders", epoch=1)

    assert await collection.scan() == []


async def test_a_claim_that_comes_in_between_is_not_forgotten(store: CheckpointStore, collection: Collection) -> None:
    await claim(store)
    older = CheckpointStore(Between(collection, lambda: claim(store, epoch=2)), SystemClock())

    with pytest.raises(StaleOwner, match="newer owner"):
        await older.forget("orders", epoch=1)

    assert await store.load("orders") is not None


class Between:
    """A collection that lets something happen just before its first removal."""

    def __init__(self, inner: Collection, work: Callable[[], Awaitable[Any]]) -> None:
        self._inner = inner
        self._work: Callable[[], Awaitable[Any]] | None = work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        work, self._work = self._work, None
        if work is not None:
            await work()
        return await self._inner.delete(key, expect=expect)


async def test_lanes_of_a_job_that_a_newer_owner_has_are_not_claimed(
    store: CheckpointStore, collection: Collection
) -> None:
    """The lane is new: only the job's own document can tell."""
    await claim(store, epoch=2)

    with pytest.raises(StaleOwner):
        await claim_lanes(store, "p1", epoch=1)

    assert await collection.get(lane_key("orders", "p1")) is None
