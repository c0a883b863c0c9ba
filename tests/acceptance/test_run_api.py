"""The HTTP surface of a running program."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.acceptance.programs import Program, append, numbers_in, until, written


def test_a_program_is_live_ready_and_healthy(tmp_path: Path) -> None:
    written(tmp_path)

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        assert client.get("/health/live").status_code == 200
        assert client.get("/health/ready").json()["status"] == "ready"
        until(lambda: client.get("/health/ready").json()["jobs"] == {"copy": "running"}, "the job runs")
        health = client.get("/health").json()
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert health["status"] == "healthy"
    assert set(health) == {"status", "version", "uptime_seconds"}


def test_jobs_are_shown_with_state_intent_and_counters(tmp_path: Path) -> None:
    written(tmp_path)
    append(tmp_path, range(300))

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        until(lambda: client.get("/jobs").json()[0]["counters"]["records_delivered"] == 300, "all are counted")
        (job,) = client.get("/jobs").json()

    assert (job["name"], job["state"], job["desired_state"]) == ("copy", "running", "running")
    assert (job["intent"], job["phase"], job["linked_services"]) == ("running", "running", ["files"])
    assert job["stopped_at"] is None
    assert job["started_at"].endswith("Z")
    assert job["run_id"]
    assert job["last_error"] is None
    assert "enabled" not in job["pipeline"]
    assert job["pipeline"]["source"]["resource"] == "in.jsonl"


def test_a_job_stops_and_starts_by_command_and_goes_on_where_it_was(tmp_path: Path) -> None:
    written(tmp_path)
    append(tmp_path, range(100))
    out = tmp_path / "out.jsonl"

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        until(lambda: len(numbers_in(out)) == 100, "the first hundred")
        stopped = client.post("/jobs/copy/stop", params={"wait": 20})
        append(tmp_path, range(100, 200))
        started = client.post("/jobs/copy/start", params={"wait": 20})
        until(lambda: len(numbers_in(out)) == 200, "the second hundred")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert (stopped.status_code, stopped.json()["item"]["phase"]) == (200, "stopped")
    assert (started.status_code, started.json()["item"]["phase"]) == (200, "running")
    assert numbers_in(out) == list(range(200))


def test_restarts_in_mid_flow_neither_lose_nor_repeat(tmp_path: Path) -> None:
    written(tmp_path)
    out = tmp_path / "out.jsonl"

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        runs = set()
        for number in range(20):
            append(tmp_path, range(number * 500, number * 500 + 500))
            answer = client.post("/jobs/copy/restart", params={"wait": 20})
            assert (answer.status_code, answer.json()["item"]["phase"]) == (200, "running")
            runs.add(answer.json()["item"]["run_id"])
        until(lambda: len(numbers_in(out)) >= 10_000, "everything")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert len(runs) == 20
    assert numbers_in(out) == list(range(10_000))


def test_a_planted_secret_is_neither_logged_nor_shown(tmp_path: Path) -> None:
    planted = "pl4nted-s3cret"
    database = f"""
[[services]]
provider = "sql"
name = "db"
url = "postgresql://user:{planted}@127.0.0.1:1/orders?sslpassword={planted}"
[[connectors]]
name = "away"
[connectors.source]
service_name = "files"
resource = "in.jsonl"
input_encoding = "json"
[[connectors.sinks]]
service_name = "db"
resource = "orders"
"""
    written(tmp_path, more=database)
    append(tmp_path, range(10))

    with Program(tmp_path, "run", "--log-level", "debug") as program, closing(program.ready()) as client:
        away = until(
            lambda: next((each for each in client.get("/jobs").json() if each["last_error"]), None), "it fails"
        )
        shown = client.get("/jobs").text + client.get("/health").text
        program.send(signal.SIGTERM)
        program.ended()
        log = program.log

    assert away["name"] == "away"
    assert planted not in shown
    assert planted not in log
    assert "away" in log


def store_that_is_away(folder: Path) -> None:
    """A file whose checkpoints are kept where nobody answers."""
    path = written(folder)
    places = """[system.checkpoints]
service_name = "db"
resource = "places"
[[services]]
provider = "sql"
name = "db"
url = "postgresql://user@127.0.0.1:1/state"
"""
    path.write_text(
        path.read_text().replace('state = "state.db"', "").replace("[[services]]", f"{places}[[services]]", 1)
    )


def test_a_program_that_is_to_fail_fast_ends_when_its_store_is_away(tmp_path: Path) -> None:
    store_that_is_away(tmp_path)

    with Program(tmp_path, "run", "--fail-fast") as program:
        assert program.ended()[0] == 1
        assert "service 'db'" in program.log
        assert "store_not_reached" not in program.log


@pytest.mark.parametrize("fails_fast", [True, False])
def test_a_job_that_has_failed_ends_a_program_that_is_to_fail_fast(tmp_path: Path, fails_fast: bool) -> None:
    follows = """
[[connectors]]
name = "broken"
source = { service_name = "files", resource = "nothing.bson", input_encoding = "json" }
sinks = [{ service_name = "nowhere", resource = "out" }]

[[services]]
provider = "file"
name = "nowhere"
path = "missing/folder"
"""
    written(tmp_path, more=follows)
    (tmp_path / "missing").write_text("no folder")
    options = ["--fail-fast"] if fails_fast else []

    with Program(tmp_path, "run", "--until-idle", "3600", *options) as program:
        until(lambda: "event=job_failed" in program.log, "the job has failed")
        if fails_fast:
            assert program.ended()[0] == 1
        else:
            assert program.process.poll() is None


def test_while_its_store_is_away_a_program_is_live_but_not_ready(tmp_path: Path) -> None:
    store_that_is_away(tmp_path)

    with Program(tmp_path, "run") as program, closing(httpx.Client(base_url=program.address())) as client:
        until(lambda: "store_not_reached" in program.log, "it looks for its store")
        live, ready, jobs = (client.get(each) for each in ("/health/live", "/health/ready", "/jobs"))
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert (live.status_code, ready.status_code, jobs.status_code) == (200, 503, 503)
    assert "retry-after" in ready.headers
    assert not (tmp_path / "out.jsonl").exists()
