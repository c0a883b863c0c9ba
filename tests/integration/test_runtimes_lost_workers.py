"""Workers that die, block or fall silent: who is charged, who goes on, what is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mstream.domain.run import Ending
from mstream.runtimes.process import ProcessRuntime
from mstream.runtimes.watch import Limits
from tests.unit.runtimes.stand_in import PLANTED, LocalConfig, RecordingOwner, spec

STAND_IN = "tests.unit.runtimes.stand_in"
ROOT = Path(__file__).resolve().parents[2]


def process_runtime(workers: int, limits: Limits | None = None) -> ProcessRuntime:
    return ProcessRuntime(workers=workers, limits=limits, catalog=f"{STAND_IN}:CATALOG", run=f"{STAND_IN}:run")


@pytest.fixture
def runtime() -> ProcessRuntime:
    """Two workers at most."""
    return process_runtime(2)


def is_there(pid: int) -> bool:
    """Whether the process runs (one that nobody has waited for is over)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def seen_by_others(pid: int) -> list[bytes]:
    return [Path(f"/proc/{pid}/{each}").read_bytes() for each in ("cmdline", "environ")]


def gone_within(seconds: float, pids: list[int]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(is_there(each) for each in pids):
            return True
        time.sleep(0.05)
    return False


async def test_a_killed_worker_charges_the_run_that_was_alone_on_it_and_is_replaced(runtime: ProcessRuntime) -> None:
    owner = RecordingOwner()
    async with runtime:
        first = await runtime.start(spec("quiet"), owner)
        await first.started()
        os.kill(runtime.worker_pids[0], signal.SIGKILL)
        lost = await first.outcome()

        second = await runtime.start(spec("quiet", run_id="run-2"), owner)
        await second.started()
        second.drain()
        outcome = await second.outcome()

    assert (lost.ending, lost.reason, lost.retryable, lost.charged) == (Ending.FAILED, "worker_lost", True, True)
    assert outcome.ending is Ending.DRAINED


async def test_of_several_idle_runs_on_a_lost_worker_none_is_charged() -> None:
    async with process_runtime(1) as runtime:
        runs = [await runtime.start(spec("quiet", job=f"job-{n}", run_id=f"run-{n}"), RecordingOwner()) for n in (1, 2)]
        for each in runs:
            await each.started()
        assert len(runtime.worker_pids) == 1
        os.kill(runtime.worker_pids[0], signal.SIGKILL)
        outcomes = [await each.outcome() for each in runs]

    assert [(each.reason, each.charged) for each in outcomes] == [("worker_lost", False)] * 2


async def test_a_script_that_blocks_is_ended_and_charged_while_others_go_on(runtime: ProcessRuntime) -> None:
    async with runtime:
        neighbour = await runtime.start(spec("quiet", job="other", run_id="run-2"), RecordingOwner())
        await neighbour.started()
        stuck = await runtime.start(spec("blocking"), RecordingOwner())
        outcome = await stuck.outcome()
        neighbour.drain()

        assert (await neighbour.outcome()).ending is Ending.DRAINED
    assert (outcome.reason, outcome.retryable, outcome.charged) == ("stalled", True, True)
    assert "'svc/loop.py'" in str(outcome.message)


async def test_neighbours_on_the_worker_of_a_stalled_run_are_not_charged() -> None:
    async with process_runtime(1) as runtime:
        neighbour = await runtime.start(spec("quiet", job="other", run_id="run-2"), RecordingOwner())
        await neighbour.started()
        stuck = await runtime.start(spec("blocking"), RecordingOwner())

        assert (await stuck.outcome()).reason == "stalled"
        lost = await neighbour.outcome()
        assert (lost.reason, lost.charged) == ("worker_lost", False)


async def test_a_job_that_cost_a_worker_runs_alone_afterwards() -> None:
    async with process_runtime(1) as runtime:
        lost = await runtime.start(spec("killed"), RecordingOwner())
        assert (await lost.outcome()).charged

        again = await runtime.start(spec("quiet", run_id="run-2"), RecordingOwner())
        others = [
            await runtime.start(spec("quiet", job=f"job-{n}", run_id=f"other-{n}"), RecordingOwner()) for n in (1, 2)
        ]
        for each in (again, *others):
            await each.started()
        assert len(runtime.worker_pids) == 2  # one for the suspect, one for everybody else

        again.drain()
        assert (await again.outcome()).ending is Ending.DRAINED
        for each in others:
            each.drain()
            assert (await each.outcome()).ending is Ending.DRAINED


async def test_a_worker_that_falls_silent_is_ended(runtime: ProcessRuntime) -> None:
    async with runtime:
        silent = await runtime.start(spec("frozen"), RecordingOwner())
        pids = list(runtime.worker_pids)
        outcome = await silent.outcome()

    assert (outcome.reason, outcome.charged) == ("worker_lost", True)
    assert gone_within(5, pids)


async def test_a_run_that_does_not_end_when_aborted_loses_its_worker() -> None:
    async with process_runtime(1, replace(Limits(), abort_sec=0.5)) as runtime:
        deaf = await runtime.start(spec("deaf"), RecordingOwner())
        await deaf.started()
        deaf.abort()

        assert (await deaf.outcome()).ending is Ending.ABORTED


async def test_runs_are_spread_over_as_many_workers_as_are_allowed() -> None:
    async with process_runtime(2) as runtime:
        assert list(runtime.worker_pids) == []
        for number in range(5):
            await runtime.start(spec("quiet", job=f"job-{number}", run_id=f"run-{number}"), RecordingOwner())

        assert len(runtime.worker_pids) == 2
        assert sorted(len(each.runs) for each in runtime._workers) == [2, 3]


async def test_members_of_a_job_are_spread_before_anything_else() -> None:
    async with process_runtime(2) as runtime:
        others = [
            await runtime.start(spec("quiet", job=f"job-{n}", run_id=f"other-{n}"), RecordingOwner()) for n in range(3)
        ]
        await others[1].started()
        others[1].drain()
        await others[1].outcome()
        assert [len(each.runs) for each in runtime._workers] == [2, 0]

        for member in range(3):
            await runtime.start(spec("quiet", run_id=f"run.{member}"), RecordingOwner())

        assert sorted(each.count("job") for each in runtime._workers) == [1, 2]
        assert runtime._workers[0].count("job") == 1


async def test_a_member_that_cost_a_worker_runs_alone_and_the_others_stay_where_they_are() -> None:
    async with process_runtime(2) as runtime:
        stays = await runtime.start(spec("quiet", run_id="run.0"), RecordingOwner())
        await stays.started()
        lost = await runtime.start(spec("killed", run_id="run.1"), RecordingOwner())
        assert (await lost.outcome()).charged

        again = await runtime.start(spec("quiet", run_id="run.1.1"), RecordingOwner())
        other = await runtime.start(spec("quiet", job="other", run_id="other"), RecordingOwner())
        for each in (again, other):
            await each.started()

        alone = [each for each in runtime._workers if each.reserved_for == "job"]
        assert [[run.run_id for run in each.runs.values()] for each in alone] == [["run.1.1"]]
        for each in (stays, again, other):
            each.drain()
            assert (await each.outcome()).ending is Ending.DRAINED


async def test_no_process_is_left_when_the_runtime_is(runtime: ProcessRuntime) -> None:
    async with runtime:
        for number in range(3):
            handle = await runtime.start(spec("quiet", job=f"job-{number}", run_id=f"run-{number}"), RecordingOwner())
            await handle.started()
        pids = list(runtime.worker_pids)

    assert len(pids) == 2
    assert not any(is_there(each) for each in pids)


async def test_a_job_whose_service_lives_in_one_process_runs_in_the_owner(runtime: ProcessRuntime) -> None:
    owner = RecordingOwner()
    async with runtime:
        handle = await runtime.start(spec("tells", config=LocalConfig(name="svc")), owner)
        await handle.outcome()

    assert owner.saved["pid"] == os.getpid()


async def test_a_worker_leaves_signals_to_its_owner(runtime: ProcessRuntime) -> None:
    async with runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(runtime.worker_pids[0], each)
        handle.drain()

        assert (await handle.outcome()).ending is Ending.DRAINED


async def test_no_secret_stands_where_others_can_read_it(runtime: ProcessRuntime) -> None:
    async with runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        places = seen_by_others(runtime.worker_pids[0])

    assert all(places)
    assert not any(PLANTED.encode() in each for each in places)


OWNER = """
import asyncio
from mstream.observability.logs import configure
from mstream.runtimes.process import ProcessRuntime
from tests.unit.runtimes.stand_in import RecordingOwner, spec

async def main():
    async with ProcessRuntime(workers=2, catalog="{0}:CATALOG", run="{0}:run") as runtime:
        for number, behaviour in enumerate({1!r}):
            run = spec(behaviour, job=f"job-{{number}}", run_id=f"run-{{number}}")
            handle = await runtime.start(run, RecordingOwner())
            await handle.started()
        await asyncio.sleep(1)  # what blocks is blocking by now
        print(*runtime.worker_pids, flush=True)
        await asyncio.sleep(600)

configure("info")
asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("behaviours", [("quiet", "quiet"), ("quiet", "stuck")])
def test_workers_end_with_their_owner(how: signal.Signals, behaviours: tuple[str, ...]) -> None:
    script = OWNER.format(STAND_IN, behaviours)
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(each) for each in owner.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_there(each) for each in pids)
        owner.send_signal(how)

    assert gone_within(2, pids)


async def test_what_a_script_logs_arrives_and_what_it_prints_is_no_answer(
    runtime: ProcessRuntime, capfd: pytest.CaptureFixture[str]
) -> None:
    owner = RecordingOwner()
    async with runtime:
        handle = await runtime.start(spec("tells"), owner)
        await handle.outcome()

    out, err = capfd.readouterr()
    assert owner.saved["pid"] != os.getpid()
    assert owner.saved["sigterm"] is True
    assert "a script prints" in err
    assert "a script prints" not in out
    assert "something_noticed" in out + err
    assert "run-1" in out + err
    assert PLANTED not in out + err


async def test_the_end_of_a_worker_is_seen_while_a_child_of_it_holds_its_socket(runtime: ProcessRuntime) -> None:
    owner = RecordingOwner()
    async with runtime:
        handle = await runtime.start(spec("forking"), owner)
        async with asyncio.timeout(10):
            outcome = await handle.outcome()
    os.kill(owner.saved["child"], signal.SIGKILL)

    assert (outcome.reason, outcome.charged) == ("worker_lost", True)


async def test_a_worker_that_cannot_load_its_code_ends_the_run_and_says_why(capfd: pytest.CaptureFixture[str]) -> None:
    async with process_runtime(1) as runtime:
        runtime._setup = replace(runtime._setup, run="mstream.runtimes.launch:missing")
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        outcome = await handle.outcome()

    assert outcome.reason == "worker_lost"
    assert "AttributeError in named" in capfd.readouterr().err


@pytest.mark.slow
def test_an_owner_that_was_frozen_keeps_its_workers() -> None:
    script = OWNER.format(STAND_IN, ("quiet", "quiet"))
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(each) for each in owner.stdout.readline().split()]
        owner.send_signal(signal.SIGSTOP)
        time.sleep(5)
        owner.send_signal(signal.SIGCONT)
        time.sleep(2)
        kept = [is_there(each) for each in pids]
        owner.kill()

    assert kept == [True, True]
    assert gone_within(2, pids)


class Unreadable:
    """Pickles here, and nowhere else comes to life again."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return (__import__, ("a_module_that_does_not_exist",))


async def test_a_worker_that_cannot_read_a_message_is_replaced(runtime: ProcessRuntime) -> None:
    async with runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        (worker,) = runtime._workers

        worker._speaker.send(Unreadable())
        outcome = await handle.outcome()
        again = await runtime.start(spec("quiet", job="other", run_id="run-2"), RecordingOwner())
        await again.started()
        again.drain()

        assert (outcome.reason, outcome.retryable) == ("worker_lost", True)
        assert (await again.outcome()).ending is Ending.DRAINED
