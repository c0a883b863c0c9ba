"""A file is applied as its plan was made: what somebody does meanwhile is neither lost nor undone."""

from __future__ import annotations

import asyncio

import pytest

from mstream.domain.audit import Actor
from mstream.domain.plan import Action
from mstream.errors import JobNotFound, PlanStale
from tests.unit.control.scripted import Plane, connector, plane
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


def test_of_two_at_once_the_second_sees_what_the_first_has_done() -> None:
    async def story() -> None:
        async with plane(connectors=BOTH) as it:
            await changed(it)

            first, second = await asyncio.gather(it.operations.apply(by=ME), it.operations.apply(by=ME))

            assert [each.action for each in first.plan.actions] == [Action.REPLACE, Action.REPLACE]
            assert [each.action for each in second.plan.actions] == [Action.LEAVE, Action.LEAVE]

    run(story())
