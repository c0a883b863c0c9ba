"""What is made of Avro's types that a next step does not have: plain values, BSON's types, or JSON's."""

from __future__ import annotations

import datetime as dt
import math
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Final
from uuid import UUID

import orjson

from mstream.encodings.avro_reading import Flavour
from mstream.encodings.avro_schema import Kind
from mstream.encodings.avro_values import EPOCH, EPOCH_DAY
from mstream.encodings.numbers import ExactNumber

_NAIVE_EPOCH: Final = EPOCH.replace(tzinfo=None)
_PER_DAY: Final = {"millis": 86_400_000, "micros": 86_400_000_000}
#: Doubles up to here are spelled without an exponent.
_PLAIN_DOUBLE: Final = 1e15
_SMALL_DOUBLE: Final = 1e-4
_MS: Final = 1000

#: The word of a decimal of v0.47.
TEXT_DECIMAL: Final = "decimal of text"

Make = Callable[[Any], Any]


def _unit(kind: Kind) -> str:
    return kind.logical.rpartition("-")[2]


def _span(kind: Kind) -> Callable[[int], dt.timedelta]:
    if _unit(kind) == "millis":
        return lambda ticks: dt.timedelta(0, 0, 0, ticks)
    return lambda ticks: dt.timedelta(0, 0, ticks)


def _decimal(kind: Kind) -> Callable[[bytes], Decimal]:
    scale = kind.node.get("scale", 0)
    return lambda data: Decimal(f"{int.from_bytes(data, 'big', signed=True)}E-{scale}")


def _decimal_of_text(kind: Kind) -> Callable[[bytes], Decimal]:
    """As v0.47 writes them: the number's text stands where the number belongs."""
    return lambda data: Decimal(data.decode("ascii"))


def _uuid(kind: Kind) -> Make:
    """What is no UUID stays the text that it is."""
    if kind.base == "fixed":
        return lambda data: UUID(bytes=data)

    def make(text: str) -> UUID | str:
        try:
            return UUID(text)
        except ValueError:
            return text

    return make


def _day(kind: Kind) -> Callable[[int], dt.date]:
    return lambda days: dt.date.fromordinal(days + EPOCH_DAY)


def _clock(kind: Kind) -> Callable[[int], dt.time]:
    span = _span(kind)

    def make(ticks: int) -> dt.time:
        passed = span(ticks)
        if passed.days:
            raise ValueError(ticks)
        return (_NAIVE_EPOCH + passed).time()

    return make


def _moment(kind: Kind) -> Callable[[int], dt.datetime]:
    span = _span(kind)
    return lambda ticks: EPOCH + span(ticks)


def _local_moment(kind: Kind) -> Callable[[int], dt.datetime]:
    span = _span(kind)
    return lambda ticks: _NAIVE_EPOCH + span(ticks)


#: As scripts see them: types of Python's own.
PLAIN: Final[Flavour] = {
    "decimal": _decimal,
    TEXT_DECIMAL: _decimal_of_text,
    "uuid": _uuid,
    "date": _day,
    "time-millis": _clock,
    "time-micros": _clock,
    "timestamp-millis": _moment,
    "timestamp-micros": _moment,
    "local-timestamp-millis": _local_moment,
    "local-timestamp-micros": _local_moment,
}


# --------------------------------------------------------------------------------------------------------------- JSON
def moment_text(value: dt.datetime) -> str:
    """RFC 3339 in UTC, as far as there is a fraction; without a zone where the time has none."""
    if value.tzinfo is None:
        return _trimmed(value.isoformat())
    return _trimmed(value.astimezone(dt.UTC).replace(tzinfo=None).isoformat()) + "Z"


def clock_text(value: dt.time) -> str:
    """The time of day, as far as there is a fraction."""
    return _trimmed(value.isoformat())


def double_value(value: float) -> Any:
    """A double as flat JSON has it: what is no number as text, exponents without a plus sign."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = orjson.dumps(value).decode("ascii")
    return ExactNumber(text.replace("e+", "e")) if "e+" in text else value


def base64_text(value: bytes) -> str:
    """Standard base64, with padding."""
    return b64encode(value).decode("ascii")


def _trimmed(text: str) -> str:
    return text.rstrip("0") if "." in text else text


def _joined(first: Make, then: Make) -> Make:
    return lambda value: then(first(value))


def _text_of(make: Callable[[Kind], Make], spell: Callable[[Any], str]) -> Callable[[Kind], Make]:
    """As text; ticks that have no name stay a number, as text."""

    def of(kind: Kind) -> Make:
        made = make(kind)

        def text(ticks: Any) -> str:
            try:
                return spell(made(ticks))
            except (ValueError, OverflowError):
                return str(ticks)

        return text

    return of


def _json_double(kind: Kind) -> Make:
    def make(value: float) -> Any:
        return value if -_PLAIN_DOUBLE < value < _PLAIN_DOUBLE else double_value(value)

    return make


def _json_uuid(kind: Kind) -> Make | None:
    return None if kind.base == "string" else lambda data: str(UUID(bytes=data))


#: As flat JSON has them.
JSON: Final[Flavour] = {
    "decimal": lambda kind: _joined(_decimal(kind), str),
    TEXT_DECIMAL: lambda kind: _joined(_decimal_of_text(kind), str),
    "uuid": _json_uuid,
    "date": _text_of(_day, dt.date.isoformat),
    "time-millis": _text_of(_clock, clock_text),
    "time-micros": _text_of(_clock, clock_text),
    "timestamp-millis": _text_of(_moment, moment_text),
    "timestamp-micros": _text_of(_moment, moment_text),
    "local-timestamp-millis": _text_of(_local_moment, moment_text),
    "local-timestamp-micros": _text_of(_local_moment, moment_text),
    "bytes": lambda kind: base64_text,
    "fixed": lambda kind: base64_text,
    "float": _json_double,
    "double": _json_double,
}
#: The same of values that a script has seen.
JSON_VALUES: Final[dict[type, Make]] = {
    Decimal: str,
    UUID: str,
    dt.date: dt.date.isoformat,
    dt.time: clock_text,
    dt.datetime: moment_text,
    bytes: base64_text,
    float: double_value,
}


# --------------------------------------------------------------------------------------------------------------- BSON
def bson_flavour() -> Flavour:
    """As BSON has them; needs its package."""
    from bson import Decimal128, Int64  # noqa: PLC0415 - only who asks needs it
    from bson.datetime_ms import DatetimeMS  # noqa: PLC0415 - the same

    def moment(kind: Kind) -> Make:
        divisor = 1 if _unit(kind) == "millis" else _MS
        made = _moment(kind)

        def make(ticks: int) -> Any:
            try:
                return made(ticks)
            except OverflowError:
                return DatetimeMS(ticks // divisor)

        return make

    def day(kind: Kind) -> Make:
        per_day = _PER_DAY["millis"]
        return lambda days: DatetimeMS(days * per_day)

    return {
        **PLAIN,
        "long": lambda kind: Int64,
        "decimal": lambda kind: _joined(_decimal(kind), Decimal128),
        TEXT_DECIMAL: lambda kind: _joined(_decimal_of_text(kind), Decimal128),
        "date": day,
        "time-millis": lambda kind: None,
        "time-micros": lambda kind: Int64,
        "timestamp-millis": moment,
        "timestamp-micros": moment,
        "local-timestamp-millis": moment,
        "local-timestamp-micros": moment,
    }


def bson_values() -> dict[type, Make]:
    """The same of values that a script has seen; needs its package."""
    from bson import Decimal128  # noqa: PLC0415 - only who asks needs it

    return {
        Decimal: Decimal128,
        dt.date: lambda day: dt.datetime.combine(day, dt.time(), dt.UTC),
        dt.time: clock_text,
    }


def has_bson() -> bool:
    """Whether BSON's package is here."""
    return find_spec("bson") is not None
