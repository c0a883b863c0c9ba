"""Writers of single values of Avro, and what they say of a value that does not fit."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

from mstream.encodings import avro_values as values
from mstream.encodings.avro_schema import AvroSchema, Kind
from mstream.errors import EncodeError, SchemaInvalid

Add = Callable[[bytes], object]
#: Writes a value; raises Misfit.
Put = Callable[[Any, Add], None]

#: What is said of a field that is missing.
NOTHING: Final = "no such field is there"
_INT32: Final = 1 << 31
_INT64: Final = 1 << 63
#: The numbers that most lengths and many values are.
_MORE: Final = 0x80
_SHORT: Final = [bytes([each]) if each < _MORE else bytes([each % _MORE | _MORE, each >> 7]) for each in range(1 << 14)]
_FEW: Final = len(_SHORT)
_double = struct.Struct("<d").pack
_float = struct.Struct("<f").pack
_FALSE, _TRUE = b"\x00", b"\x01"
#: A path in an error text is no longer than this; of an enum so many symbols are named.
_PATH_LIMIT: Final = 200
_SYMBOLS: Final = 10
_MOST_DIGITS: Final = 1000
_NO_NUMBERS: Final = {each: float(each) for each in ("NaN", "Infinity", "-Infinity")}
_OF_ANY_SIZE: Final = frozenset({"bytes", "a string"})


class Misfit(Exception):
    """A value that the schema does not want; the path grows on the way out."""

    def __init__(self, wants: str, came: str) -> None:
        super().__init__(wants)
        self.wants = wants
        self.came = came if came == NOTHING else f"{came} came"
        #: From the innermost outwards.
        self.path: list[str] = []

    def error(self) -> EncodeError:
        """What people read."""
        path = "".join(("$", *reversed(self.path))).encode("utf-8", "replace").decode("utf-8")
        shown = path if len(path) <= _PATH_LIMIT else f"{path[:_PATH_LIMIT]}…"
        return EncodeError(f"{shown}: the schema wants {self.wants}, {self.came}")


def varint(number: int) -> bytes:
    """A number of 64 bits, as Avro writes it."""
    left = number << 1 ^ number >> 63
    if left < _FEW:
        return _SHORT[left]
    made = bytearray()
    while left >= _MORE:
        made.append(left % _MORE | _MORE)
        left >>= 7
    made.append(left)
    return bytes(made)


def leaf(kind: Kind, *, of_json: bool) -> Put:
    """The writer of what has no parts; `of_json`: text may stand for bytes, and for what is no number."""
    if kind.logical:
        return _logical(kind)
    if kind.base == "enum":
        return _enum(kind)
    if kind.base in {"bytes", "fixed"}:
        return _data(kind, of_json=of_json)
    put = _PLAIN[kind.base]
    return _fraction_of_json(put) if of_json and kind.base in {"float", "double"} else put


def _fraction_of_json(put_number: Put) -> Put:
    def put(value: Any, add: Add) -> None:
        put_number(_NO_NUMBERS.get(value, value) if value.__class__ is str else value, add)

    return put


def _enum(kind: Kind) -> Put:
    places = {symbol: varint(place) for place, symbol in enumerate(kind.node["symbols"])}
    wants = wanted(kind)

    def put(value: Any, add: Add) -> None:
        place = places.get(value) if isinstance(value, str) else None
        if place is None:
            raise Misfit(wants, "another string" if isinstance(value, str) else values.came(value))
        add(place)

    return put


def _data(kind: Kind, *, of_json: bool) -> Put:
    """Takes bytes, and ids and UUIDs where there is room for exactly them; `of_json`: also base64."""
    size, wants = kind.node.get("size"), wanted(kind)

    def put(value: Any, add: Add) -> None:
        found = values.data(value, is_base64=of_json)
        if found is None or (size is None and values.came(value) not in _OF_ANY_SIZE):
            raise Misfit(wants, values.came(value))
        if size is None:
            add(varint(len(found)))
        elif len(found) != size:
            raise Misfit(wants, f"{len(found)} bytes")
        add(found)

    return put


def _logical(kind: Kind) -> Put:
    if kind.logical == "decimal":
        return _decimal(kind)
    if kind.logical == "uuid":
        return _uuid(kind)
    wants, (convert, tick) = wanted(kind), _MOMENTS[kind.logical]
    most = _INT32 if kind.base == "int" else _INT64

    def put(value: Any, add: Add) -> None:
        number = convert(value, tick)
        if number is None or not -most <= number < most:
            raise Misfit(wants, values.came(value))
        add(varint(number))

    return put


def _decimal(kind: Kind) -> Put:
    digits, scale, size = kind.node["precision"], kind.node.get("scale", 0), kind.node.get("size")
    wants = wanted(kind)
    if digits > _MOST_DIGITS:
        message = f"it has a decimal of {digits} digits; more than {_MOST_DIGITS} are nothing to count with"
        raise SchemaInvalid(message)

    def put(value: Any, add: Add) -> None:
        number = values.decimal(value)
        if number is None:
            raise Misfit(wants, values.came(value))
        found = values.unscaled(number, scale, digits)
        if found is None:
            raise Misfit(wants, "one with more digits before or behind the point")
        needed = (found + (found < 0)).bit_length() // 8 + 1
        if size is None:
            add(varint(needed))
        elif needed > size:
            raise Misfit(f"{wants} within {size} bytes", "a larger one")
        add(found.to_bytes(size or needed, "big", signed=True))

    return put


def _uuid(kind: Kind) -> Put:
    def put(value: Any, add: Add) -> None:
        found = values.uuid(value, of_bytes=kind.base == "fixed")
        if found is None:
            raise Misfit("a UUID", "another string" if isinstance(value, str) else values.came(value))
        if kind.base == "fixed":
            add(found.bytes)
        else:
            string(str(found), add)

    return put


def _null(value: Any, add: Add) -> None:
    if value is not None:
        raise Misfit("null", values.came(value))


def _boolean(value: Any, add: Add) -> None:
    if value is not True and value is not False:
        raise Misfit("a boolean", values.came(value))
    add(_TRUE if value else _FALSE)


def _int(value: Any, add: Add) -> None:
    _whole(value, add, "an int", _INT32, 32)


def _long(value: Any, add: Add) -> None:
    if value.__class__ is int and -_INT64 <= value < _INT64:
        left = value << 1 ^ value >> 63
        add(_SHORT[left] if left < _FEW else varint(value))
    else:
        _whole(value, add, "a long", _INT64, 64)


def _whole(value: Any, add: Add, wants: str, most: int, bits: int) -> None:
    number = value if value.__class__ is int else values.whole(value)
    if number is None:
        raise Misfit(wants, values.came(value))
    if not -most <= number < most:
        raise Misfit(f"{wants}, of {bits} bits", _bits(number))
    left = number << 1 ^ number >> 63
    add(_SHORT[left] if left < _FEW else varint(number))


def _bits(number: int) -> str:
    return f"a whole number of {(number + (number < 0)).bit_length() + 1} bits"


def _put_double(value: Any, add: Add) -> None:
    number = value if value.__class__ is float else values.fraction(value)
    if number is None:
        raise Misfit("a double", _inexact(value))
    add(_double(number))


def _put_float(value: Any, add: Add) -> None:
    number = value if value.__class__ is float else values.fraction(value)
    try:
        if number is not None:
            add(_float(number))
            return
    except OverflowError:
        pass
    raise Misfit("a float", _inexact(value))


def _inexact(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"{values.came(value)} that it cannot be" if is_number else values.came(value)


def string(value: Any, add: Add) -> None:
    """Writes text, and ids as their digits."""
    text = value if value.__class__ is str else values.text(value)
    if text is None:
        raise Misfit("a string", values.came(value))
    try:
        found = text.encode()
    except UnicodeEncodeError:
        raise Misfit("a string", "half of a surrogate pair") from None
    size = len(found) << 1
    add(_SHORT[size] if size < _FEW else varint(len(found)))
    add(found)


_PLAIN: Final[dict[str, Put]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _put_float,
    "double": _put_double,
    "string": string,
}
_MOMENTS: Final[dict[str, tuple[Callable[[Any, Any], int | None], Any]]] = {
    "date": (lambda value, _: values.days(value), None),
    "time-millis": (values.ticks_of_day, values.MILLI),
    "time-micros": (values.ticks_of_day, values.MICRO),
    "timestamp-millis": (values.ticks, values.MILLI),
    "timestamp-micros": (values.ticks, values.MICRO),
    "local-timestamp-millis": (values.local_ticks, values.MILLI),
    "local-timestamp-micros": (values.local_ticks, values.MICRO),
}


def wanted(kind: Kind, schema: AvroSchema | None = None) -> str:
    """What a part takes, for people."""
    node = kind.node
    match kind.word:
        case "union":
            return " or ".join(wanted(schema.kind(each), schema) for each in node) if schema else "one of several"
        case "record" | "enum" | "fixed":
            return f"{_NAMED[kind.word]} {_details(kind)}"
        case "decimal":
            return f"a decimal of {node['precision']} digits, {node.get('scale', 0)} of them behind the point"
        case word:
            return _WORDS.get(word, f"a {word}")


def _details(kind: Kind) -> str:
    node = kind.node
    if kind.base == "fixed":
        return f"of {node['size']} bytes"
    if kind.base == "record":
        return f"{node['name']!r}"
    symbols = node["symbols"]
    return ", ".join(symbols[:_SYMBOLS]) + ("…" if len(symbols) > _SYMBOLS else "")


_NAMED: Final = {"record": "the record", "enum": "one of", "fixed": "a fixed"}
_WORDS: Final = {
    "null": "null",
    "int": "an int",
    "bytes": "bytes",
    "array": "an array",
    "uuid": "a UUID",
}
