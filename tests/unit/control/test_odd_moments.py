"""Commands that meet each other, a store that does not answer, and what others do meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mstream.control.authority import SoleOwner
from mstream.control.chronicle import Chronicle
from mstream.control.provisioning import created
from mstream.control.record import JobRecord
from mstream.domain.audit import Actor, Subject
from mstream.domain.job import Intent, Phase
from mstream.domain.run import RunSpec
from mstream.errors import IllegalTransition, JobExists, MstreamError, RevisionConflict, StoreUnreachable
from mstream.ports.owner import Owner
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.audit import AuditLog
from mstream.stores.jobs import JobStore, to_document
from tests.unit.control.scripted import Flaky, Script, ScriptedRun, connector, plane
from tests.virtual import VirtualClock, run

ME = Actor(who="me")


def test_a_job_that_is_met_while_it_is_made_runs_once() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await asyncio.sleep(1)
            it.jobs.answers_after = 5
            making = asyncio.ensure_future(it.manager.create(connector("new"), by=ME))
            await asyncio.sleep(1)

            it.jobs.answers_after = 0
            await it.manager.reread()
            await making
            await asyncio.sleep(60)

            assert sorted(each.spec.job for each in it.runtime.alive) == ["copy", "new"]

    run(story())


def test_a_second_making_of_a_job_does_not_run_it_twice() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            it.jobs.answers_after = 5
            making = asyncio.ensure_future(it.manager.create(connector("new"), by=ME))
            await asyncio.sleep(1)

            with pytest.raises(JobExists):
                await it.manager.create(connector("new"), by=ME)
            await making
            await asyncio.sleep(60)

            assert sorted(each.spec.job for each in it.runtime.alive) == ["copy", "new"]

    run(story())


def test_a_change_whose_answer_was_lost_is_in_the_trail_before_the_next() -> None:
    async def story() -> None:
        trail = AuditLog(MemoryDocuments().collection("audit", key="key"))
        jobs, clock = Flaky(MemoryDocuments().collection("jobs")), VirtualClock()
        store = JobStore(jobs)
        job, revision = created(connector(), Intent.RUNNING, by=ME, origin="api", clock=clock, epoch=0)
        await store.create(job, revision=revision)
        record = JobRecord(job, revision, store, authority=SoleOwner(), clock=clock, trail=Chronicle(audit=trail))
        jobs.loses_answers = jobs.is_blind = True
        with pytest.raises(StoreUnreachable):
            await record.intend(lambda job: Intent.STOPPED, verb="stop", by=ME)
        jobs.loses_answers = jobs.is_blind = False

        await record.intend(lambda job: Intent.PAUSED, verb="pause", by=ME)

        kept = await trail.of(Subject.JOB, "copy")
        assert {each.change.verb for each in kept} == {"create", "stop", "pause"}

    run(story())


def test_a_command_after_one_whose_answer_was_lost_holds() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await asyncio.sleep(1)
            it.jobs.loses_answers = it.jobs.is_blind = True
            with pytest.raises(StoreUnreachable):
                await it.manager.stop("copy")
            it.jobs.loses_answers = it.jobs.is_blind = False

            await it.manager.start("copy")
            await it.manager.reread()
            await asyncio.sleep(60)

            assert (it.manager.view("copy").job.intent, len(it.runtime.alive)) == (Intent.RUNNING, 1)

    run(story())


def test_a_job_whose_removal_was_begun_takes_no_other_command() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await it.manager.stop("copy", wait_sec=60)
            it.checkpoints.is_down = True
            with pytest.raises(StoreUnreachable):
                await it.manager.remove("copy", by=ME)
            it.checkpoints.is_down = False

            with pytest.raises(MstreamError):
                await it.manager.start("copy")
            await it.manager.remove("copy", by=ME)
            assert await it.jobs.get("copy") is None

    run(story())


def test_a_job_that_is_gone_already_can_be_removed_and_made_again() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await it.manager.stop("copy", wait_sec=60)
            await it.jobs.delete("copy")

            await it.manager.remove("copy", by=ME)
            await it.manager.create(connector("copy"), by=ME, wait_sec=60)

            assert it.manager.view("copy").job.phase is Phase.RUNNING

    run(story())


def test_a_finished_job_whose_document_was_taken_away_disturbs_no_other() -> None:
    async def story() -> None:
        async with plane(Script(), connectors=[connector("copy"), connector("other")]) as it:
            await asyncio.sleep(5)
            await it.manager.finish("copy")
            await it.jobs.delete("copy")
            await asyncio.sleep(60)

            assert [each.spec.job for each in it.runtime.alive] == ["other"]

    run(story())


def test_a_job_cannot_be_removed_while_its_run_is_handed_over() -> None:
    async def story() -> None:
        async with plane(Script(), connectors=[connector(enabled=False)]) as it:
            handing, start = asyncio.Event(), it.runtime.start

            async def slowly(spec: RunSpec, owner: Owner) -> ScriptedRun:
                handing.set()
                await asyncio.sleep(10)
                return await start(spec, owner)

            it.runtime.start = slowly  # type: ignore[method-assign]
            await it.manager.start("copy")
            await handing.wait()
            await it.manager.stop("copy")

            with pytest.raises(IllegalTransition):
                await it.manager.remove("copy", by=ME)
            await asyncio.sleep(60)
            await it.manager.remove("copy", by=ME)

    run(story())


def test_a_damaged_document_that_was_repaired_meanwhile_is_not_taken_away() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            good = replace(it.manager.view("copy").job, spec=connector("other"))
            await it.jobs.put("other", {"name": "other", "state": "running"})
            await it.manager.reread()
            await it.jobs.put("other", to_document(good))

            with pytest.raises(RevisionConflict, match="can be used again"):
                await it.manager.remove("other", by=ME)
            assert await it.jobs.get("other") is not None

    run(story())


def test_a_job_that_is_started_while_it_finishes_goes_on() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await asyncio.sleep(5)
            await it.manager.finish("copy")
            await it.manager.start("copy")
            await asyncio.sleep(60)

            job = it.manager.view("copy").job
            assert (job.intent, job.phase, len(it.runtime.alive)) == (Intent.RUNNING, Phase.RUNNING, 1)

    run(story())


def test_a_job_whose_document_was_damaged_is_not_taken_away_while_it_runs() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await asyncio.sleep(1)
            await it.jobs.put("copy", {"name": "copy", "state": "running"})
            await it.manager.reread()

            with pytest.raises(IllegalTransition):
                await it.manager.remove("copy", by=ME)
            assert await it.jobs.get("copy") is not None

    run(story())
