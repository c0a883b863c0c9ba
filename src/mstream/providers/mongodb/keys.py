"""What tells a record's document from others: the filter that finds it, and a name for it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from bson.raw_bson import RawBSONDocument

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import conversion_between

from .config import ID
from .elements import (
    ARRAY,
    DOCUMENT,
    NULL,
    REGEX,
    UNDEFINED,
    Element,
    document_of,
    elements,
    identity,
    is_document,
)

#: How a document begins whose first field is an ObjectId named `_id`: behind its length, and where the id ends.
USUAL: Final = b"\x07_id\0"
USUAL_END: Final = 21
#: The server's own limit on a document.
LIMIT: Final = 16 * 1024 * 1024
#: What the server finds in another way than by comparing.
_NO_KEYS: Final = {ARRAY: "an array", REGEX: "a regular expression", UNDEFINED: "undefined"}


class Misfit(Exception):
    """A record that cannot be written; the text says why, without any of its values."""


def fitting(document: bytes) -> bytes:
    """The same; raises Misfit for one that is larger than the server takes."""
    if len(document) > LIMIT:
        message = f"it has {len(document):,} bytes, MongoDB takes {LIMIT:,}; make it smaller before it comes here"
        raise Misfit(message)
    return document


def found_by(payload: bytes, names: Sequence[str]) -> tuple[Hashable, RawBSONDocument]:
    """What tells the document from others, and the filter that finds it."""
    if names == (ID,) and payload[4:9] == USUAL:
        return payload[9:USUAL_END], RawBSONDocument(document_of([payload[4:USUAL_END]]))
    found: list[Element] = []
    for name in names:
        value = _at(payload, name)
        if value is None:
            message = f"it has no field {name!r}, which tells documents apart"
            raise Misfit(message)
        found.append(as_key(value))
    key = identity(found[0]) if len(found) == 1 else tuple(map(identity, found))
    return key, RawBSONDocument(document_of([each.raw for each in found]))


def _at(payload: bytes, path: str) -> Element | None:
    """The value at a path, as a field that has the whole path for its name."""
    element: Element | None = None
    inside = payload
    for name in path.split("."):
        element = next((each for each in elements(inside) if each.name == name), None)
        if element is None:
            return None
        inside = element.value if element.kind == DOCUMENT else document_of([])
    if element is None or element.name == path:
        return element
    return Element(element.kind, path, bytes([element.kind]) + path.encode() + b"\0" + element.value, element.value)


def as_key(element: Element) -> Element:
    """The same; raises Misfit for a value that does not find its document, or finds others too."""
    kind = _NO_KEYS.get(element.kind)
    if element.kind == NULL and element.name != ID:
        kind = "null"
    if element.kind == DOCUMENT and any(each.name.startswith("$") for each in elements(element.value)):
        kind = "a document with a '$' in front of a name"
    if kind is not None:
        message = f"its {element.name!r} is {kind}, which cannot tell documents apart"
        raise Misfit(message)
    return element


def document_of_key(key: bytes | None, names: Sequence[str]) -> bytes:
    """A record's key in BSON or JSON: a document with the key fields, or the value of the only one."""
    if key is None:
        message = "a record without content needs a key, which says what is to be deleted"
        raise Misfit(message)
    if is_document(key):
        return key
    conversion = conversion_between(Encoding.JSON, Encoding.BSON, JsonMode.FLAT)
    texts = [key, b'{"%s":%s}' % (names[0].encode(), key)] if len(names) == 1 else [key]
    made, _ = conversion.of_payloads(texts) if conversion else ([], ())
    for each in made:
        if each is not None and all(_at(each, name) is not None for name in names):
            return each
    message = f"its key is neither BSON nor JSON with {', '.join(map(repr, names))}, so nothing can be deleted"
    raise Misfit(message)
