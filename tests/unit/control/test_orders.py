"""An order to a job reaches every run of it, or is refused."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from mstream.domain.audit import Actor
from mstream.domain.orders import SnapshotOrder
from mstream.errors import Conflict, IllegalTransition, JobNotFound, Unavailable
from tests.unit.control.scripted import Plane, Script, plane
from tests.unit.control.test_members import DROPPED, shared
from tests.virtual import run

ORDER = SnapshotOrder(collection="orders")
ANNA = Actor(who="anna", where="here")


def heard(it: Plane) -> list[list[SnapshotOrder]]:
    return [each.orders for each in it.runtime.alive]


def test_it_is_told_who_has_given_it_and_the_run_hears() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)
            with capture_logs() as logs:
                view = await it.operations.snapshot("copy", ORDER, by=ANNA)

            assert view.job.name == "copy"
            assert heard(it) == [[ORDER]]
            told = [each for each in logs if each["event"] == "snapshot_ordered"]
            assert [(each["job"], each["by"], each["collection"]) for each in told] == [("copy", "anna", "orders")]

    run(story())


def test_every_member_hears() -> None:
    async def story() -> None:
        async with shared() as it:
            await asyncio.sleep(1)
            await it.operations.snapshot("copy", ORDER, by=ANNA)

            assert heard(it) == [[ORDER]] * 3

    run(story())


@pytest.mark.parametrize("scripts", [[Script(), Script(lasts=1, ends=DROPPED), Script()], [Script(opens_after=100)]])
def test_it_is_refused_where_not_every_member_would_hear(scripts: list[Script]) -> None:
    async def story() -> None:
        async with shared(*scripts) as it:
            await asyncio.sleep(1.05)
            with pytest.raises(IllegalTransition, match=r"only a job that runs"):
                await it.operations.snapshot("copy", ORDER, by=ANNA)

            assert not any(heard(it))

    run(story())


def test_what_the_source_has_against_it_is_raised() -> None:
    async def story() -> None:
        async with plane(Script(against=Conflict("one is under way"))) as it:
            await asyncio.sleep(1)
            with pytest.raises(Conflict, match="one is under way"):
                await it.operations.snapshot("copy", ORDER, by=ANNA)
            with pytest.raises(JobNotFound):
                await it.operations.snapshot("nope", ORDER, by=ANNA)

    run(story())


def test_who_does_not_answer_is_not_waited_for_without_end() -> None:
    async def story() -> None:
        async with plane(Script(hears_after=1000)) as it:
            await asyncio.sleep(1)
            with pytest.raises(Unavailable, match="has not said within 60 s"):
                await it.operations.snapshot("copy", ORDER, by=ANNA)

    run(story())


def test_a_job_that_is_about_to_end_takes_none() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=20)) as it:
            await asyncio.sleep(1)
            await it.manager.stop("copy")
            with pytest.raises(IllegalTransition):
                await it.operations.snapshot("copy", ORDER, by=ANNA)

            assert heard(it) == [[]]

    run(story())
