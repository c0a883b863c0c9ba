"""The exact way for BSON that the package's codec would change or refuse; it tells places, never what stands there."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import bson
from bson import Code, CodecOptions, DBRef, ObjectId, Regex
from bson.binary import UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from mstream.domain.batch import Document
from mstream.encodings.bson_values import DbPointer, OddRegex, Symbol, Undefined
from mstream.errors import DecodeError, EncodeError

#: Times as scripts compare them, with their zone; those that Python cannot hold as `DatetimeMS`.
READ: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
#: UUIDs that a script has made are of subtype 4.
WRITE: Final[CodecOptions[dict[str, Any]]] = CodecOptions(uuid_representation=UuidRepresentation.STANDARD)

_INT = struct.Struct("<i")
_SMALLEST: Final = 5
_OID_SIZE: Final = 12
#: Bytes of an element's value, by its type.
_SIZES: Final = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0}
#: Strings and code, which the package reads as they are.
_STRINGS: Final = frozenset({0x02, 0x0D})
_FLAGS: Final = "ilmsux"
#: A path in an error text is no longer than this.
_PATH_LIMIT: Final = 200
_FAULTS: Final = (BSONError, ValueError, TypeError, OverflowError, struct.error)


def read(payload: bytes) -> Document:
    """The document; raises DecodeError, which tells the place."""
    try:
        document, end = _Reader(payload).document(0, len(payload))
    except RecursionError:
        raise DecodeError("the BSON document is nested too deeply") from None
    if end != len(payload):
        raise _invalid(payload, end, "the document ends before its last byte")
    return document


def _invalid(data: bytes, place: int, what: str) -> DecodeError:
    message = f"not valid BSON: {what}, at byte {place} of {len(data)}"
    return DecodeError(message)


class _Reader:
    """Element by element; every method answers a value and where the next thing begins."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def document(self, start: int, limit: int) -> tuple[dict[str, Any], int]:
        end = self._end(start, limit)
        place = start + _INT.size
        document: dict[str, Any] = {}
        while place < end:
            name, after = self._cstring(place + 1, end)
            document[name], place = self._value(place, after, end)
        return document, end + 1

    def _value(self, element: int, start: int, limit: int) -> tuple[Any, int]:
        kind = self._data[element]
        if kind in _SIZES:
            return self._plain(element, start, start + _SIZES[kind], limit)
        if kind in _STRINGS:
            return self._plain(element, start, self._string(start, limit)[1], limit)
        reader = _READERS.get(kind)
        if reader is None:
            raise _invalid(self._data, element, f"there is no type {kind:#04x}")
        return reader(self, element, start, limit)

    def _nested(self, element: int, start: int, limit: int) -> tuple[dict[str, Any], int]:
        return self.document(start, limit)

    def _array(self, element: int, start: int, limit: int) -> tuple[list[Any], int]:
        """The names of the elements count for nothing, their order does."""
        end = self._end(start, limit)
        place = start + _INT.size
        items = []
        while place < end:
            item, place = self._value(place, self._nul(place + 1, end) + 1, end)
            items.append(item)
        return items, end + 1

    def _binary(self, element: int, start: int, limit: int) -> tuple[Any, int]:
        return self._plain(element, start, start + _INT.size + 1 + self._length(start, limit, smallest=0), limit)

    def _undefined(self, element: int, start: int, limit: int) -> tuple[Undefined, int]:
        return Undefined(), start

    def _pointer(self, element: int, start: int, limit: int) -> tuple[DbPointer, int]:
        namespace, middle = self._string(start, limit)
        end = middle + _OID_SIZE
        self._within(start, end, limit)
        return DbPointer(namespace, ObjectId(self._data[middle:end])), end

    def _symbol(self, element: int, start: int, limit: int) -> tuple[Symbol, int]:
        text, end = self._string(start, limit)
        return Symbol(text), end

    def _plain(self, element: int, start: int, end: int, limit: int) -> tuple[Any, int]:
        """A value that the package reads as it is."""
        self._within(start, end, limit)
        body = self._data[element : element + 1] + b"\x00" + self._data[start:end] + b"\x00"
        try:
            return bson.decode(_INT.pack(_INT.size + len(body)) + body, READ)[""], end
        except _FAULTS:
            raise _invalid(self._data, start, f"a value of type {self._data[element]:#04x} is malformed") from None

    def _regex(self, element: int, start: int, limit: int) -> tuple[Regex[str] | OddRegex, int]:
        pattern, middle = self._cstring(start, limit)
        options, end = self._cstring(middle, limit)
        is_plain = "".join(each for each in _FLAGS if each in options) == options
        return (Regex(pattern, options) if is_plain else OddRegex(pattern, options)), end

    def _code(self, element: int, start: int, limit: int) -> tuple[Code, int]:
        end = start + self._length(start, limit, smallest=_INT.size + _INT.size + 1 + _SMALLEST)
        self._within(start, end, limit)
        text, middle = self._string(start + _INT.size, end)
        scope, after = self.document(middle, end)
        if after != end:
            raise _invalid(self._data, after, "code with a scope has another length than it says")
        return Code(text, scope), end

    def _end(self, start: int, limit: int) -> int:
        """Where the NUL stands that ends a document or an array."""
        end = start + self._length(start, limit, smallest=_SMALLEST)
        if end > limit:
            raise _invalid(self._data, start, "a document is longer than what is there")
        if self._data[end - 1]:
            raise _invalid(self._data, end - 1, "a document does not end with a NUL")
        return end - 1

    def _length(self, start: int, limit: int, *, smallest: int) -> int:
        self._within(start, start + _INT.size, limit)
        (length,) = _INT.unpack_from(self._data, start)
        if length < smallest:
            raise _invalid(self._data, start, "a length is too small")
        return int(length)

    def _string(self, start: int, limit: int) -> tuple[str, int]:
        begin = start + _INT.size
        end = begin + self._length(start, limit, smallest=1)
        self._within(start, end, limit)
        if self._data[end - 1]:
            raise _invalid(self._data, end - 1, "a string does not end with a NUL")
        return self._text(begin, end - 1), end

    def _cstring(self, start: int, limit: int) -> tuple[str, int]:
        end = self._nul(start, limit)
        return self._text(start, end), end + 1

    def _nul(self, start: int, limit: int) -> int:
        end = self._data.find(b"\x00", start, limit)
        if end < 0:
            raise _invalid(self._data, start, "a name or a pattern does not end")
        return end

    def _text(self, start: int, end: int) -> str:
        try:
            return str(self._data[start:end], "utf-8")
        except UnicodeDecodeError as error:
            raise _invalid(self._data, start + error.start, "a string or a name is not UTF-8") from None

    def _within(self, start: int, end: int, limit: int) -> None:
        if end > limit:
            raise _invalid(self._data, start, "a value ends beyond its document")


_READERS: Final[Mapping[int, Callable[[_Reader, int, int, int], tuple[Any, int]]]] = {
    0x03: _Reader._nested,  # noqa: SLF001 - the class's own table
    0x04: _Reader._array,  # noqa: SLF001 - the same
    0x05: _Reader._binary,  # noqa: SLF001 - the same
    0x06: _Reader._undefined,  # noqa: SLF001 - the same
    0x0B: _Reader._regex,  # noqa: SLF001 - the same
    0x0C: _Reader._pointer,  # noqa: SLF001 - the same
    0x0E: _Reader._symbol,  # noqa: SLF001 - the same
    0x0F: _Reader._code,  # noqa: SLF001 - the same
}


def write(document: Document) -> bytes:
    """BSON; raises EncodeError, which names the field."""
    if not isinstance(document, dict):
        message = f"a BSON document is an object, this is a {type(document).__name__}"
        raise EncodeError(message)
    try:
        return _document(document, "$")
    except RecursionError:
        raise EncodeError("the document is nested too deeply, or contains itself") from None


def _document(value: dict[Any, Any], path: str) -> bytes:
    return _framed(b"".join(_fields(value, path)))


def _framed(body: bytes) -> bytes:
    return _INT.pack(_INT.size + len(body) + 1) + body + b"\x00"


def _fields(value: dict[Any, Any], path: str) -> Iterator[bytes]:
    for key, each in value.items():
        if not isinstance(key, str):
            message = f"{_short(path)}: a field's name is a {type(key).__name__}; in BSON it is a string"
            raise EncodeError(message)
        kind, body = _element(each, f"{path}.{key}")
        yield kind + _cstring(key, path, "a field's name") + body


def _element(value: Any, path: str) -> tuple[bytes, bytes]:
    """The type and the bytes of a value."""
    if isinstance(value, dict):
        return b"\x03", _document(value, path)
    if isinstance(value, list | tuple):
        return b"\x04", _framed(b"".join(_items(value, path)))
    return _WRITERS.get(type(value), _plain)(value, path)


def _items(value: list[Any] | tuple[Any, ...], path: str) -> Iterator[bytes]:
    for index, each in enumerate(value):
        kind, body = _element(each, f"{path}[{index}]")
        yield kind + b"%d\x00" % index + body


def _plain(value: Any, path: str) -> tuple[bytes, bytes]:
    """A value that the package writes as it is."""
    try:
        written = bson.encode({"": value}, codec_options=WRITE)
    except UnicodeEncodeError:
        message = f"{_short(path)} has half of a surrogate pair, which is no text"
        raise EncodeError(message) from None
    except OverflowError:
        message = (
            f"{_short(path)} is a whole number beyond 64 bits, which BSON does not have; make it a Decimal128 or text"
        )
        raise EncodeError(message) from None
    except (BSONError, ValueError, TypeError):
        message = f"{_short(path)} is a {type(value).__name__} that BSON cannot hold; make it one of BSON's types"
        raise EncodeError(message) from None
    return written[4:5], written[6:-1]


def _regex(value: OddRegex, path: str) -> tuple[bytes, bytes]:
    what = "a regular expression"
    return b"\x0b", _cstring(value.pattern, path, what) + _cstring(value.options, path, what)


def _code(value: Code, path: str) -> tuple[bytes, bytes]:
    if value.scope is None:
        return b"\x0d", _string(str(value), path)
    body = _string(str(value), path) + _document(dict(value.scope), path)
    return b"\x0f", _INT.pack(_INT.size + len(body)) + body


_WRITERS: Final[Mapping[type, Callable[[Any, str], tuple[bytes, bytes]]]] = {
    Code: _code,
    DBRef: lambda value, path: (b"\x03", _document(dict(value.as_doc()), path)),
    DbPointer: lambda value, path: (b"\x0c", _string(value.namespace, path) + value.oid.binary),
    OddRegex: _regex,
    Symbol: lambda value, path: (b"\x0e", _string(value.text, path)),
    Undefined: lambda value, path: (b"\x06", b""),
}


def _string(text: str, path: str) -> bytes:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        message = f"{_short(path)} has half of a surrogate pair, which is no text"
        raise EncodeError(message) from None
    return _INT.pack(len(encoded) + 1) + encoded + b"\x00"


def _cstring(text: str, path: str, what: str) -> bytes:
    try:
        encoded = text.encode("utf-8")
    except UnicodeEncodeError:
        message = f"{_short(path)}: {what} has half of a surrogate pair, which is no text"
        raise EncodeError(message) from None
    if b"\x00" in encoded:
        message = f"{_short(path)}: {what} has a NUL in it, which BSON cannot hold"
        raise EncodeError(message)
    return encoded + b"\x00"


def _short(path: str) -> str:
    shown = path.encode("utf-8", "replace").decode("utf-8")
    return shown if len(shown) <= _PATH_LIMIT else f"{shown[:_PATH_LIMIT]}…"
