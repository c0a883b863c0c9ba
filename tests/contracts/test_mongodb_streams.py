"""Reading and going on from a position, on each server that has change streams at all."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest

from mstream.domain.connector import SourceRef
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from tests.contracts.lanes import NoLanes
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

PATIENCE = 20.0


@pytest.mark.parametrize("kind", MONGODB_DATABASES)
async def test_a_stream_goes_on_from_each_record(kind: str, request: pytest.FixtureRequest) -> None:
    database: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[kind])
    wanted = [{"_id": f"order-{number}", "number": number} for number in range(6)]
    with database.client() as client:
        orders = client[database.name]["orders"]
        orders.insert_one({"_id": "before"})
        found, positions = await _read(database, {}, 3, lambda: orders.insert_many(wanted))
        rest, _ = await _read(database, positions, 3, lambda: None)

    assert found + rest == wanted


async def _read(database: MongoDatabase, positions: Any, count: int, happen: Any) -> tuple[list[Any], Any]:
    assert PROVIDER.source is not None
    config = MongodbConfig.model_validate({"name": "shop", "connection_string": database.uri, "db_name": database.name})
    ref = SourceRef.model_validate({"service_name": "shop", "resource": "orders"})
    role = role_options(PROVIDER.source.options, config, ref)
    found: list[Any] = []
    async with (
        asyncio.timeout(PATIENCE),
        PROVIDER.connect(config) as live,
        PROVIDER.source.open(live, ref, role, Resume(positions=positions), NoLanes()) as source,
    ):
        await asyncio.to_thread(happen)
        while len(found) < count:
            batch = await source.read(Limit(records=count - len(found)))
            assert batch is not None
            found += [bson.decode(each) for each in batch.payloads or () if each]
            positions = {**positions, **batch.positions}
    return found, positions
