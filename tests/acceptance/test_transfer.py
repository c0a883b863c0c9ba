"""Jobs move house by the command line, out of a program that runs, and go on where they are."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.cli import main
from tests.acceptance.programs import Program, append, until

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
[system.api]
allowed_paths = ["../data"]
"""
SECRET = "pl4nted-s3cret"
URL = f"mongodb://user:{SECRET}@host.example/"


def numbers_in(path: Path) -> list[int]:
    """What has arrived, without a line that is being written."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(each)["n"] for each in lines]


Shown = Callable[[], tuple[str, str]]


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Go to a house; it is built where there is none."""
    monkeypatch.setenv("MSTREAM_API_PORT", "0")
    monkeypatch.delenv("MSTREAM_ENC_KEY", raising=False)
    (tmp_path / "data").mkdir()

    def at(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "mstream-config.toml").write_text(CONFIG)
        monkeypatch.chdir(folder)
        return folder

    return at


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    def both() -> tuple[str, str]:
        return capsys.readouterr()

    return both


@contextmanager
def running(folder: Path) -> Iterator[tuple[Program, httpx.Client]]:
    with Program(folder, "run") as program, closing(program.ready()) as client:
        yield program, client


def job(name: str, resource: str = "in.jsonl") -> dict[str, Any]:
    source = {"service_name": "files", "resource": resource, "input_encoding": "json"}
    sink = {"service_name": "files", "resource": f"{name}.jsonl"}
    return {"name": name, "source": source, "sinks": [sink], "checkpoint": {"enabled": True, "interval_ms": 20}}


def define(client: httpx.Client, data: Path) -> None:
    """Over the API alone: nothing of it stands in a file."""
    mongodb = {"provider": "mongodb", "name": "mongo", "connection_string": URL, "db_name": "app"}
    for each in ({"provider": "file", "name": "files", "path": str(data)}, mongodb):
        assert client.post("/services", json=each).status_code == 201
    for name in ("copy", "held"):
        answer = client.post("/jobs", json={**job(name), "checkpoint": {"enabled": True}})
        assert answer.status_code == 201, answer.text
    assert client.post("/jobs/held/pause?wait=20").status_code == 200


def stands(client: httpx.Client) -> bool:
    """Whether the job's stored place is past its beginning."""
    found = client.get("/jobs/copy/checkpoints").json()
    return any(each.get("offset") for each in found[0]["positions"].values())


def key_file(folder: Path, digits: str = "ab") -> str:
    path = folder.parent / f"{digits}.key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(digits * 32)
    return str(path)


def test_a_job_that_moves_records_is_exported_and_goes_on_elsewhere_without_a_gap(
    house: Callable[[str], Path], tmp_path: Path, shown: Shown
) -> None:
    data, bundle = tmp_path / "data", tmp_path / "bundle.json"
    out, numbers = data / "copy.jsonl", range(30_000)
    old = house("old")
    with running(old) as (program, client):
        define(client, data)
        append(data, numbers[:10])
        until(lambda: len(numbers_in(out)) == 10, "the first have arrived")
        until(lambda: stands(client), "where they end is stored")
        append(data, numbers[10:20_000])
        until(lambda: len(numbers_in(out)) > 100, "more arrive")
        assert main(["export", str(bundle), "--encrypt-to", key_file(old)]) == 0
        until(lambda: len(set(numbers_in(out))) == 20_000, "all have arrived")
        assert main(["import", str(bundle), "--decrypt-with", key_file(old)]) == 1
        assert "error[store_owned]" in shown()[1]
        program.send(signal.SIGKILL)
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    assert SECRET not in bundle.read_text()
    append(data, numbers[20_000:])
    out.rename(data / "before.jsonl")

    new = house("new")
    assert main(["import", str(bundle), "--decrypt-with", key_file(new), "--json"]) == 0
    assert json.loads(shown()[0]) == {"services": 2, "checkpoints": 2, "jobs": 2}
    # Its source's service is in the registry alone, and nothing runs.
    assert main(["checkpoints", "reset", "held", "--yes", "--to-now"]) == 0
    with running(new) as (program, client):
        assert main(["checkpoints", "reset", "held", "--yes", "--url", program.address()]) == 0
        until(lambda: numbers_in(out)[-1:] == [29_999], "the last has arrived")
        jobs = {each["name"]: each["intent"] for each in client.get("/jobs").json()}
        assert jobs == {"copy": "running", "held": "paused"}
        assert {each["name"] for each in client.get("/services").json()} == {"files", "mongo"}

    first = numbers_in(out)[0]
    assert 0 < first <= 20_000
    assert numbers_in(out) == list(range(first, 30_000)), "repeats are allowed, gaps are not"


def test_without_a_key_secrets_are_asked_for_and_references_do(
    house: Callable[[str], Path], tmp_path: Path, shown: Shown
) -> None:
    old, bundle, answers = house("old"), tmp_path / "bundle.json", tmp_path / "answers.json"
    with running(old) as (_, client):
        define(client, tmp_path / "data")
        assert main(["export", str(bundle)]) == 0
    assert "ask for 1 secret" in shown()[1]
    assert SECRET not in bundle.read_text()
    assert main(["export", str(bundle)]) == 2, "a file that is there stays"

    house("new")
    assert main(["import", str(bundle)]) == 2
    assert "mongo/connection_string" in shown()[1]
    answers.write_text(json.dumps({"mongo/connection_string": "env:MONGO_URL"}))
    assert main(["import", str(bundle), "--secrets", str(answers)]) == 0
    assert main(["export", "-"]) == 0

    moved = {each["name"]: each["definition"] for each in json.loads(shown()[0].splitlines()[-1])["services"]}
    assert moved["mongo"]["connection_string"] == "env:MONGO_URL"


def test_what_is_no_export_or_comes_with_the_wrong_key_changes_nothing(
    house: Callable[[str], Path], tmp_path: Path, shown: Shown
) -> None:
    old, bundle = house("old"), tmp_path / "bundle.json"
    with running(old) as (_, client):
        define(client, tmp_path / "data")
        assert main(["export", str(bundle), "--encrypt-to", key_file(old)]) == 0
    text = bundle.read_text()
    new = house("new")
    key = ["--decrypt-with", key_file(new)]
    for damaged, arguments, code, why in [
        (text[: len(text) // 2], key, 3, "is no export of mstream"),
        (text.replace('"format":1', '"format":99'), key, 3, "of a newer version"),
        ("[]", key, 3, "is no export of mstream"),
        ("\xff", key, 3, "is no export of mstream"),
        (text, ["--decrypt-with", key_file(new, "cd")], 3, "which is not in the key ring"),
        (text, ["--decrypt-with", "nowhere.key"], 1, "there is no key file 'nowhere.key'"),
        (text, [], 2, "is encrypted; name the key file"),
    ]:
        bundle.write_text(damaged, encoding="latin-1")
        assert main(["import", str(bundle), *arguments]) == code, why
        complaint = shown()[1]
        assert why in complaint
        assert SECRET not in complaint

    assert [each.name for each in new.iterdir()] == ["mstream-config.toml"], "no store and no key were made"


def test_v047_can_read_what_is_exported_for_it(house: Callable[[str], Path], tmp_path: Path, shown: Shown) -> None:
    old = house("old")
    with running(old) as (_, client):
        define(client, tmp_path / "data")
        to_mongodb = {
            "name": "theirs",
            "source": {"service_name": "mongo", "resource": "a", "output_encoding": "json"},
            "sinks": [{"service_name": "mongo", "resource": "b", "output_encoding": "json"}],
        }
        assert client.post("/jobs", json=to_mongodb).status_code in {201, 409}
        shown()
        assert main(["export", "--format", "v047", "-"]) == 0

    answer, notes = shown()
    assert "pl4nted" not in answer
    found = json.loads(answer.splitlines()[-1])
    (service,) = found["services"]
    assert set(service) == {"name", "data", "nonce", "updated_at"}
    assert len(service["nonce"]) == 12
    assert all(type(each) is int and 0 <= each < 256 for each in service["data"] + service["nonce"])
    assert set(service["updated_at"]) == {"$date"}
    cipher = AESGCM(bytes.fromhex((old / "the.key").read_text().splitlines()[0]))
    plain = json.loads(cipher.decrypt(bytes(service["nonce"]), bytes(service["data"]), None))
    assert (plain["provider"], plain["name"], plain["connection_string"]) == ("mongodb", "mongo", URL)
    assert SECRET not in answer + notes
    assert "left out: service 'files'" in notes
    assert "left out: job 'copy'" in notes
    for each in found["jobs"]:
        assert {"name", "started_at", "stopped_at", "state", "desired_state", "linked_services", "pipeline"} <= set(
            each
        )
