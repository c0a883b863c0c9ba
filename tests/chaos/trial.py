"""One step after the other: the program comes up, is looked at, is told something, and is killed meanwhile."""

from __future__ import annotations

import http.client
import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.deeds import Actions
from tests.chaos.lives import Life
from tests.chaos.world import Kill, World

STATES: Final = ("seed_from_file", "force_from_file", "keep")
DEEDS: Final = (
    "create",
    "update",
    "stop",
    "start",
    "pause",
    "resume",
    "restart",
    "delete",
    "records",
    "end",
    "service_create",
    "service_replace",
    "service_delete",
    "rotate",
    "retire",
    "reset",
    "apply",
)
PHASES: Final = (
    *DEEDS,
    "rotate without an owner",
    "import",
    *(f"first boot {each}" for each in STATES),
    *(f"boot {each}" for each in STATES),
)
#: Writes that one step may take at most; lease renewals would go on for ever.
_MOST_WRITES: Final = 14
#: So many of the kills fall at a random moment instead of at a write; a worker dies at no other.
_AT_RANDOM: Final = {"inline": 0.3, "process": 0.7}
#: Workers that one owner may lose, one after the other.
_WORKERS: Final = 3
#: Seconds within which a random kill falls, and that a chosen write is waited for.
_LATEST, _QUIET = 0.3, 0.6
#: Seconds that a program has to end by itself.
_DRAIN: Final = 60.0


@dataclass(slots=True)
class Tally:
    """Kills so far, by what they fell into."""

    phases: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    of: Counter[str] = field(default_factory=Counter)
    #: Where the writes went that processes died at.
    writes: Counter[str] = field(default_factory=Counter)
    violations: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kills(self) -> int:
        return self.phases.total()

    def count(self, phase: str, moment: str, whom: str, write: str | None) -> None:
        """One more."""
        with self._lock:
            self.phases[phase] += 1
            self.moments[moment] += 1
            self.of[whom] += 1
            if write:
                self.writes[" ".join(write.split()[:2])] += 1

    def report(self) -> dict[str, Any]:
        """As it stands in the file of results."""
        counters = {"by_phase": self.phases, "by_moment": self.moments, "of": self.of, "by_write": self.writes}
        return {
            "kills": self.kills,
            **{name: dict(sorted(each.items())) for name, each in counters.items()},
            "violations": self.violations,
        }


@dataclass(slots=True)
class Sweep:
    """Every write of a phase in turn, each before and after it is done, and then from the first again."""

    at: int = 1
    is_done: bool = False

    def kill(self) -> Kill:
        return Kill(at=self.at, is_done=self.is_done)

    def go_on(self, *, fell: bool) -> None:
        """`fell`: there was such a write."""
        if not fell or (self.is_done and self.at >= _MOST_WRITES):
            self.at, self.is_done = 1, False
        elif self.is_done:
            self.at, self.is_done = self.at + 1, False
        else:
            self.is_done = True


class Trial:
    """Steps over worlds of one kind: one that lives long, and new ones for first boots."""

    def __init__(self, made: Callable[[], World], tally: Tally, *, seed: int, phases: Sequence[str] = PHASES) -> None:
        self._made = made
        self._tally = tally
        self._seed = seed
        self._dice = random.Random(seed)
        self._phases = phases
        self._sweeps = {each: Sweep() for each in phases}
        self._steps = 0
        self._latest: World
        self._world: World
        self._begin_anew()

    def run(self, is_over: Callable[[], bool]) -> None:
        """Phase after phase, until it is over."""
        offset = self._seed % len(self._phases)
        while not is_over():
            phase = self._phases[(self._steps + offset) % len(self._phases)]
            self._steps += 1
            chance = self._dice.random() < _AT_RANDOM[self._world.runtime]
            whom = self._dice.choice(("owner", "worker", "both")) if self._world.runtime == "process" else "owner"
            kill = Kill(seconds=self._dice.uniform(0, _LATEST), whom=whom) if chance else self._sweeps[phase].kill()
            try:
                fell = self.step(phase, kill)
            except AssertionError as error:
                self._violated(phase, kill, str(error))
            else:
                if not chance:
                    self._sweeps[phase].go_on(fell=fell)

    def step(self, phase: str, kill: Kill) -> bool:
        """True: the process was killed at its write. Raises AssertionError when an invariant does not hold."""
        self._latest = self._world
        first, _, state = phase.rpartition("boot ")
        if first == "first ":
            return self._first_boot(phase, state, kill)
        if state in STATES:
            return self._boot(self._world, phase, state, kill)
        if phase == "rotate without an owner":
            return self._rotate_alone(phase, kill)
        if phase == "import":
            return self._import(phase, kill)
        return self._deed(phase, kill)

    def _first_boot(self, phase: str, state: str, kill: Kill) -> bool:
        self._latest = world = self._made()
        fell = self._boot(world, phase, state, kill)
        if self._dice.random() < 0.5:
            self._boot(world, phase, state, Kill(at=self._dice.randint(1, 6), is_done=self._dice.random() < 0.5))
        if not world.has_come_up:
            self._killed(world, phase, self._up(world, state), "at rest")
        shutil.rmtree(world.folder)
        return fell

    def _boot(self, world: World, phase: str, state: str, kill: Kill) -> bool:
        world.startup_state = state
        life = world.born(kill)
        if kill.at is None:
            time.sleep(kill.seconds)
            world.shot(life, kill, self._dice)
            if kill.whom == "worker":
                self._tally.count(phase, "at random", "worker", None)
                life.ready()
            self._killed(world, phase, life, "at random", kill.whom if kill.whom == "both" else "owner")
            return False
        fell = not life.ready() or not _verified(world, life)
        self._killed(world, phase, life, _moment(kill) if fell else "at rest")
        return fell

    def _deed(self, phase: str, kill: Kill) -> bool:
        world = self._world
        life = self._up(world, self._dice.choices(STATES, (6, 1, 3))[0], kill)
        deed = getattr(self._actions, phase)(life)
        world.arm()
        if kill.at is None:
            failures: list[BaseException] = []
            asking = threading.Thread(target=_caught, args=(lambda: self._actions.do(life, deed), failures))
            asking.start()
            time.sleep(kill.seconds)
            world.shot(life, kill, self._dice)
            asking.join()
            for each in failures:
                raise each
            # A program that was told to end does not bring them back.
            if kill.whom == "worker" and not deed.is_end and life.code is None:
                self._workers_killed(world, phase, life, kill)
            self._killed(world, phase, life, "at random", "both" if kill.whom == "both" else "owner")
            return False
        self._actions.do(life, deed)
        ends = time.monotonic() + (_DRAIN if deed.is_end else _QUIET)
        while life.code is None and time.monotonic() < ends:
            time.sleep(0.01)
        fell = life.was_killed
        self._killed(world, phase, life, _moment(kill) if fell else "at rest")
        return fell

    def _workers_killed(self, world: World, phase: str, life: Life, kill: Kill) -> None:
        """Workers alone were killed: their jobs run again without anybody's help, and nothing else has changed."""
        for number in range(self._dice.randint(1, _WORKERS)):
            if number:
                world.shot(life, kill, self._dice)
            if life.code is not None:
                return  # no worker was there: the owner was shot
            self._tally.count(phase, "at random", "worker", None)
            world.await_running(life)
        world.look()
        world.probe()

    def _rotate_alone(self, phase: str, kill: Kill) -> bool:
        world = self._world
        life = world.born(kill, command="rotate")
        if kill.at is None:
            time.sleep(kill.seconds)
        else:
            life.ended()
        fell = life.was_killed
        if fell or life.code is None:
            self._killed(world, phase, life, _moment(kill))
        else:
            world.look()
        return fell

    def _import(self, phase: str, kill: Kill) -> bool:
        """From the world that lives long into a new one; cut off, and then done again."""
        source = self._world
        while not source.ledger.standing():
            self._deed("create", Kill())
        bundle = source.folder / f"export-{self._steps}.json"
        assert source.born(command="export", bundle=bundle).ended() == 0, "it is exported"
        self._latest = world = self._made()
        world.startup_state = "keep"
        world.read_with(source)
        world.expect(source.ledger)
        life = world.born(kill, command="import", bundle=bundle)
        if kill.at is None:
            time.sleep(kill.seconds)
        else:
            life.ended()
        if (fell := life.was_killed) or life.code is None:
            self._killed(world, phase, life, _moment(kill))
            world.expect(source.ledger)
            life = world.born(command="import", bundle=bundle)
        assert life.ended() == 0, f"it is imported:\n{life.log[-2000:]}"
        world.receive(source.ledger)
        self._killed(world, phase, self._up(world, "seed_from_file"), "at rest")
        source.read_with(world)
        shutil.rmtree(world.folder)
        return fell

    def _up(self, world: World, state: str, kill: Kill | None = None) -> Life:
        world.startup_state = state
        life = world.born(kill, is_armed=False)
        assert life.ready(), "nothing was to kill it"
        world.verify(life)
        return life

    def _killed(self, world: World, phase: str, life: Life, moment: str, whom: str = "owner") -> None:
        """It is dead now, if it was not before; what it left must be right."""
        world.end(life)
        self._actions.end_others()
        if life.was_killed:
            self._tally.count(phase, moment, whom, life.killed_at)
        world.look()

    def _violated(self, phase: str, kill: Kill, text: str) -> None:
        world = self._latest
        left = shutil.copytree(world.folder, Path(tempfile.mkdtemp(prefix="mstream-violated-")) / "world")
        found = {"seed": self._seed, "step": self._steps, "phase": phase, "kill": str(kill), "found": text}
        self._tally.violations.append(found)
        print(f"VIOLATED (see {left}): {found}", flush=True)
        world.end_all()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._world = self._latest = self._made()
        self._actions = Actions(self._world, self._dice)


def _verified(world: World, life: Life) -> bool:
    """Raises Violated; False: its write came after it was ready, and it was killed while it was looked at."""
    try:
        world.verify(life)
    except (AssertionError, OSError, http.client.HTTPException):
        if life.was_killed:
            return False
        raise
    return True


def _moment(kill: Kill) -> str:
    if kill.at is None:
        return "at random"
    return "after a write" if kill.is_done else "before a write"


def _caught(work: Callable[[], object], failures: list[BaseException]) -> None:
    try:
        work()
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        failures.append(error)
