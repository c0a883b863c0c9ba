"""`mstream plan` beside a program that runs, and after one that was killed."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Program, append, until, written

#: Several processes begin in each, one after the other.
pytestmark = pytest.mark.slow


def planned(folder: Path, *arguments: str) -> dict[str, Any]:
    with Program(folder, "plan", "--json", *arguments) as command:
        code, output = command.ended()
        assert code == 0, command.log
    document: dict[str, Any] = json.loads(output)
    return document


def action(document: dict[str, Any]) -> tuple[str, str, str]:
    (found,) = document["actions"]
    return found["action"], found["intent"], found["reason"]


def test_beside_a_running_program_the_plan_follows_what_operators_order(tmp_path: Path) -> None:
    written(tmp_path, runtime="inline", more="\n[system.job_lifecycle]\n")
    append(tmp_path, range(10))

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        assert action(planned(tmp_path))[:2] == ("resume", "running")
        assert client.post("/jobs/copy/stop", params={"wait": 20}).status_code == 200
        stopped = action(planned(tmp_path))
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert stopped[:2] == ("leave", "stopped")
    assert "it is stopped since 2" in stopped[2]


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        ("seed_from_file", ("leave", "stopped")),
        ("keep", ("leave", "stopped")),
        ("force_from_file", ("start", "running")),
    ],
)
def test_after_a_kill_the_next_start_does_what_the_plan_has_shown(
    tmp_path: Path, state: str, wanted: tuple[str, str]
) -> None:
    written(tmp_path, runtime="inline", more="\n[system.job_lifecycle]\n")
    append(tmp_path, range(10))
    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        assert client.post("/jobs/copy/stop", params={"wait": 20}).status_code == 200
        program.send(signal.SIGKILL)
        program.ended()
    written(tmp_path, runtime="inline", more=f'\n[system.job_lifecycle]\nstartup_state = "{state}"\n')

    shown = planned(tmp_path)
    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        until(lambda: client.get("/jobs").json()[0]["intent"] == wanted[1], "the job is as the plan says")
        done = planned(tmp_path, "--last")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert action(shown)[:2] == wanted
    assert (done["hash"], done["actions"]) == (shown["hash"], shown["actions"])
    assert ("overridden by force_from_file" in action(shown)[2]) == (state == "force_from_file")
