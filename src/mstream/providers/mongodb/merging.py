"""Change events as writes: what an update has changed is changed, and nothing else of the document.

A record is a change event in the server's own shape (`documentKey`, `fullDocument`, `updateDescription`). What an
update's description cannot say by paths is taken from `fullDocument`, where the event has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import bson
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, ReplaceOne, UpdateOne

from .config import ID
from .elements import DOCUMENT, Element, document_of, elements
from .keys import Misfit, fitting, found_by

Action = ReplaceOne[Any] | UpdateOne | DeleteOne

_KEY, _FULL, _UPDATE = "documentKey", "fullDocument", "updateDescription"
_SET, _REMOVED, _CUT, _PATHS = "updatedFields", "removedFields", "truncatedArrays", "disambiguatedPaths"
_PLAIN: Final[CodecOptions[dict[str, Any]]] = CodecOptions()


def merged(event: bytes) -> tuple[Any, Action]:
    """What tells its document from others, and what the event does to it. Raises Misfit or InvalidBSON."""
    parts = {each.name: each for each in elements(event)}
    key, where = _target(parts)
    update, full = _inside(parts, _UPDATE), _inside(parts, _FULL)
    if update is not None:
        change = _change({each.name: each for each in elements(update)}, where)
        if change is not None:
            return key, UpdateOne(where, change, upsert=True)
        if full is None:
            message = (
                "its updateDescription cannot be applied by paths, and it has no fullDocument;"
                " let the source look the document up"
            )
            raise Misfit(message)
    if full is None:
        message = f"it has neither {_UPDATE!r} nor {_FULL!r}; write_mode = 'merge' takes whole change events"
        raise Misfit(message)
    return key, ReplaceOne(where, RawBSONDocument(fitting(full)), upsert=True)


def removed(event: bytes) -> tuple[Any, Action]:
    """The same for an event that says that its document is gone."""
    key, where = _target({each.name: each for each in elements(event)})
    return key, DeleteOne(where)


def is_delete(event: bytes) -> bool:
    """Whether the event itself says that its document is gone."""
    kind = next((each for each in elements(event) if each.name == "operationType"), None)
    return kind is not None and kind.value[4:-1] == b"delete"


def _target(parts: Mapping[str, Element]) -> tuple[Any, RawBSONDocument]:
    key = _inside(parts, _KEY)
    if key is None:
        message = (
            f"it is no change event of a document (no {_KEY!r}); write_mode = 'merge' takes those of a source with"
            " envelope = true, and a pipeline there leaves others out"
        )
        raise Misfit(message)
    return found_by(key, (ID,))


def _inside(parts: Mapping[str, Element], name: str) -> bytes | None:
    element = parts.get(name)
    return element.value if element is not None and element.kind == DOCUMENT else None


def _change(described: Mapping[str, Element], where: RawBSONDocument) -> dict[str, Any] | None:
    """None: paths cannot say it."""
    fields = list(elements(described[_SET].value)) if _SET in described else []
    gone = _values(described, _REMOVED)
    cut = {each["field"]: each["newSize"] for each in _values(described, _CUT)}
    paths = [each.name for each in fields] + gone
    if any(each == array or each.startswith(f"{array}.") for array in cut for each in paths):
        return None  # one update cannot cut an array and change what is in it
    if _has_odd_names(described) or not all(_is_plain(part) for each in (*paths, *cut) for part in each.split(".")):
        return None
    change: dict[str, Any] = {}
    if fields:
        change["$set"] = RawBSONDocument(document_of([each.raw for each in fields]))
    if gone:
        change["$unset"] = dict.fromkeys(gone, "")
    if cut:
        change["$push"] = {name: {"$each": [], "$slice": size} for name, size in cut.items()}
    return change or {"$setOnInsert": where}


def _values(described: Mapping[str, Element], name: str) -> list[Any]:
    return list(bson.decode(document_of([described[name].raw]), _PLAIN)[name]) if name in described else []


def _has_odd_names(described: Mapping[str, Element]) -> bool:
    """A name with a dot in it looks like a path; the server says so where it is asked for expanded events."""
    if _PATHS not in described:
        return False
    named = bson.decode(described[_PATHS].value, _PLAIN).values()
    return any(isinstance(part, str) and ("." in part or not _is_plain(part)) for path in named for part in path)


def _is_plain(part: str) -> bool:
    return part != "" and not part.startswith("$")
