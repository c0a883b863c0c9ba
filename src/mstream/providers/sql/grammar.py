"""The SQL that the three databases want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .columns import Column, Kind
from .config import Dialect, WriteMode
from .planning import Table

#: Stands in the definition of a table that we made.
MARK = "made by mstream"
#: Stands on a column that holds JSON, where the database itself keeps it as a text.
JSON_MARK = "json"

_TYPES = {
    Dialect.SQLITE: {Kind.TIMESTAMP: "TIMESTAMP", Kind.DOUBLE: "DOUBLE", Kind.TEXT: "TEXT", Kind.BLOB: "BLOB"},
    Dialect.POSTGRESQL: {
        Kind.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
        Kind.DOUBLE: "DOUBLE PRECISION",
        Kind.TEXT: "TEXT",
        Kind.BLOB: "BYTEA",
    },
    Dialect.MYSQL: {
        Kind.TIMESTAMP: "DATETIME(6)",
        Kind.DOUBLE: "DOUBLE",
        Kind.TEXT: "LONGTEXT",
        Kind.BLOB: "LONGBLOB",
        Kind.JSON: f"JSON COMMENT '{JSON_MARK}'",
    },
}
_COMMON = {Kind.BOOLEAN: "BOOLEAN", Kind.BIGINT: "BIGINT", Kind.JSON: "JSON"}
#: In an index MySQL needs a length.
_MYSQL_KEYS = {Kind.TEXT: "VARCHAR(255)", Kind.BLOB: "VARBINARY(255)"}

#: Values in one statement: every driver and server takes so many.
_VALUES = 30_000
_ROWS = {Dialect.SQLITE: 50, Dialect.POSTGRESQL: 500, Dialect.MYSQL: 500}
#: Bytes (PostgreSQL) and characters of a name.
_LONGEST_NAME = {Dialect.POSTGRESQL: 63, Dialect.MYSQL: 64}


@dataclass(frozen=True, slots=True)
class Grammar:
    """One database's way to say it."""

    dialect: Dialect
    #: Compares texts code point by code point, blanks at the end included (MySQL and MariaDB name it differently).
    collation: str = "utf8mb4_nopad_bin"

    @property
    def place(self) -> str:
        """What stands for a value."""
        return "?" if self.dialect is Dialect.SQLITE else "%s"

    def quoted(self, name: str) -> str:
        """A name that may be anything."""
        mark = "`" if self.dialect is Dialect.MYSQL else '"'
        return f"{mark}{name.replace(mark, mark * 2)}{mark}"

    def can_be_column(self, name: str) -> bool:
        """Whether the database takes a column of this name, and keeps the name as it is."""
        size = len(name.encode("utf-8", "replace")) if self.dialect is Dialect.POSTGRESQL else len(name)
        if not name or "\0" in name or size > _LONGEST_NAME.get(self.dialect, 500):
            return False
        return name.isprintable() and not (self.dialect is Dialect.MYSQL and (name[-1] == " " or max(name) > "\uffff"))

    def rows(self, width: int) -> int:
        """How many rows go into one statement."""
        return max(1, min(_ROWS[self.dialect], _VALUES // max(1, width)))

    def create(self, table: Table) -> tuple[str, ...]:
        """CREATE TABLE, and what says that it is ours."""
        parts = [self.column(each, is_key=each.name in table.keys) for each in table.columns.values()]
        if table.keys:
            parts.append(f"PRIMARY KEY ({self._names(table.keys)})")
        name, inside = self.quoted(table.name), ", ".join(parts)
        match self.dialect:
            case Dialect.SQLITE:
                return (f"CREATE TABLE {name} ({inside} /* {MARK} */)",)
            case Dialect.MYSQL:
                return (f"CREATE TABLE {name} ({inside}) ENGINE=InnoDB CHARACTER SET utf8mb4 COMMENT='{MARK}'",)
            case Dialect.POSTGRESQL:
                return (f"CREATE TABLE {name} ({inside})", f"COMMENT ON TABLE {name} IS '{MARK}'")

    def add(self, table: str, column: Column) -> str:
        """A new column."""
        return f"ALTER TABLE {self.quoted(table)} ADD COLUMN {self.column(column)}"

    def widen(self, table: str, column: Column) -> str:
        """Another type for a column; SQLite has no such statement."""
        name, kind = self.quoted(column.name), self._type(column.kind)
        if self.dialect is Dialect.MYSQL:
            return f"ALTER TABLE {self.quoted(table)} MODIFY COLUMN {name} {kind}"
        return f"ALTER TABLE {self.quoted(table)} ALTER COLUMN {name} TYPE {kind}"

    def column(self, column: Column, *, is_key: bool = False) -> str:
        """Name and type of a column."""
        kind = self._type(column.kind)
        if self.dialect is Dialect.MYSQL and column.kind in _MYSQL_KEYS and is_key:
            kind = _MYSQL_KEYS[column.kind]
        if self.dialect is Dialect.MYSQL and column.kind is Kind.TEXT:
            kind += f" CHARACTER SET utf8mb4 COLLATE {self.collation}"
        return f"{self.quoted(column.name)} {kind}{' NOT NULL' if is_key else ''}"

    def insert(self, table: str, names: Sequence[str], rows: int, mode: WriteMode, keys: Sequence[str]) -> str:
        """INSERT of so many rows; what happens to a key that is there depends on the mode."""
        row = f"({', '.join([self.place] * len(names))})"
        head = f"INSERT INTO {self._in_dml(table)} ({self._dml_names(names)}) VALUES "  # noqa: S608 - every name is quoted
        return head + ", ".join([row] * rows) + self._on_duplicate(names, mode, keys)

    def delete(self, table: str, keys: Sequence[str]) -> str:
        """DELETE of one key."""
        return f"DELETE FROM {self._in_dml(table)} WHERE {self._is_key(keys)}"  # noqa: S608 - every name is quoted

    def select(self, table: str, names: Sequence[str], keys: Sequence[str], count: int) -> str:
        """The rows of so many keys."""
        which = " OR ".join([f"({self._is_key(keys)})"] * count)
        return f"SELECT {self._dml_names(names)} FROM {self._in_dml(table)} WHERE {which}"  # noqa: S608 - every name is quoted

    def _on_duplicate(self, names: Sequence[str], mode: WriteMode, keys: Sequence[str]) -> str:
        if mode is WriteMode.INSERT:
            return ""
        others = [self._in_dml(each) for each in names if each not in keys]
        if self.dialect is Dialect.MYSQL:
            key = self._in_dml(keys[0])
            changes = [f"{each} = VALUES({each})" for each in others] or [f"{key} = {key}"]
            return f" ON DUPLICATE KEY UPDATE {', '.join(changes)}"
        changes = [f"{each} = excluded.{each}" for each in others]
        action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
        return f" ON CONFLICT ({self._dml_names(keys)}) DO {action}"

    def _type(self, kind: Kind) -> str:
        return _TYPES[self.dialect].get(kind) or _COMMON[kind]

    def _names(self, names: Sequence[str]) -> str:
        return ", ".join(map(self.quoted, names))

    def _dml_names(self, names: Sequence[str]) -> str:
        return ", ".join(map(self._in_dml, names))

    def _is_key(self, keys: Sequence[str]) -> str:
        return " AND ".join(f"{self._in_dml(each)} = {self.place}" for each in keys)

    def _in_dml(self, name: str) -> str:
        """Where values are put in, a percent sign of a name stands twice for the drivers that look for `%s`."""
        quoted = self.quoted(name)
        return quoted if self.dialect is Dialect.SQLITE else quoted.replace("%", "%%")
