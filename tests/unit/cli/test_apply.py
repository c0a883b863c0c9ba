"""`mstream apply` where no program runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstream.cli import main
from mstream.cli.exits import Exit

FILE = """
[system]
state = "mstream.db"
[[services]]
provider = "file"
name = "files"
path = "."
[[connectors]]
name = "copy"
source = { service_name = "files", resource = "in.jsonl" }
sinks = [ { service_name = "files", resource = "out.jsonl" } ]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mstream-config.toml").write_text(FILE)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    capsys.readouterr()
    assert main(["apply", "--json", *arguments]) == Exit.FINE
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.slow
def test_a_plan_that_was_shown_holds_for_an_empty_store_and_for_a_filled_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = shown(capsys, "--dry-run")
    done = shown(capsys, "--plan", str(first["hash"]))
    second = shown(capsys, "--dry-run")

    assert [each["action"] for each in (first["actions"], done["actions"], second["actions"]) for each in each] == [
        "start",
        "start",
        "leave",
    ]
    assert main(["apply", "--plan", str(first["hash"])]) == Exit.FAILURE
    assert "plan_stale" in capsys.readouterr().err
    assert shown(capsys, "--plan", str(second["hash"]))["hash"] == second["hash"]


def test_a_dry_run_leaves_nothing_behind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown(capsys, "--dry-run")

    assert [each.name for each in folder.iterdir()] == ["mstream-config.toml"]
