"""What a table must become so that the records of a batch fit; pure."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from .columns import Column, Kind, kind_of
from .config import Columns, NewFields, SqlSinkOptions, TypeChange

#: The column of fields that have none of their own.
EXTRA = "_extra"
#: The column of the whole record, with `columns = "json"`.
DOCUMENT = "document"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table as it is, or as it shall be."""

    name: str
    columns: Mapping[str, Column]
    #: The key columns; primary key where we made the table.
    keys: tuple[str, ...] = ()
    #: We made it, so we may change the types of its columns.
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What must be done, in this order, before the batch is written."""

    create: Table | None = None
    add: Sequence[Column] = ()
    widen: Sequence[Column] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to do."""
        return self.create is not None or bool(self.add) or bool(self.widen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """The records of a batch, field by field."""

    values: Mapping[str, Sequence[Any]]
    types: Mapping[str, set[type]]
    #: Every record has every field.
    uniform: bool

    @classmethod
    def of(cls, documents: Sequence[Mapping[str, Any]]) -> Fields:
        """Every field of every record, in the order in which they first appear."""
        values = _uniform(documents)
        uniform = values is not None
        if values is None:
            names = dict.fromkeys(chain.from_iterable(documents))
            values = {name: [each.get(name) for each in documents] for name in names}
        types = {name: set(map(type, column)) for name, column in values.items()}
        return cls(values=values, types=types, uniform=uniform)


def _uniform(documents: Sequence[Mapping[str, Any]]) -> dict[str, Sequence[Any]] | None:
    """The values by field where all records have the same fields; each record is looked at once."""
    names = tuple(documents[0]) if documents else ()
    if not names or set(map(len, documents)) != {len(names)}:
        return None
    try:
        # One name twice: with a single one the answer would not be a tuple.
        rows = list(map(operator.itemgetter(*names, names[0]), documents))
    except KeyError:
        return None
    return dict(zip(names, zip(*rows, strict=True), strict=False))


def plan(
    table: Table | None, name: str, fields: Fields, options: SqlSinkOptions, can_be_column: Callable[[str], bool]
) -> Plan:
    """The difference between the table and what the batch needs."""
    if table is None:
        return Plan(create=_created(name, fields, options, can_be_column))
    wanted = _wanted(fields, options, known=table.columns)
    known = {each.casefold() for each in table.columns}
    add: list[Column] = []
    for each in wanted:
        if each.name not in table.columns and each.name.casefold() not in known and can_be_column(each.name):
            known.add(each.name.casefold())
            add.append(each)
    if options.new_fields is not NewFields.ADD:
        add = [each for each in add if each.name == EXTRA and options.new_fields is NewFields.EXTRA]
    return Plan(add=add, widen=_widened(table, fields, options))


def _created(name: str, fields: Fields, options: SqlSinkOptions, can_be_column: Callable[[str], bool]) -> Table:
    columns: dict[str, Column] = {}
    folded: set[str] = set()
    # The keys stand first, also when the first record comes without one of them.
    wanted = {each.name: each for each in _wanted(fields, options)}
    for key in options.keys:
        wanted.setdefault(key, Column(key, Kind.TEXT))
    for each in sorted(wanted.values(), key=lambda column: column.name not in options.keys):
        if can_be_column(each.name) and each.name.casefold() not in folded:
            folded.add(each.name.casefold())
            is_key = each.name in options.keys and each.kind is Kind.JSON
            columns[each.name] = replace(each, kind=Kind.TEXT) if is_key else each
    return Table(name=name, columns=columns, keys=options.keys, ours=True)


def _wanted(fields: Fields, options: SqlSinkOptions, known: Collection[str] = ()) -> list[Column]:
    """The columns that are not there yet; what is there already is not looked at."""
    names = [name for name in fields.values if name not in known]
    if options.columns is Columns.JSON:
        keys = [Column(name, kind) for name in names if (kind := _kind(fields, name)) is not None]
        return [*keys, Column(DOCUMENT, Kind.JSON)]
    columns = [Column(name, kind) for name in names if (kind := _kind(fields, name)) is not None]
    if options.new_fields is NewFields.EXTRA:
        columns = [*(each for each in columns if each.name != EXTRA), Column(EXTRA, Kind.JSON)]
    return columns


def _kind(fields: Fields, name: str) -> Kind | None:
    """The kind of the first value that has one; a fraction anywhere makes whole numbers fractions."""
    kinds = [kind for each in fields.values.get(name, ()) if (kind := kind_of(each)) is not None]
    if not kinds:
        return None
    return Kind.DOUBLE if kinds[0] is Kind.BIGINT and Kind.DOUBLE in kinds else kinds[0]


def _widened(table: Table, fields: Fields, options: SqlSinkOptions) -> list[Column]:
    if not table.ours or options.type_change is TypeChange.ERROR or options.columns is Columns.JSON:
        return []
    return [
        Column(each.name, Kind.DOUBLE)
        for each in table.columns.values()
        if each.kind is Kind.BIGINT
        and each.name not in table.keys
        and any(issubclass(kind, float) for kind in fields.types.get(each.name, ()))
    ]
