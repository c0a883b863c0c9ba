"""What was intended, how the program ended, who decides at the next start, what became of the file: all crossed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest

from mstream.config.system import StartupState
from mstream.domain.audit import Actor
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Phase
from mstream.domain.run import Ending, Outcome
from tests.persistence.world import Owner, World, at_rest
from tests.unit.control.scripted import Script, connector
from tests.virtual import run

ME = Actor(who="me")
REFUSED = Script(ends=Outcome(ending=Ending.FAILED, reason="access_denied", message="no"), lasts=1)

BEFORE = ("running", "paused", "stopped", "failed")
ENDS = ("SIGTERM", "SIGKILL")
FILES = ("same", "changed", "removed", "added")


@dataclass(frozen=True)
class Expected:
    """What the next start makes of job `one`, and of job `new` where the file has it."""

    intent: Intent
    runs: bool
    is_new_definition: bool
    new: Intent | None


def expected(before: str, state: StartupState, file: str) -> Expected:
    """The promises, in the words of the reference."""
    intent = {"running": Intent.RUNNING, "paused": Intent.PAUSED, "stopped": Intent.STOPPED, "failed": Intent.RUNNING}
    if state is StartupState.FORCE_FROM_FILE:
        after = Intent.STOPPED if file == "removed" else Intent.RUNNING
        new = Intent.RUNNING if file == "added" else None
        return Expected(after, after is Intent.RUNNING, file == "changed", new)
    after = intent[before]
    return Expected(after, after is Intent.RUNNING, is_new_definition=False, new=None)


def connectors(file: str) -> tuple[ConnectorSpec, ...]:
    match file:
        case "changed":
            return (connector("one", max_in_flight=9),)
        case "removed":
            return ()
        case "added":
            return (connector("one"), connector("new"))
        case _:
            return (connector("one"),)


async def brought_to(owner: Owner, before: str) -> None:
    match before:
        case "paused":
            await owner.manager.pause("one", by=ME, wait_sec=60)
        case "stopped":
            await owner.manager.stop("one", by=ME, wait_sec=60)
        case "failed":
            assert owner.manager.view("one").job.phase is Phase.FAILED
        case _:
            assert owner.manager.view("one").job.phase is Phase.RUNNING


@pytest.mark.parametrize(("before", "end", "state", "file"), list(product(BEFORE, ENDS, StartupState, FILES)), ids=str)
def test_what_was_intended_holds(before: str, end: str, state: StartupState, file: str) -> None:
    async def story() -> None:
        world = World()
        script = REFUSED if before == "failed" else Script()
        async with world.owner(
            [connector("one")], StartupState.SEED_FROM_FILE, script, is_killed=end == "SIGKILL"
        ) as it:
            await at_rest()
            await brought_to(it, before)

        wanted = expected(before, state, file)
        async with world.owner(connectors(file), state) as it:
            await at_rest()

            stored = await world.stored()
            assert stored["one"].job.intent is wanted.intent
            assert ("one" in it.running()) == wanted.runs
            assert (stored["one"].job.spec.max_in_flight == 9) == wanted.is_new_definition
            assert (stored["new"].job.intent if "new" in stored else None) == wanted.new
            phase = it.manager.view("one").job.phase
            assert (phase is Phase.RUNNING) == wanted.runs
            assert stored["one"].job.phase is phase

    run(story())


def test_an_operator_that_is_overruled_is_told_so() -> None:
    async def story() -> None:
        world = World()
        async with world.owner([connector("one")]) as it:
            await at_rest()
            await it.manager.stop("one", by=ME, wait_sec=60)

        async with world.owner([connector("one")], StartupState.FORCE_FROM_FILE) as it:
            assert it.plan is not None
            assert "by me is overridden by force_from_file" in it.plan.actions[0].reason

    run(story())
