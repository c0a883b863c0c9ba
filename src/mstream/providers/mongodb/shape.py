"""How a document stands in a collection: the caller's fields as they are, and beside them what we need.

`{name, state, …, revision, _digest}`: the shape of v0.47 with two more fields. `_digest` tells whether the fields are
still those that were written with `revision`: a program that knows no revisions leaves it as it was. A document
without `revision` is one of v0.47; what it holds is its revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import bson
from bson import CodecOptions
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from mstream.errors import DocumentDamaged, StoreError
from mstream.ports.documents import Document, Revision, Stored

from .values import digest, from_bson, is_storable, to_bson

REVISION, _DIGEST = "revision", "_digest"
#: Names the field of the key, where the caller's document has none.
_ADDED = "_added"
#: Its field names cannot stand at the top: the document stands in this one.
_WHOLE = "_document"
_RESERVED = frozenset({"_id", REVISION, _DIGEST, _ADDED, _WHOLE})

#: Characters: texts up to this size are compared by the server when a document is replaced.
_SMALL = 1000
#: The server's own limit on a document.
_LIMIT = 16 * 1024 * 1024
#: Bytes that `_id`, and what a server adds of its own, may take.
_MARGIN = 256

_STRICT: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
_LENIENT = _STRICT.with_options(unicode_decode_error_handler="replace")


@dataclass(frozen=True, slots=True)
class Found:
    """A document as it stands there."""

    id: Any
    #: Empty when it bears none.
    key: str
    revision: Revision
    #: It has a revision of its own: it was written by us.
    is_ours: bool
    #: What the caller once gave; None: it cannot be read.
    content: Document | None
    fields: Mapping[str, Any]

    def stored(self, what: str) -> Stored:
        """As the port tells it. Raises DocumentDamaged."""
        if self.content is None:
            message = f"{what}: document {self.key!r} is damaged; correct it, or remove it"
            raise DocumentDamaged(message)
        return Stored(key=self.key, document=self.content, revision=self.revision)

    def is_later_twin(self, other: Found) -> bool:
        """Whether nothing but their `_id`, which grows with time, tells two documents of v0.47 apart."""
        if self.is_ours or other.is_ours or self.fields.get("updated_at") != other.fields.get("updated_at"):
            return False
        return str(self.id) > str(other.id)

    def unchanged(self) -> dict[str, Any]:
        """The query for this document, as it was when it was read.

        Its plain fields are compared too: another program does not touch the revision. (v0.47 changes a time or a
        state with every write.) What is not seen: a change of lists, inner documents, fractions and long texts alone,
        in the moment between this read and the write.
        """
        query: dict[str, Any] = {"_id": self.id, REVISION: self.fields.get(REVISION, {"$exists": False})}
        for name, value in self.fields.items():
            if name not in query and _is_comparable(name, value):
                query[name] = {"$eq": value}
        return query


def found(raw: bytes, key_field: str) -> Found:
    """What stands in these bytes."""
    fields: dict[str, Any]
    content: Document | None
    try:
        fields = bson.decode(raw, _STRICT)
        content = _content(fields)
    except BSONError:
        fields, content = bson.decode(raw, _LENIENT), None
    except (ValueError, TypeError):
        content = None
    sum_of_fields = digest({name: each for name, each in fields.items() if name not in {"_id", REVISION, _DIGEST}})
    revision = fields.get(REVISION)
    is_ours = isinstance(revision, str)
    if not is_ours:
        revision = f"v047:{sum_of_fields}"
    elif fields.get(_DIGEST, sum_of_fields) != sum_of_fields:
        # Another program has written into it since.
        revision = f"{revision}+{sum_of_fields}"
    bears = fields.get(key_field)
    return Found(
        id=fields.get("_id"),
        key=bears if isinstance(bears, str) else "",
        revision=str(revision),
        is_ours=is_ours,
        content=content,
        fields=fields,
    )


def written(key_field: str, key: str, document: Document, revision: Revision, what: str) -> dict[str, Any]:
    """The fields that are stored, but for `_id`. Raises StoreError for what a document cannot hold."""
    fields: dict[str, Any]
    if not _may_stand_at_top(key_field, key, document):
        fields = {key_field: key, _WHOLE: to_bson(document)}
    else:
        fields = {name: to_bson(each) for name, each in document.items()}
        if key_field not in fields:
            fields |= {key_field: key, _ADDED: key_field}
    fields |= {REVISION: revision, _DIGEST: digest(fields)}
    size = len(bson.encode(fields, codec_options=_STRICT)) + len(key.encode()) + _MARGIN
    if size > _LIMIT:
        message = f"{what}: document {key!r} has {size:,} bytes, MongoDB takes {_LIMIT:,}; make it smaller"
        raise StoreError(message)
    return fields


def _may_stand_at_top(key_field: str, key: str, document: Document) -> bool:
    if document.get(key_field, key) != key or not _RESERVED.isdisjoint(document):
        return False
    return all(name and "." not in name and is_storable(name) for name in document)


def _content(fields: Mapping[str, Any]) -> Document:
    if _WHOLE in fields:
        whole = from_bson(fields[_WHOLE])
        if not isinstance(whole, dict):
            message = "not a document"
            raise TypeError(message)
        return whole
    hidden = _RESERVED | {fields.get(_ADDED)}
    return {name: from_bson(each) for name, each in fields.items() if name not in hidden}


def _is_comparable(name: str, value: Any) -> bool:
    """Whether every server that speaks MongoDB's protocol compares it, and quickly."""
    if not name or "." in name or not is_storable(name):
        return False
    return isinstance(value, int | datetime | None) or (isinstance(value, str) and len(value) <= _SMALL)
