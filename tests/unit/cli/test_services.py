"""`mstream services`: what it says of a service, to people and to programs, and never a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstream.cli import main
from tests.servers.mongodb import MongoDatabase
from tests.servers.process import free_port

# The driver forgets the socket of a connection that was refused.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

PLANTED = "hunter2-planted"
FILE = """\
[[services]]
name = "shop"
provider = "mongodb"
connection_string = "mongodb://u:{planted}@127.0.0.1:{port}/"
db_name = "shop"

[[services]]
name = "hidden"
provider = "mongodb"
connection_string = "env:MSTREAM_NOT_SET"
db_name = "shop"

[[services]]
name = "table"
provider = "sql"
url = "sqlite:///there.db"

[[services]]
name = "nowhere"
provider = "sql"
url = "sqlite:///no/such/folder/there.db"

[[services]]
name = "files"
provider = "file"
path = "."

[[services]]
name = "bus"
provider = "kafka"
"bootstrap.servers" = "h"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every command runs in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mstream-config.toml").write_text(FILE.format(planted=PLANTED, port=free_port()))
    return tmp_path


def test_people_are_told_what_fails_and_what_to_do(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["services", "test", "shop"])

    out, err = capfd.readouterr()
    assert code == 3
    assert "service 'shop' (mongodb)" in out
    assert [line.split()[:2] for line in out.splitlines() if " failed " in line] == [["tcp", "failed"]]
    assert "-> is the server running" in out
    assert PLANTED not in out + err


def test_programs_are_told_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["services", "test", "shop", "--json"])

    out, _ = capfd.readouterr()
    told = json.loads(out)
    assert code == 3
    assert (told["service"], told["provider"], told["ok"]) == ("shop", "mongodb", False)
    assert [each["name"] for each in told["steps"] if each["outcome"] == "failed"] == ["tcp"]
    assert PLANTED not in out


def test_a_reference_to_nothing_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "test", "hidden"]) == 3
    assert "MSTREAM_NOT_SET" in capfd.readouterr().out


@pytest.mark.parametrize(("name", "code"), [("table", 0), ("nowhere", 3), ("files", 0), ("bus", 3)])
def test_every_provider_answers(name: str, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "test", name]) == code
    assert name in capfd.readouterr().out


def test_nothing_is_made_by_asking(folder: Path) -> None:
    main(["services", "test", "table"])

    assert [each.name for each in folder.iterdir()] == ["mstream-config.toml"]


def test_a_service_that_is_not_in_the_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "test", "bogus"]) == 1
    assert "'bogus'" in capfd.readouterr().err


@pytest.fixture
def filled(folder: Path, mongo_java_database: MongoDatabase) -> MongoDatabase:
    """A database with two forms of orders, named by the file."""
    database = mongo_java_database
    with database.client() as client:
        orders = client[database.name]["orders"]
        orders.insert_many([{"_id": each, "email": f"{PLANTED}{each}@example.com"} for each in range(3)])
        orders.insert_one({"_id": "last", "note": None})
        client[database.name]["customers"].insert_one({"_id": 1})
    text = FILE.replace("mongodb://u:{planted}@127.0.0.1:{port}/", database.uri).replace(
        '"shop"\n\n', '"{name}"\n\n', 1
    )
    (folder / "mstream-config.toml").write_text(text.format(name=database.name))
    return database


def test_resources_come_by_name(filled: MongoDatabase, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "resources", "shop"]) == 0
    assert capfd.readouterr().out.split() == ["customers", "collection", "orders", "collection"]

    assert main(["services", "resources", "shop", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "service_name": "shop",
        "resources": [
            {"name": "customers", "resource_type": "collection"},
            {"name": "orders", "resource_type": "collection"},
        ],
    }


def test_a_schema_tells_its_forms_and_no_value(filled: MongoDatabase, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "schema", "shop", "orders"]) == 0
    out, _ = capfd.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["75", "%", "of", "4", "documents"],
        ["_id", "integer"],
        ["email", "string", "(email)"],
        ["25", "%", "of", "4", "documents"],
        ["_id", "string"],
        ["note", "null"],
    ]

    assert main(["services", "schema", "shop", "orders", "--json", "--values"]) == 0
    out, _ = capfd.readouterr()
    found = json.loads(out)
    assert [(each["share_percent"], each["sample_count"]) for each in found] == [(75.0, 3), (25.0, 1)]
    assert found[0]["schema"]["properties"]["_id"] == {"type": "integer", "minimum": 0, "maximum": 2}
    assert found[0]["schema"]["required"] == ["_id", "email"]
    assert PLANTED not in out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["resources", "shop"], 1),
        (["schema", "shop", "orders"], 1),
        (["resources", "files"], 1),
        (["resources", "hidden"], 1),
        (["schema", "shop", "orders", "--sample", "0"], 2),
        (["schema", "shop", "orders", "--sample", "1001"], 2),
    ],
)
def test_what_cannot_be_looked_into_is_told(
    arguments: list[str], code: int, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = folder / "mstream-config.toml"
    file.write_text(file.read_text().replace('/"\n', '/?timeoutMS=300"\n', 1))

    assert main(["services", *arguments]) == code

    out, err = capfd.readouterr()
    assert not out
    assert PLANTED not in err


@pytest.fixture
def stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that has `kept` and `both`, beside a file that has another `both`."""
    monkeypatch.setenv("MSTREAM_KEPT_FOLDER", str(folder))
    system = '[system]\nstate = "state.db"\n'
    table = '[[services]]\nprovider = "{}"\nname = "{}"\n{}\n'
    file = folder / "mstream-config.toml"
    file.write_text(
        system
        + table.format("file", "kept", 'path = "env:MSTREAM_KEPT_FOLDER"')
        + table.format("sql", "both", f'url = "postgresql://u:{PLANTED}@127.0.0.1:{free_port()}/db"')
    )
    assert main(["apply", "--yes"]) == 0
    file.write_text(system + table.format("file", "both", 'path = "."'))
    return file


def test_services_of_the_store_are_tested_too(stored: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()

    assert main(["services", "test", "kept"]) == 0
    assert "service 'kept' (file), as the store has it" in capfd.readouterr().out
    assert main(["services", "test", "kept", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["definition"] == "store"


def test_the_file_comes_first_unless_the_store_is_asked_for(stored: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()

    assert main(["services", "test", "both"]) == 0
    assert "service 'both' (file), as the file has it" in capfd.readouterr().out
    assert main(["services", "test", "both", "--stored"]) == 3
    out, err = capfd.readouterr()
    assert "service 'both' (sql), as the store has it" in out
    assert PLANTED not in out + err


def test_what_neither_has_is_told_and_what_the_key_does_not_open(
    stored: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["services", "test", "bogus"]) == 1
    assert "there is no service 'bogus' in the file or its store" in capfd.readouterr().err

    (stored.parent / "mstream.key").unlink()
    assert main(["services", "test", "kept"]) == 1
    assert "key" in capfd.readouterr().err
    assert not (stored.parent / "mstream.key").exists()


def test_where_no_store_is_named_that_is_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["services", "test", "shop", "--stored"]) == 1
    assert "the file keeps services in no store" in capfd.readouterr().err
