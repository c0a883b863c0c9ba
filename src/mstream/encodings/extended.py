"""Types of BSON as MongoDB's extended JSON, version 2."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from mstream.domain.batch import JsonMode
from mstream.encodings.bson_values import DbPointer, OddRegex, Symbol, Undefined
from mstream.encodings.flat import base64_text, fraction_text, milliseconds, ms_text, options_of, tree

_INT32: Final = range(-(1 << 31), 1 << 31)
#: What the relaxed mode spells as a date: the years 1970 to 9999.
_DATES: Final = range(253_402_300_800_000)
_UUID: Final = 4


def extended(mode: JsonMode) -> Callable[[Any], Any]:
    """What the mode makes of one value; what is none of BSON's stays."""
    table = _CANONICAL if mode is JsonMode.CANONICAL else _RELAXED

    def leaf(value: Any) -> Any:
        spelled = table.get(type(value))
        if spelled is not None:
            return spelled(value)
        if type(value) is Code:
            code = {"$code": str(value)}
            return code if value.scope is None else {**code, "$scope": tree(dict(value.scope), leaf)}
        return value

    return leaf


def _binary(data: bytes, subtype: int) -> Any:
    return {"$binary": {"base64": base64_text(data), "subType": f"{subtype:02x}"}}


def _date(ms: int) -> Any:
    return {"$date": {"$numberLong": str(ms)}}


def _relaxed_date(value: dt.datetime | DatetimeMS) -> Any:
    ms = milliseconds(value)
    return {"$date": _three_digits(ms_text(ms))} if ms in _DATES else _date(ms)


def _three_digits(text: str) -> str:
    """Of a second none or three: that is how extended JSON writes it."""
    whole, point, fraction = text.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<3}Z" if point else text


def _double(value: float) -> Any:
    return {"$numberDouble": repr(value) if math.isfinite(value) else fraction_text(value)}


def _long(value: int) -> Any:
    return {"$numberLong": str(int(value))}


def _regex(pattern: object, options: str) -> Any:
    return {"$regularExpression": {"pattern": pattern, "options": options}}


_BOTH: Final[Mapping[type, Callable[[Any], Any]]] = {
    ObjectId: lambda value: {"$oid": str(value)},
    Decimal128: lambda value: {"$numberDecimal": str(value)},
    bytes: lambda value: _binary(value, 0),
    Binary: lambda value: _binary(value, value.subtype),
    uuid.UUID: lambda value: _binary(value.bytes, _UUID),
    Timestamp: lambda value: {"$timestamp": {"t": value.time, "i": value.inc}},
    Regex: lambda value: _regex(value.pattern, options_of(value)),
    OddRegex: lambda value: _regex(value.pattern, value.options),
    Symbol: lambda value: {"$symbol": value.text},
    Undefined: lambda value: {"$undefined": True},
    DbPointer: lambda value: {"$dbPointer": {"$ref": value.namespace, "$id": {"$oid": str(value.oid)}}},
    MinKey: lambda value: {"$minKey": 1},
    MaxKey: lambda value: {"$maxKey": 1},
}
_RELAXED: Final[Mapping[type, Callable[[Any], Any]]] = {
    **_BOTH,
    float: lambda value: value if math.isfinite(value) else _double(value),
    Int64: int,
    dt.datetime: _relaxed_date,
    DatetimeMS: _relaxed_date,
}
_CANONICAL: Final[Mapping[type, Callable[[Any], Any]]] = {
    **_BOTH,
    float: _double,
    int: lambda value: {"$numberInt": str(value)} if value in _INT32 else _long(value),
    Int64: _long,
    dt.datetime: lambda value: _date(milliseconds(value)),
    DatetimeMS: lambda value: _date(int(value)),
}
