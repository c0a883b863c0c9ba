"""Document store in tables: one per collection, compare-and-set by revision."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from mstream.errors import DocumentDamaged, RevisionConflict, StaleCheckpoint, StoreError
from mstream.foundation.tagged_json import from_text, to_text
from mstream.ports.checkpoints import CheckpointEntry
from mstream.ports.documents import (
    ABSENT,
    LARGEST,
    LAYOUT_KEY,
    LAYOUT_RESOURCE,
    Document,
    Revision,
    Stored,
    Stray,
    check_layout,
)

from .config import Dialect, sqlite_path
from .service import SqlService
from .tables import AT_KEY, insert_of, select_of, table_of, update_of, write_expecting
from .together import SharedReads, SharedWrites

T = TypeVar("T")

_PAGE = 1000

#: Characters of a document's text: bytes in it take a third more than they are.
_LIMIT = LARGEST * 4 // 3 + 100_000
#: Characters from which on a server of MySQL's kind is asked first whether it takes so much.
_LARGE = 500_000


class SqlDocuments:
    """The collections of one database."""

    def __init__(self, service: SqlService) -> None:
        self._service = service
        self._reads, self._writes = SharedReads(service), SharedWrites(service)

    def collection(self, resource: str, *, key: str = "name") -> SqlCollection:
        """The collection of that name; its table is made when it is first needed."""
        return SqlCollection(self._service, self._reads, self._writes, resource)

    async def ping(self) -> None:
        """Answers when the database does, and was not laid out by a newer version of the program."""
        stored = await self.collection(LAYOUT_RESOURCE).get(LAYOUT_KEY)
        check_layout(None if stored is None else stored.document, f"service {self._service.config.name!r}")

    def lock_path(self) -> Path | None:
        """Beside the file of a SQLite database; a server is shared by other means."""
        path = sqlite_path(self._service.config.url.reveal()) if self._service.dialect is Dialect.SQLITE else None
        return None if path is None else Path(f"{Path(path).resolve()}.lock")


class SqlCollection:
    """One table of documents."""

    def __init__(self, service: SqlService, reads: SharedReads, writes: SharedWrites, resource: str) -> None:
        self._service = service
        self._reads = reads
        self._writes = writes
        self._table = table_of(resource, service.dialect)
        self._what = f"collection {resource!r}"

    async def get(self, key: str) -> Stored | None:
        """The document as last written by anybody."""
        statement, parameters = select_of(self._table), {AT_KEY: key}
        rows = await self._read(lambda connection: connection.execute(statement, parameters).all())
        return _stored(rows[0]) if rows else None

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        """By key in code-point order; damaged documents are left out."""
        found: list[Stored] = []
        while len(found) < limit:
            wanted = limit - len(found)
            rows = await self._page(after, wanted)
            found += _readable(rows)
            if len(rows) < wanted:
                break
            after = rows[-1].key
        return found

    async def strays(self) -> Sequence[Stray]:
        """Damaged documents."""
        found: list[Stray] = []
        after = ""
        while rows := await self._page(after, _PAGE):
            readable = {each.key for each in _readable(rows)}
            found += [Stray(key=each.key, reason="damaged", count=1) for each in rows if each.key not in readable]
            after = rows[-1].key
        return found

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        """Write; with `expect` only if that is still the revision."""
        text = to_text(document)
        if len(text) > _LIMIT:
            message = f"{self._what}: document {key!r} has {len(text):,} characters, {_LIMIT:,} may be; make it smaller"
            raise StoreError(message)
        if self._service.dialect is Dialect.MYSQL and len(text) > _LARGE:
            await self._run(lambda connection: _check_packet(connection, text, self._what))
        values = {"revision": revision or secrets.token_hex(16), "document": text}
        if expect is None:
            await self._run(lambda connection: _overwrite(connection, self._table, key, values))
        elif expect == ABSENT:
            insert, columns = insert_of(self._table), {"key": key, **values}
            try:
                await self._run(lambda connection: connection.execute(insert, columns))
            except RevisionConflict:
                raise self._conflict(key) from None
        elif not await self._run(lambda connection: write_expecting(connection, self._table, key, values, expect)):
            raise self._conflict(key)
        return values["revision"]

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """Remove; with `expect` only if that is still the revision."""
        statement = sa.delete(self._table).where(self._table.c.key == key)
        if expect is not None:
            statement = statement.where(self._table.c.revision == expect)
        gone = bool(await self._run(lambda connection: connection.execute(statement).rowcount))
        if not gone and expect is not None and (expect != ABSENT or await self.get(key) is not None):
            raise self._conflict(key)
        return gone

    def _conflict(self, key: str) -> RevisionConflict:
        return RevisionConflict(f"{self._what}: {key!r} is not at the expected revision; read it again")

    async def _page(self, after: str, limit: int) -> Sequence[sa.Row[Any]]:
        key = self._table.c.key
        statement = sa.select(self._table).where(key > after).order_by(key).limit(limit)
        return await self._read(lambda connection: connection.execute(statement).all())

    async def _read(self, work: Callable[[sa.Connection], Sequence[sa.Row[Any]]]) -> Sequence[sa.Row[Any]]:
        return await self._reads.run(work, self._table, self._what)

    async def _run(self, work: Callable[[sa.Connection], T]) -> T:
        return await self._writes.run(work, self._table, self._what)


def write_entry(connection: sa.Connection, dialect: Dialect, entry: CheckpointEntry) -> None:
    """A checkpoint, as the last statement of a transaction. Raises StaleCheckpoint when somebody has moved it."""
    values = {"revision": entry.revision, "document": to_text(entry.document)}
    if not write_expecting(connection, table_of(entry.resource, dialect), entry.key, values, entry.expect):
        message = f"checkpoint {entry.key!r} is no longer the one that this run has claimed; nothing was committed"
        raise StaleCheckpoint(message)


def _check_packet(connection: sa.Connection, text: str, what: str) -> None:
    """The server ends a connection that sends it too much: from outside it looks like an outage."""
    allowed = int(connection.exec_driver_sql("SELECT @@max_allowed_packet").scalar() or 0)
    escaped = len(text) + text.count('"') + text.count("\\") + _LARGE // 10
    if escaped > allowed:
        message = f"{what}: a document needs {escaped:,} bytes, the server takes {allowed:,}; raise max_allowed_packet"
        raise StoreError(message)


def _overwrite(connection: sa.Connection, table: sa.Table, key: str, values: dict[str, str]) -> None:
    while connection.execute(update_of(table), {AT_KEY: key, **values}).rowcount == 0:
        if write_expecting(connection, table, key, values, ABSENT):
            return


def _stored(row: Any) -> Stored:
    try:
        return Stored(key=row.key, revision=row.revision, document=from_text(row.document))
    except (ValueError, TypeError):
        message = f"document {row.key!r} is damaged: it was not written by mstream; correct it, or remove it"
        raise DocumentDamaged(message) from None


def _readable(rows: Sequence[Any]) -> list[Stored]:
    found: list[Stored] = []
    for each in rows:
        with suppress(DocumentDamaged):
            found.append(_stored(each))
    return found
