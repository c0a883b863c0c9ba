"""Two programs on one store: one works, the other stands by, refuses, or takes over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.acceptance.programs import PATIENCE, Program, append, numbers_in, until, written
from tests.freezing import freeze_between_writes

pytestmark = pytest.mark.timeout(180)

INSTANCE = "\n[system.instance]\nlease_sec = 3\n"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def working(folder: Path, stack: ExitStack) -> Program:
    """A program that has delivered something."""
    append(folder, [1])
    program = stack.enter_context(Program(folder, "run", "--config", "mstream-config.toml"))
    stack.callback(program.ready().close)
    until(lambda: numbers_in(folder / "out.jsonl") == [1], "the first record has arrived")
    return program


def standing_by(folder: Path, stack: ExitStack) -> tuple[Program, httpx.Client]:
    """A second one, and a client of it."""
    program = stack.enter_context(Program(folder, "run", "--config", "mstream-config.toml"))
    until(lambda: "event=lease_waited_for" in program.log, "the second program waits")
    client = stack.enter_context(httpx.Client(base_url=program.address(), timeout=PATIENCE))
    return program, client


def is_ready(client: httpx.Client) -> bool:
    return client.get("/health/ready").status_code == 200


def test_the_second_program_lives_is_not_ready_and_goes_on_when_the_first_is_killed(
    tmp_path: Path, stack: ExitStack
) -> None:
    written(tmp_path)
    first = working(tmp_path, stack)
    _, client = standing_by(tmp_path, stack)
    assert client.get("/health/live").status_code == 200
    assert not is_ready(client)

    first.send(signal.SIGKILL)
    append(tmp_path, [2])

    until(lambda: is_ready(client), "the second program has taken over")
    until(lambda: numbers_in(tmp_path / "out.jsonl")[-1:] == [2], "the second record has arrived")
    assert set(numbers_in(tmp_path / "out.jsonl")) == {1, 2}


def test_a_program_that_was_frozen_stands_by_when_it_is_continued(tmp_path: Path, stack: ExitStack) -> None:
    written(tmp_path, more=INSTANCE)
    first = working(tmp_path, stack)
    second, client = standing_by(tmp_path, stack)

    freeze_between_writes(first.process.pid, tmp_path / "state.db")
    until(lambda: is_ready(client), "the second program has taken over")
    append(tmp_path, [2])
    until(lambda: 2 in numbers_in(tmp_path / "out.jsonl"), "the second record has arrived")
    first.send(signal.SIGCONT)
    until(lambda: "event=program_standing_by" in first.log, "the first program stands by")
    append(tmp_path, [3])
    until(lambda: 3 in numbers_in(tmp_path / "out.jsonl"), "the third record has arrived")
    second.send(signal.SIGTERM)
    until(lambda: first.log.count("event=program_ready") == 2, "the first program owns again")

    assert second.ended()[0] == 0
    assert first.process.poll() is None


def test_a_second_program_may_refuse_to_wait(tmp_path: Path, stack: ExitStack) -> None:
    written(tmp_path, more='\n[system.instance]\non_conflict = "exit"\n')
    first = working(tmp_path, stack)

    second = stack.enter_context(Program(tmp_path, "run", "--config", "mstream-config.toml"))
    code, _ = second.ended()

    assert code == 1
    assert f"process {first.process.pid}" in second.log
    assert first.address() in second.log
