"""`mstream run` as people and scripts use it, with real processes."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.acceptance.programs import Program, append, numbers_in, until, written


@pytest.mark.parametrize("runtime", ["inline", "process"])
def test_until_idle_moves_everything_and_ends(tmp_path: Path, runtime: str) -> None:
    written(tmp_path, runtime=runtime)
    append(tmp_path, range(5000))

    with Program(tmp_path, "run", "--until-idle", "1") as program:
        code, output = program.ended()

    assert (code, output) == (0, "")
    assert numbers_in(tmp_path / "out.jsonl") == list(range(5000))


def test_a_second_run_goes_on_where_the_first_has_ended(tmp_path: Path) -> None:
    path = written(tmp_path)
    append(tmp_path, range(100))
    with Program(tmp_path, "--config", str(path), "--until-idle", "1") as program:
        assert program.ended()[0] == 0
    append(tmp_path, range(100, 150))

    with Program(tmp_path, "run", str(path), "--until-idle", "1") as program:
        assert program.ended()[0] == 0

    assert numbers_in(tmp_path / "out.jsonl") == list(range(150))


def test_without_arguments_it_runs_the_file_of_the_folder(tmp_path: Path) -> None:
    written(tmp_path)
    append(tmp_path, range(10))

    with Program(tmp_path) as program:
        until(lambda: len(numbers_in(tmp_path / "out.jsonl")) == 10, "ten records")
        program.send(signal.SIGTERM)
        assert program.ended() == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    written(tmp_path)
    append(tmp_path, range(20_000))

    with Program(tmp_path, "run") as program:
        until((tmp_path / "out.jsonl").exists, "something arrives")
        program.send(number)
        assert program.ended()[0] == 0
    arrived = numbers_in(tmp_path / "out.jsonl")

    # Nothing twice after the next run: what was delivered before the end was saved before the end.
    assert arrived == list(range(len(arrived)))
    with Program(tmp_path, "run", "--until-idle", "1") as program:
        assert program.ended()[0] == 0
    assert numbers_in(tmp_path / "out.jsonl") == list(range(20_000))


SLOW_SCRIPT = """
import pathlib, time

def transform(data, attributes):
    pathlib.Path("entered").touch()
    time.sleep(120)
"""

SCRIPTS = """
[[services]]
provider = "udf"
name = "scripts"
engine = { kind = "python" }
script_path = "."
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_cuts_short(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW_SCRIPT)
    middleware = 'middlewares = [{ service_name = "scripts", resource = "slow.py", deadline_ms = 600000 }]'
    written(tmp_path, extra=middleware, more=SCRIPTS)
    append(tmp_path, range(10))

    with Program(tmp_path, "run") as program:
        program.ready().close()
        until((tmp_path / "entered").exists, "the script holds the worker")
        program.send(number)
        until(lambda: "program_draining" in program.log, "it drains")
        time.sleep(1)  # at once it would be the same one
        program.send(number)
        assert program.ended()[0] == code


def test_a_signal_that_comes_to_the_process_and_to_its_group_is_one(tmp_path: Path) -> None:
    written(tmp_path)
    append(tmp_path, range(10))
    with Program(tmp_path, "run") as program:
        program.ready().close()
        program.send(signal.SIGTERM)
        until(lambda: "signal_received" in program.log, "it has heard")
        program.send(signal.SIGTERM)

        assert program.ended()[0] == 0
        assert "signal_received_again" not in program.log


def test_an_invalid_file_is_told_on_standard_error_with_3(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[system]\nstat = "x"\n')

    with Program(tmp_path, "run", str(path)) as program:
        assert program.ended() == (3, "")
        assert "bad.toml:2" in program.log
        assert "did you mean 'state'" in program.log


def test_a_missing_file_is_told_with_3(tmp_path: Path) -> None:
    with Program(tmp_path, "run", "nothing.toml") as program:
        assert program.ended() == (3, "")
        assert "nothing.toml" in program.log


def test_a_taken_port_ends_the_program_with_1(tmp_path: Path) -> None:
    written(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])

        with Program(tmp_path, "run", environ={"MSTREAM_API_PORT": port}) as program:
            assert program.ended()[0] == 1
            assert f"127.0.0.1:{port}" in program.log
            assert "another port" in program.log


@pytest.mark.parametrize("port", ["", "abc", "65536", "-1", "8719x"])
def test_what_is_no_port_is_a_wrong_usage(tmp_path: Path, port: str) -> None:
    written(tmp_path)

    with Program(tmp_path, "run", environ={"MSTREAM_API_PORT": port}) as program:
        assert program.ended()[0] == 2
        assert "MSTREAM_API_PORT" in program.log


def test_a_level_that_is_none_is_a_wrong_usage(tmp_path: Path) -> None:
    written(tmp_path)

    with Program(tmp_path, "run", "--log-level", "loud") as program:
        assert program.ended()[0] == 2
        assert "loud" in program.log


def test_until_idle_ends_with_1_when_a_job_has_failed_and_the_others_arrive(tmp_path: Path) -> None:
    broken = """
[[services]]
provider = "http"
name = "web"
host = "http://127.0.0.1:9"
[[connectors]]
name = "broken"
[connectors.source]
service_name = "files"
resource = "in.jsonl"
input_encoding = "json"
[[connectors.sinks]]
service_name = "web"
resource = "x"
"""
    written(tmp_path, more=broken)
    append(tmp_path, range(100))

    with Program(tmp_path, "run", "--until-idle", "1") as program:
        assert program.ended() == (1, "")
        assert "provider_unavailable" in program.log

    assert numbers_in(tmp_path / "out.jsonl") == list(range(100))


def test_a_dry_run_shows_the_first_records_and_writes_nothing(tmp_path: Path) -> None:
    written(tmp_path)
    append(tmp_path, range(500))
    before = {each.name for each in tmp_path.iterdir()}

    with Program(tmp_path, "run", "--dry-run") as program:
        code, output = program.ended()

    shown = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert shown == [{"job": "copy", "record": {"n": each}} for each in range(10)]
    assert {each.name for each in tmp_path.iterdir() if not each.name.startswith("log-")} == before


def test_a_start_without_a_state_says_what_will_be_lost(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(path.read_text().replace('state = "state.db"', ""))
    append(tmp_path, range(3))

    with Program(tmp_path, "run", "--until-idle", "0.5") as program:
        assert program.ended()[0] == 0
        assert "checkpoints_not_kept" in program.log
        assert "commands_not_kept" in program.log


def test_log_lines_are_json_where_that_is_asked_for(tmp_path: Path) -> None:
    written(tmp_path)

    with Program(tmp_path, "run", "--until-idle", "0.5", environ={"MSTREAM_LOG_FORMAT": "json"}) as program:
        assert program.ended() == (0, "")
        events = [json.loads(line)["event"] for line in program.log.splitlines()]

    assert events[0] == "program_started"
    assert events[-1] == "program_ended"


def test_the_level_decides_what_is_logged(tmp_path: Path) -> None:
    written(tmp_path)

    with Program(tmp_path, "run", "--until-idle", "0.5", environ={"RUST_LOG": "mstream=error"}) as program:
        assert program.ended()[0] == 0
        assert "program_started" not in program.log
