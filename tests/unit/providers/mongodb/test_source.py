"""Change streams: records of each kind of event, places that are kept, and errors that say what to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from mstream.domain.batch import Batch, Operation
from mstream.domain.connector import SourceRef
from mstream.encodings.cursors import cursor_of, positions_of
from mstream.errors import AccessDenied, PositionLost, ServiceError, Unreachable
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig, MongodbSourceOptions
from tests.contracts.lanes import NoLanes
from tests.servers.replay import Replay, token
from tests.servers.replica import Replica, refusal, replica

PATIENCE = 10.0
START = {"": token(0)}
ID = {"_id": 1}
CONFIG = {"name": "it", "db_name": "d"}


@asynccontextmanager
async def played() -> AsyncIterator[tuple[Replica, Replay]]:
    async with replica() as member:
        yield member, Replay(member)


@asynccontextmanager
async def source_on(member: Replica, positions: Any = None, **options: Any) -> AsyncIterator[Any]:
    config = MongodbConfig.model_validate({**CONFIG, "connection_string": member.uri})
    assert PROVIDER.source is not None
    ref = SourceRef.model_validate({"service_name": "it", "resource": "orders", **options})
    role = role_options(PROVIDER.source.options, config, ref)
    resume = Resume(positions=positions or {})
    async with PROVIDER.connect(config) as live, PROVIDER.source.open(live, ref, role, resume, NoLanes()) as source:
        yield source


async def read(source: Any, limit: Limit | None = None) -> Batch:
    async with asyncio.timeout(PATIENCE):
        batch = await source.read(limit or Limit())
    assert isinstance(batch, Batch)
    return batch


async def test_events_of_documents_become_records() -> None:
    async with played() as (member, replay):
        document = {"_id": 1, "price": bson.Decimal128("1.50")}
        for kind in ("insert", "update", "replace"):
            replay.happen(kind, documentKey=ID, fullDocument=document)
        replay.happen("update", documentKey=ID, fullDocument=None)
        replay.happen("delete", documentKey=ID, fullDocumentBeforeChange=document)
        replay.happen("delete", documentKey=ID)
        async with source_on(member, START) as source:
            batch = await read(source)

    image = bson.encode(document)
    assert batch.payloads == [image, image, image, None, image, None]
    assert batch.keys == [bson.encode(ID)] * 6
    operations = ["insert", "update", "replace", "update", "delete", "delete"]
    assert batch.operations == [Operation(each) for each in operations]
    assert batch.headers == [{"operation_type": each, "database": "d", "collection": "orders"} for each in operations]
    assert batch.times == [1_700_000_000_000] * 6
    assert batch.positions == {"": token(6)}
    assert source.positions(batch, 2) == {"": token(2)}


@pytest.mark.parametrize("kind", ["drop", "rename", "dropDatabase", "createIndexes"])
async def test_other_events_are_told_and_passed(kind: str) -> None:
    async with played() as (member, replay):
        replay.happen(kind)
        with capture_logs() as logs:
            async with source_on(member, START) as source:
                batch = await read(source)
        async with source_on(member, START, envelope=True) as source:
            whole = await read(source)

    assert (len(batch), batch.positions) == (0, {"": token(1)})
    assert [(each["event"], each["operation_type"], each["namespace"]) for each in logs] == [
        ("change_event_without_record", kind, "d.orders")
    ]
    assert whole.payloads == [bson.encode(replay.events[0] or {})]
    assert whole.headers is not None
    assert whole.headers[0] is not None
    assert whole.headers[0]["operation_type"] == kind


async def test_an_invalidated_stream_goes_on_behind_it() -> None:
    async with played() as (member, replay):
        replay.happen("invalidate")
        async with source_on(member, START) as source:
            assert (await read(source)).positions == {"": token(1)}
            replay.happen("insert", documentKey=ID, fullDocument=ID)
            assert (await read(source)).payloads == [bson.encode(ID)]

    openings = [each["pipeline"][0]["$changeStream"] for each in member.asked_for("aggregate")]
    assert [each["startAfter"] for each in openings] == [token(0), token(1)]


async def test_an_idle_stream_keeps_its_place() -> None:
    async with played() as (member, replay):
        replay.pass_by()
        async with source_on(member) as source:
            opening = await read(source)
            replay.pass_by()
            quiet = await read(source)

    assert (len(opening), opening.positions) == (0, {"": token(1)})
    assert (len(quiet), quiet.positions) == (0, {"": token(2)})


async def test_a_reader_that_is_given_up_loses_nothing() -> None:
    async with played() as (member, replay), source_on(member, START) as source:
        reader = asyncio.create_task(source.read(Limit()))
        await asyncio.sleep(0)
        replay.happen("insert", documentKey=ID, fullDocument=ID)
        reader.cancel()
        await asyncio.wait({reader})
        batch = await read(source)

    assert batch.payloads == [bson.encode(ID)]


async def test_a_batch_keeps_to_the_limit_and_ends_when_told() -> None:
    async with played() as (member, replay):
        for _ in range(5):
            replay.happen("insert", documentKey=ID, fullDocument=ID)
        async with source_on(member, START) as source:
            first = await read(source, Limit(records=2))
            await source.finish()
            rest = await read(source)
            async with asyncio.timeout(PATIENCE):
                end = await source.read(Limit())

    assert (len(first), first.positions) == (2, {"": token(2)})
    assert (len(rest), end) == (3, None)


@pytest.mark.parametrize("code", [10107, 189, 43, 237, 91])
async def test_after_a_passing_error_the_stream_is_opened_at_its_place(code: int) -> None:
    label = {"errorLabels": ["ResumableChangeStreamError"]}
    async with played() as (member, replay):
        replay.happen("insert", documentKey=ID, fullDocument=ID)
        replay.refusals["getMore"].append({**refusal(code, "Passing"), **label})
        async with source_on(member, START) as source:
            with pytest.raises(Unreachable):
                await read(source)
            assert (await read(source)).payloads == [bson.encode(ID)]


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (286, PositionLost, "on_history_lost"),
        (260, PositionLost, "reset the job's checkpoint"),
        (280, PositionLost, "reset the job's checkpoint"),
        (13, AccessDenied, "changeStream"),
        (40573, ServiceError, "rs.initiate()"),
        (10334, ServiceError, "$project"),
        (166, ServiceError, "behind it"),
    ],
)
@pytest.mark.parametrize("command", ["aggregate", "getMore"])
async def test_errors_say_what_to_do(code: int, error: type[ServiceError], advice: str, command: str) -> None:
    async with played() as (member, replay):
        replay.refusals[command].append(refusal(code, "Refused"))
        with pytest.raises(error) as caught:
            async with source_on(member, START) as source:
                await read(source)

    assert advice in str(caught.value)
    assert not caught.value.retryable
    assert "planted-value" not in str(caught.value)
    assert not member.asked_for("collMod")


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
async def test_history_that_is_lost_can_be_let_go(command: str) -> None:
    async with played() as (member, replay):
        replay.pass_by()
        replay.refusals[command].append(refusal(286, "ChangeStreamHistoryLost"))
        async with source_on(member, START, on_history_lost="restart_from_now") as source:
            while (await read(source)).positions != {"": token(1)}:
                pass

    assert "startAfter" not in member.asked_for("aggregate")[-1]["pipeline"][0]["$changeStream"]


@pytest.mark.parametrize(
    ("watch", "aggregate", "database"),
    [("collection", "orders", "d"), ("database", 1, "d"), ("deployment", 1, "admin")],
)
async def test_what_is_watched(watch: str, aggregate: Any, database: str) -> None:
    match = {"$match": {"ns.coll": {"$in": ["orders", "items"]}}}
    async with played() as (member, _), source_on(member, watch=watch, pipeline=[match]):
        (asked,) = member.asked_for("aggregate")

    assert (asked["aggregate"], asked["$db"], asked["pipeline"][1]) == (aggregate, database, match)
    assert asked["pipeline"][0]["$changeStream"].get("allChangesForCluster", False) is (watch == "deployment")


async def test_collections_are_chosen_by_the_server() -> None:
    chosen = ["orders", "/^item/"]
    async with played() as (member, replay):
        replay.documents = {each: [{"_id": each}] for each in ("orders", "items", "other", "my_items")}
        async with source_on(member, watch="database", collections=chosen, snapshot="initial") as source:
            found = [await read(source) for _ in range(5)]

    names = {"$in": ["orders", bson.Regex("^item")]}
    asked = member.asked_for("aggregate")[0]
    assert asked["pipeline"][1] == {
        "$match": {"$or": [{"ns.coll": names}, {"to.coll": names}, {"ns.coll": {"$exists": False}}]}
    }
    assert [bson.decode(each)["_id"] for batch in found for each in batch.payloads or () if each] == ["items", "orders"]
    assert [each["collection"] for batch in found for each in batch.headers or () if each] == ["items", "orders"]


@pytest.mark.parametrize("gone", ["fullDocument", "operationType"])
async def test_a_projection_must_leave_what_a_record_is_made_of(gone: str) -> None:
    async with played() as (member, replay):
        replay.happen("insert", documentKey=ID, fullDocument=ID)
        (replay.events[0] or {}).pop(gone)
        async with source_on(member, START) as source:
            with pytest.raises(ServiceError, match=gone):
                await read(source)


@pytest.mark.parametrize(
    "options",
    [
        {"full_document": "default"},
        {"full_document": "when_available"},
        {"collections": ["orders"]},
        {"watch": "database", "collections": ["/(/"]},
        {"watch": "database", "collections": [""]},
        {"pipeline": [{"$group": {}}]},
    ],
)
def test_options_that_would_lose_something_or_are_not_there(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MongodbSourceOptions.model_validate(options)


def test_a_changed_filter_is_another_source() -> None:
    assert PROVIDER.source is not None
    config = MongodbConfig.model_validate({**CONFIG, "connection_string": "mongodb://h"})
    ref = SourceRef(service_name="it", resource="orders")
    fingerprints = [
        PROVIDER.source.fingerprint(config, ref, MongodbSourceOptions.model_validate(each))
        for each in (
            {},
            {"watch": "database"},
            {"watch": "database", "collections": ["orders"]},
            {"pipeline": [{"$match": {"operationType": "insert"}}]},
        )
    ]

    assert fingerprints[0] == "mongodb:it/d/orders"
    assert len(set(fingerprints)) == 4


async def test_a_position_of_v047_is_taken_up_and_can_be_given_back() -> None:
    cursor = list(bson.encode(token(1)))
    async with played() as (member, replay):
        for number in (1, 2):
            replay.happen("insert", documentKey={"_id": number}, fullDocument={"_id": number})
        async with source_on(member, positions_of(cursor)) as source:
            batch = await read(source)

    assert batch.payloads == [bson.encode({"_id": 2})]
    assert positions_of(cursor_of({"": batch.positions[""]})) == {"": token(2)}


async def test_a_position_that_is_no_token_is_lost() -> None:
    async with played() as (member, _):
        with pytest.raises(PositionLost, match="reset"):
            async with source_on(member, {"": {"next_offset": 1}}):
                pass
