"""A change that a kill has kept from the trail is there before the next change takes its place."""

from __future__ import annotations

from contextlib import suppress

import pytest

from mstream.config.system import StartupState
from mstream.control.authority import SoleOwner
from mstream.control.chronicle import Chronicle
from mstream.control.record import JobRecord
from mstream.domain.audit import Actor, Subject
from mstream.domain.job import Intent
from mstream.errors import MstreamError
from mstream.stores.audit import AuditLog
from mstream.stores.jobs import JobStore
from tests.persistence.faults import Connection, Fault
from tests.persistence.world import World, at_rest
from tests.unit.control.scripted import connector
from tests.virtual import VirtualClock, run

ME, YOU = Actor(who="me"), Actor(who="you")
FILE = (connector("one"), connector("two"))


async def stopped(world: World, *, at: int) -> bool:
    """An operator stops job `one` of a filled store, and the owner dies after that write; True: it is stored."""
    async with world.owner(FILE):
        await at_rest()
    connection = Connection(at=at, fault=Fault.KILLED_AFTER)
    async with world.owner(FILE, connection=connection, is_killed=True) as owner:
        await at_rest()
        with suppress(MstreamError):
            await owner.manager.stop("one", by=ME)
        await at_rest()
    change = (await world.stored())["one"].job.last_change
    return change is not None and change.by == ME


async def killed_before_the_copy() -> World:
    """The operator's stop is stored, and the trail does not know of it."""
    for at in range(1, 30):
        world = World()
        if await stopped(world, at=at) and not await known(world, ME):
            return world
    raise AssertionError("the copy is part of the change's own write")


async def known(world: World, who: Actor) -> bool:
    entries = await AuditLog(world.collection("audit", "key")).of(Subject.JOB, "one")
    return any(each.change.by == who for each in entries)


@pytest.mark.parametrize("state", list(StartupState))
def test_a_start_that_changes_the_job_again_records_it_first(state: StartupState) -> None:
    async def story() -> None:
        world = await killed_before_the_copy()

        async with world.owner([connector("one", max_in_flight=9)], state):
            await at_rest()

        assert await known(world, ME)

    run(story())


def test_a_command_that_comes_before_the_trail_is_complete_records_it_first() -> None:
    async def story() -> None:
        world = await killed_before_the_copy()
        stored = (await world.stored())["one"]
        chronicle = Chronicle(audit=AuditLog(world.collection("audit", "key")))
        record = JobRecord(
            stored.job,
            stored.revision,
            JobStore(world.collection("jobs")),
            authority=SoleOwner(),
            clock=VirtualClock(),
            trail=chronicle,
        )

        await record.intend(lambda job: Intent.RUNNING, verb="start", by=YOU)

        assert await known(world, YOU)
        assert await known(world, ME)

    run(story())
