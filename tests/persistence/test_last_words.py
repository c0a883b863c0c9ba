"""What is under way when the program ends, and what the store did not take the first time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from mstream.control.authority import SoleOwner
from mstream.control.chronicle import Chronicle
from mstream.domain.audit import Actor, Change
from mstream.domain.job import Intent, Job, Phase
from mstream.errors import JobExists, StaleOwner
from mstream.ports.documents import Collection, Document, Revision, Stored
from mstream.stores.jobs import JobStore
from tests.unit.control.scripted import Script, connector, plane
from tests.virtual import run

ME = Actor(who="me")


class Slow:
    """Implements `Collection` over another one; its writes take a second."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner

    async def get(self, key: str) -> Stored | None:
        return await self._inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        return await self._inner.scan(after=after, limit=limit)

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        await asyncio.sleep(1)
        return await self._inner.put(key, document, expect=expect, revision=revision)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        return await self._inner.delete(key, expect=expect)


def test_a_job_that_is_being_stored_when_the_program_ends_is_kept_and_does_not_keep_it_up() -> None:
    async def story() -> None:
        async with plane() as it:
            it.jobs._inner = Slow(it.jobs._inner)
            making = asyncio.ensure_future(it.manager.create(connector("new"), by=ME, wait_sec=30))
            await asyncio.sleep(0.5)
            it.manager.close()

            answer = await making

            assert not answer.reached
            assert answer.view.job.intent is Intent.RUNNING
        assert [each.spec.job for each in it.runtime.runs] == ["copy"]
        stored = await JobStore(it.jobs).get("new")
        assert stored is not None
        assert stored.job.intent is Intent.RUNNING

    run(story())


def test_an_observation_that_was_not_stored_is_stored_with_the_next_look_at_the_store() -> None:
    async def story() -> None:
        async with plane(Script(drain_takes=1)) as it:
            await asyncio.sleep(1)
            await it.manager.stop("copy", by=ME)
            await asyncio.sleep(0.5)
            it.jobs.is_down = True
            await asyncio.sleep(1)
            it.jobs.is_down = False
            before = await JobStore(it.jobs).get("copy")
            assert before is not None
            assert before.job.phase is Phase.STOPPING

            await it.manager.reread()

            after = await JobStore(it.jobs).get("copy")
            assert after is not None
            assert after.job.phase is Phase.STOPPED

    run(story())


def test_a_job_that_is_stopped_while_a_run_is_prepared_is_not_run_for_as_long_as_the_trail_takes_its_copy() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)
            await it.manager.stop("copy", by=ME, wait_sec=5)
            await it.manager.start("copy", by=ME)
            it.manager._supervisor("copy").record._trail = Slowly()
            it.checkpoints._inner = Slow(it.checkpoints._inner)
            await asyncio.sleep(0.5)

            await it.manager.stop("copy", by=ME, wait_sec=60)

            assert len(it.runtime.runs) == 1

    run(story())


def test_an_owner_that_owns_nothing_any_more_does_not_say_that_a_job_is_as_ordered() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(1)
            it.manager._supervisor("copy").record._authority = Former()

            with pytest.raises(StaleOwner):
                await it.manager.start("copy", by=ME)

    run(story())


class SlowToAnswer(Slow):
    """Its writes are there at once, and their answers come a second later."""

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        done = await self._inner.put(key, document, expect=expect, revision=revision)
        await asyncio.sleep(1)
        return done


def test_a_job_that_is_found_in_the_store_before_its_maker_is_answered_is_supervised_once() -> None:
    async def story() -> None:
        async with plane() as it:
            await asyncio.sleep(5)
            it.jobs._inner = SlowToAnswer(it.jobs._inner)
            making = asyncio.ensure_future(it.manager.create(connector("new"), by=ME, wait_sec=30))
            await asyncio.sleep(0.5)
            with pytest.raises(JobExists):
                await it.manager.create(connector("new"), by=ME)

            await making

            await asyncio.sleep(5)
            assert [each.spec.job for each in it.runtime.alive] == ["copy", "new"]

    run(story())


class Slowly(Chronicle):
    """A trail that takes ten seconds for each entry."""

    async def changed(self, job: Job, change: Change) -> None:
        await asyncio.sleep(10)


class Former(SoleOwner):
    """An owner whose lease has run out."""

    def require(self) -> None:
        raise StaleOwner("the lease was not renewed in time")
