"""Commands of one job: intent first, then the action."""

from __future__ import annotations

import asyncio

import pytest

from mstream.domain.job import Intent, Phase
from mstream.domain.run import Ending, Outcome
from mstream.errors import IllegalTransition, JobNotFound, StoreUnreachable, Unavailable
from tests.unit.control.scripted import Script, connector, plane
from tests.virtual import run

REFUSED = Outcome(ending=Ending.FAILED, reason="access_denied", message="not for you")


def test_a_command_answers_when_its_intent_is_stored() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=20)) as it:
            await asyncio.sleep(1)

            answer = await it.manager.stop("copy")

            assert (answer.reached, it.jobs.writes[-1]["intent"]) == (False, "stopped")
            assert it.jobs.writes[-1]["desired_state"] == "stopped"
            assert len(it.runtime.alive) == 1

    run(story())


def test_with_a_wait_it_answers_when_the_state_is_reached() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=20)) as it:
            await asyncio.sleep(1)

            answer = await it.manager.stop("copy", wait_sec=60)

            assert (answer.reached, answer.view.job.phase) == (True, Phase.STOPPED)

    run(story())


def test_a_wait_ends_with_its_time() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=20)) as it:
            await asyncio.sleep(1)

            answer = await it.manager.stop("copy", wait_sec=5)

            assert (answer.reached, answer.view.job.phase) == (False, Phase.STOPPING)

    run(story())


def test_a_wait_for_a_job_that_fails_ends_early() -> None:
    async def story() -> None:
        broken = Script(opens_after=None, lasts=1, ends=REFUSED)
        async with plane(broken, connectors=[connector(enabled=False)]) as it:
            begun = asyncio.get_running_loop().time()

            answer = await it.manager.start("copy", wait_sec=300)

            assert (answer.reached, answer.view.job.phase) == (False, Phase.FAILED)
            assert asyncio.get_running_loop().time() - begun < 10

    run(story())


def test_an_intent_that_cannot_be_stored_changes_nothing() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)
            it.jobs.is_down = True

            with pytest.raises(StoreUnreachable):
                await it.manager.stop("copy")

            await asyncio.sleep(60)
            job = it.manager.view("copy").job
            assert (job.intent, job.phase, len(it.runtime.alive)) == (Intent.RUNNING, Phase.RUNNING, 1)
            it.jobs.is_down = False

    run(story())


def test_a_restart_is_another_run_and_the_same_intent() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=3)) as it:
            await asyncio.sleep(1)

            answer = await it.manager.restart("copy", wait_sec=60)

            assert answer.reached
            assert {each["intent"] for each in it.jobs.writes} == {"running"}
            assert (len(it.runtime.runs), len(it.runtime.alive)) == (2, 1)
            assert answer.view.job.run_id == it.runtime.runs[1].run_id

    run(story())


def test_a_thousand_restarts_leave_one_run() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=0.01, opens_after=0.01)) as it:
            await asyncio.sleep(1)
            seen = set()
            for number in range(1000):
                await it.manager.restart("copy", wait_sec=60 if number % 3 else 0)
                assert len(it.runtime.alive) <= 1
                seen.add(it.manager.view("copy").job.run_id)

            await asyncio.sleep(10)

            assert it.manager.view("copy").job.phase is Phase.RUNNING
            assert [each.run_id for each in it.runtime.alive] == [it.manager.view("copy").job.run_id]
            assert len(seen) > 600

    run(story())


def test_restarts_at_the_same_time_all_see_a_new_run() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=1)) as it:
            await asyncio.sleep(1)
            before = it.manager.view("copy").job.run_id

            async with asyncio.TaskGroup() as group:
                answers = [group.create_task(it.manager.restart("copy", wait_sec=60)) for _ in range(20)]

            assert all(each.result().reached for each in answers)
            assert before not in {each.result().view.job.run_id for each in answers}
            assert len(it.runtime.alive) == 1

    run(story())


@pytest.mark.parametrize("command", ["resume", "pause", "finish"])
def test_what_makes_no_sense_for_a_stopped_job_is_refused(command: str) -> None:
    async def story() -> None:
        async with plane(connectors=[connector(enabled=False)]) as it:
            with pytest.raises(IllegalTransition, match="start it instead"):
                await getattr(it.manager, command)("copy")

            assert it.manager.view("copy").job.intent is Intent.STOPPED

    run(story())


def test_a_paused_job_goes_on_when_it_is_resumed() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)
            paused = await it.manager.pause("copy", wait_sec=10)

            resumed = await it.manager.resume("copy", wait_sec=10)

            assert (paused.view.job.phase, resumed.view.job.phase) == (Phase.PAUSED, Phase.RUNNING)
            assert len(it.runtime.runs) == 2

    run(story())


@pytest.mark.parametrize("rest", ["stop", "pause"])
def test_a_restart_starts_a_job_that_rests(rest: str) -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)
            await getattr(it.manager, rest)("copy", wait_sec=10)

            answer = await it.manager.restart("copy", wait_sec=10)

            assert (answer.view.job.intent, answer.view.job.phase) == (Intent.RUNNING, Phase.RUNNING)

    run(story())


def test_a_failed_job_begins_anew_with_a_start() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=REFUSED), Script()) as it:
            await asyncio.sleep(10)

            answer = await it.manager.start("copy", wait_sec=10)

            assert (answer.reached, answer.view.job.phase, answer.view.job.failure) == (True, Phase.RUNNING, None)

    run(story())


def test_a_start_of_a_running_job_leaves_its_run_alone() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)

            await it.manager.start("copy", wait_sec=10)
            await asyncio.sleep(10)

            assert (len(it.runtime.runs), it.runtime.runs[0].told) == (1, [])

    run(story())


def test_a_stop_while_a_run_waits_for_its_next_attempt_holds_at_once() -> None:
    dropped = Outcome(ending=Ending.FAILED, reason="service_unreachable", message="gone", retryable=True)

    async def story() -> None:
        slow = connector(retry={"base_ms": 60_000, "max_ms": 60_000})
        async with plane(Script(lasts=1, ends=dropped), connectors=[slow]) as it:
            await asyncio.sleep(2)

            answer = await it.manager.stop("copy", wait_sec=1)

            assert (answer.reached, answer.view.job.phase) == (True, Phase.STOPPED)

    run(story())


def test_finish_delivers_up_to_the_head_and_stops_for_good() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)

            answer = await it.manager.finish("copy", wait_sec=10)

            job = answer.view.job
            assert (it.runtime.runs[0].told, job.phase) == (["finish"], Phase.STOPPED)
            assert it.manager.view("copy").job.intent is Intent.STOPPED

    run(story())


def test_a_job_that_hangs_holds_up_no_other() -> None:
    async def story() -> None:
        pair = [connector("hangs", drain_timeout_sec=3600), connector("fine")]
        async with plane(Script(drain_takes=None), Script(), connectors=pair) as it:
            await asyncio.sleep(1)
            await it.manager.stop("hangs")
            begun = asyncio.get_running_loop().time()

            await it.manager.restart("fine", wait_sec=10)

            assert asyncio.get_running_loop().time() - begun < 1

    run(story())


def test_an_unknown_name_is_refused() -> None:
    async def story() -> None:
        async with plane() as it:
            with pytest.raises(JobNotFound, match="nope"):
                await it.manager.stop("nope")

    run(story())


def test_a_program_that_ends_takes_no_commands() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=5)) as it:
            await asyncio.sleep(1)
            it.manager.close()

            with pytest.raises(Unavailable):
                await it.manager.start("copy")

            assert it.manager.view("copy").job.intent is Intent.RUNNING

    run(story())
