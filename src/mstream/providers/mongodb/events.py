"""What becomes of a change event: its record, or the reason why it has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bson import Timestamp
from bson.raw_bson import RawBSONDocument

from mstream.domain.batch import Headers, Operation
from mstream.errors import ServiceError

#: Events of documents; all others tell of collections, databases, or the stream itself.
OPERATIONS: Final = {each.value: each for each in Operation}
#: After it the stream has ended; another one can be opened behind it.
INVALIDATE: Final = "invalidate"


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
    is_invalidated: bool = False


def events_of(documents: Sequence[RawBSONDocument], *, envelope: bool) -> Events:
    """In order. With an envelope every event is a record; without one those of documents are.

    Raises ServiceError when the service's pipeline takes away what a record is made of.
    """
    found = Events()
    known: dict[tuple[str, bytes], dict[str, str]] = {}
    for document in documents:
        # Once, in one piece: a look into a raw document costs more than one into a dict
        event = dict(document.items())
        kind = event.get("operationType")
        if not isinstance(kind, str) or "_id" not in event:
            message = "the pipeline takes `_id` or `operationType` out of change events; leave both in"
            raise ServiceError(message)
        found.is_invalidated = kind == INVALIDATE
        namespace = event.get("ns")
        # Nearly all events are of one collection, and of few kinds
        place = (kind, b"" if namespace is None else bytes(namespace.raw))
        headers = known.get(place) or known.setdefault(place, _headers(kind, namespace))
        if not envelope and kind not in OPERATIONS:
            found.skipped.append((kind, ".".join(filter(None, (headers["database"], headers["collection"])))))
            continue
        key = event.get("documentKey")
        found.payloads.append(bytes(document.raw) if envelope else _image(event, kind))
        found.keys.append(None if key is None else bytes(key.raw))
        found.headers.append(headers)
        found.operations.append(Operation.INSERT if envelope else OPERATIONS[kind])
        found.times.append(_time(event))
        found.tokens.append(bytes(event["_id"].raw))
    return found


def _image(event: Mapping[str, Any], kind: str) -> bytes | None:
    """The document; None for one that is gone."""
    name = "fullDocument"
    if kind == Operation.DELETE:
        name = "fullDocumentBeforeChange"
    elif name not in event:
        message = "the pipeline takes `fullDocument` out of change events; leave it in, or set envelope = true"
        raise ServiceError(message)
    image = event.get(name)
    return None if image is None else bytes(image.raw)


def _headers(kind: str, namespace: Any) -> dict[str, str]:
    place = namespace if namespace is not None else {}
    return {"operation_type": kind, "database": place.get("db", ""), "collection": place.get("coll", "")}


def _time(event: Mapping[str, Any]) -> int | None:
    """When it happened, in milliseconds: the server's wall clock, or else the seconds of its cluster time."""
    wall, cluster = event.get("wallTime"), event.get("clusterTime")
    if isinstance(wall, datetime):
        return int(wall.timestamp() * 1000)
    return cluster.time * 1000 if isinstance(cluster, Timestamp) else None
