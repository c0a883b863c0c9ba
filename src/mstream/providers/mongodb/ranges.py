"""What a snapshot reads: commands over the documents of a collection in the order of their `_id`, of whatever type."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import bson
from bson import Timestamp
from bson.raw_bson import RawBSONDocument

from .config import ID, MongodbSourceOptions, Watch, is_pattern
from .elements import ARRAY, DOCUMENT, REGEX, UNDEFINED, document_of, elements, first_field
from .places import Range, text_of, value_of

#: Documents in an answer, at most.
BATCH: Final = 1000
#: How the first field of stored documents is called.
_FIRST: Final = b"_id\0"
#: Of so many samples for each range one bounds it.
_SAMPLES: Final = 20
#: Tells an event that stands for a document from one that has happened.
_COPYING: Final = b"\x08copyingData\0\x01"
#: Not documents of users.
_INTERNAL: Final = frozenset({"admin", "config", "local"})
#: Where in a key `{"_id": …}` the type and the value stand, and what the server finds in another way than by comparing.
_KIND_AT: Final = 4
_VALUE_AT: Final = 9
_NO_VALUES: Final = frozenset({ARRAY, REGEX, UNDEFINED})
#: How servers say that they cannot compare `_id`s by an expression; MongoDB can.
NO_EXPRESSIONS: Final = frozenset({None, 2, 9, 168, 238})


def reading(
    part: Range, options: MongodbSourceOptions, time: Timestamp | None, chosen: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The command that reads a range; `time`: what had happened by then must be seen.

    Where the source filters events, the documents become events of their insertion first. `chosen`: not all documents
    of the range, but those that this query finds.
    """
    database, _, name = part.collection.partition(".")
    query = within(part) if chosen is None else chosen
    if not options.pipeline:
        command: dict[str, Any] = {"find": name, "filter": query, "sort": {ID: 1}, "batchSize": BATCH}
        return command | {"readConcern": _concern(time)}
    shape = {
        ID: {ID: f"${ID}", "copyingData": {"$literal": True}},
        "operationType": {"$literal": "insert"},
        "ns": {"$literal": {"db": database, "coll": name}},
        "documentKey": {ID: f"${ID}"},
        "fullDocument": "$$ROOT",
    }
    stages = [{"$match": query}, {"$sort": {ID: 1}}, {"$project": shape}, *options.pipeline]
    return {"aggregate": name, "pipeline": stages, "cursor": {"batchSize": BATCH}, "readConcern": _concern(time)}


def searching(part: Range, query: dict[str, Any], time: Timestamp | None) -> dict[str, Any]:
    """The command that finds the `_id`s of what a query finds in a range, in order."""
    command = {"find": part.collection.partition(".")[2], "filter": both(within(part), query)}
    return command | {"projection": {ID: 1}, "sort": {ID: 1}, "batchSize": BATCH, "readConcern": _concern(time)}


def probing(collection: str, query: dict[str, Any]) -> dict[str, Any]:
    """The command by which a server says what it has against a query; it finds nothing."""
    return {"find": collection.partition(".")[2], "filter": both({ID: {"$in": []}}, query), "limit": 1}


def both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """What two queries find."""
    return {"$and": [one, other]} if one and other else one or other


def named(keys: Sequence[bytes]) -> dict[str, Any] | None:
    """The query for just the documents with these keys `{"_id": …}`; None: one of them cannot stand in it."""
    if any(each[_KIND_AT] in _NO_VALUES or _is_operator(each) for each in keys):
        return None
    values = [b"%c%d\0%b" % (each[_KIND_AT], at, each[_VALUE_AT:-1]) for at, each in enumerate(keys)]
    return {ID: RawBSONDocument(document_of([b"%c$in\0%b" % (ARRAY, document_of(values))]))}


def among(there: Sequence[str], database: str, name: str) -> tuple[str, ...]:
    """The collection of that name, with or without its database's before it; all of them for none."""
    if not name:
        return tuple(there)
    return next(((each,) for each in (name, f"{database}.{name}") if each in there), ())


def _is_operator(key: bytes) -> bool:
    inside = elements(key[_VALUE_AT:-1]) if key[_KIND_AT] == DOCUMENT else ()
    return any(each.name.startswith("$") for each in inside)


def _concern(time: Timestamp | None) -> dict[str, Any]:
    return {"level": "majority"} if time is None else {"level": "majority", "afterClusterTime": time}


def within(part: Range) -> dict[str, Any]:
    """The filter of a range. Unlike `{_id: {$gt: …}}`, an expression compares values of all types."""
    bounds = [("$gt", part.after), ("$lte", part.until)]
    tests = [{name: [f"${ID}", {"$literal": value_of(text)}]} for name, text in bounds if text is not None]
    if not tests:
        return {}
    return {"$expr": tests[0] if len(tests) == 1 else {"$and": tests}}


def sampling(collection: str, count: int) -> dict[str, Any]:
    """The command that finds `_id`s between which there are about as many documents everywhere, in order."""
    size = count * _SAMPLES
    stages = [{"$sample": {"size": size}}, {"$project": {ID: 1}}, {"$sort": {ID: 1}}]
    return {"aggregate": collection.partition(".")[2], "pipeline": stages, "cursor": {"batchSize": size + 1}}


def divided(collection: str, samples: Sequence[bytes], count: int) -> tuple[Range, ...]:
    """Up to `count` ranges that hold everything between them; `samples`: documents in order."""
    texts = [text_of(id_of(each)) for each in samples]
    bounds = list(dict.fromkeys(texts[len(texts) * each // count] for each in range(1, count))) if texts else []
    return tuple(
        Range(collection=collection, after=after, until=until)
        for after, until in zip([None, *bounds], [*bounds, None], strict=True)
    )


def id_of(document: bytes) -> bytes:
    """`{"_id": …}`, without a look at the value."""
    first = first_field(document, _FIRST) or next(each.raw for each in elements(document) if each.name == ID)
    return document_of([first])


def enveloped(document: bytes, key: bytes, namespace: Mapping[str, str]) -> bytes:
    """A document as the event of its insertion."""
    place = document_of([*(each.raw for each in elements(key)), _COPYING])
    kind = [each.raw for each in elements(bson.encode({"operationType": "insert", "ns": namespace}))]
    return document_of([_field(ID, place), *kind, _field("documentKey", key), _field("fullDocument", document)])


def _field(name: str, document: bytes) -> bytes:
    return bytes([DOCUMENT]) + name.encode() + b"\0" + document


def is_wanted(name: str, kind: str, options: MongodbSourceOptions) -> bool:
    """Whether a collection is among those that the source reads."""
    if kind != "collection" or name.startswith("system."):
        return False
    return not options.collections or any(
        re.search(each[1:-1], name) is not None if is_pattern(each) else each == name for each in options.collections
    )


def is_of_users(database: str, options: MongodbSourceOptions) -> bool:
    """Whether a snapshot of a deployment reads that database."""
    return options.watch is Watch.DEPLOYMENT and database not in _INTERNAL
