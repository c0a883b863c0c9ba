"""The program moves the changes of a collection: to a file as JSON, and on where it was after it was killed."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Program, until
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

CONFIG = """
[system]
state = "state.db"

[[services]]
provider = "mongodb"
name = "shop"
connection_string = "env:SHOP_URI"
db_name = "{name}"

[[services]]
provider = "file"
name = "files"
path = "."

[[connectors]]
name = "orders"
batch = {{ size = 50, max_wait_ms = 50 }}
checkpoint = {{ interval_ms = 100 }}
[connectors.source]
service_name = "shop"
resource = "orders"
output_encoding = "json"
[[connectors.sinks]]
service_name = "files"
resource = "out.jsonl"
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


@pytest.fixture
def folder(tmp_path: Path, database: MongoDatabase) -> Path:
    (tmp_path / "mstream-config.toml").write_text(CONFIG.format(name=database.name))
    return tmp_path


def arrived(folder: Path) -> list[dict[str, Any]]:
    """The lines that are whole: the last one may be on its way."""
    path = folder / "out.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def is_running(program: Program) -> bool:
    return "event=run_started" in program.log


def test_changes_arrive_in_order_and_none_is_lost_by_a_kill(folder: Path, database: MongoDatabase) -> None:
    environ = {"SHOP_URI": database.uri}
    with database.client() as client:
        orders = client[database.name]["orders"]
        with Program(folder, "run", environ=environ) as program:
            until(lambda: is_running(program), "the job runs")
            # The stream is open at the latest when its first document has come through.
            numbers = 0
            while not arrived(folder):
                orders.insert_one({"_id": -1 - numbers, "n": -1})
                numbers += 1
                time.sleep(0.2)
            orders.insert_many([{"_id": each, "n": each} for each in range(500)])
            until(lambda: any(each["n"] >= 200 for each in arrived(folder)), "some have come through")
            program.send(signal.SIGKILL)
            program.process.wait(timeout=30)
        orders.insert_many([{"_id": each, "n": each} for each in range(500, 600)])

        with Program(folder, "run", environ=environ):
            until(lambda: 599 in {each["n"] for each in arrived(folder)}, "all have come through")

    found = [each["n"] for each in arrived(folder) if each["n"] >= 0]
    assert sorted(set(found)) == list(range(600))
    firsts = list(dict.fromkeys(found))
    assert firsts == sorted(firsts)


def test_a_snapshot_that_is_killed_in_the_middle_misses_nothing(folder: Path, database: MongoDatabase) -> None:
    config = folder / "mstream-config.toml"
    config.write_text(
        config.read_text().replace('resource = "orders"\n', 'resource = "orders"\nsnapshot = "initial"\n')
    )
    environ = {"SHOP_URI": database.uri}
    count, filling = 20_000, "x" * 500
    with database.client() as client:
        orders = client[database.name]["orders"]
        orders.insert_many([{"_id": f"{each:05d}", "n": 0, "filling": filling} for each in range(count)])
        with Program(folder, "run", environ=environ) as program:
            until(lambda: len(arrived(folder)) >= 1000, "some have come through")
            program.send(signal.SIGKILL)
            program.process.wait(timeout=30)
        before = (folder / "out.jsonl").read_text().count("\n")
        # One that was read, and one that was not; neither is told of by the snapshot's rest alone.
        orders.replace_one({"_id": "00000"}, {"n": 1})
        orders.replace_one({"_id": f"{count - 1:05d}"}, {"n": 1})
        orders.insert_one({"_id": "new", "n": 1})

        with Program(folder, "run", environ=environ):
            until(lambda: any(each["_id"] == "new" for each in arrived(folder)), "the stream has caught up")
            orders.insert_one({"_id": "last", "n": 1})
            until(lambda: arrived(folder)[-1]["_id"] == "last", "and goes on")

    assert before < count
    final = {each["_id"]: each["n"] for each in arrived(folder)}
    changed = {"00000", f"{count - 1:05d}", "new", "last"}
    assert final == {**{f"{each:05d}": 0 for each in range(count)}, **dict.fromkeys(changed, 1)}


def test_a_server_that_is_away_at_the_start_is_waited_for(folder: Path, database: MongoDatabase) -> None:
    nowhere = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"
    with Program(folder, "run", environ={"SHOP_URI": nowhere}) as program:
        until(lambda: "event=job_retrying" in program.log, "it tries again")
        assert program.process.poll() is None
        assert "event=job_failed" not in program.log
