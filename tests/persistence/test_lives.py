"""Commands, crashes, refused writes and steps of the clock in any order, against a model that fits on a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mstream.config.system import StartupState
from mstream.control.jobs import JobManager
from mstream.domain.audit import Actor
from mstream.domain.job import Intent, Phase
from mstream.errors import MstreamError
from tests.persistence.faults import Connection, Fault
from tests.persistence.world import Owner, World, at_rest
from tests.unit.control.scripted import connector
from tests.virtual import VirtualClock, VirtualLoop

ME = Actor(who="me")
NAMES = ("a", "b", "c")
#: What a command makes of an intent; None: it is refused.
VERBS: dict[str, Callable[[Intent], Intent | None]] = {
    "start": lambda intent: Intent.RUNNING,
    "stop": lambda intent: Intent.STOPPED,
    "restart": lambda intent: Intent.RUNNING,
    "pause": lambda intent: None if intent is Intent.STOPPED else Intent.PAUSED,
    "resume": lambda intent: None if intent is Intent.STOPPED else Intent.RUNNING,
}


class Model:
    """What must hold: each job's intent and definition, and what they may be after a command that was not answered."""

    def __init__(self) -> None:
        self.jobs: dict[str, set[tuple[Intent, int] | None]] = {}
        self.is_seeded = False

    def start(self, state: StartupState, file: dict[str, int]) -> None:
        """What a start makes of it."""
        if state is StartupState.FORCE_FROM_FILE:
            known = {*self.jobs, *file}
            self.jobs = {
                name: {(Intent.RUNNING, file[name])}
                if name in file
                else {None if each is None else (Intent.STOPPED, each[1]) for each in self.jobs[name]}
                for name in known
            }
        elif state is StartupState.SEED_FROM_FILE and not self.is_seeded:
            self.is_seeded = True
            if not any(self.possible()):
                self.jobs = {name: {(Intent.RUNNING, each)} for name, each in file.items()}

    def possible(self) -> list[str]:
        """The jobs that may be there."""
        return [name for name, each in self.jobs.items() if each != {None}]

    def command(self, name: str, change: Callable[[tuple[Intent, int]], tuple[Intent, int] | None], done: bool) -> None:
        """A command on a job: done, or perhaps done."""
        after = {None if each is None else change(each) for each in self.jobs[name]}
        self.jobs[name] = after if done else after | self.jobs[name]

    def settle(self, found: dict[str, tuple[Intent, int]]) -> None:
        """What is stored is one of the possible things; from now on it is that one."""
        for name, allowed in self.jobs.items():
            assert found.get(name) in allowed, f"{name}: {found.get(name)} is none of {allowed}"
        assert found.keys() <= self.jobs.keys()
        self.jobs = {name: {found.get(name)} for name in self.jobs}


class Stepping(VirtualClock):
    """A wall clock that somebody sets; the other one runs on."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


class Lives(RuleBasedStateMachine):
    """One store, one owner after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.model = Model()
        self.clock = Stepping()
        self.world = World(clock=self.clock)
        self.stack = AsyncExitStack()
        self.owner: Owner | None = None
        self.count = 0

    @initialize()
    def begin(self) -> None:
        self._run(self._boot(StartupState.SEED_FROM_FILE, {"a": 1, "b": 1}))

    @precondition(lambda self: self.owner is None)
    @rule(state=st.sampled_from(StartupState), names=st.sets(st.sampled_from(NAMES)), size=st.integers(1, 3))
    def start(self, state: StartupState, names: set[str], size: int) -> None:
        self._run(self._boot(state, dict.fromkeys(sorted(names), size)))

    @precondition(lambda self: self.owner is not None)
    @rule(is_killed=st.booleans())
    def end(self, is_killed: bool) -> None:
        assert self.owner is not None
        if is_killed:
            self.owner.connection.is_dead = True
            self.owner.manager.cut_short()
        self._run(self.stack.aclose())
        self.owner = None

    @precondition(lambda self: self.owner is not None)
    @rule(name=st.sampled_from(NAMES), verb=st.sampled_from(sorted(VERBS)), fault=st.none() | st.sampled_from(Fault))
    def order(self, name: str, verb: str, fault: Fault | None) -> None:
        known = self.model.jobs.get(name, {None})
        command = getattr(self._manager, verb)
        done = self._try(lambda: command(name, by=ME, wait_sec=60), fault)
        if known != {None}:
            self.model.command(name, lambda job: (VERBS[verb](job[0]) or job[0], job[1]), done)

    @precondition(lambda self: self.owner is not None)
    @rule(name=st.sampled_from(NAMES), size=st.integers(4, 9), fault=st.none() | st.sampled_from(Fault))
    def define(self, name: str, size: int, fault: Fault | None) -> None:
        spec = connector(name, max_in_flight=size)
        if self.model.jobs.get(name, {None}) == {None}:
            done = self._try(lambda: self._manager.create(spec, by=ME, wait_sec=60), fault)
            self.model.jobs[name] = {(Intent.RUNNING, size)} | (set() if done else {None})
        else:
            done = self._try(lambda: self._manager.replace(name, spec, by=ME, wait_sec=60), fault)
            self.model.command(name, lambda job: (job[0], size), done)

    @precondition(lambda self: self.owner is not None)
    @rule(name=st.sampled_from(NAMES), fault=st.none() | st.sampled_from(Fault))
    def remove(self, name: str, fault: Fault | None) -> None:
        known = self.model.jobs.get(name, {None})
        done = self._try(lambda: self._manager.remove(name, by=ME), fault)
        if known != {None}:
            self.model.command(name, lambda job: None if job[0] in {Intent.STOPPED, Intent.PAUSED} else job, done)

    @rule(seconds=st.integers(-100_000, 100_000))
    def step_the_clock(self, seconds: int) -> None:
        self.clock.offset += timedelta(seconds=seconds)

    @invariant()
    def holds(self) -> None:
        if self.owner is not None:
            self._run(self._check())

    def teardown(self) -> None:
        if self.owner is not None:
            self.end(is_killed=True)
        self.loop.close()

    @property
    def _manager(self) -> JobManager:
        assert self.owner is not None
        return self.owner.manager

    def _try(self, command: Callable[[], Awaitable[object]], fault: Fault | None) -> bool:
        """Whether it was answered; with a fault at its first write, and after a kill without its owner."""
        assert self.owner is not None
        way = self.owner.connection
        if fault is not None:
            way.at, way.fault = way.writes + 1, fault

        async def tried() -> bool:
            try:
                await command()
            except MstreamError:
                return fault is None
            return True

        done = self._run(tried())
        self._run(at_rest())
        way.at = None
        if way.is_dead:
            self.end(is_killed=True)
        return done

    async def _boot(self, state: StartupState, file: dict[str, int]) -> None:
        specs = [connector(name, max_in_flight=size) for name, size in file.items()]
        self.model.start(state, file)
        self.owner = await self.stack.enter_async_context(self.world.owner(specs, state, connection=Connection()))
        assert self.owner.failure is None
        await at_rest()

    async def _check(self) -> None:
        assert self.owner is not None
        await self.owner.manager.reread()
        await at_rest()
        stored = await self.world.stored()
        self.model.settle(
            {
                name: (each.job.intent, each.job.spec.max_in_flight)
                for name, each in stored.items()
                if not each.job.removing
            }
        )
        wanted = sorted(name for name, each in stored.items() if each.job.intent is Intent.RUNNING)
        assert self.owner.running() == wanted
        shown = {each.job.name: each.job.phase for each in self.owner.manager.views()}
        assert {name for name, phase in shown.items() if phase is Phase.RUNNING} == set(wanted)
        assert {name: each.job.phase for name, each in stored.items() if not each.job.removing} == shown

    def _run(self, work: Awaitable[bool]) -> bool:
        async def ran() -> bool:
            return await work

        return self.loop.run_until_complete(ran())


Lives.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLives = Lives.TestCase
