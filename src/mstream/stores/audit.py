"""AuditLog: who changed which job or service, and when; what was deleted leaves its last definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mstream.domain.audit import AuditEntry, Change, Subject, from_document, to_document
from mstream.errors import DocumentDamaged
from mstream.observability.logs import get_logger
from mstream.ports.documents import Collection, Document
from mstream.stores.trail import KEY_FIELD, Trail, prefix_of

log = get_logger(__name__)

#: How many changes of a job or a service are kept where nothing says otherwise.
KEPT_CHANGES: Final = 200

#: All that is kept of a deleted service: its definition holds secrets.
_OF_A_SERVICE: Final = frozenset({"name", "origin"})


class AuditLog:
    """Changes over any collection, by subject, name, time and the revision that was made."""

    def __init__(self, collection: Collection, *, keep: int = KEPT_CHANGES) -> None:
        self._trail = Trail(collection, keep=keep)

    async def record(
        self, kind: Subject, name: str, change: Change, *, definition: Mapping[str, Any] | None = None
    ) -> None:
        """Returns once it is stored; recording a change again overwrites its entry.

        `definition`: what was deleted (a tombstone); of a service no more than its name and origin is kept.
        """
        document: dict[str, Any] = {"kind": kind.value, "name": name, "change": to_document(change)}
        if definition is not None:
            document["definition"] = _kept(kind, definition)
        await self._trail.add(prefix_of(kind, name), key_of(kind, name, change), document)

    async def has(self, kind: Subject, name: str, change: Change) -> bool:
        """Whether the change is recorded."""
        return await self._trail.has(key_of(kind, name, change))

    async def of(self, kind: Subject, name: str) -> list[AuditEntry]:
        """The changes, the newest first; also those of what was deleted. Unreadable ones are left out."""
        entries: list[AuditEntry] = []
        for each in await self._trail.newest(prefix_of(kind, name)):
            try:
                entries.append(_entry(each.document))
            except DocumentDamaged as error:
                log.warning("document_damaged", resource="audit", error=str(error))
        return entries


def key_of(kind: Subject, name: str, change: Change) -> str:
    """The same for the same change, and growing with its time."""
    return f"{prefix_of(kind, name)}{change.at}/{change.revision}"


def _kept(kind: Subject, definition: Mapping[str, Any]) -> dict[str, Any]:
    match kind:
        case Subject.JOB:
            return dict(definition)
        case Subject.SERVICE:
            return {key: value for key, value in definition.items() if key in _OF_A_SERVICE}


def _entry(document: Document) -> AuditEntry:
    try:
        return AuditEntry(
            kind=Subject(document["kind"]),
            name=str(document["name"]),
            change=from_document(document["change"]),
            definition=document.get("definition"),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        message = (
            f"an entry of the audit trail is not as it was written; it stays as it is: {document.get(KEY_FIELD)!r}"
        )
        raise DocumentDamaged(message) from None
