"""Jobs are put elsewhere from the command line, and go on from there."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mstream.bootstrap.program import run
from mstream.cli import main
from tests.acceptance.programs import Program, append, numbers_in, until, written

IDLE = 0.3


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that copies, and a place to do it in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MSTREAM_API_PORT", "0")
    written(tmp_path, runtime="inline")
    return tmp_path


def moved(folder: Path) -> list[int]:
    """What arrives in one more run."""
    before = len(numbers_in(folder / "out.jsonl"))
    assert asyncio.run(run("mstream-config.toml", until_idle=IDLE)) == 0
    return numbers_in(folder / "out.jsonl")[before:]


def reset(*place: str) -> None:
    assert main(["checkpoints", "reset", "copy", "--yes", *place]) == 0


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert main(["checkpoints", "show", "copy", "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["entries"]
    return found


def test_a_job_goes_on_from_where_it_was_put(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(folder, [1, 2, 3])
    assert moved(folder) == [1, 2, 3]
    assert moved(folder) == []

    reset("--to-beginning")
    assert moved(folder) == [1, 2, 3]

    reset("--to-now")
    append(folder, [4])
    assert moved(folder) == []
    append(folder, [5])
    assert moved(folder) == [5]

    stood = entries(capsys)[0]["positions"]
    first = {lane: {**position, "offset": 0} for lane, position in stood.items()}
    reset("--to-position", json.dumps(first))
    assert moved(folder) == [1, 2, 3, 4, 5]

    oldest = entries(capsys)[-1]
    reset("--to-entry", str(oldest["entry"]))
    assert moved(folder) == [4, 5]

    reset()
    assert moved(folder) == [1, 2, 3, 4, 5]


def test_a_running_program_puts_a_job_elsewhere_that_is_stopped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(folder, [1, 2, 3])
    with Program(folder, "run") as program, closing(program.ready()) as client:
        until(lambda: numbers_in(folder / "out.jsonl") == [1, 2, 3], "everything has arrived")
        assert main(["checkpoints", "reset", "copy", "--yes", "--to-beginning"]) == 1
        assert "error[illegal_transition]: job 'copy' is running" in capsys.readouterr().err
        assert client.post("/jobs/copy/stop?wait=20").is_success

        reset("--to-beginning")
        assert entries(capsys)[0]["begin"] == "beginning"
        assert client.post("/jobs/copy/start").is_success
        until(lambda: numbers_in(folder / "out.jsonl") == [1, 2, 3, 1, 2, 3], "everything has arrived again")

        assert client.post("/jobs/copy/stop?wait=20").is_success
        number = entries(capsys)[-1]["entry"]
        reset("--to-entry", str(number))
        assert entries(capsys)[0]["positions"]
        reset()
        assert entries(capsys)[0]["positions"] == {}
        program.send(signal.SIGKILL)
        program.ended()

    reset("--to-now")
    assert moved(folder) == []
