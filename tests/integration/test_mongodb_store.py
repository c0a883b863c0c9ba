"""The program with its state in MongoDB: jobs, checkpoints and lease, across a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Program, append, numbers_in
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

CONFIG = """
[system.job_lifecycle]
service_name = "store"
resource = "job-lifecycle"

[system.checkpoints]
service_name = "store"
resource = "mstream-checkpoints"

[system.runtime]
kind = "inline"

[[services]]
provider = "mongodb"
name = "store"
connection_string = "env:STORE_URI"
db_name = "{name}"

[[services]]
provider = "file"
name = "files"
path = "."

[[connectors]]
name = "copy"
checkpoint = {{ enabled = true }}
[connectors.source]
service_name = "files"
resource = "in.jsonl"
input_encoding = "json"
[[connectors.sinks]]
service_name = "files"
resource = "out.jsonl"
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


def ended(folder: Path, database: MongoDatabase) -> int:
    with Program(folder, "run", "--until-idle", "1", environ={"STORE_URI": database.uri}) as program:
        return int(program.ended()[0])


def stored(database: MongoDatabase, collection: str) -> list[dict[str, Any]]:
    with database.client() as client:
        return list(client[database.name][collection].find())


def test_a_second_run_goes_on_where_the_first_has_ended(tmp_path: Path, database: MongoDatabase) -> None:
    (tmp_path / "mstream-config.toml").write_text(CONFIG.format(name=database.name))
    append(tmp_path, range(100))
    assert ended(tmp_path, database) == 0
    append(tmp_path, range(100, 150))

    assert ended(tmp_path, database) == 0

    assert numbers_in(tmp_path / "out.jsonl") == list(range(150))
    (job,) = stored(database, "job-lifecycle")
    assert (job["_id"], job["name"], job["desired_state"]) == ("copy", "copy", "running")
    assert job["pipeline"]["source"]["service_name"] == "files"
    (checkpoint,) = stored(database, "mstream-checkpoints")
    assert checkpoint["job_name"] == "copy"
    assert checkpoint["epoch"] > 1
