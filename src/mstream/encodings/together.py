"""Many documents written as JSON by one call, and what that call has made of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, Final

import orjson

from mstream.domain.batch import Document

#: A line between two documents of one call: inside compact JSON there is none.
_LINE: Final = orjson.Fragment(b"\n")
_BETWEEN: Final = b",\n,"
#: What the encoder makes of NaN and infinities, among others.
NULL: Final = b"null"
#: Bytes of a document from which on a call for each costs less than to look at every byte.
_LONG: Final = 1000
#: NaN or an infinity in MessagePack, where every fraction is a mark and eight bytes.
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
_FRACTION: Final = b"\xcb"
#: Types of values that hold no others.
_LEAVES: Final = frozenset({str, int, float, bool, type(None)})
#: Fractions of a document, at most, that are looked at one by one.
_FEW: Final = 4
#: Long documents for one call: so many stay in the processor's cache until they are cut apart.
GROUP: Final = 32


def text_of(documents: Sequence[Document], default: Callable[[Any], Any] | None, options: int) -> bytes:
    """All of them, one in a line, as `apart` takes it; raises TypeError as the encoder does.

    Written one by one they would be cut down from larger pieces of memory and keep the heap torn.
    """
    mixed: list[Any] = [_LINE] * (2 * len(documents) - 1)
    mixed[::2] = documents
    return orjson.dumps(mixed, default, options)


def apart(text: bytes, count: int) -> list[bytes]:
    """The documents of a text of `count`.

    A single byte is found at the speed of memory; several are looked for byte by byte, from the right twice as fast.
    """
    if not is_long(text, count):
        return text[1:-1].rsplit(_BETWEEN)
    lines: list[bytes] = []
    start, end = 1, text.find(b"\n")
    while end >= 0:
        lines.append(text[start : end - 1])
        start = end + 2
        end = text.find(b"\n", start)
    lines.append(text[start:-1])
    return lines


def may_hold_null(text: bytes, count: int) -> bool:
    """Whether to ask for numbers that JSON does not have; where documents are long, asking costs less than to look."""
    return is_long(text, count) or text.rfind(NULL) >= 0


def is_long(text: bytes, count: int) -> bool:
    """Whether its documents are long ones."""
    return len(text) > _LONG * count


def all_finite(documents: Sequence[Document]) -> bool:
    """Whether they are objects of plain values without NaN or an infinity; False: nobody knows."""
    try:
        columns = zip_longest(*map(dict.values, documents))
    except TypeError:
        return False
    total = 0.0
    for column in columns:  # mostly of one type each
        kinds = set(map(type, column))
        if not kinds <= _LEAVES:
            return False
        if float in kinds:
            total += sum(column if len(kinds) == 1 else [each for each in column if type(each) is float])
    return total - total == 0


def has_not_finite(packed: bytes, count: int) -> bool:
    """Whether NaN or an infinity is among `count` documents in MessagePack; now and then also where none is."""
    at = packed.find(_FRACTION)
    for _ in range(_FEW * count):
        if at < 0:
            return False
        if _NOT_FINITE.match(packed, at):
            return True
        at = packed.find(_FRACTION, at + 1)
    return at >= 0 and _NOT_FINITE.search(packed, at) is not None
