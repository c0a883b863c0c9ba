"""Records as writes: what each does to which document; pure, and records stay the bytes that they are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bson import CodecOptions
from bson.codec_options import DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from mstream.domain.batch import Batch, Encoding, JsonMode, Operation
from mstream.encodings import conversion_between

from .config import ID, MongodbSinkOptions, OnDelete, WriteMode
from .elements import document_of, elements, identity, is_document
from .keys import USUAL, USUAL_END, Misfit, as_key, document_of_key, fitting, found_by
from .merging import is_delete, merged, removed

Action = InsertOne[Any] | ReplaceOne[Any] | UpdateOne | DeleteOne

#: How a document begins whose first field is a text named `_id`, behind its length; and where its value begins.
_TEXT_ID: Final = b"\x02_id\0"
_AT_VALUE: Final = 9
#: To see the names of fields, whatever their values are.
_NAMES: Final[CodecOptions[RawBSONDocument]] = CodecOptions(
    RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS, unicode_decode_error_handler="ignore"
)


class _Replacement(RawBSONDocument):
    """The driver asks whether there is anything in it, and would decode it for the answer; it has at least a key."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


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
        except RecursionError:
            result.refused[index] = "its key is nested too deeply"
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
    return payload


# ------------------------------------------------------------------------------------------------------------ documents
def _insert(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    key: Hashable = None
    end = _end_of_id(fitting(payload))
    if end:
        key = payload[_AT_VALUE:end]
    else:
        found = next((each for each in elements(payload) if each.name == ID), None)
        key = None if found is None else identity(as_key(found))
    return Write(index, key, InsertOne(RawBSONDocument(payload)), payload)


def _replace(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    key, where = _found(fitting(payload), options.key_fields)
    if options.key_fields != (ID,):
        # Whichever document has the key keeps its own.
        payload = document_of([each.raw for each in elements(payload) if each.name != ID])
    return Write(index, key, ReplaceOne(where, _Replacement(payload), upsert=True))


def _upsert(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    key, where = _found(fitting(payload), options.key_fields)
    for name in RawBSONDocument(payload, _NAMES):
        if name != ID and (not name or name[0] == "$" or "." in name):
            message = f"its field {name!r} cannot be set by name; use write_mode = 'replace'"
            raise Misfit(message)
    end = _end_of_id(payload)
    others = [payload[end:-1]] if end else [each.raw for each in elements(payload) if each.name != ID]
    # A document of nothing but its key is made, or left as it is.
    change: dict[str, Any] = {"$set": RawBSONDocument(document_of(others))}
    return Write(index, key, UpdateOne(where, change if any(others) else {"$setOnInsert": where}, upsert=True))


def _merge(index: int, payload: bytes, options: MongodbSinkOptions) -> Write:
    if is_delete(payload):
        return _delete(index, payload, None, options)
    key, action = merged(payload)
    return Write(index, key, action)


def _found(payload: bytes, names: Sequence[str]) -> tuple[Hashable, RawBSONDocument]:
    """As `found_by`; an id at the head of its document is found without looking at the rest."""
    end = _end_of_id(payload) if names == (ID,) else 0
    if not end:
        return found_by(payload, names)
    return payload[_AT_VALUE:end], RawBSONDocument(document_of([payload[4:end]]))


def _end_of_id(payload: bytes) -> int:
    """Where an ObjectId or a text ends that is named `_id` and stands first; 0: there is none of them."""
    if payload[4:_AT_VALUE] == USUAL:
        return USUAL_END
    if payload[4:_AT_VALUE] != _TEXT_ID or len(payload) < _AT_VALUE + 6:
        return 0
    end = _AT_VALUE + 4 + int.from_bytes(payload[_AT_VALUE : _AT_VALUE + 4], "little")
    return end if end < len(payload) and not payload[end - 1] else 0


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
