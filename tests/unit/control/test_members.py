"""A job with several members is one job: told as one, seen as one, failed as one; its members come and go alone."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from mstream.control.chronicle import Chronicle
from mstream.control.until_idle import idle
from mstream.domain.job import Intent, Phase, may_follow
from mstream.domain.run import Ending, Lag, Outcome, RunStatus
from mstream.errors import Unavailable
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.runs import RunLog
from tests.unit.control.scripted import Plane, Script, ScriptedRun, connector, plane
from tests.virtual import VirtualClock, run

DROPPED = Outcome(ending=Ending.FAILED, reason="service_unreachable", message="gone", retryable=True)
REFUSED = Outcome(ending=Ending.FAILED, reason="access_denied", message="not for you")
LOST = Outcome(ending=Ending.FAILED, reason="worker_lost", message="killed", retryable=True, charged=True)


def shared(*scripts: Script, members: int = 3, **given: Any) -> AbstractAsyncContextManager[Plane]:
    """A job whose members take the scripts in order; those that are begun anew take the next ones."""
    changes = {"source": {"service_name": "a", "resource": "in", "member": True}, **given.pop("changes", {})}
    return plane(*scripts, connectors=[connector(parallelism=members, **changes)], **given)


def phase(it: Plane) -> Phase:
    return it.manager.view("copy").job.phase


def phases(it: Plane) -> list[Phase]:
    return [each.phase for each in it.manager.view("copy").members]


def of_member(it: Plane, number: int) -> list[ScriptedRun]:
    return [each for each in it.runtime.runs if each.spec.member == number]


def test_every_member_is_told_which_it_is_and_runs_under_one_run_of_the_job() -> None:
    async def story() -> None:
        async with shared() as it:
            await asyncio.sleep(1)

            job, specs = it.manager.view("copy").job, [each.spec for each in it.runtime.runs]
            assert [(each.member, each.members, each.epoch) for each in specs] == [(0, 3, 1), (1, 3, 1), (2, 3, 1)]
            assert [each.run_id for each in specs] == [f"{job.run_id}.{number}" for number in range(3)]
            assert (job.phase, phases(it)) == (Phase.RUNNING, [Phase.RUNNING] * 3)

    run(story())


def test_a_source_without_members_is_read_by_one_run_whatever_is_asked_for() -> None:
    async def story() -> None:
        async with plane(connectors=[connector(parallelism=3)]) as it:
            await asyncio.sleep(1)

            (only,) = it.runtime.runs
            assert (only.spec.members, only.run_id) == (1, it.manager.view("copy").job.run_id)
            assert len(it.manager.view("copy").members) == 1

    run(story())


def test_the_job_runs_once_all_members_do() -> None:
    async def story() -> None:
        async with shared(Script(), Script(opens_after=10), Script()) as it:
            await asyncio.sleep(9)
            assert (phase(it), phases(it)[1]) == (Phase.STARTING, Phase.STARTING)

            await asyncio.sleep(2)

            assert phase(it) is Phase.RUNNING

    run(story())


def test_a_member_that_fails_is_begun_anew_while_the_others_go_on() -> None:
    async def story() -> None:
        async with shared(Script(), Script(lasts=1, ends=DROPPED), Script()) as it:
            await asyncio.sleep(1.05)
            view = it.manager.view("copy")
            assert (view.job.phase, view.job.attempts) == (Phase.RETRYING, 1)
            assert view.job.failure is not None
            assert view.job.failure.reason == "service_unreachable"
            assert view.job.next_attempt_at is not None
            assert [each.phase for each in view.members] == [Phase.RUNNING, Phase.RETRYING, Phase.RUNNING]
            assert (view.members[1].reason, view.members[0].reason) == ("service_unreachable", None)

            await asyncio.sleep(5)

            view = it.manager.view("copy")
            assert (view.job.phase, view.job.failure, view.job.next_attempt_at) == (Phase.RUNNING, None, None)
            assert [each.restarts for each in view.members] == [0, 1, 0]
            assert [each.run_id for each in it.runtime.runs] == [
                f"{view.job.run_id}.{each}" for each in ("0", "1", "2", "1.1")
            ]
            assert [each.told for each in it.runtime.alive] == [[], [], []]

    run(story())


def test_a_member_that_is_begun_anew_knows_what_the_others_have_saved_meanwhile() -> None:
    async def story() -> None:
        async with shared(Script(saves=7), Script(lasts=1, ends=DROPPED), Script(), members=2) as it:
            await asyncio.sleep(5)

            assert [each.spec.positions for each in of_member(it, 1)] == [{}, {"": 7}]

    run(story())


def test_what_stops_all_members_at_once_is_one_failure_and_another_run_follows() -> None:
    scripts = [Script(lasts=each, ends=DROPPED) for each in (1, 1.01, 1.02)]

    async def story() -> None:
        async with shared(*scripts, Script()) as it:
            await asyncio.sleep(10)

            job = it.manager.view("copy").job
            assert (job.phase, job.attempts) == (Phase.RUNNING, 1)
            assert [each.spec.epoch for each in it.runtime.runs] == [1, 1, 1, 2, 2, 2]
            assert it.runtime.runs[3].run_id == f"{job.run_id}.0"

    run(story())


@pytest.mark.parametrize(("members", "after"), [(2, Phase.RUNNING), (1, Phase.FAILED)])
def test_a_member_whose_lane_another_one_has_taken_over_is_begun_anew(members: int, after: Phase) -> None:
    overtaken = Outcome(ending=Ending.FAILED, reason="stale_checkpoint", message="somebody else has moved it")

    async def story() -> None:
        async with shared(Script(lasts=1, ends=overtaken), Script(), members=members) as it:
            await asyncio.sleep(5)

            assert phase(it) is after

    run(story())


def test_a_failure_for_good_drains_the_others_and_fails_the_job() -> None:
    async def story() -> None:
        async with shared(Script(drain_takes=2), Script(lasts=1, ends=REFUSED), Script(drain_takes=2)) as it:
            await asyncio.sleep(2)
            assert (phase(it), phases(it)) == (Phase.STOPPING, [Phase.RUNNING, Phase.FAILED, Phase.RUNNING])

            await asyncio.sleep(60)

            job = it.manager.view("copy").job
            assert (job.phase, job.intent) == (Phase.FAILED, Intent.RUNNING)
            assert job.failure is not None
            assert job.failure.reason == "access_denied"
            assert [each.told for each in it.runtime.runs] == [["drain"], [], ["drain"]]
            steps = list(pairwise(Phase(each["phase"]) for each in it.jobs.writes))
            assert [each for each in steps if not may_follow(each[1], each[0])] == []

    run(story())


def test_a_failure_for_good_counts_also_while_another_member_waits() -> None:
    async def story() -> None:
        scripts = [Script(lasts=1, ends=DROPPED), Script(lasts=1.5, ends=REFUSED), Script()]
        with capture_logs() as logs:
            async with shared(*scripts, changes={"retry": {"base_ms": 10_000}}) as it:
                await asyncio.sleep(2)

                job = it.manager.view("copy").job
                assert job.failure is not None
                assert (job.phase, job.failure.reason) == (Phase.FAILED, "access_denied")
                assert [len(of_member(it, each)) for each in range(3)] == [1, 1, 1]

        assert [each["error_code"] for each in logs if each["event"] == "run_ended"] == ["access_denied"]

    run(story())


def test_a_fault_of_ours_in_starting_one_ends_the_others_and_another_run_follows() -> None:
    async def story() -> None:
        async with shared(Script(), Script(refused=ZeroDivisionError("?")), Script(), members=2) as it:
            await asyncio.sleep(5)

            assert it.runtime.runs[0].told == ["abort"]
            assert (phase(it), phases(it), len(it.runtime.alive)) == (Phase.RUNNING, [Phase.RUNNING] * 2, 2)

    run(story())


def test_members_that_do_not_drain_when_one_has_failed_for_good_are_cut() -> None:
    async def story() -> None:
        changes = {"drain_timeout_sec": 5}
        async with shared(Script(drain_takes=None), Script(lasts=1, ends=REFUSED), members=2, changes=changes) as it:
            await asyncio.sleep(60)

            assert (phase(it), it.runtime.runs[0].told) == (Phase.FAILED, ["drain", "abort"])

    run(story())


def test_the_attempts_of_all_members_are_the_jobs() -> None:
    failing = Script(lasts=60, ends=DROPPED)

    async def story() -> None:
        changes = {"retry": {"max_attempts": 3}}
        async with shared(Script(), failing, failing, failing, members=2, changes=changes) as it:
            await asyncio.sleep(600)

            assert (phase(it), len(it.runtime.runs)) == (Phase.FAILED, 4)
            assert it.runtime.runs[0].told == ["drain"]

    run(story())


def test_failures_are_forgotten_once_every_member_has_been_up_for_long() -> None:
    async def attempts(lasts: float) -> int:
        async with shared(Script(), Script(lasts=lasts, ends=DROPPED), members=2) as it:
            await asyncio.sleep(3600)
            return it.manager.view("copy").job.attempts

    assert run(attempts(100)) > 20
    assert run(attempts(700)) == 1


def test_who_fails_while_another_one_waits_joins_it_also_when_others_have_been_begun_anew() -> None:
    async def story() -> None:
        async with shared(members=4, changes={"retry": {"base_ms": 10_000, "max_ms": 10_000}}) as it:
            clock = VirtualClock()
            await asyncio.sleep(1)
            it.runtime.runs[0].end(DROPPED)
            await asyncio.sleep(0.5)
            it.runtime.runs[1].end(DROPPED)
            while len(it.runtime.runs) < 5:
                await clock.sleep(0.01)
            it.runtime.runs[4].end(DROPPED)
            while len(it.runtime.runs) < 6:
                await clock.sleep(0.01)
            assert phases(it) == [Phase.RETRYING, Phase.RUNNING, Phase.RUNNING, Phase.RUNNING]
            it.runtime.runs[2].end(DROPPED)
            await asyncio.sleep(0.1)

            assert it.manager.view("copy").job.attempts == 2
            assert phases(it)[2] is Phase.RETRYING

    run(story())


def test_a_job_is_retrying_until_its_last_member_is_there_again() -> None:
    async def story() -> None:
        scripts = [Script(opens_after=5), Script(lasts=1, ends=DROPPED), Script(lasts=1.5, ends=DROPPED)]
        with capture_logs() as logs:
            changes = {"retry": {"base_ms": 10_000, "max_ms": 10_000}}
            async with shared(*scripts, Script(), changes=changes) as it:
                seen = []
                while phases(it) != [Phase.RUNNING] * 3:
                    await VirtualClock().sleep(0.1)
                    seen.append(phase(it))
                await asyncio.sleep(1)

                assert phase(it) is Phase.RUNNING
                assert set(seen[:-1]) == {Phase.STARTING, Phase.RETRYING}

        assert len([each for each in logs if each["event"] == "job_retrying"]) == 1

    run(story())


def test_a_member_that_is_there_again_is_seen_also_while_the_store_is_slow() -> None:
    async def story() -> None:
        async with shared(Script(), Script(lasts=1, ends=DROPPED), Script(), members=2) as it:
            await asyncio.sleep(0.9)
            it.jobs.answers_after = 20
            await asyncio.sleep(50)

            assert phase(it) is Phase.RUNNING
            it.jobs.answers_after = 0

    run(story())


@pytest.mark.parametrize("saves", [None, 1])
def test_a_member_that_costs_worker_after_worker_without_moving_ends_the_job(saves: int | None) -> None:
    async def story() -> None:
        async with shared(Script(saves=5), Script(lasts=1, ends=LOST, saves=saves), members=2) as it:
            await asyncio.sleep(900)

            # What another member has moved is no excuse.
            assert (phase(it) is Phase.FAILED) is (saves is None)
            assert len(of_member(it, 1)) == 5 or saves is not None

    run(story())


def test_a_member_for_which_there_is_no_place_is_tried_again() -> None:
    async def story() -> None:
        async with shared(Script(), Script(refused=Unavailable("no place")), Script(), members=2) as it:
            await asyncio.sleep(5)

            assert (phase(it), phases(it)) == (Phase.RUNNING, [Phase.RUNNING] * 2)
            assert [each.spec.member for each in it.runtime.runs] == [0, 1]

    run(story())


@pytest.mark.parametrize("command", ["stop", "pause", "restart"])
def test_a_command_goes_to_every_member_and_is_done_when_all_have_ended(command: str) -> None:
    async def story() -> None:
        async with shared(Script(drain_takes=1), Script(drain_takes=5), Script(drain_takes=2)) as it:
            await asyncio.sleep(1)
            before = it.runtime.runs[:]
            await getattr(it.manager, command)("copy")
            await asyncio.sleep(4)
            assert (phase(it), len(it.runtime.runs)) == (Phase.STOPPING, 3)

            await asyncio.sleep(5)

            after = {"stop": Phase.STOPPED, "pause": Phase.PAUSED, "restart": Phase.RUNNING}[command]
            assert (phase(it), [each.told for each in before]) == (after, [["drain"]] * 3)
            assert len(it.runtime.alive) == (3 if command == "restart" else 0)

    run(story())


def test_a_member_that_waits_is_not_begun_when_the_job_is_stopped() -> None:
    async def story() -> None:
        async with shared(Script(drain_takes=60), Script(lasts=1, ends=DROPPED), members=2) as it:
            await asyncio.sleep(1.05)

            await it.manager.stop("copy", wait_sec=100)

            assert (phase(it), len(it.runtime.runs)) == (Phase.STOPPED, 2)

    run(story())


def test_a_drain_in_which_one_fails_has_failed_and_shows_who() -> None:
    late = Outcome(ending=Ending.FAILED, reason="drain_timeout", message="too late", retryable=True)

    async def story() -> None:
        documents = MemoryDocuments()
        chronicle = Chronicle(runs=RunLog(documents.collection("runs", key="key")))
        async with shared(Script(), Script(drain_takes=20), Script(drain_takes=5), chronicle=chronicle) as it:
            await asyncio.sleep(1)
            await it.manager.stop("copy")
            await asyncio.sleep(3)
            it.runtime.runs[1].end(late)
            await asyncio.sleep(1)
            assert phases(it) == [Phase.STOPPED, Phase.FAILED, Phase.RUNNING]
            await asyncio.sleep(5)

            job = it.manager.view("copy").job
            assert job.failure is not None
            assert (job.phase, job.failure.reason, job.attempts) == (Phase.STOPPED, "drain_timeout", 0)
            (entry,) = await chronicle.runs_of("copy")
            assert (entry.ending, entry.reason) == ("failed", "drain_timeout")
            assert [each.ending for each in entry.members] == ["drained", "failed", "drained"]

    run(story())


def test_finish_is_told_to_members_that_begin_later_and_is_done_when_all_are() -> None:
    failing = Script(lasts=0.5, ends=DROPPED)

    async def story() -> None:
        async with shared(Script(), failing, failing, Script(), members=2) as it:
            await asyncio.sleep(0.2)

            answer = await it.manager.finish("copy", wait_sec=30)

            assert (answer.reached, phase(it)) == (True, Phase.STOPPED)
            assert [each.told for each in of_member(it, 0)] == [["finish"]]
            assert {tuple(each.told) for each in of_member(it, 1)} == {("finish",)}
            assert it.manager.view("copy").job.intent is Intent.STOPPED

    run(story())


def test_a_second_signal_cuts_every_member() -> None:
    async def story() -> None:
        async with shared(Script(drain_takes=None)) as it:
            await asyncio.sleep(1)
            it.manager.cut_short()

        assert [each.told[0] for each in it.runtime.runs] == ["abort"] * 3

    run(story())


def test_leaving_waits_for_the_drain_of_all() -> None:
    async def story() -> None:
        async with shared(Script(drain_takes=1), Script(drain_takes=20), Script(drain_takes=2)) as it:
            await asyncio.sleep(1)

        assert [each.told for each in it.runtime.runs] == [["drain"]] * 3
        assert phase(it) is Phase.STOPPED

    run(story())


def test_counters_are_those_of_all_members_and_of_all_their_starts() -> None:
    def script(delivered: int, **keys: Any) -> Script:
        lags = {f"orders/{delivered}": Lag(records=delivered)}
        return Script(
            status=RunStatus(records_delivered=delivered, lag_records=delivered, lags=lags, in_flight=1), **keys
        )

    async def story() -> None:
        async with shared(script(100), script(10, lasts=1, ends=DROPPED), script(1), members=2) as it:
            await asyncio.sleep(5)

            view = it.manager.view("copy")
            assert (view.status.records_delivered, view.status.lag_records, view.status.in_flight) == (111, 101, 2)
            assert [each.status.records_delivered for each in view.members] == [100, 11]
            assert view.status.lags == {"orders/100": Lag(records=100), "orders/1": Lag(records=1)}

    run(story())


def test_a_job_is_idle_when_all_its_members_are() -> None:
    quiet, busy = RunStatus(idle_seconds=100), RunStatus(idle_seconds=0.1)

    async def is_idle(*statuses: RunStatus, ends: float | None = None) -> bool:
        first, second = statuses
        async with shared(Script(status=first), Script(status=second, lasts=ends), members=2) as it:
            await asyncio.sleep(1)
            try:
                async with asyncio.timeout(60):
                    await idle(it.manager, seconds=5, clock=VirtualClock())
            except TimeoutError:
                return False
            return True

    assert [run(is_idle(*each)) for each in [(quiet, quiet), (quiet, busy), (busy, quiet)]] == [True, False, False]
    # Who has read to the end is busy with nothing.
    assert run(is_idle(quiet, busy, ends=0.5))


def test_the_history_has_one_run_with_what_became_of_its_members() -> None:
    async def story() -> None:
        documents = MemoryDocuments()
        chronicle = Chronicle(runs=RunLog(documents.collection("runs", key="key")))
        done = RunStatus(records_delivered=4, errors=1)
        scripts = [Script(status=done, lasts=1, ends=DROPPED), Script(status=done), Script(status=done)]
        async with shared(*scripts, members=2, chronicle=chronicle) as it:
            await asyncio.sleep(5)
            await it.manager.stop("copy", wait_sec=10)

            (entry,) = await chronicle.runs_of("copy")

        assert (entry.ending, entry.records, entry.errors) == ("drained", 12, 3)
        assert [asdict(each) for each in entry.members] == [
            {
                "member": number,
                "run_id": f"{entry.run_id}.{number}{'.1' if restarts else ''}",
                "restarts": restarts,
                "ending": "drained",
                "reason": None,
                "message": None,
                "records": 8 if restarts else 4,
                "errors": 2 if restarts else 1,
            }
            for number, restarts in [(0, 1), (1, 0)]
        ]

    run(story())


def test_the_end_of_each_member_is_in_the_log_and_the_runs_once() -> None:
    async def story() -> None:
        with capture_logs() as logs:
            async with shared(Script(), Script(lasts=1, ends=DROPPED), Script(), members=2) as it:
                await asyncio.sleep(5)
                await it.manager.stop("copy", wait_sec=10)

        told = [each["event"] for each in logs if each["event"] in {"run_started", "run_ended", "job_retrying"}]
        assert told == ["run_started", "job_retrying", "run_ended"]
        ends = [(each["run"].partition(".")[2], each["ending"]) for each in logs if each["event"] == "member_ended"]
        assert ends == [("1", "failed"), ("0", "drained"), ("1.1", "drained")]

    run(story())


def test_a_run_of_one_member_speaks_of_no_members() -> None:
    async def story() -> None:
        documents = MemoryDocuments()
        runs = documents.collection("runs", key="key")
        with capture_logs() as logs:
            async with plane(Script(lasts=1, ends=REFUSED), chronicle=Chronicle(runs=RunLog(runs))):
                await asyncio.sleep(5)

        assert all(each["event"] != "member_ended" for each in logs)
        (stored,) = await runs.scan()
        assert "members" not in stored.document

    run(story())
