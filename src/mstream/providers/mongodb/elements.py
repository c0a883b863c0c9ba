"""The fields of a BSON document as pieces of its bytes: nothing is decoded, so nothing can change on its way."""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bson import Decimal128
from bson.errors import InvalidBSON

from mstream.domain.uncut import RawDocuments

_INT32, _INT64, _DOUBLE = struct.Struct("<i"), struct.Struct("<q"), struct.Struct("<d")

# Types of BSON that are told apart here.
DOUBLE, STRING, DOCUMENT, ARRAY, BINARY, UNDEFINED, OBJECT_ID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
NULL, REGEX, POINTER, SYMBOL, INT32, INT64, DECIMAL = 0x0A, 0x0B, 0x0C, 0x0E, 0x10, 0x12, 0x13

_NUMBERS: Final = {DOUBLE: _DOUBLE, INT32: _INT32, INT64: _INT64}
#: Bytes of values whose size is always the same.
_FIXED: Final = {
    **dict.fromkeys((UNDEFINED, NULL, 0x7F, 0xFF), 0),
    **dict.fromkeys((DOUBLE, 0x09, 0x11, INT64), 8),
    0x08: 1,
    INT32: 4,
    OBJECT_ID: 12,
    DECIMAL: 16,
}
#: Bytes beside those that a value's own length counts.
_COUNTED: Final = {STRING: 4, 0x0D: 4, SYMBOL: 4, DOCUMENT: 0, ARRAY: 0, 0x0F: 0, BINARY: 5, POINTER: 16}
_SMALLEST: Final = 5
#: Behind the document's length and the type of its first field.
_NAME_AT: Final = 5


@dataclass(frozen=True, slots=True)
class Element:
    """One field."""

    kind: int
    name: str
    #: Type, name and value.
    raw: bytes
    value: bytes


def elements(document: bytes) -> Iterator[Element]:
    """The fields of a document, in order. Raises InvalidBSON at the first that cannot be read."""
    if not is_document(document):
        message = "no document"
        raise InvalidBSON(message)
    at, end = 4, len(document) - 1
    try:
        while at < end:
            value = document.index(0, at + 1, end) + 1
            after = value + _size(document, at, value, end)
            name = document[at + 1 : value - 1].decode()
            yield Element(document[at], name, document[at:after], document[value:after])
            at = after
    except (ValueError, IndexError, KeyError, struct.error):
        message = "a field cannot be read"
        raise InvalidBSON(message) from None


def typed(document: bytes) -> dict[bytes, bytes]:
    """The values of a document's fields; each name has the byte of its type in front.

    Raises InvalidBSON at the first that cannot be read.
    """
    if not is_document(document):
        message = "no document"
        raise InvalidBSON(message)
    found: dict[bytes, bytes] = {}
    fixed, counted, int32, index = _FIXED.get, _COUNTED.get, _INT32.unpack_from, document.index
    at, end = 4, len(document) - 1
    try:
        while at < end:
            value = index(0, at + 1, end) + 1
            kind = document[at]
            size = fixed(kind)
            if size is None:
                beside = counted(kind)
                size = _size(document, at, value, end) if beside is None else beside + int32(document, value)[0]
            after = value + size
            if not value <= after <= end:
                break
            found[document[at : value - 1]] = document[value:after]
            at = after
    except (ValueError, IndexError, KeyError, struct.error):
        at = -1
    if at != end:
        message = "a field cannot be read"
        raise InvalidBSON(message)
    return found


def spans(document: bytes) -> dict[bytes, tuple[int, int]]:
    """Where the values lie that `typed` gives: a large one is not copied."""
    if not is_document(document):
        message = "no document"
        raise InvalidBSON(message)
    found: dict[bytes, tuple[int, int]] = {}
    at, end = 4, len(document) - 1
    try:
        while at < end:
            value = document.index(0, at + 1, end) + 1
            after = value + _size(document, at, value, end)
            found[document[at : value - 1]] = value, after
            at = after
    except (ValueError, IndexError, KeyError, struct.error):
        message = "a field cannot be read"
        raise InvalidBSON(message) from None
    return found


def documents_in(data: bytes, at: int = 0, end: int | None = None) -> RawDocuments:
    """The documents of an array that lies there. Raises InvalidBSON where it holds anything else."""
    try:
        return RawDocuments.in_array(data, at, end)
    except ValueError as error:
        raise InvalidBSON(str(error)) from None


def is_document(data: bytes) -> bool:
    """Whether the bytes say of themselves that they are a document."""
    return len(data) >= _SMALLEST and _INT32.unpack_from(data)[0] == len(data) and data[-1] == 0


def document_of(raw: Sequence[bytes]) -> bytes:
    """A document of these fields."""
    body = b"".join(raw)
    return _INT32.pack(len(body) + _SMALLEST) + body + b"\0"


def identity(element: Element) -> Hashable:
    """Equal where the server may take two values for the same: numbers of any type are compared by value."""
    kind, value = element.kind, element.value
    if kind in _NUMBERS:
        return _number(_NUMBERS[kind].unpack(value)[0])
    if kind == DECIMAL:
        decimal = Decimal128.from_bid(value).to_decimal()
        return "nan" if decimal.is_nan() else _number(decimal)
    if kind in {DOCUMENT, ARRAY}:
        return tuple((each.name, identity(each)) for each in elements(value))
    return value if kind in {STRING, SYMBOL, OBJECT_ID} else (kind, value)


def _number(value: object) -> str:
    """Two that differ may come out the same, never the other way round."""
    try:
        return repr(float(value) + 0.0)  # type: ignore[arg-type]  # whatever kind of number it is
    except OverflowError:
        return "inf"


def first_field(document: bytes, name: bytes) -> bytes | None:
    """Type, name and value of the first field, if that is its name; `name` ends with a zero."""
    value = _NAME_AT + len(name)
    if document[_NAME_AT:value] != name:
        return None
    return document[_NAME_AT - 1 : value + _size(document, _NAME_AT - 1, value, len(document) - 1)]


def _size(document: bytes, at: int, value: int, end: int) -> int:
    kind = document[at]
    if kind == REGEX:
        options = document.index(0, value, end) + 1
        return document.index(0, options, end) + 1 - value
    size: int = _FIXED[kind] if kind in _FIXED else _COUNTED[kind] + _INT32.unpack_from(document, value)[0]
    if not 0 <= size <= end - value:
        message = "a value reaches beyond its document"
        raise ValueError(message)
    return size
