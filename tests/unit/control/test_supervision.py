"""A job is kept as its intent says."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from structlog.testing import capture_logs

from mstream.domain.job import Intent, Phase, may_follow
from mstream.domain.run import Ending, Outcome, RunStatus
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.udf.config import UdfConfig
from tests.unit.control.scripted import Plane, Script, connector, plane
from tests.virtual import VirtualClock, run

DROPPED = Outcome(ending=Ending.FAILED, reason="service_unreachable", message="gone", retryable=True)
REFUSED = Outcome(ending=Ending.FAILED, reason="access_denied", message="not for you")
LOST = Outcome(ending=Ending.FAILED, reason="worker_lost", message="killed", retryable=True, charged=True)


def phase(under_test: Plane, name: str = "copy") -> Phase:
    return under_test.manager.view(name).job.phase


def test_an_enabled_job_runs_and_says_so() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)

            job = it.manager.view("copy").job
            assert (job.phase, job.run_id, job.epoch) == (Phase.RUNNING, it.runtime.runs[0].run_id, 1)

    run(story())


def test_a_disabled_job_is_listed_and_stopped() -> None:
    async def story() -> None:
        async with plane(connectors=[connector(enabled=False)]) as it:
            await asyncio.sleep(1)

            assert (phase(it), it.manager.view("copy").job.intent) == (Phase.STOPPED, Intent.STOPPED)
            assert it.runtime.runs == []

    run(story())


def test_a_run_that_loses_its_service_is_followed_by_another_after_a_pause() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=DROPPED), Script()) as it:
            await asyncio.sleep(1.05)
            job = it.manager.view("copy").job
            assert (job.phase, job.attempts) == (Phase.RETRYING, 1)
            assert job.failure is not None
            assert job.failure.reason == "service_unreachable"
            assert job.next_attempt_at is not None

            await asyncio.sleep(1)

            assert phase(it) is Phase.RUNNING
            assert [each.spec.epoch for each in it.runtime.runs] == [1, 2]
            assert len({each.run_id for each in it.runtime.runs}) == 2

    run(story())


def test_a_failure_that_time_does_not_mend_ends_the_job_with_its_reason() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=REFUSED)) as it:
            await asyncio.sleep(3600)

            job = it.manager.view("copy").job
            assert (job.phase, job.intent, len(it.runtime.runs)) == (Phase.FAILED, Intent.RUNNING, 1)
            assert job.failure is not None
            assert (job.failure.reason, job.failure.message) == ("access_denied", "not for you")

    run(story())


def test_a_job_whose_provider_is_not_there_fails_alone_and_keeps_its_intent() -> None:
    services = [
        {"provider": "memory", "name": "a"},
        {"provider": "memory", "name": "b"},
    ]

    async def story() -> None:
        from mstream.config.document import service_adapter
        from mstream.providers import CATALOG

        adapter = service_adapter(CATALOG)
        found = [adapter.validate_python(each) for each in services]
        away = adapter.validate_python({"provider": "http", "name": "web", "host": "http://127.0.0.1:9"})
        broken = connector("broken", sinks=[{"service_name": "web", "resource": "x"}])
        async with plane(connectors=[broken, connector("fine")], services=[*found, away]) as it:
            await asyncio.sleep(60)

            job = it.manager.view("broken").job
            assert (job.phase, job.intent) == (Phase.FAILED, Intent.RUNNING)
            assert job.failure is not None
            assert job.failure.reason == "provider_unavailable"
            assert phase(it, "fine") is Phase.RUNNING

    run(story())


def test_scripts_in_python_can_be_switched_off() -> None:
    scripts = UdfConfig.model_validate(
        {"provider": "udf", "name": "py", "script_path": "scripts", "engine": {"kind": "python"}}
    )
    services = [MemoryConfig(name="a"), MemoryConfig(name="b"), scripts]
    scripted = connector("scripted", middlewares=[{"service_name": "py", "resource": "mask.py"}])

    async def story() -> None:
        system = {"allow_python_scripts": False}
        async with plane(connectors=[scripted, connector("fine")], services=services, system=system) as it:
            await asyncio.sleep(60)

            job = it.manager.view("scripted").job
            assert job.failure is not None
            assert (job.failure.reason, job.intent) == ("provider_unavailable", Intent.RUNNING)
            assert "allow_python_scripts" in job.failure.message
            assert phase(it, "fine") is Phase.RUNNING

    run(story())


def test_five_lost_workers_without_a_newer_position_end_a_job() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=LOST)) as it:
            await asyncio.sleep(600)

            job = it.manager.view("copy").job
            assert len(it.runtime.runs) == 5
            assert job.failure is not None
            assert (job.phase, job.failure.reason) == (Phase.FAILED, "worker_lost")

    run(story())


def test_lost_workers_that_moved_on_before_end_nothing() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=LOST, saves={"offset": 1})) as it:
            await asyncio.sleep(600)

            assert len(it.runtime.runs) > 10
            assert phase(it) is not Phase.FAILED

    run(story())


def test_positions_that_a_sink_has_committed_count_as_well() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=LOST, status=RunStatus(checkpoints_saved=1))) as it:
            await asyncio.sleep(600)

            assert len(it.runtime.runs) > 10
            assert phase(it) is not Phase.FAILED

    run(story())


def test_a_stable_run_makes_what_failed_before_it_forgotten() -> None:
    dropped = Script(lasts=1, ends=DROPPED)

    async def story() -> None:
        async with plane(dropped, dropped, dropped, Script(lasts=700, ends=DROPPED), Script()) as it:
            await asyncio.sleep(60)
            assert it.manager.view("copy").job.attempts == 3

            await asyncio.sleep(700)

            assert it.manager.view("copy").job.attempts == 1

    run(story())


def test_attempts_end_where_the_retry_policy_says() -> None:
    async def story() -> None:
        limited = connector(retry={"max_attempts": 3})
        async with plane(Script(lasts=1, ends=DROPPED), connectors=[limited]) as it:
            await asyncio.sleep(600)

            assert len(it.runtime.runs) == 3
            assert phase(it) is Phase.FAILED

    run(story())


def test_a_drain_that_hangs_is_cut_at_the_deadline() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=None), connectors=[connector(drain_timeout_sec=5)]) as it:
            await asyncio.sleep(1)
            await it.manager.stop("copy")
            await asyncio.sleep(4)
            assert (phase(it), it.runtime.runs[0].told) == (Phase.STOPPING, ["drain"])

            await asyncio.sleep(10)

            assert (phase(it), it.runtime.runs[0].told) == (Phase.STOPPED, ["drain", "abort"])

    run(story())


def test_the_deadline_of_a_drain_runs_also_while_the_store_does_not_answer() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=None), connectors=[connector(drain_timeout_sec=5)]) as it:
            await asyncio.sleep(1)
            it.jobs.answers_after = 100
            await it.manager.stop("copy")

            await asyncio.sleep(10)

            assert it.runtime.runs[0].told == ["drain", "abort"]
            it.jobs.answers_after = 0

    run(story())


def test_a_job_that_cannot_be_told_to_start_keeps_nobody_waiting() -> None:
    async def story() -> None:
        clock = VirtualClock()
        begun = clock.monotonic()
        with capture_logs() as logs:
            async with plane(Script(starts_after=3600), clock=clock) as it:
                assert clock.monotonic() - begun < 100
                assert phase(it) is Phase.STARTING
                await asyncio.sleep(4000)
                assert phase(it) is Phase.RUNNING

        assert [(each["jobs"], each["count"]) for each in logs if each["event"] == "starts_delayed"] == [(["copy"], 1)]

    run(story())


def test_a_source_that_ends_leaves_the_job_stopped_and_not_started_again() -> None:
    async def story() -> None:
        async with plane(Script(lasts=5)) as it:
            await asyncio.sleep(3600)

            assert (phase(it), len(it.runtime.runs)) == (Phase.STOPPED, 1)
            assert it.manager.view("copy").is_over

    run(story())


def test_a_checkpoint_store_that_is_down_is_waited_for() -> None:
    async def story() -> None:
        async with plane(Script(lasts=1, ends=DROPPED), Script()) as it:
            await asyncio.sleep(0.5)
            it.checkpoints.is_down = True
            await asyncio.sleep(120)
            assert (phase(it), len(it.runtime.runs)) == (Phase.WAITING, 1)

            it.checkpoints.is_down = False
            await asyncio.sleep(60)

            assert (phase(it), len(it.runtime.runs)) == (Phase.RUNNING, 2)

    run(story())


def test_leaving_drains_every_run_and_changes_no_intent() -> None:
    async def story() -> None:
        names = [f"job-{number}" for number in range(20)]
        async with plane(Script(drain_takes=2), connectors=[connector(each) for each in names]) as it:
            await asyncio.sleep(1)

        assert [each.told for each in it.runtime.runs] == [["drain"]] * 20
        jobs = [each.job for each in it.manager.views()]
        assert {(each.phase, each.intent) for each in jobs} == {(Phase.STOPPED, Intent.RUNNING)}

    run(story())


def test_phases_follow_each_other_as_the_life_cycle_allows() -> None:
    scripts = [Script(lasts=1, ends=DROPPED), Script(opens_after=None, lasts=1, ends=DROPPED), Script()]

    async def story() -> None:
        async with plane(*scripts) as it:
            await asyncio.sleep(10)
            for command in ("pause", "resume", "restart", "stop", "start", "finish", "start"):
                await getattr(it.manager, command)("copy", wait_sec=10)
        phases = [Phase(each["phase"]) for each in it.jobs.writes]
        steps = list(pairwise(phases))
        assert [each for each in steps if not may_follow(each[1], each[0])] == []
        assert set(phases) >= {Phase.STARTING, Phase.RUNNING, Phase.RETRYING, Phase.STOPPING, Phase.PAUSED}

    run(story())
