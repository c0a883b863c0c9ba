"""Schemas that v0.47 has left in MongoDB are those of the steps that name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import Ending, Outcome, RunSpec
from mstream.providers import CATALOG
from mstream.providers.file.config import FileConfig
from mstream.providers.mongodb.config import MongodbConfig
from mstream.runtimes.inline import InlineRuntime
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase
from tests.unit.runtimes.stand_in import RecordingOwner

SAMPLES = Path(__file__).parent / "samples" / "store-v047"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    with found.client() as client:
        client[found.name]["schemas"].insert_many(json_util.loads((SAMPLES / "schemas.json").read_text()))
    return found


async def outcome(folder: Path, database: MongoDatabase, schema: str) -> Outcome:
    """Of a run that gives lines the form of a schema."""
    (folder / "in.jsonl").write_text('{"age": 5, "more": true, "email": "a@b"}\n')
    table: dict[str, Any] = {
        "name": "copy",
        "source": {"service_name": "files", "resource": "in.jsonl", "schema_id": "user"},
        "sinks": [{"service_name": "files", "resource": "out.jsonl"}],
        "schemas": [{"id": "user", "service_name": "home", "resource": schema}],
    }
    services = {
        "files": FileConfig(name="files", path=str(folder)),
        "home": MongodbConfig.model_validate(
            {"name": "home", "connection_string": database.uri, "db_name": database.name}
        ),
    }
    spec = RunSpec(
        job="copy", run_id="run-1", epoch=1, connector=ConnectorSpec.model_validate(table), services=services
    )
    async with InlineRuntime(CATALOG) as runtime:
        handle = await runtime.start(spec, RecordingOwner())
        handle.finish()
        return await handle.outcome()


@pytest.mark.parametrize("named", ["user-schema", "ddd94682-88b9-42ef-b1eb-567ca7821ce9"])
async def test_a_schema_is_found_by_its_name_and_its_id(tmp_path: Path, database: MongoDatabase, named: str) -> None:
    found = await outcome(tmp_path, database, named)

    assert found.ending is Ending.FINISHED, found
    assert (tmp_path / "out.jsonl").read_text() == '{"email":"a@b","age":5}\n'
    assert json.loads((tmp_path / "in.jsonl").read_text())["more"]


@pytest.mark.parametrize(
    ("named", "reason", "told"),
    [
        ("json-schema", "schema_invalid", "schema 'user': it is a schema of json, not of Avro"),
        ("broken", "schema_invalid", "schema 'user': it is not JSON"),
        ("nowhere", "resource_missing", "service 'home' has no schema 'nowhere'"),
    ],
)
async def test_one_that_cannot_be_applied_ends_the_run_instead_of_letting_everything_pass(
    tmp_path: Path, database: MongoDatabase, named: str, reason: str, told: str
) -> None:
    found = await outcome(tmp_path, database, named)

    assert (found.ending, found.reason, found.retryable) == (Ending.FAILED, reason, False)
    assert told in str(found.message)
    assert not (tmp_path / "out.jsonl").exists() or not (tmp_path / "out.jsonl").read_text()
