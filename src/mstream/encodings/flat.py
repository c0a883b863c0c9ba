"""Types of BSON as the plain values of JSON."""

from __future__ import annotations

import datetime as dt
import math
from base64 import b64encode
from collections.abc import Callable
from typing import Any, Final

import orjson
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from mstream.encodings.bson_values import DbPointer, OddRegex, Symbol, Undefined
from mstream.encodings.numbers import ExactNumber

_FLAGS: Final = (("i", 2), ("l", 4), ("m", 8), ("s", 16), ("u", 32), ("x", 64))
_SECOND: Final = 1000
#: After so many years the calendar begins anew, so a year that Python does not have is found in one that it has.
_CYCLE_YEARS: Final = 400
_CYCLE_MS: Final = 146_097 * 86_400 * _SECOND
#: Milliseconds since the epoch in the years 0000 to 9999, which RFC 3339 has.
_FIRST_MS: Final = -62_167_219_200_000
_LAST_MS: Final = 253_402_300_799_999
#: Characters of a time without a zone, to six digits of a second.
_NAIVE: Final = 26
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def ordinary(value: Any) -> Any:
    """As `flat`, for what a fast codec reads without a loss; raises TypeError for the rest."""
    kind = type(value)
    if kind is ObjectId:
        return value.binary.hex()
    if kind is dt.datetime:
        # The form of nearly all of them, without another call.
        text = value.isoformat()
        return text[:-3].rstrip("0") + "Z" if len(text) == _NAIVE and text.endswith("000") else time_text(value)
    if kind is Int64:
        return int(value)
    if kind in _LOSSLESS:
        return _SPELLED[kind](value)
    raise TypeError


def time_text(value: dt.datetime) -> str:
    """RFC 3339 in UTC, to the millisecond as far as there is one; a time without a zone is in UTC."""
    if value.tzinfo is None:
        text = value.isoformat()
    else:
        try:
            value = value.astimezone(dt.UTC)
        except OverflowError:  # in UTC it is in a year that Python does not have
            return ms_text(milliseconds(value))
        text = value.isoformat()[:-6]
    micros = value.microsecond
    if not micros:
        return text + "Z"
    if micros % _SECOND:
        return ms_text(milliseconds(value))
    return text.rstrip("0") + "Z"


def milliseconds(value: dt.datetime | DatetimeMS) -> int:
    """Since the epoch, as BSON keeps a time; what is below is cut off."""
    if isinstance(value, DatetimeMS):
        return int(value)
    aware = value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value
    return (aware - _EPOCH) // dt.timedelta(milliseconds=1)


def ms_text(ms: int) -> str:
    """RFC 3339; in years that it does not have the milliseconds themselves."""
    if not _FIRST_MS <= ms <= _LAST_MS:
        return str(ms)
    if ms < _FIRST_MS + _CYCLE_MS:
        shifted = ms_text(ms + _CYCLE_MS)
        return f"{int(shifted[:4]) - _CYCLE_YEARS:04}{shifted[4:]}"
    return time_text(_EPOCH + dt.timedelta(milliseconds=ms))


def flat(value: Any) -> Any:
    """One value, and documents or arrays only where a type is written as such; what is none of BSON's stays."""
    spelled = _SPELLED.get(type(value))
    return value if spelled is None else spelled(value)


def tree(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """A document with every value in it changed, and what it was changed into as it is."""
    match value:
        case dict():
            return {key: tree(each, leaf) for key, each in value.items()}
        case list() | tuple():
            return [tree(each, leaf) for each in value]
        case DBRef():
            return tree(dict(value.as_doc()), leaf)
        case _:
            return leaf(value)


def options_of(regex: Regex[Any]) -> str:
    """The options of a regular expression as BSON spells them."""
    return "".join(letter for letter, flag in _FLAGS if regex.flags & flag)


def fraction_text(value: float) -> str:
    """What is no number, in JSON a string."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _fraction(value: float) -> Any:
    """Spelled as everywhere in this mode, with exponents that have no plus sign."""
    if not math.isfinite(value):
        return fraction_text(value)
    return ExactNumber(orjson.dumps(value).decode("ascii").replace("e+", "e"))


def base64_text(value: bytes) -> str:
    """Standard base64, with padding."""
    return b64encode(value).decode("ascii")


def _code(value: Code) -> Any:
    return str(value) if value.scope is None else {"code": str(value), "scope": tree(dict(value.scope), flat)}


_SPELLED: Final[dict[type, Callable[[Any], Any]]] = {
    float: _fraction,
    ObjectId: str,
    dt.datetime: time_text,
    DatetimeMS: lambda value: ms_text(int(value)),
    Int64: int,
    Decimal128: str,
    bytes: base64_text,
    Binary: base64_text,
    Timestamp: lambda value: ms_text(value.time * _SECOND).removesuffix("Z") + "+00:00",
    Regex: lambda value: {"pattern": value.pattern, "options": options_of(value)},
    OddRegex: lambda value: {"pattern": value.pattern, "options": value.options},
    Code: _code,
    Symbol: lambda value: value.text,
    Undefined: lambda value: None,
    DbPointer: lambda value: {"namespace": value.namespace, "id": str(value.oid)},
    MinKey: lambda value: "MinKey",
    MaxKey: lambda value: "MaxKey",
}
_LOSSLESS: Final = frozenset({bytes, Binary, DatetimeMS, Decimal128, MinKey, MaxKey, Timestamp})
