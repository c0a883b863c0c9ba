"""What was intended, how the program ended, who decides next, what became of the file: a sample with real processes.

All of it is crossed in memory in tests/persistence/test_matrix.py; here every pair of the first two stands once at
least, and so does every pair of the last two.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mstream.config.system import StartupState
from tests.chaos.ledger import Kept
from tests.chaos.lives import Life, until
from tests.chaos.world import Entry, World
from tests.persistence.test_matrix import expected

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED, FORCE, KEEP = "seed_from_file", "force_from_file", "keep"
CELLS = [
    ("running", "SIGTERM", SEED, "same"),
    ("running", "SIGKILL", FORCE, "changed"),
    ("running", "SIGKILL", KEEP, "removed"),
    ("paused", "SIGTERM", FORCE, "same"),
    ("paused", "SIGKILL", SEED, "changed"),
    ("paused", "SIGTERM", KEEP, "added"),
    ("stopped", "SIGKILL", FORCE, "removed"),
    ("stopped", "SIGKILL", SEED, "added"),
    ("stopped", "SIGTERM", KEEP, "changed"),
    ("failed", "SIGKILL", KEEP, "same"),
    ("failed", "SIGKILL", SEED, "removed"),
    ("failed", "SIGTERM", FORCE, "added"),
]
FILES = {
    "same": {"one": Entry(1)},
    "changed": {"one": Entry(9)},
    "removed": {},
    "added": {"one": Entry(1), "new": Entry(1)},
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "world", file={"one": Entry(1)})
    yield made
    made.end_all()


def come_up(world: World) -> Life:
    life = world.born()
    assert life.ready()
    return life


def brought_to(world: World, before: str) -> Life:
    """The program, running, with job `one` in that state."""
    life = come_up(world)
    world.verify(life)
    if before == "failed":
        life.kill()
        world.look()
        hide(world)
        life = come_up(world)
        until(lambda: life.ask("GET", "jobs", "one")[1]["phase"] == "failed", "the job fails")
    elif before != "running":
        verb = {"paused": "pause", "stopped": "stop"}[before]
        assert life.ask("POST", "jobs", "one", verb, wait=60)[0] == 200
        world.ledger.settle_job("one", Kept(1, before))
    return life


def hide(world: World) -> None:
    """Another file stands where the one was that is read: for good reason the job fails."""
    (world.folder / "in.jsonl").rename(world.folder.parent / "hidden")
    (world.folder / "in.jsonl").write_text('{"n": "another"}\n' * 100)


@pytest.mark.parametrize(("before", "end", "state", "file"), CELLS)
def test_what_was_intended_holds(before: str, end: str, state: str, file: str, world: World) -> None:
    life = brought_to(world, before)
    if end == "SIGTERM":
        life.terminate()
        assert life.ended() == 0
    else:
        life.kill()
    if before == "failed":
        (world.folder.parent / "hidden").rename(world.folder / "in.jsonl")
    world.look()
    world.file, world.startup_state = dict(FILES[file]), state

    world.verify(come_up(world))

    wanted = expected(before, StartupState(state), file)
    jobs = world.ledger.standing()
    assert jobs["one"] == Kept(9 if wanted.is_new_definition else 1, wanted.intent.value)
    assert (jobs["new"].intent if "new" in jobs else None) == wanted.new
    assert ("one" in world.ledger.running()) == wanted.runs
