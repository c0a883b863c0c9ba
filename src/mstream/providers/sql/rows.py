"""Records as rows: what is written by which statement, in which order; pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from mstream.domain.batch import Operation

from .columns import Column, Kind, Misfit, fitted, to_json
from .config import Columns, Dialect, NewFields, OnDelete, SqlSinkOptions, WriteMode
from .planning import DOCUMENT, EXTRA, Fields, Table

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What one statement can do for many rows."""

    names: tuple[str, ...]
    deletes: bool = False


@dataclass(slots=True)
class Step:
    """Rows of one shape; their order among themselves is kept."""

    shape: Shape
    indexes: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def part(self, start: int, stop: int) -> Step:
        """Some of the rows."""
        return Step(self.shape, self.indexes[start:stop], self.rows[start:stop])


@dataclass(frozen=True, slots=True)
class Entry:
    """One record among others of its key."""

    index: int
    shape: Shape
    row: Row
    key: Row


@dataclass(slots=True)
class Sorted:
    """The records of a batch by what is to be done with them."""

    puts: list[int]
    deletes: list[int]
    #: By index, why a record cannot be written.
    refused: dict[int, str]


def sort(documents: Sequence[Any], operations: Sequence[Operation] | None, options: SqlSinkOptions) -> Sorted:
    """Which records become rows, which remove one, which cannot be either."""
    if operations is None and set(map(type, documents)) == {dict}:
        return Sorted(list(range(len(documents))), [], {})
    result = Sorted([], [], {})
    for index, document in enumerate(documents):
        deletes = operations is not None and operations[index] is Operation.DELETE
        if deletes and options.on_delete is OnDelete.IGNORE:
            continue
        if deletes and not options.keys:
            result.refused[index] = "a delete needs key_columns to find its row"
        elif deletes and not isinstance(document, dict):
            names = ", ".join(map(repr, options.keys))
            result.refused[index] = f"neither its content nor its key says which row goes: there is no {names}"
        elif not isinstance(document, dict):
            result.refused[index] = "a record without fields cannot become a row"
        else:
            (result.deletes if deletes else result.puts).append(index)
    return result


def fields_of(documents: Sequence[Mapping[str, Any]], options: SqlSinkOptions) -> Fields:
    """What the table must have columns for."""
    if options.columns is Columns.JSON:
        documents = [{name: each[name] for name in options.keys if name in each} for each in documents]
    return Fields.of(documents)


class RowMaker:
    """Makes the rows of one batch for a table as it is now."""

    def __init__(self, table: Table, options: SqlSinkOptions, dialect: Dialect, refused: dict[int, str]) -> None:
        self._table = table
        self._options = options
        self._dialect = dialect
        self._refused = refused

    def puts(self, documents: Sequence[Any], indexes: Sequence[int], fields: Fields) -> list[Entry] | Step:
        """One step where all rows have one shape and no key comes twice, else every row with its key."""
        if not indexes:
            return []
        columns = self._converted(fields, indexes)
        records = [documents[each] for each in indexes]
        if self._options.columns is Columns.JSON:
            columns[DOCUMENT] = self._texts(records, indexes)
        else:
            self._left_over(columns, fields, records, indexes)
        self._check_keys(columns, indexes)
        names = self._names(columns)
        empty = [None] * len(indexes)
        rows = list(zip(*(columns.get(name, empty) for name in names), strict=True))
        varies = not fields.uniform and self._varies(names, records)
        step = None if varies else self._uniform(names, rows, indexes)
        return self._entries(names, rows, indexes, records) if step is None else step

    def deletes(self, documents: Sequence[Any], indexes: Sequence[int]) -> list[Entry]:
        """The keys of rows that go."""
        if not indexes:
            return []
        keys = self._options.keys
        records = [{name: documents[each].get(name) for name in keys} for each in indexes]
        columns = self._converted(Fields.of(records), indexes)
        self._check_keys(columns, indexes)
        shape = Shape(keys, deletes=True)
        rows = list(zip(*(columns[name] for name in keys), strict=True))
        found = zip(indexes, rows, strict=True)
        return [Entry(index, shape, row, row) for index, row in found if index not in self._refused]

    def _converted(self, fields: Fields, indexes: Sequence[int]) -> dict[str, Sequence[Any]]:
        columns: dict[str, Sequence[Any]] = {}
        for name, column in self._table.columns.items():
            if name not in fields.values:
                continue
            values, types = fields.values[name], fields.types[name]
            if name in self._table.keys and column.kind is Kind.TEXT and types & {dict, list}:
                values = [to_json(each) if isinstance(each, dict | list) else each for each in values]
                types = set(map(type, values))
            columns[name], misfits = fitted(values, types, column, self._dialect)
            for position, reason in misfits.items():
                self._refused.setdefault(indexes[position], reason)
        return columns

    def _texts(self, records: Sequence[Any], indexes: Sequence[int]) -> list[str | None]:
        texts: list[str | None] = []
        for index, record in zip(indexes, records, strict=True):
            try:
                texts.append(to_json(record))
            except Misfit as misfit:
                texts.append(None)
                self._refused.setdefault(index, str(misfit))
        return texts

    def _left_over(
        self, columns: dict[str, Sequence[Any]], fields: Fields, records: Sequence[Any], indexes: Sequence[int]
    ) -> None:
        """Fields that have no column: kept together, or a reason to refuse the record."""
        unknown = [name for name in fields.values if name not in self._table.columns]
        if self._options.new_fields is NewFields.EXTRA and EXTRA in self._table.columns:
            extras = [{name: each[name] for name in unknown if name in each} or None for each in records]
            if EXTRA not in columns or any(extras):
                column = Column(EXTRA, Kind.JSON)
                columns[EXTRA], misfits = fitted(extras, set(map(type, extras)), column, self._dialect)
                for position, reason in misfits.items():
                    self._refused.setdefault(indexes[position], reason)
            return
        for name in unknown:
            for position, value in enumerate(fields.values[name]):
                if value is not None:
                    self._refused.setdefault(indexes[position], self._unknown(name, value))

    def _unknown(self, name: str, value: Any) -> str:
        if self._options.new_fields is NewFields.ERROR:
            return f"field {name!r} has no column, and new_fields = 'error'"
        return f"field {name!r} of type {type(value).__name__} cannot become a column of this database"

    def _check_keys(self, columns: Mapping[str, Sequence[Any]], indexes: Sequence[int]) -> None:
        for name in self._options.keys:
            values = columns.get(name)
            if values is None or None in values:
                for position, index in enumerate(indexes):
                    if values is None or values[position] is None:
                        self._refused.setdefault(index, f"key column {name!r} has no value")

    def _names(self, columns: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
        """For `replace` every column: what a record does not have becomes null."""
        if self._options.write_mode is WriteMode.REPLACE and self._options.columns is Columns.TYPED:
            return tuple(n for n, each in self._table.columns.items() if n in columns or not each.has_default)
        return tuple(columns) or tuple(self._table.columns)[:1]

    def _uniform(self, names: tuple[str, ...], rows: list[Row], indexes: Sequence[int]) -> Step | None:
        """One step for all of them; None: a key comes twice."""
        places = [names.index(each) for each in self._options.keys if each in names]
        if places and len(set(map(operator.itemgetter(*places), rows))) != len(rows):
            return None
        return self._present(Step(Shape(names), list(indexes), rows))

    def _present(self, step: Step) -> Step:
        if not self._refused:
            return step
        kept = [at for at, index in enumerate(step.indexes) if index not in self._refused]
        return Step(step.shape, [step.indexes[at] for at in kept], [step.rows[at] for at in kept])

    def _varies(self, names: tuple[str, ...], records: Sequence[Any]) -> bool:
        """With `upsert` a field that a record does not have is left as it is."""
        if self._options.write_mode is not WriteMode.UPSERT or self._options.columns is Columns.JSON:
            return False
        own = [name for name in names if name != EXTRA]
        return any(name not in each for each in records for name in own)

    def _entries(
        self, names: tuple[str, ...], rows: list[Row], indexes: Sequence[int], records: Sequence[Any]
    ) -> list[Entry]:
        varies = self._varies(names, records)
        places = [names.index(each) for each in self._options.keys if each in names]
        shapes: dict[tuple[int, ...], Shape] = {}
        entries: list[Entry] = []
        for index, row, record in zip(indexes, rows, records, strict=True):
            if index in self._refused:
                continue
            own = tuple(at for at, name in enumerate(names) if not varies or name in record or name == EXTRA)
            shape = shapes.setdefault(own, Shape(tuple(names[at] for at in own)))
            values = tuple(row[at] for at in own) if varies else row
            entries.append(Entry(index, shape, values, tuple(row[at] for at in places)))
        return entries


def steps(entries: Iterable[Entry], *, overrides: bool) -> list[Step]:
    """As few steps as order allows: within one, no key comes twice.

    With `overrides` a later row of the same shape and key takes the place of the earlier one.
    """
    done: list[Step] = []
    current: dict[Shape, Step] = {}
    seen: dict[Row, tuple[Shape, int]] = {}
    for each in entries:
        before = seen.get(each.key)
        if before is not None and overrides and before[0] == each.shape:
            step = current[each.shape]
            step.indexes[before[1]], step.rows[before[1]] = each.index, each.row
            continue
        if before is not None:
            done += current.values()
            current, seen = {}, {}
        step = current.setdefault(each.shape, Step(each.shape))
        seen[each.key] = (each.shape, len(step.rows))
        step.indexes.append(each.index)
        step.rows.append(each.row)
    return [*done, *current.values()]


def in_turn(entries: Iterable[Entry]) -> list[Step]:
    """Every row, in the order in which they came."""
    result = []
    for shape, group in groupby(entries, key=lambda each: each.shape):
        members = list(group)
        result.append(Step(shape, [each.index for each in members], [each.row for each in members]))
    return result
