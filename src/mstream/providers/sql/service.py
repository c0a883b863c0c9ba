"""Engine lifecycle: opens a database with the settings that make it safe, and waits for its locks."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from mstream.errors import ServiceError
from mstream.foundation.clock import monotonic
from mstream.ports.provider import not_built

from .config import Dialect, SqlConfig, dialect_of, missing_extra, sqlite_path
from .faults import BESIDE_DRIVER, Fault, fault_of, service_error
from .thread import CallThread, call_thread

T = TypeVar("T")

#: Seconds between two attempts to get a lock that somebody else holds. SQLite's own waiting grows and starves others.
RETRY = 0.0005
#: Seconds after which waiting for a lock is given up.
PATIENCE = 10.0
#: Seconds after which the server ends a statement: below the time of a lease.
SERVER_LIMIT = 8
#: Seconds after which it ends a transaction that is idle, so that a process that is frozen in one cannot hold its
#: locks against the next owner; less than the limit above, so that whoever waits for those locks outlives it.
IDLE_LIMIT = 6

#: Under this key a connection to SQLite remembers that it has asked for the log that spares readers.
_JOURNAL = "mstream_journal"

_DRIVERNAMES = {Dialect.POSTGRESQL: "postgresql+psycopg", Dialect.MYSQL: "mysql+pymysql"}


@dataclass(frozen=True, slots=True)
class SqlService:
    """An open database, with the thread that speaks to it."""

    config: SqlConfig
    dialect: Dialect
    engine: Engine
    thread: CallThread
    #: Nobody else can reach it, and there is one connection alone.
    in_memory: bool

    @property
    def failures(self) -> tuple[type[BaseException], ...]:
        """Everything that a call to the driver may raise."""
        driver: Any = self.engine.dialect.dbapi
        return (driver.Error, SQLAlchemyError, *BESIDE_DRIVER)

    def transact(self, work: Callable[[Connection], T], *, mode: Literal["read", "write"] = "write") -> T:
        """Do it in a transaction of its own; again, for a while, when the database is busy. Call it in a thread."""
        deadline = monotonic() + PATIENCE
        while True:
            try:
                with self.engine.connect().execution_options(mstream_mode=mode) as connection, connection.begin():
                    return work(connection)
            except self.failures as error:
                if fault_of(error) is not Fault.BUSY or monotonic() > deadline:
                    raise
            pause()


def pause() -> None:
    """Let somebody else have the lock; blocks the calling thread."""
    threading.Event().wait(RETRY)


@asynccontextmanager
async def connect(config: SqlConfig) -> AsyncIterator[SqlService]:
    """Open the database. Raises ProviderUnavailable, Unreachable, AccessDenied or another ServiceError."""
    url = config.url.reveal()
    dialect = dialect_of(url)
    extra = missing_extra(dialect)
    if extra:
        raise not_built("sql", extra=extra)
    async with call_thread(f"sql-{config.name}") as thread:
        in_memory = dialect is Dialect.SQLITE and sqlite_path(url) is None
        engine = _engine(config, dialect, in_memory=in_memory)
        service = SqlService(config, dialect, engine, thread, in_memory)
        try:
            await thread.run(lambda: _greet(service))
            yield service
        finally:
            await thread.run(engine.dispose)


def _greet(service: SqlService) -> None:
    try:
        service.transact(lambda connection: connection.exec_driver_sql("SELECT 1").scalar(), mode="read")
    except service.failures as error:
        raise service_error(error, f"service {service.config.name!r} does not open") from None


def _engine(config: SqlConfig, dialect: Dialect, *, in_memory: bool) -> Engine:
    options: dict[str, Any] = {"hide_parameters": True}
    arguments: dict[str, Any] = {}
    match dialect:
        case Dialect.SQLITE:
            arguments = {"timeout": PATIENCE, "check_same_thread": False}
            if in_memory:
                options["poolclass"] = StaticPool
        case Dialect.POSTGRESQL:
            arguments = {"connect_timeout": 10, "keepalives_idle": 10, "tcp_user_timeout": 30_000}
        case Dialect.MYSQL:
            arguments = {"connect_timeout": 10, "read_timeout": 60, "write_timeout": 60}
            options["isolation_level"] = "READ COMMITTED"
    if dialect is not Dialect.SQLITE:
        options |= {"pool_pre_ping": True, "max_overflow": -1}
    try:
        url = make_url(config.url.reveal())
        arguments = {key: value for key, value in arguments.items() if key not in url.query}
        url = url.set(drivername=_DRIVERNAMES.get(dialect, "sqlite"))
        engine = create_engine(url, connect_args=arguments, **options)
    except (ArgumentError, ValueError):
        message = f"service {config.name!r}: the URL cannot be read; write it as scheme://user:password@host:port/name"
        raise ServiceError(message) from None
    event.listen(engine, "connect", _SETTINGS[dialect])
    if dialect is Dialect.SQLITE:
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself
    for statement in ("synchronous = FULL", "busy_timeout = 0"):
        connection.execute(f"PRAGMA {statement}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("mstream_mode") == "read"
    if not reads and not connection.info.get(_JOURNAL):
        # It is written into the file: whoever only reads leaves it as it is.
        connection.exec_driver_sql("PRAGMA journal_mode = WAL").all()
        connection.info[_JOURNAL] = True
    # A statement that reads is a transaction by itself.
    if not reads:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _set_up_postgresql(connection: Any, record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{SERVER_LIMIT}s'")
        cursor.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_LIMIT}s'")
        cursor.execute("SET timezone = 'UTC'")
    connection.commit()


def _set_up_mysql(connection: Any, record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        is_mariadb = "mariadb" in str(cursor.fetchone()[0]).lower()
        limits = f"innodb_lock_wait_timeout = {SERVER_LIMIT}"
        if is_mariadb:
            limits += f", max_statement_time = {SERVER_LIMIT}, idle_transaction_timeout = {IDLE_LIMIT}"
        cursor.execute(f"SET {limits}, time_zone = '+00:00'")
        # Without it a value that does not fit is cut to size, with nothing but a warning.
        cursor.execute("SET sql_mode = CONCAT_WS(',', @@sql_mode, 'STRICT_ALL_TABLES')")
    connection.commit()


_SETTINGS = {
    Dialect.SQLITE: _set_up_sqlite,
    Dialect.POSTGRESQL: _set_up_postgresql,
    Dialect.MYSQL: _set_up_mysql,
}
