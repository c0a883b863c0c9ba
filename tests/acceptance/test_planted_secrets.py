"""No secret of any service reaches a log, an answer, an error, a process list, a message or a store's bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest

from mstream.cli import main
from mstream.config.definition import stored_definitions
from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.domain.service import ServiceConfig
from mstream.errors import MstreamError
from mstream.providers import CATALOG
from mstream.providers.http.config import HttpConfig
from mstream.providers.sql import PROVIDER as SQL
from mstream.runtimes.faults import failed
from mstream.runtimes.inline import InlineRuntime
from tests.acceptance.planting import MARK, Garden, found_in, toml, written
from tests.acceptance.programs import Program, until
from tests.unit.runtimes.stand_in import RecordingOwner

#: Programs and databases are started.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SYSTEM = """
[system]
encryption_key_path = "the.key"
{places}
[system.runtime]
kind = "process"
workers = 1
"""
TABLES = ("job_lifecycle", "service_lifecycle", "checkpoints")
#: Of the program's own environment only these are its own business.
CONNECTOR = """
[[connectors]]
name = {name}
source = {{ service_name = "file-0", resource = "in.jsonl", input_encoding = "json" }}
{middle}sinks = [{{ service_name = {sink}, resource = "out.jsonl", output_encoding = "json" }}]
"""


@pytest.fixture
def garden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Garden:
    garden = Garden(tmp_path)
    for key, value in {"MSTREAM_API_PORT": "0", "MSTREAM_LOG": "debug"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("MSTREAM_ENC_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "in.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    return garden


def connectors(definitions: dict[str, dict[str, Any]]) -> str:
    """One to every service that can run, and one through every script."""
    text = ""
    for name, table in definitions.items():
        if table["provider"] == "sql":
            text += CONNECTOR.format(name=json.dumps(f"to-{name}"), sink=json.dumps(name), middle="")
        elif table["provider"] == "udf":
            middle = f'middlewares = [{{ service_name = "{name}", resource = "own.py", output_encoding = "json" }}]\n'
            text += CONNECTOR.format(name=json.dumps(f"through-{name}"), sink='"file-0"', middle=middle)
    return text


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in descendants(int(child)))]


def processes(pid: int) -> dict[str, bytes]:
    """What everybody on the machine can see of the program, and its workers' environment."""
    found = {}
    for each in descendants(pid):
        for what in ("cmdline", "environ", "comm"):
            found[f"/proc/{each}/{what}"] = Path(f"/proc/{each}/{what}").read_bytes()
    return found


def without_given(stacks: dict[str, bytes], given: dict[str, str]) -> dict[str, bytes]:
    """A process that was given a variable has it."""
    for name, raw in stacks.items():
        if name.endswith("environ"):
            pairs = [each for each in raw.split(b"\0") if each.partition(b"=")[0].decode() not in given]
            stacks[name] = b"\0".join(pairs)
    return stacks


def asked(client: httpx.Client, definitions: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Every route that could show something, and every way to be refused."""
    found: dict[str, str] = {}

    def ask(method: str, path: str, body: Any = None) -> None:
        answer = client.request(method, path, json=body)
        found[f"{method} {path} {answer.status_code} {len(found)}"] = answer.text + str(answer.headers)

    for name, table in definitions.items():
        ask("POST", "/services", {**table, "name": f"api-{name}"})
        ask("POST", "/services", {**table, "name": f"api-{name}"})
        ask("PUT", f"/services/api-{name}", {key: each for key, each in table.items() if key != "name"})
        ask("PUT", f"/services/{name}", {key: each for key, each in table.items() if key != "name"})
        ask("POST", "/services", {**table, "name": f"more-{name}", "unheard_of": table})
        for key, value in table.items():
            if MARK in str(value):
                ask("POST", "/services", {**table, "name": f"bad-{name}", key: [{"a": value}]})
                ask("POST", "/services", {**table, "name": f"bad-{name}", "provider": value})
        ask("GET", f"/services/api-{name}")
        ask("GET", f"/services/{name}")
        source = {"service_name": "file-0", "resource": "in.jsonl", "input_encoding": "json"}
        sinks = [{"service_name": f"api-{name}", "resource": "out", "output_encoding": "json"}]
        ask("POST", "/jobs", {"name": f"api-to-{name}", "source": source, "sinks": sinks})
        ask("DELETE", f"/services/api-{name}")
    paths = ["services", "jobs", "plan", "keys", "health", "health/live", "health/ready", "nothing"]
    for path in paths:
        ask("GET", f"/{path}")
    for each in client.get("/jobs").json():
        for path in ("", "/runs", "/changes", "/checkpoints"):
            ask("GET", f"/jobs/{each['name']}{path}")
    ask("POST", "/apply", {"dry_run": True})
    ask("POST", "/keys/reload")
    return found


def commanded(capfd: pytest.CaptureFixture[str], folder: Path) -> dict[str, str]:
    """Every command that could show something."""
    found: dict[str, str] = {}
    capfd.readouterr()
    for number, line in enumerate(
        [
            "plan",
            "plan --json",
            "plan --last --json",
            "check",
            "check --json",
            "check bad.toml",
            "check bad.toml --json",
            "run bad.toml",
            "apply --dry-run --json",
            "export -",
            "export - --format v047",
            "export sealed.json --encrypt-to the.key",
            "checkpoints list --json",
            "key show-id",
            "key check --json",
            "import sealed.json",
            "import bad.toml",
        ]
    ):
        code = main(line.split())
        shown = capfd.readouterr()
        found[f"mstream {line} ({code}) {number}"] = shown.out + shown.err
    found["sealed.json"] = (folder / "sealed.json").read_text()
    return found


def write_files(folder: Path, definitions: dict[str, dict[str, Any]], places: str, more: str = "") -> None:
    services = "\n".join(toml(each) for each in definitions.values())
    text = SYSTEM.format(places=places) + more + services
    (folder / "mstream-config.toml").write_text(text + connectors(definitions))
    wrong = [
        {**table, key: [{"a": value}], "name": f"{name}-{key}"}
        for name, table in definitions.items()
        for key, value in table.items()
        if MARK in str(value)
    ]
    strange = [{**table, "name": f"{name}-strange", "unheard_of": table} for name, table in definitions.items()]
    (folder / "bad.toml").write_text("\n".join(map(toml, wrong)) + "\n".join(map(toml, strange)))


def in_sqlite(folder: Path, request: pytest.FixtureRequest) -> tuple[str, str, Callable[[], dict[str, bytes]]]:
    """Places, the service that hosts them, and a look at the raw bytes."""

    def raw() -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in folder.glob("state.db*")}

    return 'state = "state.db"', "", raw


def in_postgres(folder: Path, request: pytest.FixtureRequest) -> tuple[str, str, Callable[[], dict[str, bytes]]]:
    url = request.getfixturevalue("postgres_url")

    def raw() -> dict[str, bytes]:
        dump = shutil.which("pg_dump")
        assert dump is not None
        done = subprocess.run([dump, "--inserts", url.replace("+psycopg", "")], capture_output=True, check=True)
        return {"pg_dump": done.stdout}

    places = "".join(f'[system.{each}]\nservice_name = "store"\nresource = "p_{each}"\n' for each in TABLES)
    return places, toml({"provider": "sql", "name": "store", "url": url}), raw


@pytest.mark.parametrize("store", [in_sqlite, in_postgres])
def test_no_planted_secret_is_found_anywhere(
    garden: Garden,
    store: Callable[[Path, pytest.FixtureRequest], tuple[str, str, Callable[[], dict[str, bytes]]]],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    definitions = garden.definitions(CATALOG)
    places, host, raw = store(tmp_path, request)
    write_files(tmp_path, definitions, places, host)
    stacks: dict[str, str | bytes] = {}
    with Program(tmp_path, "run", "--log-level", "debug", environ=garden.environ) as program:
        with closing(program.ready()) as client:
            jobs = until(lambda: has_failed(client), "jobs have failed because of their services")
            assert {each["last_error"]["reason"] for each in jobs} >= {"service_unreachable", "provider_unavailable"}
            stacks |= asked(client, definitions)
            stacks |= {f"while it runs: {key}": each for key, each in commanded(capfd, tmp_path).items()}
            stacks |= without_given(processes(program.process.pid), garden.environ)
            stacks |= raw()
        program.send(signal.SIGTERM)
        program.ended()
        stacks["the log"] = program.log
    (tmp_path / "sealed.json").unlink()
    for key, value in garden.environ.items():
        monkeypatch.setenv(key, value)
    stacks |= commanded(capfd, tmp_path)
    stacks |= raw()

    assert len(str(stacks["the log"])) > 10_000
    assert found_in(garden.planted, stacks) == []
    assert MARK not in "".join(str(each) for each in stacks.values())


def has_failed(client: httpx.Client) -> list[Any]:
    jobs = client.get("/jobs").json()
    failed = [each for each in jobs if each["last_error"]]
    return failed if len(failed) == len(jobs) else []


async def test_no_message_between_processes_carries_one(garden: Garden) -> None:
    parse, seen = stored_definitions(CATALOG), list[bytes]()
    services = {name: parse(table) for name, table in garden.definitions(CATALOG).items()}
    async with InlineRuntime(CATALOG, pickled=True, sees=seen.append) as runtime:
        for name, config in services.items():
            handle = await runtime.start(spec(name, config, services), RecordingOwner())
            handle.finish()
            await handle.outcome()

    assert len(seen) > 3 * len(services)
    assert found_in(garden.planted, {"a message": b"".join(seen)}) == []


def spec(name: str, config: ServiceConfig, services: dict[str, ServiceConfig]) -> RunSpec:
    source = {"service_name": "file-0", "resource": "in.jsonl", "input_encoding": "json"}
    sink = {"service_name": name if config.provider != "udf" else "file-0", "resource": "out.jsonl"}
    middle = [{"service_name": name, "resource": "own.py"}] if config.provider == "udf" else []
    connector = ConnectorSpec.model_validate({"name": name, "source": source, "middlewares": middle, "sinks": [sink]})
    return RunSpec(
        job=name,
        run_id=f"run-{name}",
        epoch=1,
        connector=connector,
        services={name: config, "file-0": services["file-0"]},
        checkpoint=CheckpointMode.SAVED,
        positions={},
    )


@pytest.mark.parametrize("fixture", ["postgres_url", "mysql_url"])
async def test_a_server_that_refuses_is_quoted_without_user_and_password(
    garden: Garden, fixture: str, request: pytest.FixtureRequest
) -> None:
    parts = urlsplit(request.getfixturevalue(fixture))
    place = f"{parts.hostname}:{parts.port}"
    user, password, database = (garden.secret(f"sql.url, {each}") for each in ("user", "password", "database"))
    del garden.planted[database]
    for url in (f"{user}:{password}@{place}{parts.path}", f"{user}:{password}@{place}/{database}"):
        config = SQL.config(name="db", url=f"{parts.scheme}://{url}")
        with pytest.raises(MstreamError) as caught:
            async with SQL.connect(config) as live:
                await SQL.documents(live).ping()

        told = failed(caught.value)
        text = "".join(traceback.format_exception(caught.value))
        assert found_in(garden.planted, {"the error": f"{caught.value}", "the outcome": f"{told}"}) == []
        assert found_in(garden.planted, {"the traceback": text}) == []


class Leaky(HttpConfig):
    """Shows what nobody may see."""

    public: ClassVar[frozenset[str]] = HttpConfig.public | {"password"}

    password: str


def test_a_field_that_leaks_is_found(garden: Garden) -> None:
    secret = garden.secret("leaky.password")
    config = Leaky(name="l", host="http://h", password=secret)

    for stack in (str(config.shown()), repr(config), json.dumps(config.shown()).encode("utf-16-le")):
        assert found_in(garden.planted, {"a log": stack}) == [f"leaky.password ({secret}) in a log"]
    for each in written(secret):
        assert found_in(garden.planted, {"a store": b"\xff" + each + b"\0"})
    assert found_in(garden.planted, {"a log": "password=****"}) == []


def test_every_field_that_may_hold_a_secret_is_planted(garden: Garden) -> None:
    definitions = garden.definitions(CATALOG)

    assert {each["provider"] for each in definitions.values()} == {each.name for each in CATALOG}
    fields = {each.partition(",")[0] for each in garden.planted.values()}
    for expected in ("sql.url", "mongodb.connection_string", "http.host", "kafka.sasl.password", "udf.sources.content"):
        assert expected in fields
    parse = stored_definitions(CATALOG)
    for table in definitions.values():
        config = parse(table)
        hidden = {key for key, each in config.shown().items() if each == "****"}
        assert all(MARK in str(table[key]) for key in hidden - {"auth"}), config.provider
    assert os.environ.get("PLANTED_TOKEN") is None
