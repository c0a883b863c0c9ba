"""Readers of Avro's parts: each says where in a record something is wrong, and takes no length at its word."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

#: The value that begins at a place, and where the next one does; raises one of FAULTS.
Get = Callable[[bytes, int], tuple[Any, int]]

_MORE: Final = 0x80
_LONGEST: Final = 63
_double = struct.Struct("<d").unpack_from
_float = struct.Struct("<f").unpack_from
#: Items of an array that take no bytes, at most: nothing else bounds them.
_EMPTY_ITEMS: Final = 1000


class Broken(Exception):
    """A record that is not what its schema says; the path grows on the way out."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        #: From the innermost outwards.
        self.path: list[str] = []


def _long(data: bytes, place: int) -> tuple[int, int]:
    left = data[place]
    place += 1
    if left >= _MORE:
        left -= _MORE
        shift = 7
        while True:
            each = data[place]
            place += 1
            left |= (each & 0x7F) << shift
            if each < _MORE:
                break
            shift += 7
            if shift > _LONGEST:
                raise Broken("a number is longer than 64 bits")
        if left >> 64:
            raise Broken("a number is longer than 64 bits")
    return (left >> 1) ^ -(left & 1), place


def _int(data: bytes, place: int) -> tuple[int, int]:
    value, place = _long(data, place)
    if value.bit_length() > 31 and value != -(1 << 31):  # noqa: PLR2004 - bits beside the sign
        raise Broken("an int is longer than 32 bits")
    return value, place


def _bytes(data: bytes, place: int) -> tuple[bytes, int]:
    size, place = _long(data, place)
    end = place + size
    if size < 0 or end > len(data):
        raise Broken("a length leads beyond the record")
    return data[place:end], end


def _string(data: bytes, place: int) -> tuple[str, int]:
    size = data[place]
    if size & 0x81:  # negative, or longer than one byte can tell
        size, place = _long(data, place)
        if size < 0:
            raise Broken("a length is negative")
        end = place + size
    else:
        place += 1
        end = place + (size >> 1)
    if end > len(data):
        raise Broken("a length leads beyond the record")
    return data[place:end].decode(), end


def _boolean(data: bytes, place: int) -> tuple[bool, int]:
    value = data[place]
    if value > 1:
        raise Broken("a boolean is neither 0 nor 1")
    return value == 1, place + 1


def _get_double(data: bytes, place: int) -> tuple[float, int]:
    return _double(data, place)[0], place + 8


def _get_float(data: bytes, place: int) -> tuple[float, int]:
    return _float(data, place)[0], place + 4


def _null(data: bytes, place: int) -> tuple[None, int]:
    return None, place


PLAIN: Final[Mapping[str, Get]] = {
    "null": _null,
    "boolean": _boolean,
    "int": _int,
    "long": _long,
    "float": _get_float,
    "double": _get_double,
    "bytes": _bytes,
    "string": _string,
}


def made(get: Get, make: Callable[[Any], Any]) -> Get:
    """What is made of a value."""

    def get_made(data: bytes, place: int) -> tuple[Any, int]:
        value, place = get(data, place)
        return make(value), place

    return get_made


def refused(message: str) -> Get:
    """Nothing can be read there."""

    def get(data: bytes, place: int) -> tuple[Any, int]:
        raise Broken(message)

    return get


def fixed(size: int) -> Get:
    """So many bytes."""

    def get(data: bytes, place: int) -> tuple[bytes, int]:
        end = place + size
        if end > len(data):
            raise Broken("it ends too early")
        return data[place:end], end

    return get


def enum(symbols: Sequence[str | None]) -> Get:
    """One of these, by its place; None: it was a symbol, and is none any more."""

    def get(data: bytes, place: int) -> tuple[str, int]:
        index, place = _long(data, place)
        symbol = symbols[index] if 0 <= index < len(symbols) else None
        if symbol is None:
            raise Broken("a symbol that the enum does not have")
        return symbol, place

    return get


def union(branches: list[Get]) -> Get:
    """The branch that its number says."""
    numbered = {each << 1: branch for each, branch in enumerate(branches)}

    def get(data: bytes, place: int) -> tuple[Any, int]:
        index = data[place]
        place += 1
        if index >= _MORE:
            index, place = _long(data, place - 1)
            index <<= 1
        branch = numbered.get(index)
        if branch is None:
            raise Broken("a branch that the union does not have")
        return branch(data, place)

    return get


def _count(data: bytes, place: int) -> tuple[int, int]:
    """Of one block; the bytes that it says to have are not needed."""
    count, place = _long(data, place)
    if count < 0:
        count = -count
        _, place = _long(data, place)
    return count, place


def array(get_item: Get, *, takes_bytes: bool) -> Get:
    """A list; `takes_bytes`: an item cannot be without any."""

    def get(data: bytes, place: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        try:
            while True:
                count, place = _count(data, place)
                if not count:
                    return items, place
                if count > (len(data) - place if takes_bytes else _EMPTY_ITEMS - len(items)):
                    raise Broken("a count is larger than the record")
                for _ in range(count):
                    item, place = get_item(data, place)
                    items.append(item)
        except FAULTS as error:
            raise _placed(error, f"[{len(items)}]") from None

    return get


def mapping(get_value: Get) -> Get:
    """A document of names and values."""

    def get(data: bytes, place: int) -> tuple[dict[str, Any], int]:
        items: dict[str, Any] = {}
        try:
            while True:
                count, place = _count(data, place)
                if not count:
                    return items, place
                for _ in range(count):
                    key, place = _string(data, place)
                    items[key], place = get_value(data, place)
        except FAULTS as error:
            raise _placed(error, ".*") from None

    return get


def record(fields: list[tuple[str, Get]]) -> Get:
    """A document of these fields."""

    def get(data: bytes, place: int) -> tuple[dict[str, Any], int]:
        document: dict[str, Any] = {}
        name = ""
        try:
            for name, each in fields:
                document[name], place = each(data, place)
        except FAULTS as error:
            raise _placed(error, f".{name}") from None
        return document, place

    return get


def resolved(fields: list[tuple[str | None, Get]], new: list[tuple[str, Callable[[], Any]]], order: list[str]) -> Get:
    """A document in the order of who reads it; fields without a name are passed over, `new` ones have defaults."""

    def get(data: bytes, place: int) -> tuple[dict[str, Any], int]:
        found: dict[str | None, Any] = {}
        name: str | None = ""
        try:
            for name, each in fields:
                found[name], place = each(data, place)
        except FAULTS as error:
            raise _placed(error, f".{name or '*'}") from None
        for each_name, default in new:
            found[each_name] = default()
        return {each_name: found[each_name] for each_name in order}, place

    return get


def _placed(error: Exception, part: str) -> Broken:
    broken = error if isinstance(error, Broken) else Broken(_REASONS.get(type(error), "a value that cannot be"))
    broken.path.append(part)
    return broken


#: What a reader can raise beside its own: data that ends, text that is none, values that are none.
FAULTS: Final = (Broken, IndexError, struct.error, ValueError, ArithmeticError)
_REASONS: Final[Mapping[type, str]] = {
    IndexError: "it ends too early",
    struct.error: "it ends too early",
    UnicodeDecodeError: "a string is not UTF-8",
}
