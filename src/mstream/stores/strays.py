"""Strays: documents in a collection that are none of ours, told once and left alone."""

from __future__ import annotations

from mstream.domain.plan import Damaged
from mstream.observability.logs import get_logger
from mstream.ports.documents import Collection, Shared

log = get_logger(__name__)


class Strays:
    """Those of one collection."""

    def __init__(self, documents: Collection, kind: str) -> None:
        self._documents = documents
        self._kind = kind
        self._told: set[tuple[str, str]] = set()

    async def damaged(self) -> list[Damaged]:
        """Documents that their store cannot read; of those whose key is taken the log tells. Raises StoreError."""
        if not isinstance(self._documents, Shared):
            return []
        found: list[Damaged] = []
        for each in await self._documents.strays():
            if each.reason == "damaged":
                found.append(Damaged(name=each.key, reason="its document cannot be read; repair it, or delete it"))
            elif (each.key, each.reason) not in self._told:
                self._told.add((each.key, each.reason))
                log.warning(
                    "document_quarantined", kind=self._kind, resource=each.key, reason=each.reason, count=each.count
                )
        return found
