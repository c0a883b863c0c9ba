"""What tests of the sql sink have in common: databases by name, a sink on a fresh table, and the rows in it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mstream.domain.batch import Batch, Operation
from mstream.domain.connector import SinkRef
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig, SqlSinkOptions
from mstream.providers.sql.service import SqlService
from mstream.providers.sql.sink import SqlSink

DATABASES = ["sqlite", "postgres", "mariadb"]


def url_of(database: str, request: pytest.FixtureRequest, folder: Path) -> str:
    match database:
        case "sqlite":
            return f"sqlite:///{folder / 'tables.db'}"
        case "postgres":
            return str(request.getfixturevalue("postgres_url"))
        case "mariadb":
            return str(request.getfixturevalue("mysql_url"))
    raise AssertionError(database)


@dataclass
class Desk:
    """A database with a table name that nobody else uses."""

    live: SqlService
    table: str = field(default_factory=lambda: f'Orders "%s` {secrets.token_hex(4)}')

    @asynccontextmanager
    async def sink(self, **options: Any) -> AsyncIterator[SqlSink]:
        role = PROVIDER.sink
        assert role is not None
        ref = SinkRef(service_name="it", resource=self.table)
        async with role.open(self.live, ref, SqlSinkOptions(**options)) as sink:
            assert isinstance(sink, SqlSink)
            yield sink

    async def execute(self, statement: str) -> Sequence[Any]:
        """`{t}` is the table; quoted names are written in double quotes."""
        quote = self.live.engine.dialect.identifier_preparer.quote_identifier
        text = statement.replace('"', "`") if self.live.engine.name == "mysql" else statement
        quoted = quote(self.table).replace("%%", "%")

        def work(connection: sa.Connection) -> Sequence[Any]:
            cursor = connection.connection.cursor()
            cursor.execute(text.replace("{t}", quoted))
            return list(cursor.fetchall()) if cursor.description else []

        return await self.live.thread.run(lambda: self.live.transact(work))

    async def rows(self, columns: str, order: str | None = None) -> list[tuple[Any, ...]]:
        found = await self.execute(f"SELECT {columns} FROM {{t}} ORDER BY {order or columns.partition(',')[0]}")
        return [tuple(each) for each in found]

    async def columns(self) -> list[str]:
        quote = self.live.engine.dialect.identifier_preparer.quote_identifier

        def work(connection: sa.Connection) -> list[str]:
            cursor = connection.connection.cursor()
            cursor.execute(f"SELECT * FROM {quote(self.table).replace('%%', '%')}")
            return [each[0] for each in cursor.description or ()]

        return await self.live.thread.run(lambda: self.live.transact(work, mode="read"))


@asynccontextmanager
async def desk_on(url: str) -> AsyncIterator[Desk]:
    async with PROVIDER.connect(SqlConfig(name="it", url=url)) as live:
        yield Desk(live)


def batch(*documents: Any, deletes: Sequence[int] = ()) -> Batch:
    operations = [Operation.DELETE if each in deletes else Operation.INSERT for each in range(len(documents))]
    return Batch(documents=list(documents), operations=operations if deletes else None)
