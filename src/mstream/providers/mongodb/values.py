"""Documents as BSON: what BSON, or a server, cannot hold is wrapped, so that it comes back as it was given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp

from mstream.errors import StoreError

_TIME, _INT, _PLAIN = "_time", "_int", "_plain"
_TAGS = frozenset({_TIME, _INT, _PLAIN})
_INT64 = range(-(2**63), 2**63)

#: What other programs may have left in fields that are not ours: handed out and taken back as it is.
_FOREIGN = (Code, DatetimeMS, Decimal128, MaxKey, MinKey, ObjectId, Regex, Timestamp)


def to_bson(value: Any) -> Any:  # noqa: PLR0911 - a line for each kind of value
    """Raises StoreError for a value that a document cannot hold."""
    match value:
        case None | bool() | float() | Binary():
            return value
        case int():
            return int(value) if value in _INT64 else {_INT: str(int(value))}
        case bytes():
            return bytes(value)
        case datetime() if value.tzinfo is not None:
            moment = value.astimezone(UTC)
            # A date of BSON counts milliseconds.
            return {_TIME: moment.isoformat()} if moment.microsecond % 1000 else moment
        case Mapping():
            return _fields(value)
        case _ if isinstance(value, _FOREIGN):
            return value
        case str():
            return str(value)
        case Sequence():
            return [to_bson(each) for each in value]
        case _:
            message = f"a document holds JSON values, bytes and UTC times, no {type(value).__name__}"
            raise StoreError(message)


def from_bson(value: Any) -> Any:  # noqa: PLR0911 - a line for each kind of value
    """What `to_bson` was given. Raises ValueError when it was not written by us and only looks so."""
    match value:
        case bool():
            return value
        case int():
            return int(value)
        case datetime():
            return value.replace(tzinfo=UTC)
        case dict():
            return _unwrapped(value)
        case list():
            return [from_bson(each) for each in value]
        case DBRef():
            # The driver takes every document with a field "$ref" for a reference of its own.
            return from_bson({name: each for name, each in value.as_doc().items() if (name, each) != ("$id", None)})
        case _:
            return value


def is_storable(name: str) -> bool:
    """Whether every server takes a field of this name inside a document."""
    return not name.startswith("$") and "\0" not in name


def digest(fields: Mapping[str, Any]) -> str:
    """The same text for the same fields, in whatever order, as they are stored."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_told)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]


def _told(value: Any) -> str:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else repr(value)


def _fields(value: Mapping[Any, Any]) -> dict[str, Any]:
    if not all(isinstance(each, str) for each in value):
        message = "a document's field names are texts"
        raise StoreError(message)
    inner = {str(name): to_bson(each) for name, each in value.items()}
    # A document that looks like a tag is wrapped; its inside must not be taken for one on the way back.
    is_tag = len(inner) == 1 and not _TAGS.isdisjoint(inner)
    if is_tag or not all(is_storable(name) for name in inner):
        return {_PLAIN: [[name, each] for name, each in inner.items()]}
    return inner


def _unwrapped(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        [(tag, value)] = found.items()
        match tag, value:
            case "_time", str():
                return datetime.fromisoformat(value)
            case "_int", str():
                return int(value)
            case "_plain", list():
                return {name: from_bson(each) for name, each in value}
    return {name: from_bson(each) for name, each in found.items()}
