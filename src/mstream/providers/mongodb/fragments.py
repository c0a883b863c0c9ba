"""Large events that the server has split, put together again from pieces of their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bson.raw_bson import RawBSONDocument

from mstream.errors import ServiceError

from .config import ID
from .cursors import RAW
from .elements import Element, document_of, elements

#: The field that says which of how many fragments a document is.
SPLIT: Final = "splitEvent"
#: The same as a field of a document; other documents may have it further inside.
_SPLIT: Final = b"\x03splitEvent\0"
#: The stage that has the server split events; always the last.
STAGE: Final[dict[str, Any]] = {"$changeStreamSplitLargeEvent": {}}


class Fragments:
    """Keeps the first fragments of an event until the others have come."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    @property
    def is_waiting(self) -> bool:
        """Whether an event is not whole yet: no place in the middle of it is one to go on from."""
        return bool(self._parts)

    def clear(self) -> None:
        """Forget an event that is not whole: it comes again, from its first fragment."""
        self._parts.clear()

    def joined(self, documents: Sequence[bytes]) -> list[bytes]:
        """The events that are whole, in order. Raises ServiceError where a fragment is missing."""
        found: list[bytes] = []
        for each in documents:
            number, count = _numbers(each) if _SPLIT in each else (1, 1)
            if number != len(self._parts) + 1:
                self.clear()
                message = "the server has left out a fragment of a large event"
                raise ServiceError(message)
            if count == 1:
                found.append(each)
                continue
            self._parts.append(each)
            if number == count:
                found.append(_whole(self._parts))
                self.clear()
        return found


def _numbers(event: bytes) -> tuple[int, int]:
    """Which of how many fragments it is."""
    split = RawBSONDocument(event, RAW).get(SPLIT)
    return (1, 1) if split is None else (split["fragment"], split["of"])


def _whole(fragments: Sequence[bytes]) -> bytes:
    """Each fragment has some of the event's fields; the last one's token is the place behind the event."""
    parts = [{each.name: each for each in elements(raw)} for raw in fragments]
    fields: dict[str, Element] = {ID: parts[-1][ID]}
    for each in parts:
        fields |= {name: element for name, element in each.items() if name not in {ID, SPLIT}}
    return document_of([each.raw for each in fields.values()])
