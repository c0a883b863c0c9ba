"""The command that has a running job read once more what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mstream.cli import main
from tests.unit.cli.test_checkpoints import CONFIG
from tests.unit.cli.test_running_owner import peer

PATH = "/jobs/copy/snapshot"
JOB = {"name": "copy", "phase": "running"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mstream-config.toml").write_text(CONFIG)
    return tmp_path


def answers(method: str, path: str) -> tuple[int, Any]:
    return 200, {"message": f"{method} was heard", "item": JOB}


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ([], "POST"),
        (["--collection", "shop.orders"], "POST"),
        (["--filter", '{"state": "paid"}'], "POST"),
        (["--cancel"], "DELETE"),
    ],
)
def test_the_running_program_is_asked(options: list[str], method: str, capsys: pytest.CaptureFixture[str]) -> None:
    with peer(answers) as it:
        assert main(["jobs", "snapshot", "copy", "--url", it.address, *options]) == 0

        assert it.asked == [(method, PATH)]
    assert capsys.readouterr().out == f"{method} was heard\n"


def test_the_job_is_shown_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    with peer(answers) as it:
        assert main(["jobs", "snapshot", "copy", "--url", it.address, "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == JOB


def test_a_refusal_comes_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"message": "one is under way", "error": {"code": "conflict"}}
    with peer(lambda method, path: (409, refusal)) as it:
        assert main(["jobs", "snapshot", "copy", "--url", it.address]) == 1

    assert "error[conflict]: one is under way" in capsys.readouterr().err


WRONG = [["--filter", "state"], ["--filter", "[1]"], ["--cancel", "--collection", "a"], ["--cancel", "--filter", "{}"]]


@pytest.mark.parametrize("options", WRONG)
def test_what_cannot_be_meant_is_said_before_anybody_is_asked(options: list[str]) -> None:
    with peer(answers) as it:
        assert main(["jobs", "snapshot", "copy", "--url", it.address, *options]) == 2

        assert it.asked == []


def test_without_a_program_that_runs_there_is_nothing_to_ask(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jobs", "snapshot", "copy"]) == 1

    assert "error[unavailable]: no program runs on this machine" in capsys.readouterr().err
