"""MarkerStore: whether the store of jobs was filled from a file, and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from mstream.domain.connector import ConnectorSpec
from mstream.domain.plan import MarkerPhase, SeedMarker
from mstream.errors import DocumentDamaged
from mstream.ports.documents import ABSENT, Collection, Revision

#: The marker's key in the collection of the program's own documents.
KEY: Final = "seed"


class MarkerStore:
    """The marker, in a collection that it shares with others."""

    def __init__(self, documents: Collection) -> None:
        self._documents = documents

    async def read(self) -> tuple[SeedMarker | None, Revision]:
        """The marker and its revision; None and ABSENT: there is none. Raises DocumentDamaged."""
        stored = await self._documents.get(KEY)
        if stored is None:
            return None, ABSENT
        return from_document(stored.document), stored.revision

    async def write(self, marker: SeedMarker, expect: Revision) -> Revision:
        """Write it over the one of that revision (ABSENT: only if there is none). Raises RevisionConflict."""
        return await self._documents.put(KEY, to_document(marker), expect=expect)


def to_document(marker: SeedMarker) -> dict[str, Any]:
    """How a marker is stored; the connectors as a file has them, `enabled` included."""
    return {
        "name": KEY,
        "phase": marker.phase.value,
        "file_hash": marker.file_hash,
        "connectors": [each.model_dump(mode="json", exclude_none=True) for each in marker.connectors],
        "origin": marker.origin,
    }


def from_document(document: Mapping[str, Any]) -> SeedMarker:
    """Read back what `to_document` made; raises DocumentDamaged when it did not."""
    try:
        return SeedMarker(
            phase=MarkerPhase(document["phase"]),
            file_hash=str(document["file_hash"]),
            connectors=tuple(ConnectorSpec.model_validate(each) for each in document["connectors"]),
            origin=str(document["origin"]),
        )
    except ValidationError as error:
        # The input stays out of the text: a definition may hold secrets.
        faults = error.errors(include_input=False, include_context=False, include_url=False)
        where = ".".join(str(part) for part in faults[0]["loc"])
        reason = f"one of its connectors is not valid at {where or 'its root'}"
    except (KeyError, TypeError, ValueError):
        reason = "a field is missing or is not of its kind"
    message = f"document {KEY!r}, the marker of the store, cannot be used: {reason}; restore it from a backup"
    raise DocumentDamaged(message)
