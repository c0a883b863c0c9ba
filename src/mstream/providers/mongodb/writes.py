"""Records as writes: what each does to which document; pure, and records stay the bytes that they are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from mstream.domain.batch import Batch, Encoding, JsonMode, Operation
from mstream.encodings import conversion_between

from .config import ID, MongodbSinkOptions, OnDelete, WriteMode
from .elements import document_of, elements, identity, is_document
from .keys import USUAL, USUAL_END, Misfit, as_key, document_of_key, found_by
from .merging import is_delete, merged, removed

Action = InsertOne[Any] | ReplaceOne[Any] | UpdateOne | DeleteOne

#: The server's own limit on a document.
LIMIT: Final = 16 * 1024 * 1024


# Not frozen: there is one per record, and it is made several times as fast.
@dataclass(slots=True)
class Write:
    """What one record does; nobody changes it."""

    index: int
    #: Equal for writes that may touch the same document; None: no other record can.
    key: Hashable
    action: Action
    #: What is inserted, where it is there already if it was written before.
    inserted: bytes | None = None


@dataclass(slots=True)
class Sorted:
    """The records of a batch by what is to be done with them."""

    writes: list[Write] = field(default_factory=list)
    #: By index, why a record cannot be written.
    refused: dict[int, str] = field(default_factory=dict)


def sort(batch: Batch, options: MongodbSinkOptions, mode: JsonMode = JsonMode.FLAT) -> Sorted:
    """The write of each record, in order, and the records that cannot be one."""
    result = Sorted()
    payloads = _bson(batch, mode, result.refused)
    make = _MAKERS[options.write_mode]
    for index, payload in enumerate(payloads):
        if index in result.refused:
            continue
        try:
            deletes = payload is None or (batch.operations is not None and batch.operations[index] is Operation.DELETE)
            if not deletes:
                result.writes.append(make(index, _checked(payload or b""), options))
            elif options.on_delete is OnDelete.DELETE:
                key = batch.keys[index] if batch.keys is not None else None
                result.writes.append(_delete(index, payload, key, options))
        except Misfit as misfit:
            result.refused[index] = str(misfit)
        except InvalidBSON:
            result.refused[index] = "it is no valid BSON document"
    return result


def rounds(writes: Sequence[Write]) -> tuple[list[Write], list[Write]]:
    """Those that can be made in any order, and those that must come after them, one after the other."""
    seen: set[Hashable] = set()
    first: list[Write] = []
    later: list[Write] = []
    for each in writes:
        if each.key in seen:
            later.append(each)
            continue
        if each.key is not None:
            seen.add(each.key)
        first.append(each)
    return first, later


def stored_form(payload: bytes) -> bytes:
    """The document as the server keeps it: `_id` is its first field."""
    if payload[4:9] == USUAL:
        return payload
    fields = list(elements(payload))
    return document_of([each.raw for each in sorted(fields, key=lambda one: one.name != ID)])


def _bson(batch: Batch, mode: JsonMode, refused: dict[int, str]) -> Sequence[bytes | None]:
    """As they came, where they are BSON."""
    payloads = batch.payloads or []
    conversion = conversion_between(batch.encoding, Encoding.BSON, mode)
    if conversion is None:
        return payloads
    made, failures = conversion.of_payloads(payloads)
    refused.update((each.index, str(each.error)) for each in failures)
    return made


def _checked(payload: bytes) -> bytes:
    if not is_document(payload):
        message = "it is no valid BSON document"
        raise Misfit(message)
    if len(payload) > LIMIT:
        message = f"it has {len(payload):,} bytes, MongoDB takes {LIMIT:,}; make it smaller before it comes here"
        raise Misfit(message)
    return payload


# ------------------------------------------------------------------------------------------------------------ documents
def _insert(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    key: Hashable = None
    if payload[4:9] == USUAL:
        key = payload[9:USUAL_END]
    else:
        found = next((each for each in elements(payload) if each.name == ID), None)
        key = None if found is None else identity(as_key(found))
    return Write(index, key, InsertOne(RawBSONDocument(payload)), payload)


def _replace(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    key, where = found_by(payload, options.key_fields)
    if options.key_fields != (ID,):
        # Whichever document has the key keeps its own.
        payload = document_of([each.raw for each in elements(payload) if each.name != ID])
    return Write(index, key, ReplaceOne(where, RawBSONDocument(payload), upsert=True))


def _upsert(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    key, where = found_by(payload, options.key_fields)
    fields = [each for each in elements(payload) if each.name != ID]
    for each in fields:
        if not each.name or each.name.startswith("$") or "." in each.name:
            message = f"its field {each.name!r} cannot be set by name; use write_mode = 'replace'"
            raise Misfit(message)
    # A document of nothing but its key is made, or left as it is.
    change: dict[str, Any] = {"$set": RawBSONDocument(document_of([each.raw for each in fields]))}
    return Write(index, key, UpdateOne(where, change if fields else {"$setOnInsert": where}, upsert=True))


def _merge(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    if is_delete(payload):
        return _delete(index, payload, None, options)
    key, action = merged(payload)
    return Write(index, key, action)


_MAKERS = {
    WriteMode.INSERT: _insert,
    WriteMode.REPLACE: _replace,
    WriteMode.UPSERT: _upsert,
    WriteMode.MERGE: _merge,
}


def _delete(index: int, payload: bytes | None, key: bytes | None, options: MongodbSinkOptions) -> Write:
    """By its content, which may be the document as it was or its key alone; without any, by the record's key."""
    if payload is not None and options.write_mode is WriteMode.MERGE:
        named, action = removed(payload)
        return Write(index, named, action)
    if payload is None:
        payload = document_of_key(key, options.key_fields)
    found, where = found_by(payload, options.key_fields)
    return Write(index, found, DeleteOne(where))
