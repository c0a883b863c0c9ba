"""Ordered writes of checkpoint documents: nothing is put over what a newer owner has written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final

from mstream.domain.checkpoint import Checkpoint, job_key, job_of, lane_key
from mstream.errors import DocumentDamaged, RevisionConflict, StaleOwner
from mstream.foundation.clock import Clock, timestamp
from mstream.ports.documents import ABSENT, Collection, Document, Revision, Stored
from mstream.stores.checkpoint_documents import blank, is_of_v047, read, written

_PAGE: Final = 1000
#: Jobs whose last write is remembered, so that the next one need not read what it replaces.
_REMEMBERED: Final = 1000

#: From what stands there, and the same in the order that follows, to what shall stand there.
Change = Callable[[Checkpoint, Checkpoint], Checkpoint]


@dataclass(frozen=True, slots=True)
class Found:
    """A checkpoint with what it takes to write it again."""

    checkpoint: Checkpoint
    #: Fields that we do not know stay in the document.
    document: Document
    #: ABSENT with a document: v0.47 has left it under another key.
    revision: Revision

    @property
    def exists(self) -> bool:
        """Whether there is a document at all."""
        return bool(self.document)


class OrderedDocuments:
    """The documents of jobs and lanes; each write has a higher (epoch, sequence) than what it replaces."""

    def __init__(self, collection: Collection, clock: Clock) -> None:
        self._collection = collection
        self._clock = clock
        #: As we wrote them last; whoever else writes shows by the revision.
        self._last: dict[str, Found] = {}

    async def find(self, job: str, key: str, *, mends: bool = False) -> Found:
        """What stands under this key of the job; `mends`: of a damaged document only how far its order had come."""
        stored = await self._collection.get(key) or await self._left_by_v047(job, key)
        if stored is None:
            return Found(Checkpoint(job=job), {}, ABSENT)
        try:
            return Found(read(job, stored.document), stored.document, stored.revision)
        except DocumentDamaged:
            if not mends:
                raise
            return Found(blank(job, stored.document), stored.document, stored.revision)

    async def write(
        self, job: str, key: str, epoch: int, change: Change, *, mends: bool = False
    ) -> tuple[Checkpoint, Revision]:
        """Read, change, write; again when somebody else was quicker, but never over a newer owner.

        Nothing is read that we have written ourselves: if it stands there no more, the write is refused, and tried
        again with what does.
        """
        while True:
            found = self._last.pop(key, None) or await self.find(job, key, mends=mends)
            stored = found.checkpoint
            refuse_stale(stored, epoch)
            now = self._clock.now()
            following = replace(stored, epoch=epoch, sequence=stored.sequence + 1, saved_at=timestamp(now))
            changed = change(stored, following)
            document = written(changed, key, before=stored, document=found.document, now=now)
            try:
                revision = await self._collection.put(key, document, expect=found.revision)
            except RevisionConflict:
                continue
            self._remember(key, Found(changed, document, revision))
            return changed, revision

    async def lanes(self, job: str) -> list[Stored]:
        """Every lane's own document."""
        prefix = lane_key(job, "")
        # "" is a lane too: its key is the prefix itself, and a scan begins after it.
        first = await self._collection.get(prefix)
        found = [] if first is None else [first]
        async for each in self.scan(after=prefix):
            if not each.key.startswith(prefix):
                break
            found.append(each)
        return found

    async def scan(self, *, after: str = "") -> AsyncIterator[Stored]:
        """Every document, by key."""
        while True:
            page = await self._collection.scan(after=after, limit=_PAGE)
            for each in page:
                yield each
            if len(page) < _PAGE:
                return
            after = page[-1].key

    async def discard(self, job: str, key: str, epoch: int | None) -> None:
        """Remove what stands under this key, whatever it is, but never what a newer owner has written.

        `epoch`: None where nobody else can own the store.
        """
        self._last.pop(key, None)
        while (stored := await self._collection.get(key)) is not None:
            if epoch is not None:
                refuse_stale(blank(job, stored.document), epoch)
            try:
                await self._collection.delete(key, expect=stored.revision)
            except RevisionConflict:
                continue

    async def remove(self, key: str, *, expect: Revision | None = None) -> None:
        """Remove, if it still is what was read."""
        self._last.pop(key, None)
        await self._collection.delete(key, expect=expect)

    def _remember(self, key: str, found: Found) -> None:
        if job_of(key) is None:
            # A lane's document is its sink's to write.
            return
        self._last[key] = found
        if len(self._last) > _REMEMBERED:
            del self._last[next(iter(self._last))]

    async def _left_by_v047(self, job: str, key: str) -> Stored | None:
        """There a job's document stands under its name, whatever characters that has."""
        if key == job or key != job_key(job):
            return None
        stored = await self._collection.get(job)
        if stored is None or not is_of_v047(stored.document):
            return None
        return replace(stored, revision=ABSENT)


def refuse_stale(stored: Checkpoint, epoch: int) -> None:
    """Raises StaleOwner when a newer owner has written it."""
    if stored.epoch > epoch:
        message = f"job {stored.job!r}: a newer owner (epoch {stored.epoch}, ours {epoch}) has claimed it"
        raise StaleOwner(message)
