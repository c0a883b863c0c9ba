"""What becomes of a change event: its record, or the reason why it has none."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import bson

from mstream.domain.batch import Headers, Operation
from mstream.errors import ServiceError

from .elements import typed

#: Events of documents; all others tell of collections, databases, or the stream itself.
OPERATIONS: Final = {each.value: each for each in Operation}
#: After it the stream has ended; another one can be opened behind it.
INVALIDATE: Final = "invalidate"

# The fields of an event that are looked at, by type and name.
_TOKEN, _KIND, _NAMESPACE, _KEY = b"\x03_id", b"\x02operationType", b"\x03ns", b"\x03documentKey"
_AFTER, _BEFORE, _NO_AFTER = b"\x03fullDocument", b"\x03fullDocumentBeforeChange", b"\x0afullDocument"
_WALL, _CLUSTER = b"\x09wallTime", b"\x11clusterTime"
_NO_PLACE: Final = "the pipeline takes `_id` or `operationType` out of change events; leave both in"
_NO_DOCUMENT: Final = "the pipeline takes `fullDocument` out of change events; leave it in, or set envelope = true"
_INT64, _TIMESTAMP = struct.Struct("<q"), struct.Struct("<II")


@dataclass(slots=True)
class Events:
    """Records of change events, column by column; `tokens` are the places after them."""

    payloads: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    times: list[int | None] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)
    #: Operation type and place of the events without a record.
    skipped: list[tuple[str, str]] = field(default_factory=list)
    #: The place after the last event, whether it has a record or not.
    last: bytes | None = None
    is_invalidated: bool = False


@dataclass(slots=True)
class _Kind:
    """What all events of one operation at one place have in common."""

    headers: dict[str, str]
    #: None: its events have no record.
    operation: Operation | None
    #: The field with the document.
    image: bytes
    is_end: bool


def events_of(documents: Sequence[bytes], *, envelope: bool) -> Events:
    """In order. With an envelope every event is a record; without one those of documents are.

    Raises InvalidBSON, and ServiceError when the service's pipeline takes away what a record is made of.
    """
    found = Events()
    known: dict[tuple[bytes | None, bytes | None], _Kind] = {}
    for document in documents:
        event = typed(document)
        # Nearly all events are of one collection, and of few kinds
        named = (event.get(_KIND), event.get(_NAMESPACE))
        kind = known.get(named) or known.setdefault(named, _kind(*named, envelope=envelope))
        token = event.get(_TOKEN)
        if token is None:
            raise ServiceError(_NO_PLACE)
        found.last = token
        found.is_invalidated = kind.is_end
        if kind.operation is None:
            found.skipped.append(_told(kind.headers))
            continue
        payload = document if envelope else event.get(kind.image)
        if payload is None and kind.image is _AFTER and _NO_AFTER not in event:
            raise ServiceError(_NO_DOCUMENT)
        wall = event.get(_WALL)
        found.payloads.append(payload)
        found.keys.append(event.get(_KEY))
        found.headers.append(kind.headers)
        found.operations.append(kind.operation)
        found.times.append(_INT64.unpack(wall)[0] if wall is not None else _cluster_time(event.get(_CLUSTER)))
        found.tokens.append(token)
    return found


def _kind(name: bytes | None, namespace: bytes | None, *, envelope: bool) -> _Kind:
    if name is None:
        raise ServiceError(_NO_PLACE)
    kind = name[4:-1].decode()
    place = {} if namespace is None else bson.decode(namespace)
    headers = {"operation_type": kind, "database": place.get("db", ""), "collection": place.get("coll", "")}
    operation = Operation.INSERT if envelope else OPERATIONS.get(kind)
    return _Kind(headers, operation, _BEFORE if operation is Operation.DELETE else _AFTER, kind == INVALIDATE)


def _told(headers: Mapping[str, str]) -> tuple[str, str]:
    return headers["operation_type"], ".".join(filter(None, (headers["database"], headers["collection"])))


def _cluster_time(time: bytes | None) -> int | None:
    """Milliseconds; older servers tell no wall clock's time."""
    return None if time is None else _TIMESTAMP.unpack(time)[1] * 1000
