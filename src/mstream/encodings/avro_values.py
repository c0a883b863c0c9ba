"""Values of documents as those of Avro's types: exact, or none at all."""

from __future__ import annotations

import datetime as dt
import math
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Final
from uuid import UUID

from mstream.encodings.numbers import ExactNumber

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()
MILLI: Final = dt.timedelta(milliseconds=1)
MICRO: Final = dt.timedelta(microseconds=1)
_MIDNIGHT: Final = dt.time()
_UUID_SUBTYPE: Final = 4
_UUID_SIZE: Final = 16

_NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?)\d*(Z|z|[-+]\d{2}:\d{2})?", re.ASCII
)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_CLOCK: Final = re.compile(r"(\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)\d*", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)

#: What a value is called, by its type.
NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "a boolean",
    int: "a whole number",
    float: "a double",
    ExactNumber: "a double",
    str: "a string",
    bytes: "bytes",
    bytearray: "bytes",
    dict: "a document",
    list: "an array",
    tuple: "an array",
    dt.datetime: "a time",
    dt.date: "a day",
    dt.time: "a time of day",
    Decimal: "a decimal",
    UUID: "a UUID",
}
#: Which of them each type of Avro has as its own: in a union those go first.
OWN: Final[Mapping[str, frozenset[str]]] = {
    "null": frozenset({"null"}),
    "boolean": frozenset({"a boolean"}),
    "int": frozenset({"a whole number"}),
    "long": frozenset({"a whole number"}),
    "float": frozenset({"a double"}),
    "double": frozenset({"a double"}),
    "string": frozenset({"a string"}),
    "enum": frozenset({"a string"}),
    "bytes": frozenset({"bytes"}),
    "fixed": frozenset({"bytes"}),
    "array": frozenset({"an array"}),
    "map": frozenset({"a document"}),
    "record": frozenset({"a document"}),
    "decimal": frozenset({"a decimal"}),
    "uuid": frozenset({"a UUID"}),
    "date": frozenset({"a day"}),
    "time-millis": frozenset({"a time of day"}),
    "time-micros": frozenset({"a time of day"}),
    "timestamp-millis": frozenset({"a time"}),
    "timestamp-micros": frozenset({"a time"}),
    "local-timestamp-millis": frozenset({"a time"}),
    "local-timestamp-micros": frozenset({"a time"}),
}
#: BSON's types that have a place in Avro, by what they are made of first.
_AS: Final[dict[type, Callable[[Any], Any]]] = {}
_IDS: set[type] = set()


def _know_bson() -> None:
    from bson import (  # noqa: PLC0415 - without the package none of its values can come
        Binary,
        Code,
        Decimal128,
        Int64,
        ObjectId,
        Regex,
        Timestamp,
    )
    from bson.datetime_ms import DatetimeMS  # noqa: PLC0415 - the same

    NAMES.update(
        {
            Int64: "a whole number",
            ObjectId: "an ObjectId",
            Decimal128: "a decimal",
            Binary: "bytes",
            DatetimeMS: "a time",
            Timestamp: "a timestamp",
            Regex: "a regular expression",
            Code: "code",
        }
    )
    _AS.update(
        {
            Int64: int,
            Decimal128: Decimal128.to_decimal,
            Binary: lambda value: UUID(bytes=bytes(value)) if _is_uuid(value) else bytes(value),
        }
    )
    _IDS.add(ObjectId)


def _is_uuid(value: Any) -> bool:
    return bool(value.subtype == _UUID_SUBTYPE and len(value) == _UUID_SIZE)


if find_spec("bson") is not None:
    _know_bson()


def came(value: Any) -> str:
    """What a value is, without what stands in it."""
    kind = type(value)
    found = NAMES.get(kind) or next((name for each, name in NAMES.items() if issubclass(kind, each)), None)
    return found or f"a {kind.__name__}"


def whole(value: Any) -> int | None:
    """A whole number; None: it is none."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else None


def fraction(value: Any) -> float | None:
    """A double, or a whole number that one can be exactly."""
    if isinstance(value, float):
        return float(value) if math.isfinite(value) or type(value) is float else None
    number = whole(value)
    if number is None:
        return None
    try:
        return float(number) if float(number) == number else None
    except OverflowError:
        return None


def text(value: Any) -> str | None:
    """A string, or an id as its digits."""
    if type(value) in _IDS:
        return str(value)
    return str(value) if came(value) == "a string" else None


def data(value: Any, *, is_base64: bool) -> bytes | None:
    """Bytes; `is_base64`: also text, as JSON spells them."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if is_base64 and isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except (NotBase64, ValueError):
            return None
    if isinstance(value, UUID):
        return value.bytes
    return bytes(value.binary) if type(value) in _IDS else None


def ticks(value: Any, tick: dt.timedelta) -> int | None:
    """Ticks since the epoch of a moment; what is below is cut off. A time without a zone is in UTC."""
    if value.__class__ is dt.datetime and value.tzinfo is not None:
        ticked: int = (value - EPOCH) // tick
        return ticked
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        return _ticks(found, tick) if found and found[3] else None
    return _moment(value, tick)


def local_ticks(value: Any, tick: dt.timedelta) -> int | None:
    """As `ticks`, of what a clock on the wall shows; of a time with a zone, one in UTC."""
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        return _ticks(found, tick) if found and not found[3] else None
    return _moment(value, tick)


def _moment(value: Any, tick: dt.timedelta) -> int | None:
    if isinstance(value, dt.datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=dt.UTC)) - EPOCH) // tick
    if type(value).__name__ == "DatetimeMS" and type(value) in NAMES:
        return int(value) * (MILLI // tick)
    return whole(value)


def _ticks(found: re.Match[str], tick: dt.timedelta) -> int | None:
    day, clock, zone = found.groups()
    try:
        return _moment(dt.datetime.fromisoformat(f"{day}T{clock}{(zone or '').upper()}"), tick)
    except (ValueError, OverflowError):
        return None


def days(value: Any) -> int | None:
    """Days since the epoch: of a day, or of a time at midnight in UTC."""
    try:
        if isinstance(value, str):
            return dt.date.fromisoformat(value).toordinal() - EPOCH_DAY if _DAY.fullmatch(value) else None
        if isinstance(value, dt.datetime):
            moment = value.astimezone(dt.UTC) if value.tzinfo else value
            return moment.toordinal() - EPOCH_DAY if moment.time() == _MIDNIGHT else None
    except (ValueError, OverflowError):
        return None
    return value.toordinal() - EPOCH_DAY if isinstance(value, dt.date) else whole(value)


def ticks_of_day(value: Any, tick: dt.timedelta) -> int | None:
    """Ticks since midnight; what is below is cut off."""
    if isinstance(value, str):
        found = _CLOCK.fullmatch(value)
        try:
            value = dt.time.fromisoformat(found[1]) if found else None
        except ValueError:
            return None
    if isinstance(value, dt.time):
        return (dt.datetime.combine(EPOCH, value.replace(tzinfo=dt.UTC)) - EPOCH) // tick
    return whole(value)


def decimal(value: Any) -> Decimal | None:
    """A number in digits: of a double the fewest that tell it from all others, of a text what it spells."""
    value = _AS.get(type(value), _same)(value)
    if isinstance(value, Decimal):
        return value if value.is_finite() else None
    if isinstance(value, ExactNumber):
        return Decimal(value.text)
    if isinstance(value, float):
        return Decimal(repr(value)) if math.isfinite(value) else None
    if isinstance(value, str):
        return Decimal(value) if _NUMBER.fullmatch(value) else None
    number = whole(value)
    return None if number is None else Decimal(number)


def unscaled(value: Decimal, scale: int, digits: int) -> int | None:
    """The number without its point; None: it has more digits before or behind that than there is room for."""
    sign, figures, exponent = value.as_tuple()
    number = int("".join(map(str, figures)) or "0")
    shift = int(exponent) + scale
    if not number:
        return 0
    if shift > digits or -shift > len(figures):
        return None
    if shift >= 0:
        number *= 10**shift
    else:
        number, rest = divmod(number, 10**-shift)
        if rest:
            return None
    return None if number >= 10**digits else -number if sign else number


def uuid(value: Any, *, of_bytes: bool) -> UUID | None:
    """A UUID, or a text that spells one; `of_bytes`: or its bytes."""
    value = _AS.get(type(value), _same)(value)
    if of_bytes and isinstance(value, bytes) and len(value) == _UUID_SIZE:
        return UUID(bytes=value)
    if isinstance(value, UUID):
        return value
    return UUID(value) if isinstance(value, str) and _UUID.fullmatch(value) else None


def _same(value: Any) -> Any:
    return value
