"""A deterministic world: instances over one store, and everything that can befall them, from one seed.

`lived(seed)` is the same story every time; `replayed(seed)` prints it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextvars import Context, copy_context
from functools import cache
from random import Random

from mstream.config.document import ConfigFile
from mstream.config.system import StartupState
from mstream.domain.audit import Actor
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent
from mstream.providers.memory.config import MemoryConfig
from tests.persistence.instance import Instance, Make
from tests.persistence.lives import run
from tests.persistence.network import Pitfall, Weather
from tests.persistence.witness import Command, Witness

#: Seconds in which things happen, and in which they must have come to rest afterwards.
EVENTFUL, REST = 45.0, 110.0
VERBS = ("start", "stop", "pause", "resume", "restart", "replace")
#: Jobs of the file, and those that operators make; a `t` is delivered in transactions.
OF_FILE, OF_OPERATORS = ("a", "t"), ("b", "tt")
WEATHERS = (
    Weather(),
    Weather(usual=0.3, rare=0.3),
    Weather(usual=0.05, rare=3.2, slow=0.05),
    Weather(usual=0.1, rare=1.0, slow=0.05, lost=0.02),
    Weather(usual=0.02, rare=3.2, slow=0.1, lost=0.05),
)
STATES = (*[StartupState.SEED_FROM_FILE] * 5, StartupState.FORCE_FROM_FILE, StartupState.KEEP)


class World:
    """One story, from its seed."""

    def __init__(self, seed: int, make: Make) -> None:
        self.random = Random(seed)
        self.context: Context = copy_context()
        self.weather = self.random.choice(WEATHERS)
        self.trouble = self.random.choice((0, 0, 0.02))
        state = self.random.choice(STATES)
        self.file = file(state)
        self.witness = Witness(owners=self._owners, decides=state is StartupState.FORCE_FROM_FILE)
        self.instances: list[Instance] = []
        self._make = make
        self._commands = 0
        self._orders: list[asyncio.Task[None]] = []

    def later(self, seconds: float, work: Callable[..., object], *args: object) -> None:
        asyncio.get_running_loop().call_later(seconds, work, *args, context=self.context)

    @property
    def living(self) -> list[Instance]:
        return [each for each in self.instances if not each.is_dead and not each.main.done()]

    async def passes(self) -> None:
        """Misfortunes and commands, then rest, then the end."""
        self._newcomer()
        moments = sorted(self.random.uniform(0, EVENTFUL) for _ in range(self.random.randint(8, 24)))
        before = 0.0
        for at in moments:
            await asyncio.sleep(at - before)
            before = at
            self._event()
        survivor = await self._settled()
        self._hold_still(survivor)
        survivor.ending.set()
        await asyncio.wait([survivor.main], timeout=60)
        self._ended(survivor)
        await self._away()

    # ------------------------------------------------------------------------------------------------------ events
    def _event(self) -> None:
        if not self.living or (len(self.living) < 3 and self.random.random() < 0.15):
            self._newcomer()
        elif self.random.random() < 0.5:
            self._command()
        else:
            owners = [each for each in self.living if each.owns]
            whom = self.random.choice(owners if owners and self.random.random() < 0.8 else self.living)
            kinds = [self._freeze, self._freeze, self._trip, self._trip, self._trip, self._cut, self._die, self._step]
            self.random.choice([*kinds, self._end, self._lose_worker, self._newcomer])(whom)

    def _newcomer(self, _: Instance | None = None) -> None:
        if len(self.living) < 3:
            self.instances.append(Instance(self, len(self.instances), self._make))
            self.witness.tell(f"{self.instances[-1].name} comes")

    def _freeze(self, whom: Instance) -> None:
        seconds, lives = self._seconds(), self._lives(whom)
        self.witness.tell(f"{'+'.join(each.name for each in lives)} freezes for {seconds:.1f}")
        for each in lives:
            each.freeze(seconds, self.context)
        if lives == [whom.worker]:
            # Whoever waits for its heartbeat ends it.
            whom.life.does(self._watch(whom))

    async def _watch(self, whom: Instance) -> None:
        await whom.sleep(4)
        if whom.worker.is_frozen and not whom.is_dead and whom.runtime is not None:
            self.witness.tell(f"{whom.name} ends its worker")
            whom.runtime.lose()

    def _trip(self, whom: Instance) -> None:
        """It freezes with a request in its hands."""
        connection = self.random.choice((whom.store, whom.store, whom.sink))
        lives = [whom.life, whom.worker] if self.random.random() < 0.6 else [connection.life]
        self.witness.tell(f"{'+'.join(each.name for each in lives)} will freeze at a request")
        connection.pitfall = Pitfall(
            self.random.randint(1, 8), self._seconds(), before=self.random.random() < 0.7, whom=lives
        )

    def _cut(self, whom: Instance) -> None:
        seconds, ways = self._seconds(), self.random.choice(([whom.store], [whom.store, whom.sink], [whom.sink]))
        self.witness.tell(f"{'+'.join(each.life.name for each in ways)} is cut off for {seconds:.1f}")
        for each in ways:
            each.is_cut = True
            self.later(seconds, setattr, each, "is_cut", False)

    def _die(self, whom: Instance) -> None:
        self.witness.tell(f"{whom.name} is killed")
        whom.kill()

    def _step(self, whom: Instance) -> None:
        whom.wall += self.random.uniform(-100_000, 100_000)

    def _end(self, whom: Instance) -> None:
        self.witness.tell(f"{whom.name} is told to end")
        whom.ending.set()

    def _lose_worker(self, whom: Instance) -> None:
        if whom.runtime is not None and not whom.life.is_frozen:
            self.witness.tell(f"{whom.name} loses its worker")
            whom.runtime.lose()

    def _lives(self, whom: Instance) -> list:
        return self.random.choice(([whom.life, whom.worker], [whom.life, whom.worker], [whom.life], [whom.worker]))

    def _seconds(self) -> float:
        return self.random.choice((self.random.uniform(0.1, 3), self.random.uniform(3, 12), self.random.uniform(9, 30)))

    # ---------------------------------------------------------------------------------------------------- commands
    def _command(self) -> None:
        ready = [each for each in self.living if each.is_ready]
        if not ready:
            return
        owner, name = self.random.choice(ready), self.random.choice((*OF_FILE, *OF_OPERATORS))
        self._commands += 1
        who, wait_sec = Actor(who=f"operator-{self._commands}"), self.random.choice((0.0, 5.0))
        known = [each.job.name for each in owner.manager.views()]
        verb = self.random.choice(VERBS) if self.random.random() < 0.8 else "delete"
        if name not in known and self.random.random() < 0.8:
            verb = "create"
        match verb:
            case "create":
                spec = connector(name, f"{name}-{self._commands}", self._commands)
                order = lambda manager: manager.create(spec, by=who, wait_sec=wait_sec)  # noqa: E731
            case "replace":
                log = next(
                    (each.job.spec.source.resource for each in owner.manager.views() if each.job.name == name), ""
                )
                spec = connector(name, log or f"{name}-0", self._commands)
                order = lambda manager: manager.replace(name, spec, by=who, wait_sec=wait_sec)  # noqa: E731
            case "delete":
                order = lambda manager: manager.remove(name, by=who)  # noqa: E731
            case _:
                order = lambda manager: getattr(manager, verb)(name, by=who, wait_sec=wait_sec)  # noqa: E731
        command = Command(who.who, verb, name, asyncio.get_running_loop().time())
        self.witness.ordered(command)
        self._orders.append(owner.life.does(owner.carry_out(command, order)))

    # ------------------------------------------------------------------------------------------------ what remains
    async def _settled(self) -> Instance:
        """All misfortune is over; one instance is left."""
        self.witness.tell("the dust settles")
        for each in self.living:
            each.life.thaw()
            each.worker.thaw()
            for way in (each.store, each.sink):
                way.is_cut, way.pitfall = False, None
        candidates = [each for each in self.living if not each.ending.is_set()]
        if not candidates:
            self._newcomer()
            candidates = self.instances[-1:]
        survivor = self.random.choice(candidates)
        for each in self.living:
            if each is not survivor:
                self._die(each) if self.random.random() < 0.5 else self._end(each)
        self.witness.close()
        self.weather_clears()
        await asyncio.sleep(REST)
        return survivor

    def weather_clears(self) -> None:
        for each in self.instances:
            each.trouble = 0
            each.store._weather = each.sink._weather = Weather()

    def _hold_still(self, survivor: Instance) -> None:
        """Exactly what is meant to run does, once each, and nothing else is shown as running."""
        witness = self.witness
        phases = witness.phases()
        wanted = sorted(name for name, (intent, _) in phases.items() if intent == Intent.RUNNING)
        witness.require(survivor.is_ready, f"{survivor.name} owns nothing after all: {survivor.failure!r}")
        alive = [each.spec.job for each in survivor.runtime.alive] if survivor.runtime else []
        witness.require(sorted(alive) == wanted, f"{sorted(alive)} run, meant to: {wanted}")
        for name, (intent, phase) in phases.items():
            expected = {"running": "running", "paused": "paused", "stopped": "stopped"}[intent]
            why = survivor.manager.view(name).job.failure if survivor.is_ready else None
            witness.require(phase == expected, f"{name}, meant to be {intent}, is shown as {phase} ({why})")
        shown = {each.job.name: each.job.phase.value for each in survivor.manager.views() if not each.job.removing}
        witness.require(
            shown == {name: phase for name, (_, phase) in phases.items()}, f"{shown} shown, stored {phases}"
        )
        for each in self.instances:
            if each is not survivor and each.runtime is not None:
                witness.require(not each.runtime.alive, f"runs of {each.name} are left")
            witness.require(each.failure is None, f"{each.name} has died of {each.failure!r}")
        self._all_delivered(wanted)

    def _all_delivered(self, wanted: list[str]) -> None:
        for name in wanted:
            document = self.witness.stored("jobs", name)
            assert document is not None
            ledger = self.witness.ledger(name, document["pipeline"]["source"]["resource"])
            self.witness.require(
                ledger.delivered == ledger.available,
                f"{ledger.log}: {ledger.delivered} of {ledger.available} delivered",
            )

    def _ended(self, survivor: Instance) -> None:
        witness = self.witness
        witness.require(survivor.main.done(), f"{survivor.name} does not end")
        for name, (intent, phase) in witness.phases().items():
            witness.require(phase in {"paused", "stopped"}, f"{name} ({intent}) is shown as {phase} after the end")
        lease = witness.stored("system", "lease")
        witness.require(lease is not None and lease["released"], f"{survivor.name} has not released the lease")

    async def _away(self) -> None:
        """Nothing is left behind."""
        for each in self.instances:
            if not each.main.done():
                each.kill()
        tasks = [each.main for each in self.instances] + self._orders
        for each in self._orders:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _owners(self) -> list[str]:
        return [each.name for each in self.instances if each.owns]


def lived(seed: int, make: Make | None = None) -> Witness:
    """The story of this seed."""

    async def told() -> Witness:
        world = World(seed, make or Make())
        await world.passes()
        return world.witness

    return run(told())


def replayed(seed: int) -> None:
    """Tell the story."""
    witness = lived(seed)
    print(*witness.told, sep="\n")
    print(*(witness.violations or ["nothing is wrong"]), sep="\n")


def connector(name: str, log: str, size: int) -> ConnectorSpec:
    """A job that reads this log; `size` makes it another definition."""
    return ConnectorSpec.model_validate(
        {
            "name": name,
            "source": {"service_name": "b", "resource": log},
            "sinks": [{"service_name": "a", "resource": f"out-{log}"}],
            "delivery": "effectively_once" if name.startswith("t") else "at_least_once",
            "drain_timeout_sec": 4,
            "max_in_flight": size + 1,
            "retry": {"max_ms": 3000},
        }
    )


@cache
def file(state: StartupState) -> ConfigFile:
    return ConfigFile.model_validate(
        {
            "system": {
                "job_lifecycle": {"service_name": "a", "resource": "jobs", "startup_state": state},
                "checkpoints": {"service_name": "a", "resource": "places"},
            },
            "services": [MemoryConfig(provider="memory", name=each) for each in ("a", "b")],
            "connectors": [connector(name, f"{name}-0", 0) for name in OF_FILE],
        }
    )


if __name__ == "__main__":
    replayed(int(sys.argv[1]))
