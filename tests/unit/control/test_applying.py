"""A file is applied as its plan was made: what somebody does meanwhile is neither lost nor undone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from mstream.domain.audit import Actor
from mstream.domain.job import Phase
from mstream.domain.plan import Action
from mstream.errors import JobNotFound, PlanStale, Unavailable
from mstream.stores.jobs import to_document
from tests.unit.control.scripted import Plane, Script, connector, plane
from tests.virtual import run

ME = Actor(who="me")
BOTH = [connector("first"), connector("second")]
#: Seconds that a write takes, so that there is a meanwhile.
SLOW = 5.0


async def changed(it: Plane) -> None:
    """Stored are other definitions than those of the file."""
    for each in BOTH:
        await it.manager.replace(each.name, each.model_copy(update={"max_in_flight": 2}), by=ME)
    await asyncio.sleep(10)
    it.jobs.answers_after = SLOW


def in_flight(it: Plane, name: str) -> int:
    return it.manager.view(name).job.spec.max_in_flight


def test_a_definition_that_was_changed_before_its_turn_stays() -> None:
    async def story() -> None:
        async with plane(connectors=BOTH) as it:
            await changed(it)
            applying = asyncio.ensure_future(it.operations.apply(by=ME))
            await asyncio.sleep(1)

            await it.manager.replace("second", BOTH[1].model_copy(update={"max_in_flight": 7}), by=ME)
            with pytest.raises(PlanStale, match=r"'second' was changed while"):
                await applying

            assert (in_flight(it, "first"), in_flight(it, "second")) == (4, 7)
            it.jobs.answers_after = 0
            await it.operations.apply(by=ME)
            assert in_flight(it, "second") == 4

    run(story())


def test_a_job_that_was_changed_before_its_removal_stays() -> None:
    async def story() -> None:
        async with plane(connectors=BOTH) as it:
            await changed(it)
            await it.manager.create(connector("extra"), by=ME)
            applying = asyncio.ensure_future(it.operations.apply(by=ME, prune=True))
            await asyncio.sleep(1)

            await it.manager.replace("extra", connector("extra", max_in_flight=7), by=ME)
            with pytest.raises(PlanStale, match=r"'extra' was changed while"):
                await applying

            assert in_flight(it, "extra") == 7
            it.jobs.answers_after = 0
            await it.operations.apply(by=ME, prune=True)
            with pytest.raises(JobNotFound):
                it.manager.view("extra")

    run(story())


def test_a_job_that_is_changed_while_it_drains_for_its_removal_stays() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=20), connectors=BOTH) as it:
            await it.manager.create(connector("extra"), by=ME, wait_sec=10)
            applying = asyncio.ensure_future(it.operations.apply(by=ME, prune=True))
            await asyncio.sleep(5)
            assert it.manager.view("extra").job.phase is Phase.STOPPING

            await it.manager.replace("extra", connector("extra", max_in_flight=7), by=ME)
            with pytest.raises(PlanStale, match=r"'extra' was changed while"):
                await applying

            assert in_flight(it, "extra") == 7
            assert await it.jobs.get("extra") is not None

    run(story())


def test_a_job_that_is_started_and_stopped_again_while_it_drains_stays() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=20), connectors=BOTH) as it:
            await it.manager.create(connector("extra"), by=ME, wait_sec=10)
            applying = asyncio.ensure_future(it.operations.apply(by=ME, prune=True))
            await asyncio.sleep(5)

            await it.manager.start("extra", by=ME)
            await it.manager.stop("extra", by=ME)
            with pytest.raises(PlanStale):
                await applying

            assert await it.jobs.get("extra") is not None

    run(story())


def test_a_job_that_does_not_stop_is_not_removed() -> None:
    async def story() -> None:
        slow = connector("extra", drain_timeout_sec=2000)
        async with plane(Script(drain_takes=1000), connectors=BOTH) as it:
            await it.manager.create(slow, by=ME, wait_sec=10)

            with pytest.raises(Unavailable, match="has not stopped within 600 s"):
                await it.operations.apply(by=ME, prune=True)

            assert await it.jobs.get("extra") is not None

    run(story())


def test_a_job_that_v047_has_left_is_guarded_like_any_other() -> None:
    async def story() -> None:
        async with plane(connectors=BOTH) as it:
            legacy = replace(it.manager.view("first").job, spec=connector("extra"), last_change=None)
            await it.jobs.put("extra", to_document(legacy))
            await it.manager.reread()
            await asyncio.sleep(10)
            await changed(it)
            applying = asyncio.ensure_future(it.operations.apply(by=ME, prune=True))
            await asyncio.sleep(1)

            await it.manager.stop("extra", by=ME)
            with pytest.raises(PlanStale, match=r"'extra' was changed while"):
                await applying

            it.jobs.answers_after = 0
            await it.operations.apply(by=ME, prune=True)
            assert await it.jobs.get("extra") is None

    run(story())


def test_of_two_at_once_the_second_sees_what_the_first_has_done() -> None:
    async def story() -> None:
        async with plane(connectors=BOTH) as it:
            await changed(it)

            first, second = await asyncio.gather(it.operations.apply(by=ME), it.operations.apply(by=ME))

            assert [each.action for each in first.plan.actions] == [Action.REPLACE, Action.REPLACE]
            assert [each.action for each in second.plan.actions] == [Action.LEAVE, Action.LEAVE]

    run(story())
