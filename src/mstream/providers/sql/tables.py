"""The tables of documents: what they look like, and how the first write makes one."""

from __future__ import annotations

import secrets
from functools import cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from mstream.foundation.tagged_json import from_text, to_text
from mstream.ports.documents import ABSENT, LAYOUT, LAYOUT_KEY, LAYOUT_RESOURCE, Revision, check_layout

from .config import Dialect
from .faults import Fault, fault_of
from .service import SqlService

#: How often a table is tried to be made while others are at the same.
_TRIES = 3

#: Parameters of statements: which document is meant, and the revision that it must have.
AT_KEY: Final = "at_key"
EXPECTED: Final = "expected"


class _Utf8(sa.TypeDecorator[str]):
    """A text as its bytes: compared and ordered by code point, blanks at its end count."""

    impl = mysql.VARBINARY(3000)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else value.encode()

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        return None if value is None else bytes(value).decode()


def _key_type(dialect: Dialect) -> sa.types.TypeEngine[str]:
    match dialect:
        case Dialect.SQLITE:
            return sa.Text()
        case Dialect.POSTGRESQL:
            return sa.Text(collation="C")
        case Dialect.MYSQL:
            return _Utf8()


@cache
def table_of(resource: str, dialect: Dialect) -> sa.Table:
    """The table of a collection; its name is quoted whatever it is. The same each time: so are its statements."""
    text: sa.types.TypeEngine[str] = mysql.LONGTEXT() if dialect is Dialect.MYSQL else sa.Text()
    return sa.Table(
        sa.quoted_name(resource, quote=True),
        sa.MetaData(),
        sa.Column("key", _key_type(dialect), primary_key=True, quote=True),
        sa.Column("revision", sa.String(64), nullable=False, quote=True),
        sa.Column("document", text, nullable=False, quote=True),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )


def has_table(service: SqlService, table: sa.Table) -> bool:
    """Whether it is there. Call it in the service's thread."""
    return service.transact(lambda connection: sa.inspect(connection).has_table(table.name), mode="read")


def make_table(service: SqlService, table: sa.Table) -> None:
    """Unless it is there; others may make it at the same moment. Raises StoreTooNew.

    With its first table a database is marked with the layout of all of them.
    """
    layout = table_of(LAYOUT_RESOURCE, service.dialect)
    for trial in range(1, _TRIES + 1):
        try:
            service.transact(lambda connection: _mark(connection, layout))
            service.transact(lambda connection: table.create(connection, checkfirst=True))
        except service.failures:
            if trial == _TRIES and not has_table(service, table):
                raise
        else:
            return


def _mark(connection: sa.Connection, layout: sa.Table) -> None:
    layout.create(connection, checkfirst=True)
    text = connection.execute(sa.select(layout.c.document).where(layout.c.key == LAYOUT_KEY)).scalar()
    if text is not None:
        check_layout(from_text(text), "the database")
        return
    values = {"revision": secrets.token_hex(16), "document": to_text({"name": LAYOUT_KEY, "version": LAYOUT})}
    write_expecting(connection, layout, LAYOUT_KEY, values, ABSENT)


def write_expecting(
    connection: sa.Connection, table: sa.Table, key: str, values: dict[str, str], expect: Revision
) -> bool:
    """Compare-and-set as part of the connection's transaction; False: the revision was another."""
    if expect != ABSENT:
        parameters = {AT_KEY: key, EXPECTED: expect, **values}
        return connection.execute(_update_expecting(table), parameters).rowcount == 1
    try:
        with connection.begin_nested():
            connection.execute(insert_of(table), {"key": key, **values})
    except sa.exc.DBAPIError as error:
        if fault_of(error) is Fault.DUPLICATE:
            return False
        raise
    return True


# Statements are built once: building, and finding what was compiled for it, takes longer than carrying it out.


@cache
def select_of(table: sa.Table) -> sa.Select[Any]:
    """The document of a key: `AT_KEY`."""
    return sa.select(table).where(table.c.key == sa.bindparam(AT_KEY))


@cache
def insert_of(table: sa.Table) -> sa.Insert:
    """A new document: its columns."""
    return sa.insert(table)


@cache
def update_of(table: sa.Table) -> sa.Update:
    """Another document of a key: `AT_KEY`, and the columns to be set."""
    return sa.update(table).where(table.c.key == sa.bindparam(AT_KEY))


@cache
def _update_expecting(table: sa.Table) -> sa.Update:
    return update_of(table).where(table.c.revision == sa.bindparam(EXPECTED))
