"""Where a job stood, and how it is put back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mstream.domain.audit import Actor
from mstream.domain.checkpoint import KEPT_WAYPOINTS, LARGEST_HISTORY, Begin, job_key, lane_key
from mstream.domain.reset import Target, ToBegin, ToPositions, ToWaypoint, positions_of, target_of, to_body
from mstream.errors import (
    DocumentDamaged,
    NotFound,
    PositionOfAnotherSource,
    RevisionConflict,
    StaleOwner,
    StoreUnreachable,
    UsageError,
)
from mstream.foundation.secrets import Secret
from mstream.ports.documents import Collection
from mstream.providers import CATALOG
from mstream.providers.memory.documents import MemoryDocuments
from mstream.providers.sql import PROVIDER as SQL
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.stores.clocks import SteppedClock

OPERATOR = Actor(who="anna", where="127.0.0.1")
SLASHED = "orders/eu"


@pytest.fixture(params=["memory", "sqlite"])
async def collection(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Collection]:
    """As positions come back from a store that keeps texts, and from one that keeps objects."""
    if request.param == "memory":
        yield MemoryDocuments().collection("checkpoints", key="job_name")
        return
    assert SQL in CATALOG
    assert SQL.documents is not None
    async with SQL.connect(SQL.config(name="it", url=Secret(f"sqlite:///{tmp_path / 'state.db'}"))) as live:
        yield SQL.documents(live).collection("checkpoints", key="job_name")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def store(collection: Collection, clock: SteppedClock) -> CheckpointStore:
    return CheckpointStore(collection, clock)


async def claim(store: CheckpointStore, run_id: str = "one", epoch: int = 1, fingerprint: str = "file:x") -> Any:
    return await store.claim("orders", run_id, epoch, fingerprint)


async def save(store: CheckpointStore, position: Any, run_id: str = "one", epoch: int = 1) -> Any:
    return await store.save("orders", {"": position}, run_id, epoch)


async def reset(store: CheckpointStore, to: Target, epoch: int = 1, reason: str = "") -> Any:
    return await store.reset("orders", to, epoch=epoch, by=OPERATOR, reason=reason)


async def stood(store: CheckpointStore) -> list[Mapping[str, Any]]:
    return [each.positions for each in await store.history("orders")]


# ---------------------------------------------------------------------------------------------------------- history
async def test_a_job_that_never_ran_has_no_history(store: CheckpointStore) -> None:
    assert await store.history("orders") == []


async def test_the_first_place_is_where_the_job_stands(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 1)
    saved = await save(store, 2)

    first = (await store.history("orders"))[0]

    assert (first.positions, first.run_id, first.fingerprint) == ({"": 2}, "one", "file:x")
    assert (first.epoch, first.sequence, first.saved_at) == (saved.epoch, saved.sequence, saved.saved_at)


async def test_a_claim_keeps_where_the_run_before_it_has_come(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 1)
    await save(store, 2)
    await claim(store, "two", 2)
    await save(store, 3, "two", 2)

    assert await stood(store) == [{"": 3}, {"": 2}]


async def test_while_it_runs_it_is_kept_once_a_minute(store: CheckpointStore, clock: SteppedClock) -> None:
    await claim(store)
    for second in range(1, 181):
        clock.pass_(1)
        await save(store, second)

    assert await stood(store) == [{"": 180}, {"": 120}, {"": 60}]


async def test_a_wall_clock_that_is_set_changes_nothing_of_that(store: CheckpointStore, clock: SteppedClock) -> None:
    await claim(store)
    for second in range(1, 121):
        clock.pass_(1)
        clock.step(-3600 if second % 2 else 90)
        await save(store, second)

    places = await store.history("orders")

    assert [each.positions for each in places] == [{"": 120}, {"": 60}]
    assert places[0].sequence > places[1].sequence


async def test_after_the_clock_was_set_back_the_newest_is_still_the_newest(
    store: CheckpointStore, clock: SteppedClock
) -> None:
    await claim(store)
    await save(store, 1)
    clock.step(-365 * 86400)
    await claim(store, "two", 2)
    await save(store, 2, "two", 2)

    loaded = await store.load("orders")

    assert loaded is not None
    assert loaded.positions == {"": 2}
    assert [(each.positions, each.epoch) for each in await store.history("orders")] == [({"": 2}, 2), ({"": 1}, 2)]


async def test_no_more_than_the_last_places_are_kept(store: CheckpointStore) -> None:
    for number in range(2 * KEPT_WAYPOINTS):
        await claim(store, f"run {number}", number)
        await save(store, number, f"run {number}", number)

    places = await store.history("orders")

    assert [each.positions[""] for each in places] == list(range(2 * KEPT_WAYPOINTS - 1, KEPT_WAYPOINTS - 2, -1))


async def test_a_job_that_fails_in_one_place_does_not_push_out_the_others(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 1)
    for number in range(2, 100):
        await claim(store, f"run {number}", number)
        if number == 2:
            await save(store, 2, "run 2", 2)

    assert await stood(store) == [{"": 2}, {"": 1}]


async def test_large_positions_leave_room_for_fewer_places(store: CheckpointStore, collection: Collection) -> None:
    for number in range(10):
        await claim(store, f"run {number}", number)
        await save(store, f"{number}" * (LARGEST_HISTORY // 4), f"run {number}", number)

    places = await store.history("orders")
    stored = await collection.get("orders")

    assert stored is not None
    assert len(str(stored.document)) < 1.5 * LARGEST_HISTORY
    assert [each.positions[""][0] for each in places] == ["9", "8", "7", "6"]


async def test_the_place_of_lanes_with_documents_of_their_own_is_kept(
    store: CheckpointStore, collection: Collection
) -> None:
    await claim(store)
    claims = await store.claim_lanes("orders", ["p1"], "one", 1, "file:x")
    key = lane_key("orders", "p1")
    stored = await collection.get(key)
    assert stored is not None
    await collection.put(key, {**stored.document, "positions": {"p1": 7}}, expect=claims["p1"].revision)
    await store.note("orders", {"p1": 7}, "one", 1)
    with pytest.raises(StaleOwner):
        await store.note("orders", {"p1": 8}, "two", 1)

    assert await stood(store) == [{"p1": 7}]


# ------------------------------------------------------------------------------------------------------------ resets
async def test_a_reset_to_nothing_begins_as_the_options_say(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 1)
    await reset(store, ToBegin())

    claimed = await claim(store, "two", 1, "file:y")

    assert (claimed.positions, claimed.begin, claimed.fingerprint) == ({}, Begin.CONFIGURED, "file:y")


@pytest.mark.parametrize("begin", [Begin.BEGINNING, Begin.NOW])
async def test_where_to_begin_holds_until_there_is_a_position(store: CheckpointStore, begin: Begin) -> None:
    await claim(store)
    await save(store, 1)
    await reset(store, ToBegin(begin=begin))

    first = await claim(store, "two", 1)
    again = await claim(store, "three", 1)
    saved = await save(store, 5, "three", 1)
    last = await claim(store, "four", 1)

    assert [each.begin for each in (first, again, saved, last)] == [begin, begin, Begin.CONFIGURED, Begin.CONFIGURED]


async def test_every_reset_is_counted_and_no_save_forgets_it(store: CheckpointStore) -> None:
    await claim(store)
    first = (await reset(store, ToBegin())).resets
    second = (await reset(store, ToPositions(positions={"": {"offset": 3}}))).resets
    assert 0 < first < second

    claimed = await claim(store, "two")
    saved = await store.save("orders", {"": {"offset": 4}}, "two", 1)

    assert saved.resets == claimed.resets
    found = await store.load("orders")
    assert found is not None
    assert found.resets == saved.resets


async def test_a_reset_counts_more_than_those_of_an_earlier_job_of_the_name(
    store: CheckpointStore, clock: SteppedClock
) -> None:
    await claim(store)
    before = (await reset(store, ToBegin())).resets
    await store.forget("orders", epoch=1)
    clock.pass_(2)

    await claim(store, "two")
    after = (await reset(store, ToBegin())).resets

    assert after > before


async def test_a_reset_to_given_positions_belongs_to_the_next_source(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 1)
    await reset(store, ToPositions(positions={"a": {"offset": 3}, "b": [1, None]}))

    claimed = await claim(store, "two", 1, "file:y")

    assert claimed.positions == {"a": {"offset": 3}, "b": [1, None]}
    with pytest.raises(PositionOfAnotherSource):
        await claim(store, "three", 1, "file:z")


async def test_a_reset_to_an_older_place_brings_its_source_too(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 1)
    await claim(store, "two", 2)
    await save(store, 2, "two", 2)
    old = (await store.history("orders"))[1]

    await reset(store, ToWaypoint(number=old.sequence), epoch=2)

    loaded = await store.load("orders")
    assert loaded is not None
    assert (loaded.positions, loaded.fingerprint) == ({"": 1}, "file:x")


async def test_where_the_job_stood_before_a_reset_can_be_gone_back_to(store: CheckpointStore) -> None:
    await claim(store)
    await save(store, 41)
    await reset(store, ToBegin(), reason="try again")
    by_hand, before = await store.history("orders")
    assert (by_hand.positions, by_hand.by, by_hand.reason) == ({}, OPERATOR, "try again")

    await reset(store, ToWaypoint(number=before.sequence))

    assert await stood(store) == [{"": 41}, {}, {"": 41}]


async def test_an_entry_that_is_not_there_is_named_with_those_that_are(store: CheckpointStore) -> None:
    await claim(store)
    saved = await save(store, 1)

    with pytest.raises(NotFound, match=f"no entry 99; there are: {saved.sequence}"):
        await reset(store, ToWaypoint(number=99))

    assert await stood(store) == [{"": 1}]


async def test_a_job_that_never_ran_can_be_put_somewhere(store: CheckpointStore) -> None:
    await reset(store, ToPositions(positions={"": 7}))

    assert (await claim(store)).positions == {"": 7}


async def test_a_reset_is_one_more_write_in_order(store: CheckpointStore) -> None:
    await claim(store)
    saved = await save(store, 1)

    put = await reset(store, ToBegin(), epoch=4)

    assert (put.epoch, put.sequence) == (4, saved.sequence + 1)


async def test_a_save_that_comes_after_a_reset_is_refused(store: CheckpointStore) -> None:
    await claim(store)
    await reset(store, ToBegin())

    with pytest.raises(StaleOwner):
        await save(store, 9)


async def test_where_nobody_else_can_own_the_store_a_reset_stays_in_its_epoch(store: CheckpointStore) -> None:
    await claim(store, epoch=3)
    saved = await save(store, 1, epoch=3)

    put = await store.reset("orders", ToBegin(), epoch=None, by=OPERATOR)

    assert (put.epoch, put.sequence) == (3, saved.sequence + 1)


async def test_a_stale_owner_cannot_reset(store: CheckpointStore) -> None:
    await claim(store, epoch=5)
    await save(store, 1, epoch=5)

    with pytest.raises(StaleOwner):
        await reset(store, ToBegin(), epoch=4)

    assert await stood(store) == [{"": 1}]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("NaN", "NaN is no JSON value"),
        ('{"": Infinity}', "Infinity is no JSON value"),
        ("{}", "by lane"),
        ("7", "by lane"),
        ("[1]", "by lane"),
        ('{"a": null}', "lane 'a'"),
        ('{"a": 1e999}', "lane 'a'"),
    ],
)
def test_a_position_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        positions_of(text)


def test_positions_are_given_by_lane() -> None:
    assert positions_of('{"t/0": {"next_offset": 3}, "": [1.5, true, "x"]}').positions == {
        "t/0": {"next_offset": 3},
        "": [1.5, True, "x"],
    }


# ------------------------------------------------------------------------------- lanes with documents of their own
async def lane_at(store: CheckpointStore, collection: Collection, lane: str, position: Any, epoch: int = 1) -> str:
    """As a transaction leaves it; answers its revision."""
    claims = await store.claim_lanes("orders", [lane], f"run {epoch}", epoch, "file:x")
    key = lane_key("orders", lane)
    stored = await collection.get(key)
    assert stored is not None
    document = {**stored.document, "positions": {lane: position}}
    return await collection.put(key, document, expect=claims[lane].revision)


async def test_a_reset_takes_the_lanes_along(store: CheckpointStore, collection: Collection) -> None:
    await claim(store)
    for lane in ("", "p1"):
        await lane_at(store, collection, lane, 7)

    await reset(store, ToPositions(positions={"p1": 3}))

    assert await stood(store) == [{"p1": 3}, {"": 7, "p1": 7}]
    assert {lane: at.positions for lane, at in (await store.load_lanes("orders")).items()} == {"": {}, "p1": {}}
    loaded = await store.load("orders")
    assert loaded is not None
    assert not loaded.voids_lanes


async def test_a_transaction_that_was_under_way_finds_the_reset_before_it(
    store: CheckpointStore, collection: Collection
) -> None:
    await claim(store)
    revision = await lane_at(store, collection, "p1", 7)

    await reset(store, ToBegin(), epoch=2)

    with pytest.raises(RevisionConflict):
        await collection.put(lane_key("orders", "p1"), {"positions": {"p1": 8}}, expect=revision)
    with pytest.raises(StaleOwner):
        await store.claim_lanes("orders", ["p1"], "run 1", 1, "file:x")


class Failing:
    """A collection that stops answering after so many writes."""

    def __init__(self, inner: Collection, writes: int) -> None:
        self._inner = inner
        self._left = writes

    async def put(self, key: str, document: Any, **how: Any) -> str:
        if self._left == 0:
            message = "gone"
            raise StoreUnreachable(message)
        self._left -= 1
        return await self._inner.put(key, document, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.mark.parametrize("writes", range(6))
async def test_a_reset_that_is_cut_off_has_happened_or_has_not(
    collection: Collection, clock: SteppedClock, writes: int
) -> None:
    """Killed at any write: the job goes on where it stood, or where it was put; never from a mixture."""
    store = CheckpointStore(collection, clock)
    await claim(store)
    for lane in ("", "p1", "p2"):
        await lane_at(store, collection, lane, 7)
    dying = CheckpointStore(Failing(collection, writes), clock)
    try:
        await reset(dying, ToPositions(positions={"p1": 3}))
    except StoreUnreachable:
        pass
    else:
        assert writes == 5

    seen = {each.job: each.positions for each in (await store.everything())[0]}
    claimed = await claim(store, "next", 2)
    lanes = {lane: at.positions.get(lane) for lane, at in (await store.load_lanes("orders")).items()}
    positions = {**claimed.positions, **{lane: at for lane, at in lanes.items() if at is not None}}

    assert positions == ({"": 7, "p1": 7, "p2": 7} if writes == 0 else {"p1": 3})
    assert seen == {"orders": positions}


async def test_a_damaged_lane_is_told_and_can_be_reset(store: CheckpointStore, collection: Collection) -> None:
    await claim(store)
    await lane_at(store, collection, "p1", 7)
    await collection.put(lane_key("orders", "p2"), {"positions": 3})

    with pytest.raises(DocumentDamaged):
        await store.history("orders")
    await reset(store, ToBegin())

    assert await stood(store) == [{}, {"p1": 7}]


# ----------------------------------------------------------------------------------------------------------- damage
@pytest.mark.parametrize(
    "damage",
    [
        {"positions": None},
        {"positions": [1]},
        {"epoch": "1"},
        {"epoch": -1},
        {"epoch": 1.5},
        {"epoch": True},
        {"sequence": None},
        {"fingerprint": 3},
        {"run_id": []},
        {"saved_at": 7},
        {"begin": "somewhere"},
        {"history": 3},
        {"history": [3]},
        {"history": [{}]},
        {"history": [{"positions": {}, "by": 3}]},
        {"history": [{"positions": {}, "by": {"who": 3}}]},
        {"history": [{"positions": {}, "sequence": "x"}]},
    ],
)
async def test_a_damaged_document_is_never_taken_for_none(
    store: CheckpointStore, collection: Collection, damage: dict[str, Any]
) -> None:
    await claim(store, epoch=3)
    await save(store, 1, epoch=3)
    await store.claim("payments", "one", 1, "f")
    stored = await collection.get("orders")
    assert stored is not None
    await collection.put("orders", {**stored.document, **damage})

    for attempt in (
        store.load("orders"),
        store.claim("orders", "two", 4, "file:x"),
        store.save("orders", {"": 2}, "one", 3),
        store.history("orders"),
    ):
        with pytest.raises(DocumentDamaged, match="'orders'"):
            await attempt
    found, damaged = await store.everything()

    assert [each.job for each in found] == ["payments"]
    assert [each.name for each in damaged] == ["orders"]
    assert (await store.load("payments")) is not None


async def test_a_document_without_positions_is_damaged(store: CheckpointStore, collection: Collection) -> None:
    await collection.put("orders", {"job_name": "orders"})

    with pytest.raises(DocumentDamaged):
        await store.load("orders")


async def test_a_reset_of_a_damaged_document_comes_after_it(store: CheckpointStore, collection: Collection) -> None:
    await claim(store, epoch=3)
    await save(store, 1, epoch=3)
    stored = await collection.get("orders")
    assert stored is not None
    await collection.put("orders", {**stored.document, "positions": 7, "future": 1})

    with pytest.raises(StaleOwner):
        await reset(store, ToBegin(), epoch=2)
    put = await reset(store, ToBegin(), epoch=3)

    assert (put.epoch, put.sequence) == (3, 3)
    again = await collection.get("orders")
    assert again is not None
    assert again.document["future"] == 1


@pytest.mark.parametrize("error", [StoreUnreachable("away"), RevisionConflict("odd")])
async def test_an_error_is_never_taken_for_no_checkpoint(error: Exception) -> None:
    documents = MemoryDocuments()
    store = CheckpointStore(documents.collection("checkpoints"), SteppedClock())
    documents.faults.append(error)  # type: ignore[arg-type]  # errors of ours

    with pytest.raises(type(error)):
        await store.load("orders")


# ------------------------------------------------------------------------------------------------------------- names
async def test_a_job_and_the_lane_of_another_are_kept_apart(store: CheckpointStore) -> None:
    """The lane `eu` of `orders`, and a job that is called `orders/eu`."""
    await claim(store)
    await store.claim_lanes("orders", ["eu"], "one", 1, "file:x")
    await store.place_lanes("orders", {"eu": 7}, "one", 1, "file:x")

    claimed = await store.claim(SLASHED, "x", 1, "file:z")
    await store.save(SLASHED, {"": 1}, "x", 1)

    assert claimed.positions == {}
    assert {each.job: each.positions for each in (await store.everything())[0]} == {
        "orders": {"eu": 7},
        SLASHED: {"": 1},
    }
    await store.forget("orders", epoch=1)
    assert [each.job for each in (await store.everything())[0]] == [SLASHED]


@pytest.mark.parametrize("name", ["orders", "a/b", "a%2Fb", "%", "/", "ünï ✓", ".."])
async def test_every_name_has_a_key_of_its_own(store: CheckpointStore, name: str) -> None:
    names = ["orders", "a/b", "a%2Fb", "%", "/", "ünï ✓", ".."]
    for number, each in enumerate(names):
        await store.claim(each, "one", 1, "f")
        await store.save(each, {"": number}, "one", 1)

    loaded = await store.load(name)

    assert len({job_key(each) for each in names}) == len(names)
    assert loaded is not None
    assert (loaded.job, loaded.positions) == (name, {"": names.index(name)})
    assert {each.job for each in (await store.everything())[0]} == set(names)


@pytest.mark.parametrize(
    "to",
    [
        ToWaypoint(number=7),
        ToBegin(begin=Begin.BEGINNING),
        ToBegin(begin=Begin.NOW),
        ToPositions(positions={"": {"offset": 1}}),
    ],
)
def test_a_place_is_understood_as_it_is_sent(to: Target) -> None:
    assert target_of(to_body(to)) == to
    assert target_of({**to_body(to), "reason": "because"}) == to


def test_no_place_is_sent_for_the_options() -> None:
    assert to_body(ToBegin()) == {}
