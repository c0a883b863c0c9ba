"""Houses to move between: all that is kept, over any store, and what fills one to the roof."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mstream.config.document import ConfigFile
from mstream.config.system import System
from mstream.control.authority import SoleOwner
from mstream.control.exports import exported
from mstream.control.keys import KeySource
from mstream.control.services import ServiceRegistry
from mstream.control.transfer import Holdings, Import, incoming
from mstream.control.vault import Shelf, open_vault
from mstream.domain.checkpoint import Begin
from mstream.domain.reset import ToBegin
from mstream.foundation.clock import SystemClock
from mstream.foundation.tagged_json import from_text, to_text
from mstream.ports.documents import Collection, DocumentStore
from mstream.providers import CATALOG
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.encryption import KeyRing
from tests.unit.control.vaults import ME, PARSE

#: What an import does not take over from where it comes from.
OBSERVED = {"state", "linked_services", "phase", "run_id", "next_attempt_at", "epoch", "last_change"}
#: What stores add by themselves.
ADDED = {"_id", "revision", "_digest"}


class Owner(SoleOwner):
    """Has a lease in an epoch of its own."""

    epoch = 5


@dataclass
class House:
    """Stores in one database, and their services."""

    jobs: Collection
    checkpoints: Collection
    system: Collection
    services: Collection
    registry: ServiceRegistry
    owner: SoleOwner = field(default_factory=Owner)

    @property
    def holdings(self) -> Holdings:
        return Holdings(jobs=self.jobs, checkpoints=self.checkpoints, system=self.system)

    async def exported(self, ring: KeyRing | None = None) -> dict[str, Any]:
        """As it stands in the file."""
        services = [(each.config, each.origin) for each in self.registry.stored]
        bundle = await exported(self.holdings, services, ring=ring, clock=SystemClock())
        return from_text(to_text(bundle))

    async def take(
        self,
        bundle: Mapping[str, Any],
        answers: Mapping[str, str] | None = None,
        ring: KeyRing | None = None,
        *,
        overwrite: bool = False,
    ) -> dict[str, int]:
        found = incoming(bundle, answers=answers or {}, ring=ring, parse=PARSE)
        taking = Import(self.holdings, self.registry, authority=self.owner, clock=SystemClock(), by=ME)
        return await taking.take(found, overwrite=overwrite)

    async def contents(self) -> dict[str, Any]:
        """Everything that a move must not change."""
        return {
            "jobs": {each.key: without(each.document, OBSERVED) for each in await self.jobs.scan()},
            "checkpoints": {each.key: without(each.document, {"epoch"}) for each in await self.checkpoints.scan()},
            "services": {each.name: (each.config.sealed(), each.origin) for each in self.registry.stored},
        }


def without(document: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in names | ADDED}


@asynccontextmanager
async def house(
    documents: DocumentStore,
    folder: Path,
    name: str = "a",
    *,
    by: Callable[[Collection], Collection] = lambda each: each,
) -> AsyncIterator[House]:
    """In collections of its own, with a key of its own; `by`: the way to them."""

    def at(what: str, key: str = "name") -> Collection:
        return by(documents.collection(f"{name}-{what}", key=key))

    services, system = at("services"), at("system")
    source = KeySource(System(encryption_key_path=str(folder / f"{name}.key")), {})
    vault = await open_vault(
        source, Shelf(services=services, resource=f"{name}-services", system=system), PARSE, Owner()
    )
    registry = ServiceRegistry(file=ConfigFile(), catalog=CATALOG, clock=SystemClock(), naming=dict)
    await registry.open(vault.store, audit=None, authority=Owner())
    yield House(at("jobs"), at("checkpoints", "job_name"), system, services, registry)


URL = "postgresql+psycopg://user:pl4nted-url@db.example/app?sslpassword=pl4nted-query"
SERVICES: list[dict[str, Any]] = [
    {"provider": "sql", "name": "db", "url": URL},
    {"provider": "mongodb", "name": "mongo", "connection_string": "env:MONGO_URL", "db_name": "ask:db"},
    {
        "provider": "kafka",
        "name": "bus",
        "bootstrap.servers": "bus.example:9092",
        "sasl.password": "pl4nted-pass",
        "ssl.key.location": "file:/run/secrets/key",
        "client.id": "ask:bus/client.id",
        "offset_seek_back_seconds": 5,
    },
    {"provider": "http", "name": "web", "host": "https://u:pl4nted-host@web.example/in?token=pl4nted-token"},
    {
        "provider": "udf",
        "name": "scripts",
        "script_path": "scripts",
        "engine": {"kind": "rhai"},
        "sources": [{"filename": "ä.rhai", "content": "let key = 'pl4nted-constant';"}],
    },
    {
        "provider": "pubsub",
        "name": "topics",
        "project_id": "p",
        "auth": {"kind": "service_account", "account_key_path": "/pl4nted/path"},
    },
    {"provider": "file", "name": "mappe/ä%2F", "path": "."},
]


def definition(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": {"service_name": "bus", "resource": "in", "input_encoding": "json"},
        "sinks": [{"service_name": "mongo", "resource": "out", "write_mode": "replace", "unheard": {"of": [1, None]}}],
        **more,
    }


def job(name: str, intent: str = "running", **more: Any) -> dict[str, Any]:
    """As this release stores it."""
    return {
        "name": name,
        "started_at": "2026-01-02T03:04:05.678Z",
        "stopped_at": None,
        "state": "running",
        "desired_state": "running" if intent in {"running", "finishing"} else "stopped",
        "linked_services": ["bus", "mongo"],
        "pipeline": definition(name, enabled=False),
        "intent": intent,
        "phase": "running",
        "run_id": "r1",
        "epoch": 9,
        "attempts": 3,
        "next_attempt_at": "2026-01-02T03:04:05Z",
        "last_error": {"reason": "x", "message": "y", "at": "2026-01-02T03:04:05Z", "retryable": True},
        "origin": "api",
        "last_change": None,
        "removing": False,
        "of_a_later_version": {"number": 2**53 + 1, "list": [1.5, "ü", None, True], "text": "\U0001d54f"},
        **more,
    }


def job_of_v047(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "started_at": "2026-11-23T23:34:57.654843873Z",
        "stopped_at": None,
        "state": "running",
        "desired_state": "running",
        "linked_services": ["bus"],
        "pipeline": definition(name),
    }


JOBS = [
    *(job(f"job-{intent}", intent) for intent in ("running", "paused", "stopped", "finishing")),
    job("ä/b%2F c"),
    job_of_v047("old"),
    {"name": "damaged", "state": "running"},
]


async def fill(house: House) -> None:
    """With all that there can be."""
    parsed = [(PARSE(each), "file" if number % 2 else "api") for number, each in enumerate(SERVICES)]
    await house.registry.take_in(parsed, by=ME)
    for each in JOBS:
        await house.jobs.put(each["name"], each)
    places = CheckpointStore(house.checkpoints, SystemClock())
    for run, position in enumerate([1, {"offset": 2**53 + 1}, {"_data": "8265"}], start=1):
        await places.claim("job-running", f"r{run}", run, "f")
        await places.save("job-running", {"in/0": position, "in/1": [position]}, f"r{run}", run)
    await places.claim("ä/b%2F c", "r", 1, "f")
    await places.claim_lanes("ä/b%2F c", ["in/0", "in/ü"], "r", 1, "f")
    await places.place_lanes("ä/b%2F c", {"in/0": 7, "in/ü": {"o": 8}}, "r", 1, "f")
    await places.note("ä/b%2F c", {"in/0": 7}, "r", 1)
    await places.reset("job-paused", ToBegin(begin=Begin.NOW), epoch=2, by=ME, reason="a test")
    old = {"job_name": "old", "cursor": [5, 0, 0, 0, 0], "updated_at": 1795476901035, "unheard": "of"}
    await house.checkpoints.put("old", old)


def answers() -> dict[str, str]:
    """Of everything that an export without a key leaves out."""
    return {
        "db/url": URL,
        "bus/sasl.password": "pl4nted-pass",
        "bus/client.id": "ask:bus/client.id",
        "web/host": "https://u:pl4nted-host@web.example/in?token=pl4nted-token",
        "scripts/sources/0/content": "let key = 'pl4nted-constant';",
        "topics/auth/kind": "service_account",
        "topics/auth/account_key_path": "/pl4nted/path",
    }
