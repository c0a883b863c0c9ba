"""One run, three ways: in this process, through bytes, in a real child process; all behave the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mstream.domain.run import Ending
from mstream.errors import Unavailable
from mstream.runtimes.base import RunHandle, Runtime
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.process import ProcessRuntime
from tests.unit.runtimes import stand_in
from tests.unit.runtimes.stand_in import CATALOG, PLANTED, RecordingOwner, spec

STAND_IN = "tests.unit.runtimes.stand_in"

RUNTIMES: dict[str, Callable[[], Runtime]] = {
    "inline": lambda: InlineRuntime(CATALOG, run=stand_in.run),
    "pickled": lambda: InlineRuntime(CATALOG, run=stand_in.run, pickled=True),
    "process": lambda: ProcessRuntime(workers=1, catalog=f"{STAND_IN}:CATALOG", run=f"{STAND_IN}:run"),
}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return RUNTIMES[request.param]()


async def ended(runtime: Runtime, behaviour: str, act: Callable[[RunHandle], Any] = lambda handle: None) -> Any:
    """Owner and outcome of a run that was started, told something, and has ended."""
    owner = RecordingOwner()
    async with runtime:
        handle = await runtime.start(spec(behaviour), owner)
        await handle.started()
        act(handle)
        outcome = await handle.outcome()
    return owner, outcome, handle


async def test_a_drained_run_saves_and_ends(runtime: Runtime) -> None:
    owner, outcome, handle = await ended(runtime, "quiet", lambda handle: handle.drain())

    assert outcome.ending is Ending.DRAINED
    assert owner.saved == {"lane": [1, "two"]}
    assert (handle.status.records_read, handle.status.records_delivered) == (5, 5)


async def test_a_run_finishes_when_it_is_told_to(runtime: Runtime) -> None:
    _, outcome, _ = await ended(runtime, "until_finish", lambda handle: handle.finish())

    assert outcome.ending is Ending.FINISHED


async def test_an_aborted_run_saves_nothing(runtime: Runtime) -> None:
    owner, outcome, _ = await ended(runtime, "quiet", lambda handle: handle.abort())

    assert outcome.ending is Ending.ABORTED
    assert owner.saved == {}


async def test_everything_that_an_owner_can_be_asked_comes_back(runtime: Runtime) -> None:
    owner, outcome, _ = await ended(runtime, "asking")

    assert outcome.ending is Ending.FINISHED, outcome
    assert owner.saved == {"a": {"offset": 1}, "b": None, "full": "noticed by class"}
    assert owner.released == ["b"]
    assert owner.letters == [stand_in.letter(1)]


async def test_an_error_of_the_owner_ends_the_run_as_what_it_is(runtime: Runtime) -> None:
    _, outcome, _ = await ended(runtime, "stale")

    assert (outcome.ending, outcome.reason, outcome.retryable) == (Ending.FAILED, "stale_owner", False)
    assert outcome.message == "job 'job' has a newer owner"


async def test_a_service_error_keeps_its_code_and_loses_its_secrets(runtime: Runtime) -> None:
    _, outcome, _ = await ended(runtime, "unreachable")

    assert (outcome.reason, outcome.retryable) == ("service_unreachable", True)
    assert "hunter2" not in str(outcome.message)


@pytest.mark.parametrize("behaviour", ["crash", "broken"])
async def test_an_unexpected_error_is_a_crash_that_tells_type_and_place_only(runtime: Runtime, behaviour: str) -> None:
    _, outcome, _ = await ended(runtime, behaviour)

    assert (outcome.reason, outcome.retryable, outcome.charged) == ("crashed", True, False)
    assert "ZeroDivisionError in " in str(outcome.message)
    assert "stand_in.py:" in str(outcome.message)
    assert PLANTED not in str(outcome.message)


async def test_a_run_that_ends_the_process_ends_only_itself(runtime: Runtime) -> None:
    _, outcome, _ = await ended(runtime, "ends_process")

    assert (outcome.reason, outcome.charged) == ("crashed", False)


async def test_the_status_comes_while_the_run_goes_on(runtime: Runtime) -> None:
    async with runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        async with asyncio.timeout(20):
            while handle.status.records_read != 5:  # noqa: ASYNC110 - a status is polled, as the supervisor does
                await asyncio.sleep(0.05)
        handle.abort()
        await handle.outcome()


async def test_leaving_the_runtime_aborts_what_still_runs(runtime: Runtime) -> None:
    async with runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()

    assert (await handle.outcome()).ending is Ending.ABORTED


async def test_a_runtime_that_was_left_takes_no_runs(runtime: Runtime) -> None:
    async with runtime:
        pass

    with pytest.raises(Unavailable):
        await runtime.start(spec("quiet"), RecordingOwner())


async def test_what_no_message_was_sent_for_does_not_end(runtime: Runtime) -> None:
    async with runtime:
        handle = await runtime.start(spec("quiet"), RecordingOwner())
        await handle.started()
        other = await runtime.start(spec("quiet", run_id="run-2"), RecordingOwner())
        await other.started()
        other.drain()

        assert (await other.outcome()).ending is Ending.DRAINED
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await handle.outcome()
