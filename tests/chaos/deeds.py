"""Commands that are under way when the program is killed: what is asked, and what it may change."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final

from tests.chaos.ledger import Kept, Sealed
from tests.chaos.lives import Life, until
from tests.chaos.world import Entry, World, definition

#: Seconds that a command without a kill may take.
_PATIENCE: Final = 60.0
#: Jobs beyond which none is made, and services.
_MOST_JOBS, _MOST_SERVICES = 7, 4
_FEW_RECORDS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """A command: method, path and body of its request, and what holds once it is acknowledged."""

    request: tuple[str, ...] = ()
    body: Mapping[str, Any] | None = None
    jobs: Mapping[str, Kept | None] = field(default_factory=dict)
    services: Mapping[str, Sealed | None] = field(default_factory=dict)
    #: Kind and name of what it changes.
    audited: tuple[tuple[str, str], ...] = ()
    #: A command of another process instead of a request.
    command: str | None = None
    #: SIGTERM instead of a request.
    is_end: bool = False


class Actions:
    """Everything that is done to a world; chooses among what the commands allow just then."""

    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice
        self._made = 0
        self._others: list[Life] = []

    def do(self, life: Life, deed: Deed, *, wait: float = 0) -> bool:
        """Ask; True: it was acknowledged, and from now on holds. Raises AssertionError when it is refused."""
        ledger = self._world.ledger
        for name, job in deed.jobs.items():
            ledger.job_may_become(name, job)
        for name, service in deed.services.items():
            ledger.service_may_become(name, service)
        if deed.command:
            self._others.append(self._world.born(command=deed.command, is_armed=True))
            return False
        if deed.is_end:
            life.terminate()
            return False
        if not deed.request:
            self._world.append(_FEW_RECORDS)
            return False
        self._made += 1
        who = f"{life.order.log.name}-{self._made}"
        try:
            status, answer = life.ask(*deed.request, who=who, body=deed.body, wait=wait)
        except (OSError, http.client.HTTPException):
            return False
        assert status < HTTPStatus.BAD_REQUEST, f"{deed.request} {deed.body}: {status} {answer}"
        for name, job in deed.jobs.items():
            ledger.settle_job(name, job)
        for name, service in deed.services.items():
            ledger.settle_service(name, service)
        ledger.acknowledged |= {(kind, name, who) for kind, name in deed.audited}
        return True

    def end_others(self) -> None:
        """Other processes must not outlive the kill."""
        for each in self._others:
            each.kill()
        self._others.clear()

    # What follows makes what the deed needs, without a kill, and gives the deed.

    def create(self, life: Life) -> Deed:
        if len(self._world.ledger.standing()) >= _MOST_JOBS:
            self.do(life, self.delete(life))
        name, enabled = f"job-{self._new()}", self._dice.random() < 0.7
        mark = self._mark()
        return Deed(
            request=("POST", "jobs"),
            body=definition(name, mark, enabled=enabled),
            jobs={name: Kept(mark, "running" if enabled else "stopped")},
            audited=(("job", name),),
        )

    def update(self, life: Life) -> Deed:
        if not self._world.ledger.standing():
            self.do(life, self.create(life))
        name, mark = self._dice.choice(sorted(self._world.ledger.standing())), self._mark()
        stored = self._standing(name)
        body = definition(name, mark)
        return Deed(
            request=("PUT", "jobs", name),
            body=body,
            jobs={name: replace(stored, definition=mark)},
            audited=(("job", name),),
        )

    def stop(self, life: Life) -> Deed:
        return self._intent(self._one(life, "running"), "stop", "stopped")

    def pause(self, life: Life) -> Deed:
        return self._intent(self._one(life, "running"), "pause", "paused")

    def start(self, life: Life) -> Deed:
        return self._intent(self._one(life, "stopped"), "start", "running")

    def resume(self, life: Life) -> Deed:
        return self._intent(self._one(life, "paused"), "resume", "running")

    def restart(self, life: Life) -> Deed:
        return Deed(request=("POST", "jobs", self._one(life, "running"), "restart"))

    def delete(self, life: Life) -> Deed:
        name = self._one(life, "stopped")
        self._at_rest(life, name)
        return Deed(request=("DELETE", "jobs", name), jobs={name: None}, audited=(("job", name),))

    def reset(self, life: Life) -> Deed:
        name = self._one(life, "stopped")
        self._at_rest(life, name)
        body = {"begin": "beginning", "reason": "a trial"}
        return Deed(request=("PUT", "jobs", name, "checkpoints"), body=body, audited=(("job", name),))

    def apply(self, life: Life) -> Deed:
        world = self._world
        for name in list(world.file):
            world.file[name] = replace(world.file[name], definition=self._mark())
        if self._dice.random() < 0.3 and len(world.file) < _MOST_JOBS:
            world.file[f"filed-{self._new()}"] = Entry(self._mark(), enabled=self._dice.random() < 0.7)
        world.write_file()
        standing = world.ledger.standing()
        jobs: dict[str, Kept | None] = {}
        for name, each in world.file.items():
            intent = standing[name].intent if name in standing else "running" if each.enabled else "stopped"
            jobs[name] = Kept(each.definition, intent)
        return Deed(request=("POST", "apply"), body={}, jobs=jobs, audited=tuple(("job", name) for name in jobs))

    def service_create(self, life: Life) -> Deed:
        if len(self._services()) >= _MOST_SERVICES:
            self.do(life, self.service_delete(life))
        name, mark = f"service-{self._new()}", self._mark()
        return Deed(
            request=("POST", "services"),
            body={"provider": "file", "name": name, "path": f"folder-{mark}"},
            services={name: Sealed(mark)},
            audited=(("service", name),),
        )

    def service_replace(self, life: Life) -> Deed:
        name, mark = self._service(life), self._mark()
        return Deed(
            request=("PUT", "services", name),
            body={"provider": "file", "path": f"folder-{mark}"},
            services={name: Sealed(mark)},
            audited=(("service", name),),
        )

    def service_delete(self, life: Life) -> Deed:
        name = self._service(life)
        return Deed(request=("DELETE", "services", name), services={name: None}, audited=(("service", name),))

    def rotate(self, life: Life) -> Deed:
        while len(self._services()) < 3:
            self.do(life, self.service_create(life))
        return Deed(command="rotate")

    def retire(self, life: Life) -> Deed:
        return Deed(command="retire")

    def end(self, life: Life) -> Deed:
        return Deed(is_end=True)

    def records(self, life: Life) -> Deed:
        return Deed()

    def _intent(self, name: str, verb: str, intent: str) -> Deed:
        stored = self._standing(name)
        return Deed(
            request=("POST", "jobs", name, verb),
            jobs={name: replace(stored, intent=intent)},
            audited=(("job", name),),
        )

    def _one(self, life: Life, intent: str) -> str:
        """A job that is meant so; one is brought there if there is none."""
        names = sorted(name for name, each in self._world.ledger.standing().items() if each.intent == intent)
        if names:
            return self._dice.choice(names)
        standing = self._world.ledger.standing()
        if not standing:
            self.do(life, self.create(life))
            standing = self._world.ledger.standing()
        name = self._dice.choice(sorted(standing))
        if intent == "paused" and standing[name].intent == "stopped":
            assert self.do(life, self._intent(name, "start", "running"), wait=_PATIENCE)
        verb = {"running": "start", "paused": "pause", "stopped": "stop"}[intent]
        if self._standing(name).intent != intent:
            assert self.do(life, self._intent(name, verb, intent), wait=_PATIENCE)
        return name

    def _standing(self, name: str) -> Kept:
        found = self._world.ledger.job(name)
        assert found is not None
        return found

    def _at_rest(self, life: Life, name: str) -> None:
        until(lambda: life.ask("GET", "jobs", name)[1]["phase"] in {"stopped", "paused", "failed"}, f"job {name} rests")

    def _services(self) -> list[str]:
        return sorted(
            name for name, each in self._world.ledger.services.items() if each != {None} and name.startswith("service-")
        )

    def _service(self, life: Life) -> str:
        if not self._services():
            assert self.do(life, self.service_create(life))
        return self._dice.choice(self._services())

    def _new(self) -> int:
        self._made += 1
        return self._made

    def _mark(self) -> int:
        """Within what the definitions allow; never one that a job has just now: replacing it must change it."""
        taken = {each.definition for each in self._world.ledger.standing().values()}
        return self._dice.choice([each for each in range(2, 1000) if each not in taken])


Prepared = Callable[[Life], Deed]
