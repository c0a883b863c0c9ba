"""Checkpoints, their history, ended runs and the audit trail, over each store that we ship."""

from __future__ import annotations

import secrets
from collections import defaultdict
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import json_util

from mstream.domain.audit import Actor, Change, Subject
from mstream.domain.checkpoint import lane_key
from mstream.domain.history import RunEntry
from mstream.domain.reset import ToBegin, ToPositions, ToWaypoint
from mstream.errors import StaleOwner
from mstream.ports.documents import DocumentStore
from mstream.stores.audit import AuditLog
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.runs import RunLog
from tests.contracts.stores import MONGODB_DATABASES, of_mongodb
from tests.servers.mongodb import MongoDatabase
from tests.unit.stores.clocks import SteppedClock

#: Starting a server takes its time.
pytestmark = pytest.mark.timeout(120)

SAMPLE = Path(__file__).parent.parent / "compat" / "samples" / "store-v047" / "mstream-checkpoints.json"
ANNA = Actor(who="anna", where="127.0.0.1")
#: As providers make them: nested, large numbers, names with dots and dollars.
POSITIONS: dict[str, Any] = {
    "": {"_data": "8265ü\u0000"},
    "2026/11.jsonl": {"file": "fe00:1", "offset": 2**60},
    "t.x/0": {"next_offset": 22},
    "$weird.lane": [1, 1.5, None, {"$set": {"a.b": True}}],
}


def checkpoints(documents: DocumentStore) -> CheckpointStore:
    collection = documents.collection(f"checkpoints-{secrets.token_hex(4)}", key="job_name")
    return CheckpointStore(collection, SteppedClock())


async def test_positions_come_back_as_they_were_saved(documents: DocumentStore) -> None:
    store = checkpoints(documents)
    await store.claim("orders", "one", 1, "f")
    await store.save("orders", POSITIONS, "one", 1)
    await store.claim("orders", "two", 2, "f")

    loaded = await store.load("orders")

    assert loaded is not None
    assert loaded.positions == POSITIONS
    assert [each.positions for each in await store.history("orders")] == [POSITIONS]
    assert (await store.everything())[0] == [loaded]


async def test_a_job_is_put_back_and_stale_owners_are_refused(documents: DocumentStore) -> None:
    store = checkpoints(documents)
    for epoch in (1, 2):
        await store.claim("orders", f"run {epoch}", epoch, "f")
        await store.save("orders", {"": epoch}, f"run {epoch}", epoch)
    before = (await store.history("orders"))[1]

    await store.reset("orders", ToWaypoint(number=before.sequence), epoch=3, by=ANNA, reason="again")

    for attempt in (
        store.save("orders", {"": 9}, "run 2", 2),
        store.claim("orders", "x", 2, "f"),
        store.reset("orders", ToBegin(), epoch=2, by=ANNA),
    ):
        with pytest.raises(StaleOwner):
            await attempt
    assert (await store.claim("orders", "run 3", 3, "f")).positions == {"": 1}
    by_hand = (await store.history("orders"))[0]
    assert (by_hand.by, by_hand.reason) == (ANNA, "again")


async def test_lanes_of_their_own_are_emptied_by_a_reset(documents: DocumentStore) -> None:
    store = checkpoints(documents)
    await store.claim("orders", "one", 1, "f")
    await store.place_lanes("orders", {"": 1, "p/1": 2, "p\U0001f600": 3}, "one", 1, "f")

    await store.reset("orders", ToPositions(positions={"p/1": 1}), epoch=1, by=ANNA)

    assert [each.positions for each in await store.history("orders")] == [
        {"p/1": 1},
        {"": 1, "p/1": 2, "p\U0001f600": 3},
    ]
    assert all(not each.positions for each in (await store.load_lanes("orders")).values())
    assert set(await store.load_lanes("orders")) == {"", "p/1", "p\U0001f600"}


async def test_runs_and_changes_are_bounded_by_name(documents: DocumentStore) -> None:
    runs = RunLog(documents.collection(f"runs-{secrets.token_hex(4)}", key="key"), keep=3)
    audit = AuditLog(documents.collection(f"audit-{secrets.token_hex(4)}", key="key"), keep=2)
    for job in ("orders", "orders/eu", "ü"):
        for number in range(5):
            at = f"2026-01-01T00:0{number}:00.000000Z"
            change = Change(at=at, by=ANNA, verb="stop", revision=f"r{number}")
            await audit.record(Subject.JOB, job, change, definition={"name": job})
            await runs.append(RunEntry(job=job, run_id=f"{number}", epoch=1, started_at=at, ended_at=at, ending="x"))

    for job in ("orders", "orders/eu", "ü"):
        assert [each.run_id for each in await runs.of(job)] == ["4", "3", "2"]
        entries = await audit.of(Subject.JOB, job)
        assert [(each.change.revision, each.definition) for each in entries] == [
            ("r4", {"name": job}),
            ("r3", {"name": job}),
        ]
        assert await audit.has(Subject.JOB, job, entries[0].change)


@pytest.fixture(params=MONGODB_DATABASES)
def left(request: pytest.FixtureRequest) -> MongoDatabase:
    """A database in which v0.47 has kept its checkpoints."""
    database: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    with database.client() as client:
        client[database.name]["checkpoints"].insert_many(json_util.loads(SAMPLE.read_text()))
    return database


async def test_the_newest_that_v047_has_left_is_gone_on_from(left: MongoDatabase) -> None:
    newest: dict[str, dict[str, Any]] = defaultdict(dict)
    for each in json_util.loads(SAMPLE.read_text()):
        if each["updated_at"] > newest[each["job_name"]].get("updated_at", 0):
            newest[each["job_name"]] = each
    provider, config = of_mongodb(left)
    assert provider.documents is not None

    async with provider.connect(config) as live:
        store = CheckpointStore(provider.documents(live).collection("checkpoints", key="job_name"), SteppedClock())
        found, damaged = await store.everything()
        assert ([each.job for each in found], damaged) == (sorted(newest), [])
        claimed = await store.claim("kafka-cp", "one", 1, "kafka:t")
        assert claimed.positions == {"p_in_1795476897/0": {"next_offset": 22}}
        await store.save("kafka-cp", {"p_in_1795476897/0": {"next_offset": 31}}, "one", 1)
        assert (await store.claim("kafka-cp", "two", 2, "kafka:t")).positions == {
            "p_in_1795476897/0": {"next_offset": 31}
        }

    with left.client() as client:
        rows = client[left.name]["checkpoints"]
        of_v047 = rows.find({"job_name": "kafka-cp"}).sort("updated_at", -1).limit(1).next()
        assert bson.decode(bytes(of_v047["cursor"]))["offset"] == 30
        assert rows.count_documents({"job_name": "mongo-cp"}) == 7


async def test_a_lane_of_a_job_is_kept_beside_what_v047_has_left(left: MongoDatabase) -> None:
    provider, config = of_mongodb(left)
    assert provider.documents is not None
    async with provider.connect(config) as live:
        store = CheckpointStore(provider.documents(live).collection("checkpoints", key="job_name"), SteppedClock())
        await store.claim("mongo-cp", "one", 1, "db")
        await store.claim_lanes("mongo-cp", ["x"], "one", 1, "db")

        assert set(await store.load_lanes("mongo-cp")) == {"x"}
        await store.forget("mongo-cp", epoch=1)
        assert await store.load("mongo-cp") is None

    with left.client() as client:
        assert client[left.name]["checkpoints"].count_documents({"job_name": lane_key("mongo-cp", "x")}) == 0
