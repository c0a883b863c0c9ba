"""What a client of the program knows: which states each job and service may be in, and what was acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Kept:
    """A job as it must stand in a store."""

    #: Tells its definitions apart.
    definition: int
    intent: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A service as it must stand in a store."""

    definition: int


#: One of these must hold; None: there is no such document.
Allowed = frozenset[Kept | Sealed | None]


@dataclass(slots=True)
class Ledger:
    """Job and service by name, each with all that it may be; more than one only while a command is under way."""

    jobs: dict[str, Allowed] = field(default_factory=dict)
    services: dict[str, Allowed] = field(default_factory=dict)
    #: Who gave commands that were acknowledged and have changed a job or a service, with the kind and name of it.
    acknowledged: set[tuple[str, str, str]] = field(default_factory=set)

    def job(self, name: str) -> Kept | None:
        """What a job is, when there is no doubt."""
        [found] = self.jobs.get(name, frozenset({None}))
        assert found is None or isinstance(found, Kept)
        return found

    def standing(self) -> dict[str, Kept]:
        """The jobs that are there, when there is no doubt."""
        found = {name: self.job(name) for name in self.jobs}
        return {name: each for name, each in found.items() if each is not None}

    def running(self) -> set[str]:
        """The jobs that are meant to run."""
        return {name for name, each in self.standing().items() if each.intent == "running"}

    def job_may_become(self, name: str, new: Kept | None) -> None:
        """A command that does it is under way."""
        self.jobs[name] = self.jobs.get(name, frozenset({None})) | {new}

    def service_may_become(self, name: str, new: Sealed | None) -> None:
        """As for jobs."""
        self.services[name] = self.services.get(name, frozenset({None})) | {new}

    def settle_job(self, name: str, now: Kept | None) -> None:
        """It is known now."""
        self.jobs[name] = frozenset({now})

    def settle_service(self, name: str, now: Sealed | None) -> None:
        """It is known now."""
        self.services[name] = frozenset({now})

    def without(self, found: Mapping[str, object]) -> set[str]:
        """Jobs that may stand there and are none of these."""
        return {name for name, allowed in self.jobs.items() if allowed != {None}} - set(found)
