"""`mstream plan`: what a start would do, told and not done."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mstream.bootstrap.program import Options, Program
from mstream.bootstrap.survey import Lookout
from mstream.cli import main
from mstream.cli.plan import lines
from mstream.config.file import load
from mstream.domain.plan import to_document
from mstream.providers import CATALOG

SECRET = "pl4nted"

SYSTEM = """\
[system]
state = "./state.db"

[system.api]
port = 0

[system.runtime]
kind = "inline"

[system.job_lifecycle]
[system.service_lifecycle]
"""

SERVICES = f"""
[[services]]
provider = "file"
name = "files"
path = "."

[[services]]
provider = "sql"
name = "db"
url = "postgresql://user:{SECRET}@localhost/db"
"""

JOBS = """
[[connectors]]
name = "orders"
source = { service_name = "files", resource = "in.jsonl" }
sinks = [{ service_name = "files", resource = "out.jsonl" }]

[[connectors]]
name = "later"
enabled = false
source = { service_name = "files", resource = "in.jsonl" }
sinks = [{ service_name = "files", resource = "later.jsonl" }]
"""

FILE = SYSTEM + SERVICES + JOBS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own, without a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MSTREAM_ENC_KEY", raising=False)
    (tmp_path / "in.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "mstream-config.toml").write_text(FILE)
    return tmp_path


def started(text: str = FILE) -> None:
    """A program has run with this file, and has ended."""
    Path("mstream-config.toml").write_text(text)
    config = load("mstream-config.toml", CATALOG, {}).config
    assert config is not None
    assert asyncio.run(Program(config, Options(until_idle=0.05), environ={}).run()) == 0


def contents(folder: Path) -> dict[str, str]:
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in sorted(folder.iterdir())}


def planned(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["plan", "--json", *arguments]) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def actions(document: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    return {each["job"]: (each["action"], each["intent"]) for each in document["actions"]}


def test_before_the_first_start_everything_is_to_be_filled_and_nothing_is_made(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(folder)

    document = planned(capsys)

    assert document["startup_state"] == "seed_from_file"
    assert actions(document) == {"orders": ("start", "running"), "later": ("add", "stopped")}
    assert [(each["service"], each["action"], each["origin"]) for each in document["services"]] == [
        ("files", "add", "file"),
        ("db", "add", "file"),
    ]
    assert all(each["reason"] for each in document["actions"])
    assert len(document["hash"]) == 64
    assert contents(folder) == before


def test_the_plan_is_what_the_next_start_decides(capsys: pytest.CaptureFixture[str]) -> None:
    first = planned(capsys)
    started()

    last = planned(capsys, "--last")

    assert "at" in last
    assert (last["actions"], last["services"]) == (first["actions"], first["services"])


def test_after_a_start_the_plan_resumes_and_its_reading_leaves_everything_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started()
    before = contents(folder)

    document = planned(capsys)

    assert actions(document) == {"orders": ("resume", "running"), "later": ("leave", "stopped")}
    assert {each["action"] for each in document["services"]} == {"leave"}
    assert planned(capsys)["hash"] == document["hash"]
    assert contents(folder) == before


def test_the_hash_that_was_shown_is_the_one_that_the_start_tells(capsys: pytest.CaptureFixture[str]) -> None:
    started()
    shown = planned(capsys)["hash"]

    started()

    assert planned(capsys, "--last")["hash"] == shown


def test_what_has_changed_in_the_file_is_drift(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started()
    changed = FILE.replace("out.jsonl", "other.jsonl").replace('"later"', '"new"').replace(SECRET, "an0ther")
    (folder / "mstream-config.toml").write_text(changed)

    document = planned(capsys)

    assert {each["name"]: each["changes"] for each in document["drift"]} == {
        "orders": ["sinks.0.resource"],
        "new": [],
        "later": [],
    }
    assert {each["service"]: each["action"] for each in document["services"]} == {"files": "leave", "db": "replace"}


def test_force_tells_what_it_would_replace(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started()
    force = FILE.replace("[system.job_lifecycle]", '[system.job_lifecycle]\nstartup_state = "force_from_file"')
    (folder / "mstream-config.toml").write_text(force.replace("out.jsonl", "other.jsonl"))

    document = planned(capsys)

    assert actions(document) == {"orders": ("replace", "running"), "later": ("leave", "stopped")}
    assert document["actions"][0]["changes"] == ["sinks.0.resource"]


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: path.write_text("ab" * 32 + "\n")])
def test_without_the_right_key_stored_services_are_invalid_and_the_plan_is_shown(
    folder: Path, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    started()
    spoil(folder / "mstream.key")
    before = contents(folder)

    document = planned(capsys)

    assert {each["action"] for each in document["services"]} == {"invalid"}
    assert actions(document) == {"orders": ("resume", "running"), "later": ("leave", "stopped")}
    assert document["notes"][0] == f"a start is refused: {document['refused']}"
    assert contents(folder) == before


def test_without_a_store_the_file_alone_decides(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mstream-config.toml").write_text(SERVICES + JOBS)

    document = planned(capsys)

    assert document["startup_state"] == "force_from_file"
    assert actions(document) == {"orders": ("start", "running"), "later": ("add", "stopped")}
    assert {each["action"] for each in document["services"]} == {"leave"}


def test_a_database_of_others_is_read_and_stays_as_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(folder / "state.db")) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = contents(folder)

    document = planned(capsys)

    assert actions(document)["orders"] == ("start", "running")
    assert contents(folder) == before


def test_an_empty_file_is_an_empty_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "state.db").touch()

    assert actions(planned(capsys))["orders"] == ("start", "running")
    assert (folder / "state.db").stat().st_size == 0


def test_a_file_that_is_no_database_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "state.db").write_text("no database at all, but long enough to be taken for one" * 100)

    assert main(["plan"]) == 1
    assert "_state" in capsys.readouterr().err


def test_a_store_that_does_not_answer_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    elsewhere = f'\n[[services]]\nprovider = "sql"\nname = "far"\nurl = "postgresql://u:{SECRET}@127.0.0.1:{port}/x"\n'
    placed = SYSTEM.replace("[system.job_lifecycle]", '[system.job_lifecycle]\nservice_name = "far"\nresource = "jobs"')
    (folder / "mstream-config.toml").write_text(placed + SERVICES + elsewhere + JOBS)

    assert main(["plan"]) == 1
    shown = capsys.readouterr()
    assert "error[service_unreachable]" in shown.err
    assert SECRET not in shown.err


def test_the_last_plan_is_missing_before_the_first_start(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--last"]) == 1
    assert "no start has stored its plan" in capsys.readouterr().err
    assert not (folder / "state.db").exists()


def test_the_last_plan_is_kept_nowhere_without_a_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mstream-config.toml").write_text(SERVICES + JOBS)

    assert main(["plan", "--last"]) == 1
    assert "no store for jobs" in capsys.readouterr().err


def test_an_invalid_file_ends_with_its_problems(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mstream-config.toml").write_text(FILE.replace('service_name = "files"', 'service_name = "gone"', 1))

    assert main(["plan"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "unknown_reference" in shown.err
    document = planned(capsys, code=3)
    assert document["valid"] is False
    assert [each["code"] for each in document["problems"]] == ["unknown_reference"]


def test_people_get_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mstream-config.toml"]) == 0

    shown = capsys.readouterr().out.splitlines()
    assert shown[:4] == [
        "startup state: seed_from_file",
        "",
        "jobs:",
        "  start  orders  running  the empty store is filled from the file",
    ]
    assert shown[-1].startswith("hash: ")
    assert "\x1b" not in "".join(shown)


def test_no_secret_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started()
    (folder / "mstream-config.toml").write_text(FILE.replace(SECRET, f"{SECRET}-2"))

    for arguments in (["plan"], ["plan", "--json"], ["plan", "--last"]):
        assert main(arguments) == 0
        shown = capsys.readouterr()
        assert SECRET not in shown.out + shown.err


def test_a_name_cannot_steer_the_terminal() -> None:
    config = load("mstream-config.toml", CATALOG, {}).config
    assert config is not None
    document = to_document(asyncio.run(Lookout(config, CATALOG, {}).planned()))
    document["actions"][0]["job"] = "a\x1b]0;title\x07b"
    document["notes"] = ["\x1b[2J"]

    shown = "".join(lines(document)).replace("\x1b[32m", "").replace("\x1b[36m", "").replace("\x1b[0m", "")

    assert shown.isprintable()
