"""The program as it is, over document stores that kill it at a chosen write.

Its process is forked from one that has imported everything already, so that a boot costs a tenth of a second. It is
told what to do by an `Order`, and ends like any process: by its own end, by a signal, by SIGKILL.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.keys import KeyRoom
from mstream.bootstrap.program import Options, Program, read
from mstream.bootstrap.transfer import export, take
from mstream.domain.audit import Actor
from mstream.errors import MstreamError, StoreOwned
from mstream.foundation.tagged_json import from_text, to_text
from mstream.observability.logs import configure
from mstream.ports.documents import Collection, Document, DocumentStore, Revision, Shared, Stored, Stray
from mstream.ports.exclusive import Exclusive
from mstream.ports.provider import Catalog, Provider
from mstream.providers import CATALOG

#: Who imports.
IMPORTER = "importer"
#: From Linux: the process gets a signal when the one that it was forked from has ended.
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a forked process does, and at which write it dies."""

    folder: Path
    config: str
    log: Path
    #: `run`, `rotate`, `retire`, `export` or `import`.
    command: str = "run"
    #: What is exported to and imported from.
    bundle: Path = Path("bundle.json")
    #: Writes are counted once this file is there; None: from the start.
    armed: Path | None = None
    #: The number of the write, from 1, that it is killed at; None: it lives on.
    at: int | None = None
    #: Whether that write is still done.
    is_done: bool = False


def perform(order: Order) -> None:
    """In the new process: never returns normally."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.chdir(order.folder)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    configure("info")
    try:
        sys.exit(asyncio.run(_performed(order)))
    except MstreamError as error:
        print(f"ended: {error.code}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)


async def _performed(order: Order) -> int:
    catalog = counted(CATALOG, Count(order))
    path = Path(order.config)
    file = read(path, catalog, os.environ)
    if order.command == "run":
        return await Program(file, Options(), path=path, catalog=catalog).run()
    if order.command in {"export", "import"}:
        await _moved(order, Estate(file, catalog=catalog, environ=os.environ))
    else:
        await _keys_changed(order, KeyRoom(file, catalog, os.environ))
    return 0


async def _keys_changed(order: Order, room: KeyRoom) -> None:
    try:
        async with room.rotation() as rotation:
            await (rotation.rotate() if order.command == "rotate" else rotation.retire())
    except StoreOwned:
        async with room.beside() as keys:
            await (keys.rotate() if order.command == "rotate" else keys.retire())


async def _moved(order: Order, estate: Estate) -> None:
    if order.command == "export":
        order.bundle.write_text(to_text(await export(estate, encrypt_to=None)))
        return
    bundle = from_text(order.bundle.read_text())
    by = Actor(who=IMPORTER)
    await take(estate, bundle, answers={}, decrypt_with=None, overwrite=False, by=by)


@dataclass(slots=True)
class Count:
    """Writes over all collections of one process."""

    order: Order
    writes: int = 0
    _is_armed: bool = False

    def before(self, what: str) -> int:
        """Called ahead of every write; gives its number, 0 while none are counted."""
        armed = self.order.armed
        self._is_armed = self._is_armed or armed is None or armed.exists()
        if not self._is_armed:
            return 0
        self.writes += 1
        number = self.writes
        if number == self.order.at and not self.order.is_done:
            self._die(number, what)
        return number

    def after(self, number: int, what: str) -> None:
        """Called after every write."""
        if number and number == self.order.at and self.order.is_done:
            self._die(number, what)

    def _die(self, number: int, what: str) -> None:
        when = "after" if self.order.is_done else "before"
        os.write(2, f"killed {when} write {number}: {what}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


class CountedCollection:
    """Implements `Collection` over another one."""

    def __init__(self, inner: Collection, name: str, count: Count) -> None:
        self._inner = inner
        self._name = name
        self._count = count

    async def get(self, key: str) -> Stored | None:
        return await self._inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        return await self._inner.scan(after=after, limit=limit)

    async def strays(self) -> Sequence[Stray]:
        return await self._inner.strays() if isinstance(self._inner, Shared) else ()

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        what = f"put {self._name} {key}"
        number = self._count.before(what)
        done = await self._inner.put(key, document, expect=expect, revision=revision)
        self._count.after(number, what)
        return done

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        what = f"delete {self._name} {key}"
        number = self._count.before(what)
        done = await self._inner.delete(key, expect=expect)
        self._count.after(number, what)
        return done


class CountedStore:
    """Implements `DocumentStore` and `Exclusive` over another one."""

    def __init__(self, inner: DocumentStore, count: Count) -> None:
        self._inner = inner
        self._count = count

    def collection(self, resource: str, *, key: str = "name") -> Collection:
        return CountedCollection(self._inner.collection(resource, key=key), resource, self._count)

    async def ping(self) -> None:
        await self._inner.ping()

    def lock_path(self) -> Path | None:
        return self._inner.lock_path() if isinstance(self._inner, Exclusive) else None


def counted(catalog: Catalog, count: Count) -> Catalog:
    """The same providers; those of SQL with stores that count."""
    return tuple(_with_counted_stores(each, count) if each.name == "sql" else each for each in catalog)


def _with_counted_stores(provider: Provider[Any, Any], count: Count) -> Provider[Any, Any]:
    opened: Callable[[Any], DocumentStore] | None = provider.documents
    assert opened is not None
    return replace(provider, documents=lambda live: CountedStore(opened(live), count))
