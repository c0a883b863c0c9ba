"""Bring stored services under a new key: mstream's rotation against a bare read, encrypt, write loop."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.config.definition import stored_definitions
from mstream.config.system import System
from mstream.control.authority import SoleOwner
from mstream.control.keys import KeySource
from mstream.control.rotation import Rotation
from mstream.control.vault import Shelf, Vault, open_vault
from mstream.domain.audit import Actor, Change
from mstream.ports.provider import provider_named
from mstream.providers import CATALOG

_OLD, _NEW = bytes(range(32)), bytes(range(32, 64))
_TABLE = "mstream-services"
_DATABASE = "services.db"
_PARSE = stored_definitions(CATALOG)


def contenders() -> Mapping[str, Callable[[Path], float]]:
    """Each brings all services in a copy of the folder under the new key, and tells the seconds that it took."""
    return {"mstream": rotated, "bare loop": bare, "mstream again": rotated}


def prepare(folder: Path, count: int) -> None:
    """A SQLite store with so many services under the old key, as mstream writes them."""
    folder.mkdir()
    asyncio.run(_prepare(folder, count))


def rotated(folder: Path) -> float:
    """What `mstream key rotate` does once the new key stands in the file."""
    return asyncio.run(_rotated(folder))


def bare(folder: Path) -> float:
    """The same documents, the same pragmas, a transaction for each, nothing checked."""
    old, new = AESGCM(_OLD), AESGCM(_NEW)
    database = sqlite3.connect(folder / _DATABASE, isolation_level=None)
    for each in ("journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {each}")
    begun = time.perf_counter()
    rows = database.execute(f'SELECT "key", "revision", "document" FROM "{_TABLE}"').fetchall()  # noqa: S608 - our own name
    update = f'UPDATE "{_TABLE}" SET "revision" = ?, "document" = ? WHERE "key" = ? AND "revision" = ?'  # noqa: S608 - the same
    for key, revision, text in rows:
        document = json.loads(text)
        envelope = document["envelope"]
        bound = json.dumps(["mstream", 1, _TABLE, key]).encode()
        nonce, body = (base64.b64decode(envelope[each]["$bytes"]) for each in ("nonce", "ct"))
        nonce, plain = secrets.token_bytes(12), old.decrypt(nonce, body, bound)
        body = new.encrypt(nonce, plain, bound)
        tagged = {
            each: {"$bytes": base64.b64encode(value).decode()} for each, value in (("nonce", nonce), ("ct", body))
        }
        document["envelope"] = {"v": 1, "kid": _id(), **tagged}
        database.execute("BEGIN IMMEDIATE")
        database.execute(update, (secrets.token_hex(16), json.dumps(document, separators=(",", ":")), key, revision))
        database.execute("COMMIT")
    taken = time.perf_counter() - begun
    database.close()
    return taken


def names_under_new_key(folder: Path) -> list[str]:
    """The services that the new key alone opens."""

    async def read() -> list[str]:
        async with _vault(folder, _NEW, _OLD) as vault:
            census = await vault.store.census()
            definitions, _ = await vault.store.everything()
            return [each.name for each in definitions] if set(census.under) == {_id()} else []

    return asyncio.run(read())


def copied(folder: Path, to: Path) -> Path:
    """A store of its own for one contender."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return to


async def _prepare(folder: Path, count: int) -> None:
    async with _vault(folder, _OLD) as vault:
        for number in range(count):
            name = f"service-{number:06}"
            url = f"mongodb://user:{secrets.token_hex(12)}@db-{number}.example:27017/?replicaSet=rs0"
            config = _PARSE({"provider": "mongodb", "name": name, "connection_string": url, "db_name": "shop"})
            change = Change(
                at="2026-01-01T00:00:00.000000Z", by=Actor(who="bench"), verb="create", revision=secrets.token_hex(16)
            )
            await vault.store.create(config, origin="api", change=change, epoch=0)


async def _rotated(folder: Path) -> float:
    async with _vault(folder, _NEW, _OLD) as vault:
        begun = time.perf_counter()
        await Rotation(vault, SoleOwner()).complete()
        return time.perf_counter() - begun


@asynccontextmanager
async def _vault(folder: Path, *keys: bytes) -> AsyncIterator[Vault]:
    provider = provider_named(CATALOG, "sql")
    if provider.documents is None:
        raise AssertionError
    config = provider.config.model_validate(
        {"provider": "sql", "name": "store", "url": f"sqlite:///{folder / _DATABASE}"}
    )
    environ = {"MSTREAM_ENC_KEY": ",".join(each.hex() for each in keys)}
    async with provider.connect(config) as live:
        documents = provider.documents(live)
        shelf = Shelf(
            services=documents.collection(_TABLE), resource=_TABLE, system=documents.collection("mstream-system")
        )
        yield await open_vault(KeySource(System(), environ), shelf, _PARSE, SoleOwner())


def _id() -> str:
    from mstream.stores.encryption import Key  # noqa: PLC0415 - the bare loop is measured without it

    return Key(_NEW).id
