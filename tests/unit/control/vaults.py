"""A vault on memory: collections that fail where a test says, keys in a folder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from mstream.config.definition import stored_definitions
from mstream.config.system import System
from mstream.control.authority import SoleOwner
from mstream.control.keys import KeySource
from mstream.control.rotation import Rotation
from mstream.control.vault import Shelf, Vault, open_vault
from mstream.domain.audit import Actor, Change
from mstream.domain.service import ServiceConfig
from mstream.errors import StoreUnreachable
from mstream.ports.documents import Collection, Document, Revision, Stored
from mstream.providers import CATALOG
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores import key_file
from mstream.stores.encryption import Key

PARSE = stored_definitions(CATALOG)
ME = Actor(who="me", where="here")
SECRET = "pl4nted"


class Killed(BaseException):
    """The process is gone at this moment; nobody catches it."""


@dataclass
class Faults:
    """Where the next writes of several collections fail; counted together."""

    #: The write, counted from 1, at which it happens; None: never.
    at: int | None = None
    #: After it has come through instead of before.
    after: bool = False
    error: type[BaseException] = Killed
    writes: int = 0

    def passes(self, *, after: bool) -> None:
        """Called before and after every write."""
        if not after:
            self.writes += 1
        if self.writes == self.at and self.after is after:
            raise self.error("planted")


@dataclass
class FaultyCollection:
    """A collection whose writes fail on request."""

    inner: Collection
    faults: Faults

    async def get(self, key: str) -> Stored | None:
        return await self.inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        return await self.inner.scan(after=after, limit=limit)

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        self.faults.passes(after=False)
        made = await self.inner.put(key, document, expect=expect, revision=revision)
        self.faults.passes(after=True)
        return made

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        self.faults.passes(after=False)
        gone = await self.inner.delete(key, expect=expect)
        self.faults.passes(after=True)
        return gone


@dataclass
class Home:
    """One host's folder, and a store that outlives every program that uses it."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    faults: Faults = field(default_factory=Faults)
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / "mstream.key"

    @property
    def services(self) -> Collection:
        return FaultyCollection(self.documents.collection("services"), self.faults)

    @property
    def system(self) -> Collection:
        return FaultyCollection(self.documents.collection("system"), self.faults)

    @property
    def shelf(self) -> Shelf:
        return Shelf(services=self.services, resource="services", system=self.system)

    def source(self, **more: float) -> KeySource:
        system = System.model_validate({"encryption_key_path": str(self.path), **self.settings})
        return KeySource(system, self.environ, **more)

    async def vault(self) -> Vault:
        """As a program opens it that owns the store."""
        return await open_vault(self.source(), self.shelf, PARSE, SoleOwner())

    async def rotation(self) -> Rotation:
        """A program that has just begun."""
        return Rotation(await self.vault(), SoleOwner())

    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()

    def write_key(self, *raws: bytes) -> None:
        self.path.unlink(missing_ok=True)
        self.path.touch(mode=0o600)
        key_file.replace(self.path, [Key(each) for each in raws])


def service(name: str = "db", password: str = SECRET) -> ServiceConfig:
    return PARSE(body(name, password))


def body(name: str = "db", password: str = SECRET) -> dict[str, str]:
    url = f"mongodb://u:{password}@host/"
    return {"provider": "mongodb", "name": name, "connection_string": url, "db_name": "app"}


def change(revision: str, verb: str = "create") -> Change:
    return Change(at="2024-01-01T00:00:00.000000Z", by=ME, verb=verb, revision=revision)


async def filled(home: Home, count: int = 3) -> Vault:
    """A vault with services in it."""
    vault = await home.vault()
    for number in range(count):
        await vault.store.create(service(f"s{number}"), origin="api", change=change(f"r{number}"), epoch=0)
    return vault


UNREACHABLE = StoreUnreachable
RANDOM = Random(7)
