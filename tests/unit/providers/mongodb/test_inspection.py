"""What a database holds and what its documents look like, on every stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp

from mstream.errors import AccessDenied, ResourceMissing, Unreachable
from mstream.ports.inspection import Inspection
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from mstream.providers.mongodb.inspection import bson_kind_of
from mstream.schemas.introspect import infer
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase
from tests.servers.process import free_port
from tests.servers.replica import refusal, replica


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


@pytest.fixture
async def inspection(database: MongoDatabase) -> AsyncIterator[Inspection]:
    async with PROVIDER.connect(config_of(database.uri, database.name)) as live:
        assert PROVIDER.inspection is not None
        yield PROVIDER.inspection(live)


def config_of(uri: str, name: str = "shop") -> MongodbConfig:
    return MongodbConfig.model_validate({"name": "shop", "connection_string": uri, "db_name": name})


async def test_collections_come_by_name(database: MongoDatabase, inspection: Inspection) -> None:
    with database.client() as client:
        for each in ("orders", "customers", "audit"):
            client[database.name][each].insert_one({"_id": 1})

    found = await inspection.resources()

    assert [(each.name, each.kind) for each in found] == [
        ("audit", "collection"),
        ("customers", "collection"),
        ("orders", "collection"),
    ]


async def test_an_empty_database_holds_nothing(inspection: Inspection) -> None:
    assert await inspection.resources() == []


async def test_documents_of_two_forms_are_two_variants(database: MongoDatabase, inspection: Inspection) -> None:
    with database.client() as client:
        forms = [{"at": datetime(2026, 1, 1, tzinfo=UTC)}] * 6 + [{"at": "2026-01-01"}] * 2
        client[database.name]["orders"].insert_many(
            [{"_id": f"o{number}", **each} for number, each in enumerate(forms)]
        )

    found = await inspection.variants("orders", sample=100, shows_values=False)

    assert [each.count for each in found] == [6, 2]
    assert [each.schema["properties"]["at"] for each in found] == [
        {"type": "string", "format": "date-time"},
        {"type": "string"},
    ]


async def test_no_more_documents_are_looked_at_than_asked_for(database: MongoDatabase, inspection: Inspection) -> None:
    with database.client() as client:
        client[database.name]["orders"].insert_many([{"_id": str(each), "n": each} for each in range(50)])

    (variant,) = await inspection.variants("orders", sample=20, shows_values=False)

    assert variant.count == 20


async def test_a_collection_without_documents_is_told(inspection: Inspection) -> None:
    with pytest.raises(ResourceMissing, match="'nothing'"):
        await inspection.variants("nothing", sample=1, shows_values=False)
    with pytest.raises(ResourceMissing):
        await inspection.variants("bad..name", sample=1, shows_values=False)


async def test_collections_of_the_server_itself_are_left_out_and_views_are_told_apart() -> None:
    async with replica() as member:
        names = [("system.views", "collection"), ("paid", "view"), ("orders", "collection")]
        listed = [{"name": name, "type": kind, "options": {}, "info": {}} for name, kind in names]
        member.answer = lambda command: {"ok": 1, "cursor": {"id": 0, "ns": "shop.$cmd", "firstBatch": listed}}
        async with PROVIDER.connect(config_of(member.uri)) as live:
            assert PROVIDER.inspection is not None
            found = await PROVIDER.inspection(live).resources()

    assert [(each.name, each.kind) for each in found] == [("orders", "collection"), ("paid", "view")]


async def test_a_server_that_refuses_or_is_away_is_told() -> None:
    assert PROVIDER.inspection is not None
    async with replica() as member:
        member.answer = lambda command: refusal(13, "Unauthorized")
        async with PROVIDER.connect(config_of(member.uri)) as live:
            with pytest.raises(AccessDenied):
                await PROVIDER.inspection(live).resources()
            with pytest.raises(AccessDenied):
                await PROVIDER.inspection(live).variants("orders", sample=1, shows_values=False)
    away = f"mongodb://127.0.0.1:{free_port()}/?timeoutMS=300"
    async with PROVIDER.connect(config_of(away)) as live:
        with pytest.raises(Unreachable):
            await PROVIDER.inspection(live).resources()


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (ObjectId(), {"type": "string", "format": "objectid"}),
        (datetime(2026, 1, 1, tzinfo=UTC), {"type": "string", "format": "date-time"}),
        (DatetimeMS(2**60), {"type": "string", "format": "date-time"}),
        (Timestamp(1, 1), {"type": "string", "format": "date-time"}),
        (Decimal128("1"), {"type": "string", "format": "decimal"}),
        (b"1", {"type": "string", "format": "byte"}),
        (Binary(b"1", 4), {"type": "string", "format": "byte"}),
        (Code("f()"), {"type": "string", "format": "code"}),
        (Regex("a"), {"type": "object"}),
        (MaxKey(), {"type": "string"}),
        (Int64(1), {"type": "integer"}),
        (True, {"type": "boolean"}),
    ],
)
def test_what_each_type_of_bson_is(value: Any, schema: dict[str, Any]) -> None:
    (variant,) = infer([{"x": value}], bson_kind_of)

    assert variant.schema["properties"]["x"] == schema
