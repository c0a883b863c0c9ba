"""JSON's values as BSON: numbers by their size, and the markers of extended JSON.

In the mode `flat` as v0.47 has it; the other modes are stricter, see `docs/reference/encodings.md`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import uuid
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.binary import UUID_SUBTYPE
from bson.datetime_ms import DatetimeMS

from mstream.domain.batch import Document, JsonMode
from mstream.encodings.bson_values import DbPointer, OddRegex, Symbol, Undefined
from mstream.encodings.flat import milliseconds
from mstream.errors import EncodeError

_INT32: Final = range(-(1 << 31), 1 << 31)
_INT64: Final = range(-(1 << 63), 1 << 63)
_UINT32: Final = range(1 << 32)
_UINT64: Final = range(1 << 64)
_PATH_LIMIT: Final = 200
_FLAGS: Final = "ilmsux"
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)
_WHOLE: Final = re.compile(r"-?\d{1,20}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{24}")


class _Unreadable(Exception):
    """A marker with something else in it than it is for."""


def typed(document: Document, mode: JsonMode) -> dict[str, Any]:
    """The document with BSON's types; raises EncodeError, which names the field."""
    if not isinstance(document, dict):
        message = f"a BSON document is an object, this is a {_kind(document)}"
        raise EncodeError(message)
    if marker := next((key for key in document if key in _MARKERS), None):
        message = f"a BSON document is an object, this is the one value {marker!r}"
        raise EncodeError(message)
    reader = _Reader(mode)
    try:
        return {key: reader.value(each, f"$.{key}") for key, each in document.items()}
    except RecursionError:
        raise EncodeError("the document is nested too deeply, or contains itself") from None


def _kind(document: Document) -> str:
    return "null" if document is None else type(document).__name__


class _Reader:
    """Value by value, with the path to each."""

    def __init__(self, mode: JsonMode) -> None:
        self._is_flat = mode is JsonMode.FLAT

    def value(self, value: Any, path: str) -> Any:
        """It, or what it is the spelling of."""
        match value:
            case bool() | Int64():
                return value
            case dict():
                return self._object(value, path)
            case list() | tuple():
                return [self.value(each, f"{path}[{index}]") for index, each in enumerate(value)]
            case int():
                return self._whole(int(value), path)
            case float():
                return _fraction(value, path)
        return value

    def _whole(self, value: int, path: str) -> Any:
        """v0.47 makes a negative number an int64, however small it is."""
        if value in _INT32 and (value >= 0 or not self._is_flat):
            return value
        if value in _INT64:
            return Int64(value)
        if self._is_flat and value not in _UINT64 and _is_exact(value):
            return float(value)
        advice = 'write it as text, or as {"$numberDecimal": "…"}'
        message = f"{_short(path)} is a whole number beyond 64 bits, which BSON does not have; {advice}"
        raise EncodeError(message)

    def _object(self, value: dict[Any, Any], path: str) -> Any:
        for place, key in enumerate(value):
            if key in _MARKERS:
                return self._marked(value, key, place, path)
        return {key: self.value(each, f"{path}.{key}") for key, each in value.items()}

    def _marked(self, value: dict[Any, Any], marker: str, place: int, path: str) -> Any:
        """v0.47 passes over what stands before a marker, and refuses what stands after it."""
        fields = list(value)
        rest = set(fields[place + 1 :] if self._is_flat else fields) - {marker}
        if rest - _BESIDE.get(marker, frozenset()):
            message = f"{_short(path)}: beside {marker!r} there must be no other field"
            raise EncodeError(message)
        try:
            if marker in _BESIDE:
                return self._code(value, path)
            return _MARKERS[marker](value[marker])
        except (_Unreadable, ValueError, TypeError, KeyError, ArithmeticError):
            message = f"{_short(path)}: what stands under {marker!r} is not what belongs there"
            raise EncodeError(message) from None

    def _code(self, value: dict[Any, Any], path: str) -> Code:
        if "$scope" not in value:
            return Code(_text(value["$code"]))
        scope = value["$scope"]
        if not isinstance(scope, dict):
            raise _Unreadable
        return Code(_text(value["$code"]), {key: self.value(each, f"{path}.{key}") for key, each in scope.items()})


def _is_exact(value: int) -> bool:
    try:
        return float(value) == value
    except OverflowError:
        return False


def _fraction(value: float, path: str) -> float:
    """The nearest double; one that is written and yet infinite is beyond all doubles."""
    if type(value) is not float and math.isinf(value):
        message = f"{_short(path)} is a number beyond what a double can hold; write it as text"
        raise EncodeError(message)
    return float(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise _Unreadable


def _number(value: Any, allowed: range) -> int:
    text = _text(value)
    if _WHOLE.fullmatch(text) and int(text) in allowed:
        return int(text)
    raise _Unreadable


def _fields(value: Any, *names: str) -> list[Any]:
    """What stands under these names, and under no others."""
    if not isinstance(value, dict) or set(value) != set(names):
        raise _Unreadable
    return [value[name] for name in names]


def _oid(value: Any) -> ObjectId:
    if _HEX.fullmatch(_text(value)):
        return ObjectId(value)
    raise _Unreadable


def _date(value: Any) -> dt.datetime | DatetimeMS:
    match value:
        case bool():
            raise _Unreadable
        case int() if value in _INT64:
            return _time(value)
        case str():
            return _time(_milliseconds(value))
        case _:
            return _time(_number(_fields(value, "$numberLong")[0], _INT64))


def _time(ms: int) -> dt.datetime | DatetimeMS:
    """As BSON is read: in Python's range a time with its zone."""
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=ms)
    except OverflowError:
        return DatetimeMS(ms)


def _milliseconds(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise _Unreadable
    day, time, fraction, zone = found.groups()
    whole = dt.datetime.fromisoformat(f"{day}T{time}{zone.upper()}")
    return milliseconds(whole) + int(f"{fraction or '0':0<3}"[:3])


def _double(value: Any) -> float:
    text = _text(value)
    if text in {"NaN", "Infinity", "-Infinity"}:
        return float(text)
    number = float(text) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text, re.ASCII) else math.inf
    if math.isfinite(number):
        return number
    raise _Unreadable


def _binary(value: Any) -> Any:
    text, subtype = _fields(value, "base64", "subType")
    data = b64decode(_text(text), validate=True)
    kind = _text(subtype)
    if not re.fullmatch(r"[0-9a-fA-F]{1,2}", kind):
        raise _Unreadable
    return Binary(data, int(kind, 16)) if int(kind, 16) else data


def _regex(value: Any) -> Any:
    pattern, options = (_text(each) for each in _fields(value, "pattern", "options"))
    ordered = "".join(sorted(options))
    is_plain = "".join(each for each in _FLAGS if each in ordered) == ordered
    return Regex(pattern, ordered) if is_plain else OddRegex(pattern, ordered)


def _timestamp(value: Any) -> Timestamp:
    seconds, increment = _fields(value, "t", "i")
    for each in (seconds, increment):
        if isinstance(each, bool) or not isinstance(each, int) or each not in _UINT32:
            raise _Unreadable
    return Timestamp(seconds, increment)


def _pointer(value: Any) -> DbPointer:
    namespace, oid = _fields(value, "$ref", "$id")
    return DbPointer(_text(namespace), _oid(*_fields(oid, "$oid")))


def _only(expected: Any, made: Any) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if value != expected or type(value) is not type(expected):
            raise _Unreadable
        return made

    return read


_MARKERS: Final[Mapping[Any, Callable[[Any], Any]]] = {
    "$oid": _oid,
    "$date": _date,
    "$numberInt": lambda value: _number(value, _INT32),
    "$numberLong": lambda value: Int64(_number(value, _INT64)),
    "$numberDouble": _double,
    "$numberDecimal": lambda value: Decimal128(_text(value)),
    "$binary": _binary,
    "$uuid": lambda value: Binary(uuid.UUID(_text(value)).bytes, UUID_SUBTYPE),
    "$code": _text,
    "$scope": _text,
    "$timestamp": _timestamp,
    "$regularExpression": _regex,
    "$dbPointer": _pointer,
    "$symbol": lambda value: Symbol(_text(value)),
    "$undefined": _only(expected=True, made=Undefined()),
    "$minKey": _only(expected=1, made=MinKey()),
    "$maxKey": _only(expected=1, made=MaxKey()),
}
#: Markers that come together.
_BESIDE: Final[Mapping[str, frozenset[str]]] = {"$code": frozenset({"$scope"}), "$scope": frozenset({"$code"})}


def _short(path: str) -> str:
    shown = path.encode("utf-8", "replace").decode("utf-8")
    return shown if len(shown) <= _PATH_LIMIT else f"{shown[:_PATH_LIMIT]}…"
