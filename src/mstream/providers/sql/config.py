"""Fields of a sql service, and the options of its sink."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import unquote, urlsplit

from pydantic import field_validator

from mstream.domain.connector import SinkRef
from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.errors import ServiceError
from mstream.foundation.secrets import Secret, is_reference


class Dialect(StrEnum):
    """The databases that are spoken to."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"


#: Scheme of a URL -> dialect. A driver may be named behind a plus, but only ours.
SCHEMES = {
    "sqlite": Dialect.SQLITE,
    "sqlite+pysqlite": Dialect.SQLITE,
    "postgresql": Dialect.POSTGRESQL,
    "postgres": Dialect.POSTGRESQL,
    "postgresql+psycopg": Dialect.POSTGRESQL,
    "mysql": Dialect.MYSQL,
    "mysql+pymysql": Dialect.MYSQL,
    "mariadb": Dialect.MYSQL,
    "mariadb+pymysql": Dialect.MYSQL,
}

#: Dialect -> what must be imported for it, and the extra that brings it.
DRIVERS = {Dialect.POSTGRESQL: ("psycopg", "postgres"), Dialect.MYSQL: ("pymysql", "mysql")}

_PORTS = {Dialect.POSTGRESQL: 5432, Dialect.MYSQL: 3306}


class WriteMode(StrEnum):
    """What a record does to the row of its key."""

    INSERT = "insert"
    UPSERT = "upsert"
    REPLACE = "replace"


class Columns(StrEnum):
    """How a record becomes a row."""

    TYPED = "typed"
    JSON = "json"


class NewFields(StrEnum):
    """What happens to a field that the table has no column for."""

    ADD = "add"
    EXTRA = "extra"
    ERROR = "error"


class TypeChange(StrEnum):
    """What happens when a whole-number column of ours meets a fraction."""

    WIDEN = "widen"
    ERROR = "error"


class OnDelete(StrEnum):
    """What a record with the operation `delete` does."""

    DELETE = "delete"
    IGNORE = "ignore"


class SqlSinkOptions(RoleOptions):
    """How records are written into a table."""

    write_mode: WriteMode = WriteMode.INSERT
    #: Primary key of a table that we make; `_id` for upsert and replace, none for insert.
    key_columns: tuple[str, ...] | None = None
    create_table: bool = True
    columns: Columns = Columns.TYPED
    new_fields: NewFields = NewFields.ADD
    type_change: TypeChange = TypeChange.WIDEN
    on_delete: OnDelete = OnDelete.DELETE

    @property
    def keys(self) -> tuple[str, ...]:
        """The key columns that hold, given or by default."""
        if self.key_columns is not None:
            return self.key_columns
        return () if self.write_mode is WriteMode.INSERT else ("_id",)


class SqlConfig(SqlSinkOptions, ServiceConfig):
    """A database: SQLite, PostgreSQL, MySQL or MariaDB by URL; defaults for its sinks may stand beside it."""

    public: ClassVar[frozenset[str]] = ServiceConfig.public | frozenset(SqlSinkOptions.model_fields)

    provider: Literal["sql"] = "sql"
    #: `sqlite:///path`, `postgresql://user:password@host/database`, `mysql://…`, `mariadb://…`
    url: Secret

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: Secret) -> Secret:
        text = url.reveal()
        scheme = text.partition("://")[0]
        if is_reference(text):
            return url
        if "://" not in text or scheme not in SCHEMES:
            message = "the URL must begin with sqlite:///, postgresql://, mysql:// or mariadb://"
            raise ValueError(message)
        if SCHEMES[scheme] is not Dialect.SQLITE and _place(text) is None:
            message = "host and port of the URL cannot be read; write it as scheme://user:password@host:port/database"
            raise ValueError(message)
        return url

    def is_made(self) -> bool:
        """A file of SQLite is made by opening it; so is what lives in memory."""
        url = self.url.reveal()
        if dialect_of(url) is not Dialect.SQLITE:
            return True
        path = sqlite_path(url)
        try:
            return path is not None and Path(path).stat().st_size > 0
        except FileNotFoundError:
            return False
        except OSError:
            # Opening it tells what is the matter.
            return True

    def whereabouts(self) -> str:
        """The file of SQLite as it was named, the URL of others without account and parameters."""
        url = self.url.reveal()
        if is_reference(url):
            return url
        return (dialect_of(url) is Dialect.SQLITE and sqlite_path(url)) or location(url)

    def paths(self) -> Iterator[tuple[str, str]]:
        """The file of SQLite; a path in its own URI syntax can lead anywhere."""
        url = self.url.reveal()
        if is_reference(url) or dialect_of(url) is not Dialect.SQLITE:
            return
        path = sqlite_path(url)
        if path is not None:
            yield "url", "/" if path.startswith("file:") else path

    def shown(self) -> dict[str, Any]:
        """The URL without user, password and parameters: where the data is may be seen."""
        text = self.url.reveal()
        return {**super().shown(), "url": text if is_reference(text) else location(text)}


def dialect_of(url: str) -> Dialect:
    """Which database a URL belongs to."""
    return SCHEMES[url.partition("://")[0]]


def location(url: str) -> str:
    """Scheme, host and database of a URL, nothing that could be secret."""
    scheme, _, rest = url.partition("://")
    place = rest.rpartition("@")[2].partition("?")[0]
    return f"{scheme.partition('+')[0]}://{place}"


def sqlite_path(url: str) -> str | None:
    """The file of a SQLite URL; None: it lives in memory."""
    path = unquote(url.partition("://")[2].partition("?")[0].removeprefix("/"))
    return None if path in {"", ":memory:"} else path


def identity(url: str) -> str | None:
    """The same text for every URL of one database; None: nobody else can reach it."""
    dialect = dialect_of(url)
    if dialect is Dialect.SQLITE:
        path = sqlite_path(url)
        return None if path is None else f"sqlite:{Path(path).resolve()}"
    place = _place(url)
    if place is None:
        # Said without the URL, whatever the reason repeats of it.
        message = "the URL of a sql service names no readable host and port; correct the service's url"
        raise ServiceError(message)
    host, port, path = place
    return f"{dialect}:{host}:{port or _PORTS[dialect]}{path}"


def _place(url: str) -> tuple[str, int | None, str] | None:
    """Host, port and path; None: they cannot be told."""
    try:
        place = urlsplit(location(url))
        return (place.hostname or "localhost").replace("127.0.0.1", "localhost"), place.port, place.path
    except ValueError:
        return None


def same_database(sink: SqlConfig, other: ServiceConfig) -> bool:
    """Whether both can take part in one transaction."""
    if not isinstance(other, SqlConfig):
        return False
    one, two = sink.url.reveal(), other.url.reveal()
    if is_reference(one) or is_reference(two):
        return one == two
    return identity(one) is not None and identity(one) == identity(two)


def unavailable(config: SqlConfig) -> str | None:
    """Why this database cannot be spoken to here; None: it can."""
    url = config.url.reveal()
    extra = None if is_reference(url) else missing_extra(dialect_of(url))
    return None if extra is None else f"provider 'sql' needs a driver for this URL: pip install 'mstream[{extra}]'"


def missing_extra(dialect: Dialect) -> str | None:
    """The extra that would bring the driver; None: it is there."""
    module, extra = DRIVERS.get(dialect, (None, None))
    return extra if module is not None and importlib.util.find_spec(module) is None else None


def is_idempotent(ref: SinkRef, options: Any) -> bool:
    """Whether writing a record again changes nothing."""
    return bool(options.keys)


def check(ref: SinkRef, options: Any) -> Sequence[tuple[str, str]]:
    """What single fields cannot tell."""
    keys = options.keys
    if not keys and options.write_mode is not WriteMode.INSERT:
        return [("key_columns", f"write_mode = {options.write_mode.value!r} needs key columns")]
    if "" in keys or len(set(keys)) != len(keys):
        return [("key_columns", "every key column has a name, and stands there once")]
    return []
