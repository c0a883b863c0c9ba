"""The sql sink as the contract's checks see it, on each database that it writes to."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pymysql
import pytest
import sqlalchemy as sa

from mstream.domain.connector import SinkRef
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import role_options
from mstream.ports.roles import Sink
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig

#: No column of texts holds half a character; whole documents must be objects.
REFUSED = {"typed": {"_id": 1_000_000, "text": "\ud800"}, "json": 7}

#: By dialect: the driver that reads, and the order in which rows were written.
_READING = {
    "sqlite": ("sqlite", "rowid"),
    "postgresql": ("postgresql+psycopg", "ctid"),
    "mysql": ("mysql+pymysql", None),
}


def sqlite_in(folder: Path, request: pytest.FixtureRequest) -> str:
    """A file of its own."""
    return f"sqlite:///{folder / 'shop.db'}"


def on_postgres(folder: Path, request: pytest.FixtureRequest) -> str:
    """A database without a table; skips where there is no server."""
    return _emptied(str(request.getfixturevalue("postgres_url")))


def on_mariadb(folder: Path, request: pytest.FixtureRequest) -> str:
    """The same on MariaDB."""
    return _emptied(str(request.getfixturevalue("mysql_url")))


def _reading(url: str) -> tuple[str, sa.URL, str | None]:
    """Dialect, address for the driver that reads, and the column that tells the order."""
    name = sa.make_url(url).get_backend_name()
    dialect = "mysql" if name == "mariadb" else name
    driver, order = _READING[dialect]
    return dialect, sa.make_url(url).set(drivername=driver), order


def _emptied(url: str) -> str:
    engine = sa.create_engine(_reading(url)[1])
    tables = sa.MetaData()
    tables.reflect(engine)
    tables.drop_all(engine)
    engine.dispose()
    return url


Place = Callable[[Path, pytest.FixtureRequest], str]


class SqlSinkHarness:
    """One table; faults come up from the driver."""

    can_fail = True
    can_crash = False

    def __init__(self, url: str, **settings: Any) -> None:
        self.config = SqlConfig.model_validate({"name": "shop", "url": url, **settings})
        self._dialect, self._url, self._order = _reading(url)
        self._fails = False
        self._lost: bool | None = None

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Sink]:
        assert PROVIDER.sink is not None
        ref = SinkRef(service_name="shop", resource="orders", **options)
        role = role_options(PROVIDER.sink.options, self.config, ref)
        async with PROVIDER.connect(self.config) as live, PROVIDER.sink.open(live, ref, role) as sink:
            sa.event.listen(live.engine, "begin", self._begin)
            sa.event.listen(live.engine, "commit", self._commit)
            yield sink

    async def stored(self) -> list[Any]:
        engine = sa.create_engine(self._url)
        try:
            with engine.connect() as connection:
                if not sa.inspect(connection).has_table("orders"):
                    return []
                order = f" ORDER BY {self._order}" if self._order else ""
                rows = connection.exec_driver_sql(f"SELECT * FROM orders{order}").mappings()
                return [self._row(dict(each)) for each in rows]
        finally:
            engine.dispose()

    def _row(self, columns: dict[str, Any]) -> Any:
        if "document" in columns:
            document = columns["document"]
            return orjson.loads(document) if isinstance(document, str | bytes) else document
        return {name: value for name, value in columns.items() if value is not None}

    def refused(self) -> Any:
        return REFUSED[self.config.columns]

    def fail_next_write(self) -> None:
        self._fails = True

    async def crash(self) -> None:
        """What is committed is there; only a power cut could take what was not synced."""

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"

    @asynccontextmanager
    async def documents(self) -> AsyncIterator[DocumentStore]:
        assert PROVIDER.documents is not None
        async with PROVIDER.connect(self.config) as live:
            yield PROVIDER.documents(live)

    def lose_answer(self, *, is_committed: bool) -> None:
        self._lost = is_committed

    def _begin(self, connection: sa.Connection) -> None:
        if self._fails:
            self._fails = False
            raise self._broken()

    def _commit(self, connection: sa.Connection) -> None:
        if "mstream_mode" in connection.get_execution_options():
            return  # a change of the table, before the transaction of the records
        lost, self._lost = self._lost, None
        driver = connection.connection.driver_connection
        if lost is None or driver is None:
            return
        driver.commit() if lost else driver.rollback()
        raise self._broken()

    def _broken(self) -> Exception:
        """What the driver raises when the database does not answer."""
        match self._dialect:
            case "postgresql":
                return psycopg.OperationalError("server closed the connection unexpectedly")
            case "mysql":
                return pymysql.err.OperationalError(2013, "Lost connection to MySQL server during query")
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = 10
        return error
