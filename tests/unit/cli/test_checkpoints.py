"""The commands about checkpoints: answers, streams, exit codes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from mstream.bootstrap.checkpoints import CheckpointRoom
from mstream.bootstrap.stores import connected
from mstream.cli import main
from mstream.config.document import ConfigFile
from mstream.config.file import load
from mstream.domain.lease import Identity, Tenure
from mstream.foundation.clock import SystemClock
from mstream.foundation.processes import this_process
from mstream.ports.documents import ABSENT, DocumentStore
from mstream.providers import CATALOG
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.leases import LeaseStore, new_revision

CONFIG = """
[system]
state = "./m.db"
[[services]]
provider = "file"
name = "files"
path = "."
[[services]]
provider = "sql"
name = "db"
url = "sqlite:///other.db"
[[connectors]]
name = "copy"
source = { service_name = "files", resource = "in.jsonl" }
sinks = [{ service_name = "files", resource = "out.jsonl" }]
[[connectors]]
name = "capture"
enabled = false
source = { service_name = "db", resource = "orders" }
sinks = [{ service_name = "files", resource = "orders.jsonl" }]
"""

Show = Callable[[], Any]

#: A position as the file source writes it.
PLACE = {"in.jsonl": {"file": "1:2:0:", "offset": 3}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mstream-config.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Show:
    """The last answer, as a document."""
    return lambda: json.loads(capsys.readouterr().out)


def config() -> ConfigFile:
    loaded = load("mstream-config.toml", CATALOG, {})
    assert loaded.config is not None
    return loaded.config


def with_store(work: Callable[[DocumentStore], Awaitable[Any]]) -> Any:
    """Do it with the database, in a loop that is gone afterwards."""

    async def done() -> Any:
        from contextlib import AsyncExitStack

        async with AsyncExitStack() as stack:
            return await work(await connected(stack, config().service("_state"), CATALOG, {}))

    return asyncio.run(done())


def saved(job: str, *positions: Any, lane: str = "in.jsonl") -> None:
    """As runs of the job leave its checkpoint, one for each position."""

    async def work(database: DocumentStore) -> None:
        store = CheckpointStore(database.collection("mstream-checkpoints", key="job_name"), SystemClock())
        for epoch, position in enumerate(positions, start=1):
            await store.claim(job, f"run {epoch}", epoch, "f")
            await store.save(job, {lane: position}, f"run {epoch}", epoch)

    with_store(work)


def damage(job: str) -> None:
    with_store(
        lambda database: database.collection("mstream-checkpoints", key="job_name").put(
            job, {"job_name": job, "positions": 7, "epoch": 1, "sequence": 9}
        )
    )


def owned_by_another() -> None:
    """A live process, which is this one, has the lease."""

    async def work(database: DocumentStore) -> None:
        identity = Identity(instance=uuid4().hex, process=this_process(), address="http://127.0.0.1:1")
        leases = LeaseStore(database.collection("mstream-system"), SystemClock())
        await leases.write(Tenure(identity=identity, epoch=7, lease_sec=10), expect=ABSENT, revision=new_revision())

    with_store(work)


def test_every_job_is_listed_with_where_it_stands(shown: Show) -> None:
    saved("copy", 1, 2)
    saved("other", {"_data": "8265"}, lane="")

    assert main(["checkpoints", "list", "--json"]) == 0

    answer = shown()
    assert [(each["job"], each["positions"]) for each in answer["checkpoints"]] == [
        ("copy", {"in.jsonl": 2}),
        ("other", {"": {"_data": "8265"}}),
    ]
    assert answer["damaged"] == []


def test_people_get_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    saved("copy", 1, 2)
    saved("wide", {f"lane {each}": each for each in range(100)})

    assert main(["checkpoints", "list"]) == 0

    copy, wide = capsys.readouterr().out.splitlines()
    assert copy.startswith("copy  20")
    assert copy.endswith('{"in.jsonl": 2}')
    assert len(wide) < 200


def test_a_damaged_document_is_a_finding_and_the_others_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    saved("copy", 1)
    damage("broken")

    assert main(["checkpoints", "list"]) == 3

    answer = capsys.readouterr()
    assert answer.out.startswith("copy  ")
    assert "'broken'" in answer.err


def test_a_job_is_shown_with_where_it_stood(shown: Show) -> None:
    saved("copy", 1, 2, 3)

    assert main(["checkpoints", "show", "copy", "--json"]) == 0

    entries = shown()["entries"]
    assert [each["positions"]["in.jsonl"] for each in entries] == [3, 2, 1]
    assert [each["entry"] for each in entries] == sorted((each["entry"] for each in entries), reverse=True)


def test_looking_does_not_need_the_store_and_writes_nothing(folder: Path, shown: Show) -> None:
    saved("copy", 1)
    owned_by_another()
    before = (folder / "m.db").read_bytes()

    for command in (["list"], ["show", "copy"]):
        assert main(["checkpoints", *command, "--json"]) == 0
        assert shown()

    assert (folder / "m.db").read_bytes() == before


def test_looking_makes_no_store(folder: Path, shown: Show) -> None:
    assert main(["checkpoints", "list", "--json"]) == 0
    assert shown() == {"checkpoints": [], "damaged": []}
    assert main(["checkpoints", "show", "copy"]) == 1

    assert [each.name for each in folder.iterdir()] == ["mstream-config.toml"]


def test_a_job_without_a_checkpoint_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoints", "show", "copy"]) == 1

    assert "error[not_found]: job 'copy' has no checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "positions", "begin"),
    [
        ([], {}, None),
        (["--to-beginning"], {}, "beginning"),
        (["--to-now"], {}, "now"),
        (["--to-position", json.dumps(PLACE)], PLACE, None),
    ],
)
def test_a_job_is_put_elsewhere(shown: Show, options: list[str], positions: dict[str, Any], begin: str | None) -> None:
    saved("copy", 1)

    assert main(["checkpoints", "reset", "copy", "--yes", "--json", *options]) == 0

    answer = shown()
    assert (answer["positions"], answer.get("begin")) == (positions, begin)
    assert main(["checkpoints", "show", "copy", "--json"]) == 0
    now, before = shown()["entries"]
    assert (now["positions"], before["positions"]) == (positions, {"in.jsonl": 1})
    assert now["by"]["who"]


def test_a_job_is_put_back_to_an_entry_that_was_shown(shown: Show) -> None:
    saved("copy", 1, 2, 3)
    main(["checkpoints", "show", "copy", "--json"])
    entry = shown()["entries"][2]["entry"]

    assert main(["checkpoints", "reset", "copy", "--yes", "--json", "--to-entry", str(entry)]) == 0

    assert shown()["positions"] == {"in.jsonl": 1}


def test_a_reset_writes_in_an_epoch_after_every_one_that_is_stored(shown: Show) -> None:
    saved("copy", 1, 2, 3)

    main(["checkpoints", "reset", "copy", "--yes", "--json"])

    assert shown()["epoch"] == 4


def test_while_another_process_owns_the_store_nothing_is_reset(capsys: pytest.CaptureFixture[str]) -> None:
    saved("copy", 1)
    owned_by_another()

    assert main(["checkpoints", "reset", "copy", "--yes"]) == 1

    complaint = capsys.readouterr().err
    assert "error[unavailable]: the owner of the store, process " in complaint
    assert "at http://127.0.0.1:1 " in complaint
    main(["checkpoints", "show", "copy"])
    assert '{"in.jsonl": 1}' in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [["checkpoints", "reset", "copy"], ["apply"], ["key", "rotate"], ["key", "retire"]], ids=" ".join
)
def test_an_address_where_nobody_answers_is_named(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["key", "generate"])
    yes = [] if command[0] == "key" else ["--yes"]

    assert main([*command, *yes, "--url", "http://127.0.0.1:1"]) == 1
    assert "the instance at http://127.0.0.1:1 does not answer" in capsys.readouterr().err
    assert main([*command, *yes, "--url", "127.0.0.1:1"]) == 2
    assert "must begin with http" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_mended_by_a_reset(shown: Show) -> None:
    damage("copy")

    assert main(["checkpoints", "reset", "copy", "--yes", "--json"]) == 0

    assert shown()["entry"] == 10
    assert main(["checkpoints", "list"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["copy", "--yes", "--to-now", "--to-beginning"], 2, "name one place"),
        (["copy", "--yes", "--to-position", "{"], 2, "not JSON"),
        (["copy", "--yes", "--to-position", '{"in.jsonl": {"offset": 3}}'], 2, "no such position in lane 'in.jsonl'"),
        (["copy", "--yes", "--to-position", '{"in.jsonl": 3}'], 2, "as `checkpoints show` has it"),
        (["copy", "--yes", "--to-position", '{"": {"file": "1:2:0:", "offset": 3}}'], 2, "in lane ''"),
        (["copy", "--yes", "--to-position", '{"a": {"file": "1:2:0:", "offset": -3}}'], 2, "in lane 'a'"),
        (["capture", "--yes", "--to-now"], 2, "provider 'sql' cannot be put to now"),
        (["copy", "--yes", "--to-entry", "99"], 1, "no entry 99"),
        (["copi", "--yes"], 1, "no job 'copi'"),
        (["copy"], 2, "--yes"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, why: str
) -> None:
    saved("copy", 1)

    assert main(["checkpoints", "reset", *arguments]) == code

    assert why in capsys.readouterr().err
    main(["checkpoints", "show", "copy"])
    assert '{"in.jsonl": 1}' in capsys.readouterr().out


def test_where_nothing_stands_yet_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["checkpoints", "list"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, "no checkpoints" in printed.err) == ("", True)

    assert main(["checkpoints", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"checkpoints": [], "damaged": []}


def test_a_store_that_does_not_open_is_named_by_its_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "m.db").write_text("no database" * 100)

    assert main(["checkpoints", "list"]) == 1

    assert "(./m.db)" in capsys.readouterr().err


def test_without_a_store_there_is_nothing_to_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mstream-config.toml").write_text(CONFIG.replace('state = "./m.db"', ""))

    for command in (["list"], ["show", "copy"], ["reset", "copy", "--yes"]):
        assert main(["checkpoints", *command]) == 1
        assert "none are kept" in capsys.readouterr().err


def test_a_file_that_is_not_valid_is_a_finding(folder: Path) -> None:
    (folder / "mstream-config.toml").write_text("[system]\nnonsense = 1\n")

    assert main(["checkpoints", "list"]) == 3


def test_the_stored_definition_is_asked_before_the_file(folder: Path) -> None:
    """It is what runs: a job that the file does not name any more can still be put elsewhere."""
    from mstream.domain.connector import ConnectorSpec
    from mstream.domain.job import Intent, Job
    from mstream.stores.jobs import JobStore

    spec = ConnectorSpec.model_validate(
        {
            "name": "gone",
            "source": {"service_name": "files", "resource": "x.jsonl"},
            "sinks": [{"service_name": "files", "resource": "y.jsonl"}],
        }
    )
    with_store(
        lambda database: JobStore(database.collection("mstream-jobs")).create(Job(spec=spec, intent=Intent.STOPPED))
    )

    async def found() -> str:
        async with CheckpointRoom(config(), CATALOG, {}).changing("gone") as (_, connector):
            return connector.source.resource

    assert asyncio.run(found()) == "x.jsonl"
