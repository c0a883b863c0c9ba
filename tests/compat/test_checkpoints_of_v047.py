"""Checkpoints that v0.47 has left are gone on from, and it can go on from ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Int64, json_util

from mstream.domain.audit import Actor
from mstream.domain.reset import ToBegin
from mstream.encodings.cursors import cursor_of, partition_lane, partition_position, positions_of
from mstream.errors import DecodeError, DocumentDamaged
from mstream.ports.documents import Collection
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.stores.clocks import SteppedClock

SAMPLE = Path(__file__).parent / "samples" / "store-v047" / "mstream-checkpoints.json"
OPERATOR = Actor(who="operator")
TOKEN = {"_data": "6b04cda70000002f"}


def documents() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json_util.loads(SAMPLE.read_text())
    return [{name: value for name, value in each.items() if name != "_id"} for each in found]


def newest(job: str) -> dict[str, Any]:
    return max((each for each in documents() if each["job_name"] == job), key=lambda each: each["updated_at"])


def cursor(document: dict[str, Any]) -> list[int]:
    return list(bson.encode(document))


@pytest.fixture
def collection() -> Collection:
    return MemoryDocuments().collection("checkpoints", key="job_name")


@pytest.fixture
def store(collection: Collection) -> CheckpointStore:
    return CheckpointStore(collection, SteppedClock())


@pytest.mark.parametrize("number", range(len(documents())))
def test_every_cursor_of_the_sample_is_read_and_written_again_byte_for_byte(number: int) -> None:
    document = documents()[number]

    positions = positions_of(document["cursor"])

    assert cursor_of(positions) == document["cursor"]


def test_a_kafka_partition_goes_on_after_the_last_processed_message() -> None:
    assert positions_of(newest("kafka-cp")["cursor"]) == {"p_in_1795476897/0": {"next_offset": 22}}
    assert partition_lane("p_in_1795476897", 0) == "p_in_1795476897/0"
    assert partition_position(22) == {"next_offset": 22}


def test_a_change_stream_goes_on_from_its_token() -> None:
    assert positions_of(documents()[1]["cursor"]) == {"": TOKEN}


@pytest.mark.parametrize("kind", [list, bytes, Binary, tuple])
def test_a_cursor_is_read_whether_it_is_an_array_or_bytes(kind: Any) -> None:
    data = bson.encode(TOKEN)

    assert positions_of(kind(data)) == {"": TOKEN}


def test_a_token_with_other_types_is_kept_as_extended_json() -> None:
    token = {"_data": Binary(b"\x00\xff"), "_typeBits": Binary(b"\x01")}

    positions = positions_of(cursor(token))

    assert json.loads(json.dumps(positions)) == positions
    assert cursor_of(positions) == cursor(token)


@pytest.mark.parametrize(
    "damaged",
    [
        [],
        "text",
        7,
        None,
        [1, 2, 3],
        [256],
        [-1],
        ["a"],
        [None],
        b"",
        b"\x05",
        bson.encode(TOKEN)[:-1],
        bson.encode({}),
        bson.encode({"topic": "t", "partition": 0}),
        bson.encode({"topic": "t", "partition": 0, "offset": -1}),
        bson.encode({"topic": "t", "partition": "0", "offset": 1}),
        bson.encode({"topic": "", "partition": 0, "offset": 1}),
        bson.encode({"topic": "t", "partition": -1, "offset": 1}),
        bson.encode({"other": 1}),
    ],
)
async def test_a_damaged_cursor_is_never_taken_for_none(
    store: CheckpointStore, collection: Collection, damaged: Any
) -> None:
    with pytest.raises(DecodeError):
        positions_of(damaged)
    document = {"job_name": "orders", "cursor": damaged, "updated_at": 1}
    await collection.put("orders", document)

    with pytest.raises(DocumentDamaged, match="'orders'"):
        await store.load("orders")
    with pytest.raises(DocumentDamaged):
        await store.claim("orders", "one", 1, "kafka:t")

    stored = await collection.get("orders")
    assert stored is not None
    assert stored.document == document


@pytest.mark.parametrize("job", ["kafka-cp", "mongo-cp"])
async def test_a_job_goes_on_from_what_v047_has_left(store: CheckpointStore, collection: Collection, job: str) -> None:
    await collection.put(job, newest(job))

    loaded = await store.load(job)
    claimed = await store.claim(job, "one", 1, "the source")

    assert loaded is not None
    assert loaded.positions == claimed.positions == positions_of(newest(job)["cursor"])
    assert loaded.saved_at.startswith("2026-11-2")
    assert (loaded.epoch, loaded.sequence, loaded.fingerprint) == (0, 0, "")
    assert (claimed.epoch, claimed.sequence, claimed.fingerprint) == (1, 1, "the source")


async def test_a_position_of_v047_belongs_to_the_first_source_that_claims_it(
    store: CheckpointStore, collection: Collection
) -> None:
    await collection.put("kafka-cp", newest("kafka-cp"))
    await store.claim("kafka-cp", "one", 1, "kafka:t")

    with pytest.raises(Exception, match="another source"):
        await store.claim("kafka-cp", "two", 1, "kafka:u")


@pytest.mark.parametrize("updated_at", [None, "yesterday", 1 << 62, -(1 << 62), 1.5])
async def test_a_time_that_is_none_does_not_matter(
    store: CheckpointStore, collection: Collection, updated_at: Any
) -> None:
    await collection.put("orders", {"job_name": "orders", "cursor": cursor(TOKEN), "updated_at": updated_at})

    loaded = await store.load("orders")

    assert loaded is not None
    assert (loaded.positions, loaded.saved_at) == ({"": TOKEN}, "")


async def test_v047_can_go_on_from_ours(store: CheckpointStore, collection: Collection) -> None:
    before = newest("kafka-cp")
    await collection.put("kafka-cp", before)
    await store.claim("kafka-cp", "one", 1, "kafka:t")
    await store.save("kafka-cp", {"p_in_1795476897/0": {"next_offset": 31}}, "one", 1)

    stored = await collection.get("kafka-cp")

    assert stored is not None
    assert all(isinstance(each, int) for each in stored.document["cursor"])
    assert bson.decode(bytes(stored.document["cursor"])) == {
        "topic": "p_in_1795476897",
        "partition": 0,
        "offset": Int64(30),
    }
    assert isinstance(stored.document["updated_at"], int)
    assert stored.document["updated_at"] > before["updated_at"]
    assert stored.document["job_name"] == "kafka-cp"


async def test_for_v047_ours_is_the_newest_even_when_the_clock_was_set_back(collection: Collection) -> None:
    clock = SteppedClock()
    store = CheckpointStore(collection, clock)
    await collection.put("mongo-cp", newest("mongo-cp"))
    clock.step(-400 * 86400)

    times = [newest("mongo-cp")["updated_at"]]
    await store.claim("mongo-cp", "one", 1, "db")
    for number in range(3):
        await store.save("mongo-cp", {"": {"_data": f"{number:04}"}}, "one", 1)
        stored = await collection.get("mongo-cp")
        assert stored is not None
        times.append(stored.document["updated_at"])

    assert times == sorted(set(times))


@pytest.mark.parametrize(
    "positions",
    [
        {},
        {"a.jsonl": {"offset": 3}},
        {"": {"offset": 3}},
        {"": 7},
        {"": {"_data": ""}},
        {"": {"_data": "x", "offset": 1}},
        {"": {"_data": {"$binary": 3}}},
        {"t/0": {"next_offset": 1}, "t/1": {"next_offset": 1}},
        {"t/0": {"next_offset": 0}},
        {"t/0": {"next_offset": "1"}},
        {"t/0": {"next_offset": 1 << 70}},
        {"t/0": {"next_offset": 1, "more": 2}},
        {"t/4294967296": {"next_offset": 1}},
        {"t x/0": {"next_offset": 1}},
        {"t/0": 5},
    ],
)
def test_what_v047_could_not_say_has_no_cursor(positions: dict[str, Any]) -> None:
    assert cursor_of(positions) is None


async def test_an_old_cursor_does_not_outlive_its_position(store: CheckpointStore, collection: Collection) -> None:
    """Left there, it would send v0.47 back to where nobody is any more."""
    await collection.put("kafka-cp", {**newest("kafka-cp"), "future": 1})
    await store.claim("kafka-cp", "one", 1, "kafka:t")
    await store.save("kafka-cp", {"p_in_1795476897/1": {"next_offset": 5}}, "one", 1)

    stored = await collection.get("kafka-cp")

    assert stored is not None
    assert "cursor" not in stored.document
    assert stored.document["future"] == 1


@pytest.mark.parametrize("name", ["a/b", "a%b", "50%", "a%2Fb", "ünï/✓"])
async def test_a_job_of_any_name_goes_on(store: CheckpointStore, collection: Collection, name: str) -> None:
    left = {**newest("mongo-cp"), "job_name": name}
    await collection.put(name, left)

    (listed,), damaged = await store.everything()
    claimed = await store.claim(name, "one", 1, "db")
    await store.save(name, {"": {"_data": "77"}}, "one", 1)
    loaded = await store.load(name)

    assert (listed.job, damaged) == (name, [])
    assert claimed.positions == positions_of(left["cursor"])
    assert loaded is not None
    assert loaded.positions == {"": {"_data": "77"}}
    assert [each.job for each in (await store.everything())[0]] == [name]


async def test_a_damaged_one_is_replaced_by_a_reset(store: CheckpointStore, collection: Collection) -> None:
    await collection.put("orders", {"job_name": "orders", "cursor": [1], "updated_at": 5, "future": 1})

    await store.reset("orders", ToBegin(), epoch=3, by=OPERATOR)
    claimed = await store.claim("orders", "one", 3, "f")

    stored = await collection.get("orders")
    assert claimed.positions == {}
    assert stored is not None
    assert (stored.document["future"], "cursor" in stored.document) == (1, False)
