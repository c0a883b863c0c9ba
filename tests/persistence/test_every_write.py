"""A store that fails, or an owner that dies, at every single write: nothing is lost, nothing is falsely shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from mstream.config.system import StartupState
from mstream.domain.audit import Actor, Subject
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Phase
from mstream.domain.plan import MarkerPhase
from mstream.errors import MstreamError, StoreUnreachable
from mstream.stores.audit import AuditLog
from mstream.stores.markers import MarkerStore
from tests.persistence.faults import Connection, Fault
from tests.persistence.world import Owner, World, at_rest, config
from tests.unit.control.scripted import connector
from tests.virtual import run

ME = Actor(who="me")
FILE = (connector("one"), connector("two"), connector("off", enabled=False))
KILLS = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER)

Command = Callable[[Owner], Awaitable[object]]


async def writes_of(world: World, state: StartupState, command: Command | None = None) -> int:
    """How many writes a start, and the command after it, take when nothing goes wrong."""
    async with world.owner(FILE, state) as owner:
        await at_rest()
        if command is not None:
            await command(owner)
            await at_rest()
        return owner.connection.writes


async def begun_by(world: World, state: StartupState, connection: Connection, command: Command | None = None) -> bool:
    """An owner whose store fails; True: the command was accepted."""
    accepted = False
    async with world.owner(FILE, state, connection=connection, is_killed=connection.fault in KILLS) as owner:
        if owner.failure is None and command is not None:
            await at_rest()
            try:
                await command(owner)
                accepted = True
            except MstreamError:
                pass
        await at_rest()
    return accepted


async def intents(world: World) -> dict[str, Intent]:
    return {name: each.job.intent for name, each in (await world.stored()).items()}


async def holds(world: World, state: StartupState, wanted: dict[str, Intent]) -> None:
    """The next start runs what is meant to run, once each, and shows nothing else as running."""
    async with world.owner(FILE, state) as owner:
        await at_rest()
        assert owner.failure is None
        assert owner.running() == sorted(name for name, each in wanted.items() if each is Intent.RUNNING)
        shown = {each.job.name: each.job.phase for each in owner.manager.views()}
        stored = {name: each.job.phase for name, each in (await world.stored()).items()}
        assert shown == stored
        assert {name for name, phase in shown.items() if phase is Phase.RUNNING} == set(owner.running())
    assert await intents(world) == wanted


SEEDED = {"one": Intent.RUNNING, "two": Intent.RUNNING, "off": Intent.STOPPED}


@pytest.mark.parametrize("fault", KILLS)
def test_a_first_start_that_dies_at_any_write_is_completed_by_the_next(fault: Fault) -> None:
    async def story() -> None:
        for at in range(1, 1 + await writes_of(World(), StartupState.SEED_FROM_FILE)):
            world = World()
            await begun_by(world, StartupState.SEED_FROM_FILE, Connection(at=at, fault=fault))

            marker, _ = await MarkerStore(world.collection("system")).read()
            kept = set(await world.stored()) | {each.name for each in marker.connectors if marker} if marker else set()
            assert kept in (set(), set(SEEDED)), f"write {at}"
            if marker and marker.phase is MarkerPhase.DONE:
                assert set(await world.stored()) == set(SEEDED)
            await holds(world, StartupState.SEED_FROM_FILE, SEEDED)

    run(story())


def test_a_filling_that_was_cut_off_goes_on_with_its_own_definitions() -> None:
    async def story() -> None:
        world = World()
        await begun_by(world, StartupState.SEED_FROM_FILE, Connection(at=3, fault=Fault.KILLED_BEFORE))

        async with world.owner([connector("other")]) as owner:
            await at_rest()

            assert owner.running() == ["one", "two"]
        assert await intents(world) == SEEDED

    run(story())


COMMANDS: dict[str, tuple[Command, dict[str, Intent]]] = {
    "stop": (lambda it: it.manager.stop("one", by=ME, wait_sec=60), {**SEEDED, "one": Intent.STOPPED}),
    "pause": (lambda it: it.manager.pause("one", by=ME, wait_sec=60), {**SEEDED, "one": Intent.PAUSED}),
    "start": (lambda it: it.manager.start("off", by=ME, wait_sec=60), {**SEEDED, "off": Intent.RUNNING}),
    "restart": (lambda it: it.manager.restart("one", by=ME, wait_sec=60), SEEDED),
    "create": (
        lambda it: it.manager.create(connector("new"), by=ME, wait_sec=60),
        {**SEEDED, "new": Intent.RUNNING},
    ),
    "replace": (lambda it: it.manager.replace("one", changed("one"), by=ME, wait_sec=60), SEEDED),
    "remove": (
        lambda it: it.manager.remove("off", by=ME),
        {name: each for name, each in SEEDED.items() if name != "off"},
    ),
}


def changed(name: str) -> ConnectorSpec:
    return connector(name, max_in_flight=7)


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_during_which_any_write_fails_holds_or_has_never_been(name: str, fault: Fault) -> None:
    command, wanted = COMMANDS[name]

    async def story() -> None:
        for at in range(1, 1 + await _writes_after_seeding(command)):
            world = World()
            await writes_of(world, StartupState.SEED_FROM_FILE)
            accepted = await begun_by(world, StartupState.KEEP, Connection(at=at, fault=fault), command)

            found = await intents(world)
            if accepted:
                assert found == wanted, f"write {at}"
            assert found in (SEEDED, wanted) or _is_half_removed(await world.stored()), f"write {at}"
            expected = {key: each for key, each in found.items() if not (await world.stored())[key].job.removing}
            await holds(world, StartupState.KEEP, expected)

    run(story())


async def _writes_after_seeding(command: Command) -> int:
    world = World()
    await writes_of(world, StartupState.SEED_FROM_FILE)
    return await writes_of(world, StartupState.KEEP, command)


#: Another "two" than the stored one, "one" no more, and "off" anew although its removal was begun.
OTHER_FILE = (connector("two", max_in_flight=7), connector("off", max_in_flight=7), connector("new"))


async def applies(owner: Owner) -> None:
    """The removal of "off" comes half way; then the other file is brought over."""
    if any(each.job.name == "off" for each in owner.manager.views()):
        owner.connection.refuses = "delete jobs/off"
        with suppress(StoreUnreachable):
            await owner.manager.remove("off", by=ME)
    await applies_again(owner)


async def applies_again(owner: Owner) -> None:
    owner.file = config(OTHER_FILE, StartupState.KEEP)
    await owner.operations.apply(by=ME, prune=True)
    await at_rest()


@pytest.mark.parametrize("fault", list(Fault))
def test_an_apply_during_which_any_write_fails_is_completed_by_another(fault: Fault) -> None:
    wanted = {"two": Intent.RUNNING, "off": Intent.RUNNING, "new": Intent.RUNNING}

    async def story() -> None:
        for at in range(1, 1 + await _writes_after_seeding(applies)):
            world = World()
            await writes_of(world, StartupState.SEED_FROM_FILE)
            await begun_by(world, StartupState.KEEP, Connection(at=at, fault=fault), applies)

            assert "two" in await world.stored(), f"write {at}"
            if "one" not in await world.stored():
                entries = await AuditLog(world.collection("audit", "key"), keep=100).of(Subject.JOB, "one")
                assert any(each.change.verb == "delete" and each.definition for each in entries), f"write {at}"
            await writes_of(world, StartupState.KEEP, applies_again)
            found = await intents(world)
            # It is as it was when its removal had not begun yet: a definition that is replaced keeps its intent.
            assert found in (wanted, {**wanted, "off": Intent.STOPPED}), f"write {at}"
            assert {each.job.spec for each in (await world.stored()).values()} == set(OTHER_FILE)

    run(story())


@pytest.mark.parametrize("fault", list(Fault))
def test_a_damaged_document_is_not_taken_away_without_a_trace(fault: Fault) -> None:
    async def deletes(owner: Owner) -> None:
        await owner.manager.remove("one", by=ME)

    async def before() -> World:
        world = World()
        await writes_of(world, StartupState.SEED_FROM_FILE)
        await world.collection("jobs").put("one", {"name": "one", "state": "running"})
        return world

    async def story() -> None:
        for at in range(1, 1 + await writes_of(await before(), StartupState.KEEP, deletes)):
            world = await before()
            accepted = await begun_by(world, StartupState.KEEP, Connection(at=at, fault=fault), deletes)

            is_there = await world.collection("jobs").get("one") is not None
            entries = await AuditLog(world.collection("audit", "key"), keep=100).of(Subject.JOB, "one")
            assert not (accepted and is_there), f"write {at}"
            assert is_there or entries[0].change.verb == "delete", f"write {at}"

    run(story())


def _is_half_removed(stored: dict[str, object]) -> bool:
    return any(each.job.removing for each in stored.values())


@pytest.mark.parametrize("fault", KILLS)
def test_a_start_by_the_file_that_dies_at_any_write_is_completed_by_the_next(fault: Fault) -> None:
    async def before() -> World:
        world = World()
        async with world.owner([connector("orphan"), connector("one", max_in_flight=2), connector("off")]) as owner:
            await at_rest()
            await owner.manager.stop("one", by=ME, wait_sec=60)
        return world

    wanted = {**SEEDED, "orphan": Intent.STOPPED}

    async def story() -> None:
        for at in range(1, 1 + await writes_of(await before(), StartupState.FORCE_FROM_FILE)):
            world = await before()
            await begun_by(world, StartupState.FORCE_FROM_FILE, Connection(at=at, fault=fault))

            assert {"orphan", "one", "off"} <= set(await world.stored())
            await holds(world, StartupState.FORCE_FROM_FILE, wanted)
            assert (await world.stored())["one"].job.spec == FILE[0]

    run(story())
