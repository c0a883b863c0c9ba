"""What mstream v0.47 made of change streams, and stored in collections, as it was measured on a replica set."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

from mstream.domain.batch import Batch, Encoding, JsonMode
from mstream.domain.connector import SourceRef
from mstream.encodings import conversion_between
from mstream.ports.encoding import Conversion
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from tests.contracts.lanes import NoLanes
from tests.contracts.mongodb_harness import MongodbSinkHarness
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

SAMPLES = Path(__file__).parent / "samples" / "mongodb-v047"
STREAM = json.loads((SAMPLES / "stream.json").read_text())
SINK = json.loads((SAMPLES / "sink.json").read_text())
#: nx-27017 changes most types when it tells of them.
FAITHFUL = [each for each in MONGODB_DATABASES if each != "nx"]
#: mongo-java-server does not say of an event where it has happened.
TOLD = {"mongo-java": {"operation_type"}}
#: As the driver reads what is stored.
PLAIN = json_util.JSONOptions(tz_aware=True)


def conversion(source: Encoding, target: Encoding) -> Conversion:
    found = conversion_between(source, target, JsonMode.FLAT)
    assert found is not None
    return found


def read(document: Any) -> Any:
    return json_util.loads(json.dumps(document), json_options=PLAIN)


async def streamed(database: MongoDatabase, documents: list[Any]) -> list[tuple[str, dict[str, str]]]:
    """The records of a change stream while the documents are inserted, as a job gives them to a sink of JSON."""
    assert PROVIDER.source is not None
    config = MongodbConfig.model_validate({"name": "gold", "connection_string": database.uri, "db_name": database.name})
    ref = SourceRef.model_validate({"service_name": "gold", "resource": "types"})
    role = role_options(PROVIDER.source.options, config, ref)
    found: list[tuple[str, dict[str, str]]] = []
    with database.client() as client:
        types = client[database.name]["types"]
        types.insert_one({"_id": "before"})
        async with (
            asyncio.timeout(20),
            PROVIDER.connect(config) as live,
            PROVIDER.source.open(live, ref, role, Resume(positions={}), NoLanes()) as source,
        ):
            await asyncio.to_thread(types.insert_many, documents)
            while len(found) < len(documents):
                batch = await source.read(Limit(records=len(documents)))
                assert batch is not None
                payloads, failures = conversion(Encoding.BSON, Encoding.JSON).of_payloads(batch.payloads or [])
                assert not failures
                found += [
                    ((payload or b"").decode(), dict((batch.headers or [])[index] or {}))
                    for index, payload in enumerate(payloads)
                ]
    return found


@pytest.mark.parametrize("kind", FAITHFUL)
async def test_a_change_stream_gives_the_same_records(kind: str, request: pytest.FixtureRequest) -> None:
    database: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[kind])

    records = await streamed(database, [read(each["document"]) for each in STREAM])

    assert [payload for payload, _ in records] == [each["payload"] for each in STREAM]
    for (_, headers), row in zip(records, STREAM, strict=True):
        wanted = {**row["headers"], "database": database.name}
        told = TOLD.get(kind, set(wanted))
        assert {name: headers[name] for name in told} == {name: wanted[name] for name in told}


async def test_documents_are_stored_as_they_were(mongo_java_database: MongoDatabase) -> None:
    """On the stand-in that keeps every type of a number apart."""
    payloads = [each["payload"].encode() for each in SINK]
    documents, failures = conversion(Encoding.JSON, Encoding.BSON).of_payloads(payloads)
    refused = {each.index for each in failures}
    kept = [each for index, each in enumerate(documents) if index not in refused]
    harness = MongodbSinkHarness(mongo_java_database)
    async with harness.open(write_mode="insert") as sink:
        assert list(await sink.write(Batch(payloads=kept, encoding=Encoding.BSON))) == []

    # It failed as a whole with the first record that it could not read; ours are refused one by one.
    assert refused == {index for index, each in enumerate(SINK) if each["error"]}
    wanted = [read(each["stored"]) for each in SINK if each["stored"]]
    found = await harness.stored()
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(other["_id"], str):
            assert type(one.pop("_id")) is type(other.pop("_id"))
        assert list(one.items()) == list(other.items())
        assert {key: type(value) for key, value in one.items()} == {key: type(value) for key, value in other.items()}
