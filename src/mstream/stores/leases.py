"""LeaseStore: the one document that says who owns a store."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import Final

from mstream.domain.lease import Tenure, from_document, to_document
from mstream.errors import DocumentDamaged
from mstream.foundation.clock import Clock, timestamp
from mstream.ports.documents import ABSENT, Collection, Revision

#: The document's key in the system collection.
KEY: Final = "lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredLease:
    """The lease as it stands."""

    tenure: Tenure
    #: Another one with every renewal.
    revision: Revision


class LeaseStore:
    """Reads and replaces the lease by compare-and-set."""

    def __init__(self, system: Collection, clock: Clock) -> None:
        self._system = system
        self._clock = clock

    async def look(self) -> StoredLease | None:
        """The lease as last written by anybody; None: there never was an owner. Raises DocumentDamaged."""
        stored = await self._system.get(KEY)
        if stored is None:
            return None
        try:
            return StoredLease(tenure=from_document(stored.document), revision=stored.revision)
        except ValueError:
            message = f"document {KEY!r} of the system collection is damaged; end every instance, then delete it"
            raise DocumentDamaged(message) from None

    async def write(self, tenure: Tenure, *, expect: Revision = ABSENT, revision: Revision) -> None:
        """Replace the one at `expect`. Raises RevisionConflict when another stands there."""
        tenure = replace(tenure, renewed_at=timestamp(self._clock.now()))
        await self._system.put(KEY, to_document(tenure), expect=expect, revision=revision)


def new_revision() -> Revision:
    """Chosen before a write, so that it is known again when its answer is lost."""
    return secrets.token_hex(16)
