"""The program moves the changes of a collection: to a file as JSON, and on where it was after it was killed."""

from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing, suppress
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

SQL_SERVICE = 'provider = "sql"\nname = "table"\nurl = "sqlite:///out.db"'
SQL_SINK = 'service_name = "table"\nresource = "orders"\nwrite_mode = "upsert"'

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


def test_a_deleted_document_takes_its_row_with_it(folder: Path, database: MongoDatabase) -> None:
    config = folder / "mstream-config.toml"
    text = config.read_text().replace('provider = "file"\nname = "files"\npath = "."', SQL_SERVICE)
    config.write_text(text.replace('service_name = "files"\nresource = "out.jsonl"', SQL_SINK))
    ids = [f"order {each}" for each in range(4)]

    def rows() -> set[str]:
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(folder / "out.db")) as found:
            return {key for (key,) in found.execute("SELECT _id FROM orders")}
        return set()

    with database.client() as client, Program(folder, "run", environ={"SHOP_URI": database.uri}) as program:
        orders = client[database.name]["orders"]
        until(lambda: is_running(program), "the job runs")
        numbers = 0
        while not rows():
            orders.insert_one({"_id": f"first {numbers}", "n": -1})
            numbers += 1
            time.sleep(0.2)
        orders.insert_many([{"_id": each, "n": 1} for each in ids])
        until(lambda: rows() >= set(ids), "all rows are there")
        orders.delete_one({"_id": ids[1]})
        orders.delete_many({"n": -1})
        until(lambda: rows() == {ids[0], *ids[2:]}, "the rows of deleted documents are gone")
        assert "event=records_given_up" not in program.log


def test_a_server_that_is_away_at_the_start_is_waited_for(folder: Path, database: MongoDatabase) -> None:
    nowhere = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=300"
    with Program(folder, "run", environ={"SHOP_URI": nowhere}) as program:
        until(lambda: "event=job_retrying" in program.log, "it tries again")
        assert program.process.poll() is None
        assert "event=job_failed" not in program.log
