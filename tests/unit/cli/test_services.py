"""`mstream services test`: what it says of a service, to people and to programs, and never a secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstream.cli import main
from tests.servers.process import free_port

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
