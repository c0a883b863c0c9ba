"""A snapshot and the stream behind it, on each server that has change streams at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from pymongo.errors import WriteError

from mstream.domain.batch import Batch
from mstream.domain.connector import SourceRef
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume, Source
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from tests.contracts.lanes import NoLanes
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

PATIENCE = 20.0
#: No server compares the types of these with each other where it is asked for `{_id: {$gt: …}}`.
IDS: list[Any] = [
    *(None, 7, 3.5, Int64(2**40), Decimal128("7.25"), "", "7", "b", {"x": 1}, {"b": 1, "a": 2}, Binary(b"zz")),
    *(ObjectId(), ObjectId(), True, datetime(2020, 1, 1, tzinfo=UTC), datetime(1960, 1, 1, tzinfo=UTC)),
]


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


@asynccontextmanager
async def source_on(database: MongoDatabase, positions: Any = None, **options: Any) -> AsyncIterator[Source]:
    assert PROVIDER.source is not None
    config = MongodbConfig.model_validate({"name": "shop", "connection_string": database.uri, "db_name": database.name})
    ref = SourceRef.model_validate({"service_name": "shop", "resource": "orders", "snapshot": "initial", **options})
    role = role_options(PROVIDER.source.options, config, ref)
    resume = Resume(positions=positions or {})
    async with (
        asyncio.timeout(PATIENCE),
        PROVIDER.connect(config) as live,
        PROVIDER.source.open(live, ref, role, resume, NoLanes()) as source,
    ):
        yield source


async def next_records(source: Source, records: int = 4000) -> Batch | None:
    while (batch := await source.read(Limit(records=records))) is not None:
        if len(batch):
            return batch
    return None


def filled(database: MongoDatabase) -> list[bytes]:
    """The documents that the server has taken, in its order."""
    with database.client() as client:
        orders = client[database.name]["orders"]
        for each in IDS:
            # A stand-in may not know a type, or take two values for the same.
            with suppress(WriteError):
                orders.insert_one({"_id": each, "of": type(each).__name__})
        return [bson.encode(each) for each in orders.find(sort=[("_id", 1)])]


async def test_ids_of_every_type_are_read(database: MongoDatabase) -> None:
    wanted = filled(database)
    found: list[bytes | None] = []
    async with source_on(database, snapshot="only") as source:
        while (batch := await next_records(source)) is not None:
            found += batch.payloads or ()
            assert {each and each["operation_type"] for each in batch.headers or ()} == {"read"}

    assert found == wanted
    assert len(wanted) > 9


@pytest.mark.parametrize("ranges", [1, 3])
async def test_a_snapshot_goes_on_behind_each_record(ranges: int, mongo_java_database: MongoDatabase) -> None:
    """On the stand-in that compares values of different types as MongoDB does."""
    wanted = filled(mongo_java_database)
    found: list[bytes | None] = []
    positions: dict[str, Any] = {}
    is_over = False
    while not is_over:
        async with source_on(mongo_java_database, positions, snapshot="only", snapshot_ranges=ranges) as source:
            batch = await next_records(source, 3)
            if batch is None:
                is_over = True
                continue
            count = min(2, len(batch))
            found += (batch.payloads or ())[:count]
            positions = {**positions, **source.positions(batch, count)}

    assert sorted(map(str, found)) == sorted(map(str, wanted))


async def test_nothing_is_missing_after_a_stop_in_the_middle(database: MongoDatabase) -> None:
    wanted = filled(database)
    async with source_on(database, snapshot="only") as source:
        first = await next_records(source, 5)
        assert first is not None
    rest: list[bytes | None] = []
    async with source_on(database, first.positions, snapshot="only") as source:
        while (batch := await next_records(source)) is not None:
            rest += batch.payloads or ()

    assert {*(first.payloads or ()), *rest} == set(wanted)


async def test_what_happens_meanwhile_comes_behind_the_snapshot(database: MongoDatabase) -> None:
    with database.client() as client:
        orders = client[database.name]["orders"]
        orders.insert_many([{"_id": f"order-{each}", "n": 0} for each in range(6)])
        found: list[Any] = []
        positions: Any = {}
        async with source_on(database) as source:
            first = await next_records(source, 2)
            assert first is not None
            orders.replace_one({"_id": "order-0"}, {"n": 1})
            orders.insert_one({"_id": "order-6", "n": 1})
        documents = [bson.decode(each) for each in first.payloads or () if each]
        async with source_on(database, first.positions) as source:
            operations: list[str] = []
            while "insert" not in operations:
                batch = await next_records(source)
                assert batch is not None
                operations += [each["operation_type"] for each in batch.headers or () if each]
                found += [bson.decode(each) for each in batch.payloads or () if each]
                positions = batch.positions
            orders.insert_one({"_id": "order-7", "n": 2})
        async with source_on(database, positions) as source:
            behind = await next_records(source)

    final = {each["_id"]: each["n"] for each in documents + found}
    assert final == {f"order-{each}": int(each in {0, 6}) for each in range(7)}
    assert operations == sorted(operations, key=lambda each: each != "read")
    assert behind is not None
    assert [bson.decode(each) for each in behind.payloads or () if each] == [{"_id": "order-7", "n": 2}]


async def test_a_filter_holds_for_the_snapshot_too(mongo_java_database: MongoDatabase) -> None:
    with mongo_java_database.client() as client:
        orders = client[mongo_java_database.name]["orders"]
        orders.insert_many([{"_id": each, "state": "paid" if each % 3 else "open"} for each in range(9)])
    match = {"$match": {"fullDocument.state": "paid"}}
    async with source_on(mongo_java_database, snapshot="only", pipeline=[match]) as source:
        first = await next_records(source, 2)
        assert first is not None
    async with source_on(mongo_java_database, first.positions, snapshot="only", pipeline=[match]) as source:
        rest = await next_records(source)

    assert rest is not None
    found = [bson.decode(each)["_id"] for each in (*(first.payloads or ()), *(rest.payloads or ())) if each]
    assert found == [1, 2, 4, 5, 7, 8]


async def test_a_snapshot_of_nothing_ends(database: MongoDatabase) -> None:
    async with source_on(database, snapshot="only") as source:
        assert await next_records(source) is None
