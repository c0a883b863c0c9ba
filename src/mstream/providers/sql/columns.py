"""Kinds of columns, and what of a record's values fits into which."""

from __future__ import annotations

import base64
import json
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

import orjson

from .config import Dialect

#: Whole numbers up to here have a fraction number of the same value.
_EXACT = 2**53


class Kind(Enum):
    """What a column holds."""

    BOOLEAN = auto()
    BIGINT = auto()
    DOUBLE = auto()
    TEXT = auto()
    BLOB = auto()
    TIMESTAMP = auto()
    JSON = auto()
    #: A type that only tables made by others have; the database judges what fits.
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind
    #: The database has a value of its own for it.
    has_default: bool = False


class Misfit(Exception):
    """A value does not fit; its text names the kind of value, never the value."""


#: Kind -> the types of values that go to the driver as they are.
_AS_IT_IS: dict[Kind, frozenset[type]] = {
    Kind.BOOLEAN: frozenset({bool, type(None)}),
    Kind.BIGINT: frozenset({int, type(None)}),
    Kind.DOUBLE: frozenset({float, type(None)}),
    Kind.TEXT: frozenset({str, type(None)}),
    Kind.BLOB: frozenset({bytes, type(None)}),
    Kind.TIMESTAMP: frozenset({type(None)}),
    Kind.JSON: frozenset({type(None)}),
    Kind.OTHER: frozenset({bool, int, float, str, bytes, type(None)}),
}


#: Type of a value -> the column that it asks for.
_KINDS: dict[type, Kind] = {
    bool: Kind.BOOLEAN,
    int: Kind.BIGINT,
    float: Kind.DOUBLE,
    str: Kind.TEXT,
    bytes: Kind.BLOB,
    datetime: Kind.TIMESTAMP,
    dict: Kind.JSON,
    list: Kind.JSON,
    tuple: Kind.JSON,
}


_OBJECTS = {dict, list, type(None)}

#: SQLite has no other booleans than these; its driver takes half a microsecond to find that out by itself.
_BITS = {True: 1, False: 0}


def kind_of(value: Any) -> Kind | None:
    """The column that a value asks for; None: it is null, or of a type that no column has."""
    return next((_KINDS[each] for each in type(value).__mro__ if each in _KINDS), None)


def fitted(
    values: Sequence[Any], types: set[type], column: Column, dialect: Dialect
) -> tuple[Sequence[Any], dict[int, str]]:
    """A column's values as the driver takes them; by index, why a value does not fit."""
    if types <= _AS_IT_IS[column.kind] and not (float in types and _has_unwritable(values, dialect)):
        as_bits = column.kind is Kind.BOOLEAN and dialect is Dialect.SQLITE
        return list(map(_BITS.get, values)) if as_bits else values, {}
    if column.kind is Kind.JSON and types <= _OBJECTS and (texts := _quick_json(values)) is not None:
        return texts, {}
    fit = _fit_for(column.kind, dialect)
    made: list[Any] = []
    misfits: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            made.append(None if value is None else fit(value))
        except Misfit as misfit:
            made.append(None)
            misfits[index] = f"field {column.name!r}: {misfit}"
    return made, misfits


def _quick_json(values: Sequence[Any]) -> list[str | None] | None:
    """All of them at once; None: one of them must be looked at."""
    try:
        texts = [None if each is None else orjson.dumps(each).decode() for each in values]
    except (TypeError, ValueError):
        return None
    return None if any(each is not None and "null" in each for each in texts) else texts


def _has_unwritable(values: Sequence[Any], dialect: Dialect) -> bool:
    """SQLite would write NaN as null; MySQL knows neither NaN nor infinity."""
    if dialect is Dialect.MYSQL:
        return not all(math.isfinite(each) for each in values if isinstance(each, float))
    return dialect is Dialect.SQLITE and any(map(operator.ne, values, values))


def _fit_for(kind: Kind, dialect: Dialect) -> Callable[[Any], Any]:
    match kind:
        case Kind.DOUBLE:
            return lambda value: _double(value, dialect)
        case Kind.TIMESTAMP:
            return lambda value: _time(value, dialect)
        case Kind.JSON:
            return lambda value: _scalar_checked(value, dialect)
        case Kind.OTHER:
            return lambda value: _other(value, dialect)
        case _:
            return lambda value: _exactly(value, kind)


def _exactly(value: Any, kind: Kind) -> Any:
    if kind_of(value) is kind:
        return value
    message = f"a value of type {type(value).__name__} does not fit into a {kind.name} column"
    raise Misfit(message)


def _double(value: Any, dialect: Dialect) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        _exactly(value, Kind.DOUBLE)
    if isinstance(value, int) and abs(value) > _EXACT:
        message = "a whole number beyond 2^53 does not fit into a DOUBLE column without loss"
        raise Misfit(message)
    return _plain(value, dialect)


def _plain(value: float, dialect: Dialect) -> float:
    """A number of the plain type: drivers look types up, and pymysql does not know those made from float."""
    number = float(value)
    if _has_unwritable([number], dialect):
        message = "NaN or infinity cannot be held by this database"
        raise Misfit(message)
    return number


def _other(value: Any, dialect: Dialect) -> Any:
    if isinstance(value, float):
        return _plain(value, dialect)
    return to_json(value) if isinstance(value, dict | list | tuple) else value


def _time(value: Any, dialect: Dialect) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            message = "a text that is no time does not fit into a TIMESTAMP column"
            raise Misfit(message) from None
    _exactly(value, Kind.TIMESTAMP)
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    match dialect:
        case Dialect.SQLITE:
            return moment.isoformat()
        case Dialect.MYSQL:
            return moment.replace(tzinfo=None)
        case Dialect.POSTGRESQL:
            return moment


def _scalar_checked(value: Any, dialect: Dialect) -> str:
    if dialect is Dialect.SQLITE and isinstance(value, int | float) and not isinstance(value, bool):
        # SQLite keeps a bare number in a JSON column as a number of its own.
        message = "a bare number does not fit into a JSON column of SQLite"
        raise Misfit(message)
    return to_json(value)


def to_json(value: Any) -> str:
    """JSON text that loses nothing. Raises Misfit where JSON has no such value."""
    try:
        made = orjson.dumps(value)
        if b"null" not in made:  # orjson writes NaN as null
            return made.decode()
    except (TypeError, ValueError):
        pass  # whole numbers beyond 64 bits, lone surrogates, bytes: judged below
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_beyond_json)
    except (TypeError, ValueError, RecursionError):
        message = "a value inside cannot be written as JSON"
        raise Misfit(message) from None


def _beyond_json(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case bytes():
            return {"$bytes": base64.b64encode(value).decode("ascii")}
        case _:
            raise TypeError(type(value).__name__)


def same(stored: Any, written: Any, kind: Kind) -> bool:
    """Whether a stored value is what would be written."""
    if stored is None or written is None:
        return stored is None and written is None
    match kind:
        case Kind.JSON:
            stored = json.loads(stored) if isinstance(stored, str | bytes) else stored
            return json.dumps(stored, sort_keys=True) == json.dumps(json.loads(written), sort_keys=True)
        case Kind.BLOB:
            return bool(bytes(stored) == written)
        case Kind.DOUBLE:
            return bool(float(stored) == written) or (math.isnan(stored) and math.isnan(written))
        case _:
            return bool(stored == written)
