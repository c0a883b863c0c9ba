"""Tables as they are in the database, and the changes that a plan asks for."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .columns import Column, Kind
from .config import Dialect, SqlSinkOptions
from .grammar import JSON_MARK, MARK, Grammar
from .planning import Plan, Table

# The first that matches decides.
_KINDS: tuple[tuple[type[Any] | tuple[type[Any], ...], Kind], ...] = (
    (sa.Boolean, Kind.BOOLEAN),
    (sa.Integer, Kind.BIGINT),
    ((sa.Numeric, sa.Float), Kind.DOUBLE),
    (sa.Enum, Kind.OTHER),
    (sa.JSON, Kind.JSON),
    (sa.String, Kind.TEXT),
    ((sa.LargeBinary, sa.BINARY, sa.VARBINARY), Kind.BLOB),
    (sa.DateTime, Kind.TIMESTAMP),
    (sa.TIMESTAMP, Kind.TIMESTAMP),
)

_MYSQL_KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), Kind.BIGINT),
    **dict.fromkeys(("double", "float", "decimal"), Kind.DOUBLE),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext"), Kind.TEXT),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), Kind.BLOB),
    **dict.fromkeys(("datetime", "timestamp"), Kind.TIMESTAMP),
    "json": Kind.JSON,
}


def grammar_of(connection: sa.Connection, dialect: Dialect) -> Grammar:
    """How this server wants it said."""
    is_mysql = dialect is Dialect.MYSQL and not getattr(connection.dialect, "is_mariadb", False)
    return Grammar(dialect, "utf8mb4_0900_bin") if is_mysql else Grammar(dialect)


def read_table(connection: sa.Connection, name: str, dialect: Dialect, options: SqlSinkOptions) -> Table | None:
    """The table as it is; None: there is none."""
    if dialect is Dialect.MYSQL:
        return _read_in_mysql(connection, name, options)
    inspector = sa.inspect(connection)
    if not inspector.has_table(name):
        return None
    columns = {each["name"]: _column(each) for each in inspector.get_columns(name)}
    return Table(name=name, columns=columns, keys=options.keys, ours=_is_ours(connection, name, dialect))


def apply(connection: sa.Connection, plan: Plan, table: str, grammar: Grammar) -> None:
    """Change the table; a transaction of its own where the database has such a thing for tables."""
    if grammar.dialect is Dialect.POSTGRESQL:
        # A column of a large table takes its time.
        _execute(connection, "SET LOCAL statement_timeout = 0")
    if plan.create is not None:
        for statement in grammar.create(plan.create):
            _execute(connection, statement)
    for column in plan.add:
        _execute(connection, grammar.add(table, column))
    for column in plan.widen:
        if grammar.dialect is Dialect.SQLITE:
            _widen_in_sqlite(connection, table, column, grammar)
        else:
            _execute(connection, grammar.widen(table, column))


def would_lose(connection: sa.Connection, table: str, column: Column, grammar: Grammar) -> bool:
    """Whether a whole number stands there that no fraction number equals."""
    name = grammar.quoted(column.name)
    found = _execute(
        connection,
        f"SELECT 1 FROM {grammar.quoted(table)} WHERE {name} > {2**53} OR {name} < -{2**53} LIMIT 1",  # noqa: S608 - names are quoted
    )
    return bool(found)


def _execute(connection: sa.Connection, statement: str) -> list[Any]:
    """As it stands: no sign in it is a place for a value."""
    cursor = connection.connection.cursor()
    try:
        cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def _widen_in_sqlite(connection: sa.Connection, table: str, column: Column, grammar: Grammar) -> None:
    """In the stored definition: the rows stay where they are, and whole numbers are read as fractions from now on."""
    name = grammar.quoted(column.name)
    cursor = connection.connection.cursor()
    try:
        [definition] = cursor.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)
        ).fetchone()
        version = cursor.execute("PRAGMA schema_version").fetchone()[0]
        cursor.execute("PRAGMA writable_schema = ON")
        cursor.execute(
            "UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?",
            (definition.replace(f"{name} BIGINT", f"{name} DOUBLE", 1), table),
        )
        cursor.execute(f"PRAGMA schema_version = {version + 1}")
    finally:
        cursor.execute("PRAGMA writable_schema = RESET")
        cursor.close()


def _read_in_mysql(connection: sa.Connection, name: str, options: SqlSinkOptions) -> Table | None:
    """From the catalogue: names come back as they are, and JSON columns by the mark that we have put there."""
    where = "TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s"
    comment = connection.exec_driver_sql(
        f"SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE {where}",  # noqa: S608 - a constant
        (name,),
    ).scalar()
    if comment is None:
        return None
    rows = connection.exec_driver_sql(
        "SELECT COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, COLUMN_COMMENT, COLUMN_DEFAULT, EXTRA"  # noqa: S608 - a constant
        f" FROM information_schema.COLUMNS WHERE {where} ORDER BY ORDINAL_POSITION",
        (name,),
    )
    columns = {each[0]: Column(each[0], _mysql_kind(*each[1:4]), _has_own_value(*each[4:6])) for each in rows}
    return Table(name=name, columns=columns, keys=options.keys, ours=comment == MARK)


def _mysql_kind(full: str, name: str, comment: str) -> Kind:
    if full.lower().startswith("tinyint(1)"):
        return Kind.BOOLEAN
    return Kind.JSON if comment == JSON_MARK else _MYSQL_KINDS.get(name.lower(), Kind.OTHER)


def _has_own_value(default: str | None, extra: str) -> bool:
    return default not in {None, "NULL"} or bool(extra)


def _column(found: Any) -> Column:
    has_default = found.get("default") is not None or found.get("autoincrement") is True
    matches = (each for types, each in _KINDS if isinstance(found["type"], types))
    return Column(found["name"], next(matches, Kind.OTHER), has_default)


def _is_ours(connection: sa.Connection, name: str, dialect: Dialect) -> bool:
    if dialect is Dialect.SQLITE:
        row = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
        return f"/* {MARK} */" in (row.scalar() or "")
    return sa.inspect(connection).get_table_comment(name).get("text") == MARK
