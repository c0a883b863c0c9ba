"""A store that v0.47 has left is run by the program, whatever is in it, and stays one that v0.47 can read."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import httpx
import pytest
from bson import ObjectId, json_util
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.cli import main
from tests.acceptance.programs import Program, numbers_in, until
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

SAMPLES = Path(__file__).parent / "samples"
LEFT = SAMPLES / "store-v047"
COLLECTIONS = ("job-lifecycle", "mstream-services", "mstream-checkpoints", "schemas", "test-suites", "workspaces")
KEY = bytes.fromhex((LEFT / "test-only.key").read_text().strip())

#: Programs are started over a stand-in.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

#: What v0.47 writes into a job's and a checkpoint's fields; it ends when it meets anything else.
JOB = {
    "name": str,
    "started_at": str,
    "stopped_at": (str, type(None)),
    "state": str,
    "desired_state": str,
    "linked_services": list,
    "pipeline": dict,
}
CHECKPOINT = {"job_name": str, "cursor": list, "updated_at": int}
UNKNOWN = {
    "made_by": ObjectId("0123456789abcdef01234567"),
    "when": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
    "raw": b"\x00\xff",
    "deep": {"list": [1, 2.5, None, True, "ü", {"odd": 1}], "big": 2**40},
}


def sample(name: str) -> list[dict[str, Any]]:
    text = (LEFT / f"{name}.json").read_text()
    found: list[dict[str, Any]] = json_util.loads(text, json_options=json_util.JSONOptions(tz_aware=True))
    return found


def sealed(table: dict[str, Any], *, name: str | None = None, nonce_bytes: int = 12, **more: Any) -> dict[str, Any]:
    """A service as v0.47 stores it."""
    nonce = os.urandom(12)
    data = AESGCM(KEY).encrypt(nonce, json.dumps(table, separators=(",", ":")).encode(), None)
    return {
        "name": name or table["name"],
        "data": list(data),
        "nonce": list(nonce)[:nonce_bytes],
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        **more,
    }


def job(name: str, sink: str, resource: str, **more: Any) -> dict[str, Any]:
    """A job as v0.47 stores it."""
    return {
        "name": name,
        "started_at": "2026-11-23T23:34:57.654843873Z",
        "stopped_at": None,
        "state": "running",
        "desired_state": "running",
        "linked_services": ["files"],
        "pipeline": {
            "name": name,
            "checkpoint": {"enabled": True},
            "source": {"service_name": "files", "resource": "in.jsonl", "input_encoding": "json"},
            "sinks": [{"service_name": sink, "resource": resource, "output_encoding": "json"}],
        },
        **more,
    }


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    with found.client() as client:
        for each in COLLECTIONS:
            client[found.name][each].insert_many(sample(each))
    return found


@pytest.fixture
def folder(tmp_path: Path, database: MongoDatabase, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its file at the place where the store is now, and its key."""
    text = (SAMPLES / "stores.toml").read_text()
    text = re.sub(r'(name = "mongodb-source"\nconnection_string = )"[^"]*"', rf'\g<1>"{database.uri}"', text)
    (tmp_path / "mstream-config.toml").write_text(text.replace('"mstream_sys"', f'"{database.name}"'))
    shutil.copy(LEFT / "test-only.key", tmp_path / "mstream-services.key")
    (tmp_path / "mstream-services.key").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSTREAM_ENC_KEY", raising=False)
    return tmp_path


def stored(database: MongoDatabase, collection: str) -> dict[Any, dict[str, Any]]:
    with database.client() as client:
        return {each["_id"]: each for each in client[database.name][collection].find()}


def insert(database: MongoDatabase, collection: str, *documents: dict[str, Any]) -> list[Any]:
    with database.client() as client:
        return client[database.name][collection].insert_many([dict(each) for each in documents]).inserted_ids


@contextmanager
def running(folder: Path) -> Iterator[tuple[Program, httpx.Client]]:
    with Program(folder, "run") as program, closing(program.ready()) as client:
        yield program, client


def jobs_of(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in client.get("/jobs").json()}


def is_readable(document: dict[str, Any], shape: dict[str, Any]) -> bool:
    """Field by field, as v0.47 takes it apart."""
    return all(name in document and isinstance(document[name], kind) for name, kind in shape.items())


def assert_v047_can_read(database: MongoDatabase) -> None:
    for each in stored(database, "job-lifecycle").values():
        assert is_readable(each, JOB), each
        assert each["state"] in {"running", "stopped", "failed"}
        assert each["desired_state"] in {"running", "stopped"}
        assert all(isinstance(name, str) for name in each["linked_services"])
        pipeline = each["pipeline"]
        assert isinstance(pipeline["name"], str)
        assert isinstance(pipeline["sinks"], list)
        assert pipeline.get("batch") is None or set(pipeline["batch"]) == {"kind", "size"}
    for each in stored(database, "mstream-checkpoints").values():
        if each.get("positions") == {}:
            continue  # begun here and not come anywhere yet: v0.47 has no word for that
        assert is_readable(each, CHECKPOINT), each
        assert all(type(number) is int and 0 <= number < 256 for number in each["cursor"])


def test_what_cannot_run_here_is_failed_with_its_intent_and_v047_goes_on_from_it(
    folder: Path, database: MongoDatabase
) -> None:
    before = {each["name"]: each for each in sample("job-lifecycle")}
    wanted = {name for name, each in before.items() if each["desired_state"] == "running"}
    with running(folder) as (program, client):
        jobs = until(
            lambda: (found := jobs_of(client)) and all(found[each]["last_error"] for each in wanted) and found,
            "every job has tried",
        )
        services = {each["name"]: each for each in client.get("/services").json()}
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert set(jobs) == set(before)
    for name in wanted:
        # All that it needs is there, but for a variable of the environment that v0.47 had.
        reason = "secret_unavailable" if name == "batch-to-mongo" else "provider_unavailable"
        assert (jobs[name]["phase"], jobs[name]["last_error"]["reason"]) == ("failed", reason), name
    for name, each in before.items():
        assert jobs[name]["desired_state"] == each["desired_state"]
    assert services["udf-dir"]["provider"] == "udf"
    assert {each["name"] for each in sample("mstream-services")} - {"mongodb-source"} <= set(services)
    assert_v047_can_read(database)
    for each in stored(database, "job-lifecycle").values():
        assert each["desired_state"] == before[each["name"]]["desired_state"]


def fill_by_hand(database: MongoDatabase, folder: Path) -> dict[str, Any]:
    """What people and crashes have made of such stores; the ids of what must stay as it is."""
    files, table = {"provider": "file", "name": "files", "path": "."}, f"sqlite:///{folder / 'table.db'}"
    kafka = {"provider": "kafka", "name": "one", "bootstrap.servers": "127.0.0.1:1"}
    insert(
        database,
        "mstream-services",
        sealed(files, unheard_of=UNKNOWN),
        sealed({"provider": "sql", "name": "db", "url": table}),
    )
    names = ["short", "one", "other", "cut"]
    services = insert(
        database,
        "mstream-services",
        sealed({**kafka, "name": "short"}, nonce_bytes=11),
        sealed({**kafka, "name": "other"}, name="one"),
        sealed(kafka, name="other"),
        {**sealed({**kafka, "name": "cut"}), "data": [1, 2, 3]},
    )
    insert(
        database,
        "job-lifecycle",
        job("copy", "files", "copied.jsonl", unheard_of=UNKNOWN),
        job("into-table", "db", "rows"),
        job("twice", "files", "twice.jsonl", state="failed", desired_state="stopped"),
        job("twice", "files", "twice.jsonl", state="stopped", desired_state="stopped"),
    )
    no_pipeline = {key: each for key, each in job("no-pipeline", "files", "x").items() if key != "pipeline"}
    damaged = insert(
        database,
        "job-lifecycle",
        no_pipeline,
        {**job("damaged", "files", "x"), "pipeline": 7},
        {"state": "running", "desired_state": "running"},
    )
    copied = job("copy", "files", "x")["pipeline"]
    sinks = [{**copied["sinks"][0], "resource": "odd.jsonl"}]
    odd = {**copied, "name": "odd", "sinks": sinks, "later": {"at": UNKNOWN["when"], "by": UNKNOWN["made_by"]}}
    insert(database, "job-lifecycle", {**job("odd", "files", "odd.jsonl"), "pipeline": odd})
    return {"services": dict(zip(names, services, strict=True)), "jobs": damaged}


def test_whatever_is_in_it_the_rest_runs_and_nothing_is_thrown_away(
    folder: Path, database: MongoDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = fill_by_hand(database, folder)
    (folder / "in.jsonl").write_text("".join(f'{{"n": {each}}}\n' for each in range(100)))
    everything = {each: stored(database, each) for each in COLLECTIONS}

    assert main(["plan", "--json"]) == 0
    planned = {each["job"]: each for each in json.loads(capsys.readouterr().out)["actions"]}
    assert {name: planned[name]["action"] for name in ("copy", "into-table", "no-pipeline", "damaged", "twice")} == {
        "copy": "resume",
        "into-table": "resume",
        "no-pipeline": "invalid",
        "damaged": "invalid",
        "twice": "leave",
    }
    assert {each: stored(database, each) for each in COLLECTIONS} == everything, "a plan writes nothing"

    with running(folder) as (program, client):
        until(lambda: len(numbers_in(folder / "copied.jsonl")) == 100, "the file is copied")
        until(lambda: rows(folder) == 100, "the table is filled")
        until(lambda: len(numbers_in(folder / "odd.jsonl")) == 100, "the file is copied once more")
        jobs = jobs_of(client)
        services = {each["name"]: each for each in client.get("/services").json()}
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert (jobs["no-pipeline"]["phase"], jobs["damaged"]["phase"]) == ("invalid", "invalid")
    assert {name: services[name]["status"] for name in kept["services"]} == dict.fromkeys(kept["services"], "error")
    after = {each: stored(database, each) for each in COLLECTIONS}
    for collection, ids in (("job-lifecycle", kept["jobs"]), ("mstream-services", kept["services"].values())):
        for each in ids:
            assert after[collection][each] == everything[collection][each], "what cannot be used stays as it is"
    for name in ("schemas", "test-suites", "workspaces"):
        assert after[name] == everything[name]
    (copy,) = [each for each in after["job-lifecycle"].values() if each.get("name") == "copy"]
    (odd,) = [each for each in after["job-lifecycle"].values() if each.get("name") == "odd"]
    (files,) = [each for each in after["mstream-services"].values() if each["name"] == "files"]
    for each in (copy, files):
        assert bson.encode(each["unheard_of"]) == bson.encode(UNKNOWN)
    assert odd["pipeline"]["later"] == {"at": UNKNOWN["when"], "by": UNKNOWN["made_by"]}
    assert [each["desired_state"] for each in after["job-lifecycle"].values() if each.get("name") == "twice"] == [
        "stopped",
        "stopped",
    ]
    assert is_readable(copy, JOB)


def rows(folder: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{folder / 'table.db'}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM rows").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
