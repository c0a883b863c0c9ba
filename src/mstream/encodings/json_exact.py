"""The exact way for JSON that the fast decoder and encoder would change or refuse."""

from __future__ import annotations

import enum
import json
import math
import uuid
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from mstream.domain.batch import Document
from mstream.encodings.numbers import ExactNumber, number
from mstream.errors import DecodeError, EncodeError

_BOM = b"\xef\xbb\xbf"
_decoder = json.JSONDecoder(parse_float=number)
_WORDS = {None: "null", True: "true", False: "false"}
#: A path in an error text is no longer than this.
_PATH_LIMIT = 200


def read(payload: bytes, *, whole: Callable[[str], float] | None = None) -> Document:
    """The document; raises DecodeError, which tells places and never what stands there.

    `whole`: makes a number of the digits of a whole one, where that is not to be an `int`.
    """
    decoder = _decoder if whole is None else json.JSONDecoder(parse_float=number, parse_int=whole)
    try:
        return decoder.decode(str(payload.removeprefix(_BOM), "utf-8"))
    except UnicodeDecodeError as error:
        message = f"the JSON is not UTF-8: byte {error.start} of {len(error.object)}"
        raise DecodeError(message) from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}, of {len(payload)} bytes"
        message = f"not valid JSON: {_reason(error.msg)} at {place}"
        raise DecodeError(message) from None
    except RecursionError:
        raise DecodeError("the JSON is nested too deeply") from None
    except ValueError:
        raise DecodeError("the JSON has a whole number of more than 4300 digits") from None


def _reason(text: str) -> str:
    """The parser's own words, without a character that it quotes."""
    return text.partition(":")[0].removesuffix(" at").lower()


def write(document: Document) -> bytes:
    """Compact JSON; raises EncodeError, which names the field."""
    try:
        text = "".join(_parts(document, "$"))
    except RecursionError:
        raise EncodeError("the document is nested too deeply, or contains itself") from None
    return text.encode("utf-8")


def _parts(value: Any, path: str) -> Iterator[str]:
    match value:
        case dict():
            yield from _object(value, path)
        case list() | tuple():
            yield from _array(value, path)
        case _:
            yield _scalar(value, path)


def _object(value: dict[Any, Any], path: str) -> Iterator[str]:
    before = "{"
    for key, each in value.items():
        if not isinstance(key, str):
            message = f"{_short(path)}: a field's name is a {type(key).__name__}; in JSON it is a string"
            raise EncodeError(message)
        yield f"{before}{_string(key)}:"
        yield from _parts(each, f"{path}.{key}")
        before = ","
    yield "}" if value else "{}"


def _array(value: list[Any] | tuple[Any, ...], path: str) -> Iterator[str]:
    before = "["
    for index, each in enumerate(value):
        yield before
        yield from _parts(each, f"{path}[{index}]")
        before = ","
    yield "]" if value else "[]"


def _scalar(value: Any, path: str) -> str:
    match value:
        case None | bool():
            return _WORDS[value]
        case enum.Enum():
            return _scalar(value.value, path)
        case str():
            return _string(value)
        case int():
            return _whole(value, path)
        case float():
            return _fraction(value)
        case uuid.UUID():
            return _string(str(value))
    message = f"{_short(path)} is a {type(value).__name__}, which JSON does not have; make it a string or number"
    raise EncodeError(message)


def _string(value: str) -> str:
    """As it is; with half of a surrogate pair in it, which no UTF-8 can hold, as escapes."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return encode_basestring_ascii(value)
    return encode_basestring(value)


def _whole(value: int, path: str) -> str:
    try:
        return int.__repr__(value)
    except ValueError:
        message = f"{_short(path)} is a whole number of more than 4300 digits"
        raise EncodeError(message) from None


def _fraction(value: float) -> str:
    if isinstance(value, ExactNumber):
        return value.text
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value)


def _short(path: str) -> str:
    shown = path.encode("utf-8", "replace").decode("utf-8")
    return shown if len(shown) <= _PATH_LIMIT else f"{shown[:_PATH_LIMIT]}…"
