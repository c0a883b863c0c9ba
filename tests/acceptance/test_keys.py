"""Services and their keys survive restarts, kills and rotations of a real program."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.acceptance.programs import PATIENCE, Program, until

#: Several programs are started, one after the other.
pytestmark = pytest.mark.slow

CONFIG = """
[system]
state = "state.db"
encryption_key_path = "the.key"

[system.job_lifecycle]
startup_state = "keep"

[system.runtime]
kind = "inline"
"""
SECRET = "pl4nted-s3cret"
COUNT = 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mstream-config.toml").write_text(CONFIG)
    return tmp_path


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[Program, httpx.Client]]:
    """The program, ready, and somebody who asks it."""
    with Program(folder, *arguments) as program, closing(program.ready()) as client:
        yield program, client


def key(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, answer and complaints of `mstream key …`."""
    done = subprocess.run(
        [sys.executable, "-m", "mstream", "key", *arguments, "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def define(client: httpx.Client, count: int = COUNT) -> None:
    for number in range(count):
        url = f"mongodb://u:{SECRET}-{number}@host/"
        body = {"provider": "mongodb", "name": f"s{number}", "connection_string": url, "db_name": "app"}
        assert client.post("/services", json=body).status_code == 201


def names(client: httpx.Client) -> list[str]:
    """The services that can be read."""
    return [each["name"] for each in client.get("/services").json() if each.get("provider")]


def lines(folder: Path) -> list[str]:
    return (folder / "the.key").read_text().splitlines()


def test_services_of_the_api_are_there_after_a_kill_and_without_the_key_nothing_begins(folder: Path) -> None:
    with running(folder) as (program, client):
        define(client)
        program.send(signal.SIGKILL)
    with running(folder) as (program, client):
        assert names(client) == [f"s{number}" for number in range(COUNT)]
        assert SECRET not in client.get("/services").text

    right = (folder / "the.key").read_text()
    (folder / "the.key").unlink()
    with Program(folder) as program:
        assert program.ended()[0] == 1
        assert "put the key back from your backup" in program.log
    assert not (folder / "the.key").exists()

    (folder / "the.key").touch(mode=0o600)
    (folder / "the.key").write_text("00" * 32)
    with Program(folder) as program:
        assert program.ended()[0] == 1
        assert "wrong key" in program.log
    (folder / "the.key").write_text(right)
    with running(folder) as (program, client):
        assert len(names(client)) == COUNT


def test_keys_are_rotated_and_retired_while_the_program_runs(folder: Path) -> None:
    with running(folder) as (_, client):
        define(client)
        [old] = lines(folder)

        code, rotated, _ = key(folder, "rotate")
        assert (code, rotated["rotating"]) == (0, False)
        assert rotated["services"] == {rotated["current"]: COUNT}
        assert client.get("/keys").json()["current"] == rotated["current"]
        assert lines(folder)[1:] == [old]
        define_one = {"provider": "http", "name": "late", "host": "http://h/"}
        assert client.post("/services", json=define_one).status_code == 201

        code, retired, _ = key(folder, "retire")
        assert code == 0
        assert len(retired["retired"]) == len(lines(folder)) == 1
        assert len(names(client)) == COUNT + 1
    with running(folder) as (_, client):
        assert len(names(client)) == COUNT + 1


def test_a_program_reads_a_changed_key_file_at_a_hangup(folder: Path) -> None:
    with running(folder) as (program, client):
        define(client)
        text = (folder / "the.key").read_text()
        (folder / "the.key").write_text("ab" * 32 + "\n" + text)
        program.send(signal.SIGHUP)

        status = until(
            lambda: (found := client.get("/keys").json())["older"] and not found["rotating"] and found,
            "everything is under the new key",
        )

        assert status["services"] == {status["current"]: COUNT}
        assert program.process.poll() is None


def kill_in_the_middle(folder: Path, program: Program, after: float) -> bool:
    """So many seconds after the new key is in the file, or after the start where one waits already; False: too late."""
    before = lines(folder)
    begun = time.monotonic()
    while program.process.poll() is None and lines(folder) == before and time.monotonic() - begun < 2:
        time.sleep(0.005)
    time.sleep(after)
    is_killed = program.process.poll() is None
    program.send(signal.SIGKILL)
    program.process.wait(timeout=PATIENCE)
    return is_killed


def test_rotations_killed_at_random_moments_lose_no_service(folder: Path) -> None:
    dice, count, kills = random.Random(), 100, 3
    with running(folder) as (_, client):
        define(client, count)
    killed, longest = 0, 0.3
    while killed < kills:
        with Program(folder, "key", "rotate") as program:
            if kill_in_the_middle(folder, program, dice.uniform(0, longest)):
                killed += 1
            else:
                longest /= 2  # it was done before
        code, status, complaint = key(folder, "check")
        assert code in {0, 3}, complaint
        assert sum(status["services"].values()) == count
        assert status["damaged"] == []
    assert key(folder, "rotate")[0] == 0
    code, _, complaint = key(folder, "retire")
    assert code == 0, complaint
    assert len(lines(folder)) == 1
    with running(folder) as (_, client):
        assert len(names(client)) == count


def test_nothing_that_is_secret_is_logged_shown_or_stored_in_clear(folder: Path) -> None:
    seen = ""
    with running(folder, "run", "--log-level", "debug") as (program, client):
        define(client)
        seen += client.get("/services").text + client.get("/keys").text + client.get("/plan").text
        seen += str(key(folder, "rotate")) + str(key(folder, "check"))
        bad = {"provider": "mongodb", "name": "x", "connection_string": {"a": SECRET}, "db_name": "x"}
        seen += client.post("/services", json=bad).text
        seen += Path(f"/proc/{program.process.pid}/cmdline").read_text()
        planted = [SECRET, *lines(folder)]
        program.send(signal.SIGTERM)
        program.ended()
        seen += program.log
    raw = b"".join(each.read_bytes() for each in folder.iterdir() if each.name.startswith("state.db"))

    assert [each for each in planted if each in seen] == []
    assert [each for each in planted if each.encode() in raw] == []
