"""Collections that v0.47 has left are read as they are, and stay its own as far as it looks at them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId, json_util
from pymongo.collection import Collection as Rows

from mstream.errors import RevisionConflict, StoreError
from mstream.ports.documents import ABSENT, Collection, DocumentStore, Shared, Stray
from tests.contracts.stores import MONGODB_DATABASES, of_mongodb
from tests.servers.mongodb import MongoDatabase

SAMPLES = Path(__file__).parent / "samples" / "store-v047"
#: Collection -> the field that carries the key.
KEYS = {
    "job-lifecycle": "name",
    "mstream-services": "name",
    "mstream-checkpoints": "job_name",
    "schemas": "id",
    "test-suites": "id",
    "workspaces": "id",
}
NEWEST = {"api-job": 1795476913261, "kafka-cp": 1795476901035, "mongo-cp": 1795476904111}

pytestmark = pytest.mark.timeout(120)


def sample(name: str) -> list[dict[str, Any]]:
    """The documents as the driver would have them, `_id` included."""
    text = (SAMPLES / f"{name}.json").read_text()
    found: list[dict[str, Any]] = json_util.loads(text, json_options=json_util.JSONOptions(tz_aware=True))
    return found


def content(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"_id", "revision", "_digest"}}


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


@pytest.fixture
def left(database: MongoDatabase) -> Iterator[dict[str, Rows[dict[str, Any]]]]:
    """What v0.47 has left, as another program sees it."""
    with database.client() as client:
        collections = {each: client[database.name][each] for each in KEYS}
        for name, rows in collections.items():
            rows.insert_many(sample(name))
        yield collections


@pytest.fixture
async def store(database: MongoDatabase) -> AsyncIterator[DocumentStore]:
    provider, config = of_mongodb(database)
    assert provider.documents is not None
    async with provider.connect(config) as live:
        yield provider.documents(live)


@pytest.fixture
def jobs(store: DocumentStore) -> Collection:
    return store.collection("job-lifecycle")


@pytest.fixture
def checkpoints(store: DocumentStore) -> Collection:
    return store.collection("mstream-checkpoints", key="job_name")


@pytest.fixture
def stored_jobs(left: dict[str, Rows[dict[str, Any]]]) -> Rows[dict[str, Any]]:
    return left["job-lifecycle"]


@pytest.fixture
def stored_checkpoints(left: dict[str, Rows[dict[str, Any]]]) -> Rows[dict[str, Any]]:
    return left["mstream-checkpoints"]


def saved_by_v047(rows: Rows[dict[str, Any]], name: str, **changes: Any) -> None:
    """Its only way to write a job or a service: all of its fields, over whatever has the name."""
    found = rows.find_one({"name": name}) or {}
    fields = {**content(found), "name": name, **changes}
    rows.update_one({"name": name}, {"$set": fields}, upsert=True)


@pytest.mark.parametrize("name", KEYS)
async def test_documents_are_read_as_they_are_and_reading_changes_nothing(
    store: DocumentStore, left: dict[str, Rows[dict[str, Any]]], name: str
) -> None:
    collection = store.collection(name, key=KEYS[name])
    expected = {each[KEYS[name]]: content(each) for each in sorted(sample(name), key=order_of)}

    found = {each.key: each.document for each in await collection.scan()}

    assert found == dict(sorted(expected.items()))
    assert list(found) == sorted(expected)
    for key, document in expected.items():
        single = await collection.get(key)
        assert single is not None
        assert single.document == document
    assert list(left[name].find(sort=[("_id", 1)])) == sorted(sample(name), key=lambda each: each["_id"])


def order_of(document: dict[str, Any]) -> int:
    at = document.get("updated_at")
    return at if isinstance(at, int) else 0


@pytest.mark.parametrize("name", KEYS)
async def test_a_first_write_keeps_shape_and_id_and_adds_a_revision(
    store: DocumentStore, left: dict[str, Rows[dict[str, Any]]], name: str
) -> None:
    collection = store.collection(name, key=KEYS[name])
    for found in await collection.scan():
        (before,) = left[name].find({KEYS[name]: found.key}).sort("updated_at", -1).limit(1)

        revision = await collection.put(found.key, {**found.document, "epoch": 7}, expect=found.revision)

        after = left[name].find_one({"_id": before["_id"]})
        assert after is not None
        assert content(after) == {**content(before), "epoch": 7}
        assert after["revision"] == revision
        with pytest.raises(RevisionConflict):
            await collection.put(found.key, {}, expect=found.revision)
    assert left[name].count_documents({}) == len(sample(name))


async def test_what_v047_has_left_cannot_be_created(jobs: Collection, stored_jobs: Rows[dict[str, Any]]) -> None:
    with pytest.raises(RevisionConflict):
        await jobs.put("stop-me", {"name": "stop-me"}, expect=ABSENT)

    assert stored_jobs.count_documents({}) == len(sample("job-lifecycle"))


@pytest.mark.parametrize("ours", [False, True], ids=["never written by us", "written by us"])
async def test_a_change_by_v047_is_noticed_by_the_next_compare_and_set(
    jobs: Collection, stored_jobs: Rows[dict[str, Any]], *, ours: bool
) -> None:
    found = await jobs.get("stop-me")
    assert found is not None
    expect = await jobs.put("stop-me", found.document, expect=found.revision) if ours else found.revision

    saved_by_v047(stored_jobs, "stop-me", desired_state="running")

    with pytest.raises(RevisionConflict):
        await jobs.put("stop-me", {"name": "stop-me"}, expect=expect)
    with pytest.raises(RevisionConflict):
        await jobs.delete("stop-me", expect=expect)
    changed = await jobs.get("stop-me")
    assert changed is not None
    assert changed.document["desired_state"] == "running"
    assert changed.revision != expect
    assert [each.revision for each in await jobs.scan() if each.key == "stop-me"] == [changed.revision]
    assert await jobs.put("stop-me", changed.document, expect=changed.revision, revision="next") == "next"
    assert stored_jobs.count_documents({"name": "stop-me"}) == 1


async def test_v047_finds_and_changes_what_we_have_created(jobs: Collection, stored_jobs: Rows[dict[str, Any]]) -> None:
    await jobs.put("new", {"name": "new", "state": "running", "desired_state": "running"}, expect=ABSENT)

    saved_by_v047(stored_jobs, "new", state="failed")

    assert stored_jobs.count_documents({"name": "new"}) == 1
    found = await jobs.get("new")
    assert found is not None
    assert found.document == {"name": "new", "state": "failed", "desired_state": "running"}


async def test_the_newest_of_many_counts_and_the_others_stay_untouched(
    checkpoints: Collection, stored_checkpoints: Rows[dict[str, Any]]
) -> None:
    assert {each.key: each.document["updated_at"] for each in await checkpoints.scan()} == NEWEST
    found = await checkpoints.get("kafka-cp")
    assert found is not None

    await checkpoints.put("kafka-cp", {**found.document, "epoch": 1}, expect=found.revision)

    others = stored_checkpoints.find({"revision": {"$exists": False}})
    adopted = NEWEST["kafka-cp"]
    assert sorted(str(each["_id"]) for each in others) == sorted(
        str(each["_id"]) for each in sample("mstream-checkpoints") if each["updated_at"] != adopted
    )
    assert isinstance(checkpoints, Shared)
    assert await checkpoints.strays() == [
        Stray(key="api-job", reason="older", count=3),
        Stray(key="kafka-cp", reason="older", count=20),
        Stray(key="mongo-cp", reason="older", count=6),
    ]
    assert [each.key for each in await checkpoints.scan(limit=2)] == ["api-job", "kafka-cp"]
    assert [each.key for each in await checkpoints.scan(after="api-job")] == ["kafka-cp", "mongo-cp"]


async def test_a_page_ends_between_keys_however_many_bear_each(
    checkpoints: Collection, stored_checkpoints: Rows[dict[str, Any]]
) -> None:
    found: list[str] = []
    while page := await checkpoints.scan(after=found[-1] if found else "", limit=1):
        found += [each.key for each in page]

    assert found == sorted(NEWEST)


async def test_v047_may_go_on_writing_many_of_one_key(
    checkpoints: Collection, stored_checkpoints: Rows[dict[str, Any]]
) -> None:
    """Ours is gone on from: it was written by the run that is known here. The newer one is reported."""
    found = await checkpoints.get("mongo-cp")
    assert found is not None
    revision = await checkpoints.put("mongo-cp", found.document, expect=found.revision)

    for later in (1, 2):
        stored_checkpoints.insert_one(
            {"job_name": "mongo-cp", "cursor": [5, 0, 0, 0, 0], "updated_at": NEWEST["mongo-cp"] + later}
        )

    again = await checkpoints.get("mongo-cp")
    assert again is not None
    assert again.revision == revision
    assert isinstance(checkpoints, Shared)
    assert Stray(key="mongo-cp", reason="newer", count=2) in await checkpoints.strays()


@pytest.mark.parametrize("is_expected", [False, True])
async def test_what_was_deleted_does_not_come_back_as_an_older_one(
    checkpoints: Collection, stored_checkpoints: Rows[dict[str, Any]], *, is_expected: bool
) -> None:
    found = await checkpoints.get("kafka-cp")
    assert found is not None

    assert await checkpoints.delete("kafka-cp", expect=found.revision if is_expected else None) is True

    assert await checkpoints.get("kafka-cp") is None
    assert stored_checkpoints.count_documents({"job_name": "kafka-cp"}) == 0
    assert [each.key for each in await checkpoints.scan()] == ["api-job", "mongo-cp"]


async def test_of_two_with_one_name_and_no_time_the_later_id_counts(
    jobs: Collection, stored_jobs: Rows[dict[str, Any]]
) -> None:
    for number in (2, 3, 1):
        stored_jobs.insert_one({"_id": ObjectId(f"{number:024x}"), "name": "twice", "state": f"{number}"})

    single = await jobs.get("twice")
    (scanned,) = [each for each in await jobs.scan() if each.key == "twice"]

    assert single is not None
    assert single.document["state"] == "3"
    assert scanned == single


async def test_what_bears_no_key_is_reported_and_left_alone(
    jobs: Collection, stored_jobs: Rows[dict[str, Any]]
) -> None:
    stored_jobs.insert_many([{"state": "running"}, {"name": None}, {"name": 5}])

    assert len(await jobs.scan()) == len(sample("job-lifecycle"))
    assert isinstance(jobs, Shared)
    assert await jobs.strays() == [Stray(key="", reason="keyless", count=3)]


async def test_a_foreign_document_at_our_place_is_named(jobs: Collection, stored_jobs: Rows[dict[str, Any]]) -> None:
    """A conflict would make callers read and try again for ever."""
    stored_jobs.insert_one({"_id": "taken", "title": "something else"})

    with pytest.raises(StoreError, match="'taken'") as caught:
        await jobs.put("taken", {"name": "taken"}, expect=ABSENT)

    assert not isinstance(caught.value, RevisionConflict)


async def test_values_that_only_bson_has_stay_what_they_are(
    jobs: Collection, stored_jobs: Rows[dict[str, Any]]
) -> None:
    foreign = {"made_by": ObjectId("0123456789abcdef01234567"), "rate": 0.5, "tags": ["a", None]}
    stored_jobs.insert_one({"name": "foreign", "more": foreign})
    found = await jobs.get("foreign")
    assert found is not None

    await jobs.put("foreign", {**found.document, "state": "stopped"}, expect=found.revision)

    stored = stored_jobs.find_one({"name": "foreign"})
    assert stored is not None
    assert stored["more"] == foreign
