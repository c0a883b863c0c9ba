"""A whole store that v0.47 has left, with its file and its key: started, run, and still v0.47's afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bson import json_util

from tests.acceptance.programs import Program, until
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase

SAMPLES = Path(__file__).parents[1] / "compat" / "samples"
COLLECTIONS = ["job-lifecycle", "mstream-services", "mstream-checkpoints", "schemas", "test-suites", "workspaces"]

pytestmark = pytest.mark.timeout(120)


def sample(name: str) -> list[dict[str, Any]]:
    text = (SAMPLES / "store-v047" / f"{name}.json").read_text()
    found: list[dict[str, Any]] = json_util.loads(text, json_options=json_util.JSONOptions(tz_aware=True))
    return found


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    with found.client() as client:
        for each in COLLECTIONS:
            client[found.name][each].insert_many(sample(each))
    return found


@pytest.fixture
def folder(tmp_path: Path, database: MongoDatabase) -> Path:
    """Its file, at the place where the store is now, and its key."""
    text = (SAMPLES / "stores.toml").read_text()
    text = re.sub(r'(name = "mongodb-source"\nconnection_string = )"[^"]*"', rf'\g<1>"{database.uri}"', text)
    text = text.replace('"mstream_sys"', f'"{database.name}"')
    (tmp_path / "mstream-config.toml").write_text(text)
    key = tmp_path / "mstream-services.key"
    shutil.copy(SAMPLES / "store-v047" / "test-only.key", key)
    key.chmod(0o600)
    return tmp_path


def stored(database: MongoDatabase, collection: str) -> dict[Any, dict[str, Any]]:
    with database.client() as client:
        return {each["_id"]: each for each in client[database.name][collection].find()}


def holds(now: Any, before: Any) -> bool:
    """Whether everything that stood there still does, but for nothings; more may have been added."""
    if isinstance(before, dict):
        return isinstance(now, dict) and all(holds(now.get(name), each) for name, each in before.items())
    if isinstance(before, list):
        return len(now) == len(before) and all(map(holds, now, before))
    return bool(now == before)


def test_looking_at_what_a_start_would_do_changes_nothing(folder: Path, database: MongoDatabase) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "mstream", "plan", "--json"],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    actions = {each["job"]: each for each in json.loads(answer.stdout)["actions"]}
    assert set(actions) >= {each["name"] for each in sample("job-lifecycle")}
    assert actions["stop-me"]["action"] == "leave"
    for each in COLLECTIONS:
        assert stored(database, each) == {document["_id"]: document for document in sample(each)}


def test_a_start_keeps_what_v047_looks_at(folder: Path, database: MongoDatabase) -> None:
    with Program(folder, "run") as program, closing(program.ready()) as client:
        jobs = {each["name"]: each for each in until(lambda: client.get("/jobs").json(), "jobs are listed")}

    assert set(jobs) == {each["name"] for each in sample("job-lifecycle")}
    assert jobs["stop-me"]["desired_state"] == "stopped"
    assert jobs["kafka-cp"]["desired_state"] == "running"
    after = stored(database, "job-lifecycle")
    for before in sample("job-lifecycle"):
        now = after.pop(before["_id"])
        assert now["name"] == before["name"]
        assert now["desired_state"] == before["desired_state"]
        assert holds(now["pipeline"], before["pipeline"])
    assert after == {}, "no document that v0.47 could stumble over stands beside its own"
    checkpoints = stored(database, "mstream-checkpoints")
    for before in sample("mstream-checkpoints"):
        assert checkpoints[before["_id"]]["cursor"] == before["cursor"]
        assert checkpoints[before["_id"]]["updated_at"] == before["updated_at"]
