"""What others write into the store is met, taken over, and acted upon."""

from __future__ import annotations

import asyncio

import pytest

from mstream.domain.audit import Actor
from mstream.domain.job import Intent, Phase
from mstream.errors import DocumentDamaged, JobExists, JobNotFound, StoreUnreachable
from mstream.ports.documents import Collection
from tests.unit.control.scripted import Script, connector, plane
from tests.virtual import run

ME = Actor(who="me")


async def changed_elsewhere(jobs: Collection, **changes: object) -> None:
    """As an older program writes: it knows nothing of revisions."""
    stored = await jobs.get("copy")
    assert stored is not None
    await jobs.put("copy", {**stored.document, **changes})


def test_an_older_programs_stop_is_met_and_carried_out() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await asyncio.sleep(1)
            await changed_elsewhere(it.jobs, desired_state="stopped")

            await it.manager.reread()
            await asyncio.sleep(60)

            assert it.manager.view("copy").job.intent is Intent.STOPPED
            assert it.manager.view("copy").job.phase is Phase.STOPPED
            assert it.runtime.alive == []

    run(story())


def test_what_a_write_meets_is_acted_upon_at_the_next_look() -> None:
    async def story() -> None:
        async with plane(Script(lasts=5), Script()) as it:
            await asyncio.sleep(1)
            await changed_elsewhere(it.jobs, desired_state="stopped")
            await asyncio.sleep(10)

            await it.manager.reread()
            await asyncio.sleep(60)

            assert (it.manager.view("copy").job.intent, it.runtime.alive) == (Intent.STOPPED, [])

    run(story())


def test_a_job_that_appears_is_managed_and_one_that_was_deleted_does_not_come_back() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            stored = await it.jobs.get("copy")
            assert stored is not None
            pipeline = {**stored.document["pipeline"], "name": "other"}
            await it.jobs.put("other", {**stored.document, "name": "other", "pipeline": pipeline})

            await it.manager.reread()
            await asyncio.sleep(1)
            assert it.manager.view("other").job.phase is Phase.RUNNING

            await it.manager.stop("other", wait_sec=60)
            await it.manager.remove("other", by=ME)
            await it.manager.reread()
            with pytest.raises(JobNotFound):
                it.manager.view("other")

    run(story())


def test_a_job_whose_making_was_not_answered_is_managed_after_all() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await asyncio.sleep(1)
            it.jobs.loses_answers = True
            with pytest.raises(StoreUnreachable):
                await it.manager.create(connector("new"), by=ME)
            it.jobs.loses_answers = False

            with pytest.raises(JobExists):
                await it.manager.create(connector("new"), by=ME)
            await asyncio.sleep(1)
            assert it.manager.view("new").job.phase is Phase.RUNNING

    run(story())


def test_a_document_that_cannot_be_used_is_shown_kept_and_taken_away_on_request() -> None:
    async def story() -> None:
        async with plane(Script()) as it:
            await it.jobs.put("bad", {"name": "bad", "state": "running"})
            await it.manager.reread()
            assert [each.name for each in it.manager.damaged] == ["bad"]
            with pytest.raises(DocumentDamaged, match="delete that job"):
                await it.manager.create(connector("bad"), by=ME)

            await it.manager.remove("bad", by=ME)
            await it.manager.reread()

            assert (it.manager.damaged, await it.jobs.get("bad")) == ((), None)

    run(story())
