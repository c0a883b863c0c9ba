"""Document store in a dict: the reference implementation of the contract."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from mstream.errors import MstreamError, RevisionConflict, StaleCheckpoint, StoreError
from mstream.ports.checkpoints import CheckpointEntry
from mstream.ports.documents import ABSENT, Collection, Document, Revision, Stored


class MemoryCollection:
    """Documents by key; what is given and taken are copies."""

    def __init__(self, resource: str, faults: deque[MstreamError]) -> None:
        self._resource = resource
        self._faults = faults
        self._stored: dict[str, Stored] = {}

    async def get(self, key: str) -> Stored | None:
        """The document as last written."""
        self._fail()
        stored = self._stored.get(key)
        return None if stored is None else _copied(stored)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        """By key in code-point order."""
        self._fail()
        keys = sorted(each for each in self._stored if each > after)
        return [_copied(self._stored[each]) for each in keys[:limit]]

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        """Write if `expect` holds."""
        self._fail()
        self._check(key, expect)
        return self.place(key, document, revision)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """Remove if `expect` holds."""
        self._fail()
        self._check(key, expect)
        return self._stored.pop(key, None) is not None

    def revision(self, key: str) -> Revision:
        """The revision that stands there, or ABSENT."""
        stored = self._stored.get(key)
        return ABSENT if stored is None else stored.revision

    def place(self, key: str, document: Document, revision: Revision | None) -> Revision:
        """Write without asking."""
        stored = Stored(key=key, document=_held(document), revision=revision or uuid4().hex)
        self._stored[key] = stored
        return stored.revision

    def _check(self, key: str, expect: Revision | None) -> None:
        if expect is not None and self.revision(key) != expect:
            wanted = "there must be none" if expect == ABSENT else "it was changed meanwhile"
            raise RevisionConflict(f"collection {self._resource!r}: document {key!r}: {wanted}; read it again")

    def _fail(self) -> None:
        if self._faults:
            raise self._faults.popleft()


class MemoryDocuments:
    """Collections by name."""

    def __init__(self) -> None:
        #: Errors of the next calls, each raised once.
        self.faults: deque[MstreamError] = deque()
        self._collections: dict[str, MemoryCollection] = {}

    def collection(self, resource: str, *, key: str = "name") -> Collection:
        """The collection; keys are kept beside the documents, whatever their field is called."""
        return self._open(resource)

    async def ping(self) -> None:
        """Answers at once."""
        if self.faults:
            raise self.faults.popleft()

    def check(self, entries: Sequence[CheckpointEntry]) -> None:
        """Raises StaleCheckpoint when what one of them expects is no longer stored; StoreError as `put`."""
        for each in entries:
            _held(each.document)
            if self._open(each.resource).revision(each.key) != each.expect:
                raise StaleCheckpoint(
                    f"collection {each.resource!r}: checkpoint {each.key!r} was moved by another run; this one must end"
                )

    def commit(self, entries: Sequence[CheckpointEntry]) -> None:
        """Write them all; nothing can come between this and the check before."""
        for each in entries:
            self._open(each.resource).place(each.key, each.document, each.revision)

    def _open(self, resource: str) -> MemoryCollection:
        return self._collections.setdefault(resource, MemoryCollection(resource, self.faults))


def _copied(stored: Stored) -> Stored:
    return Stored(key=stored.key, document=_held(stored.document), revision=stored.revision)


def _held(value: Any) -> Any:
    """A copy, in the forms in which every store gives it back. Raises StoreError for what a document cannot hold."""
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC)
        case Mapping():
            if not all(isinstance(each, str) for each in value):
                raise StoreError("a document's field names are texts")
            return {key: _held(each) for key, each in value.items()}
        case Sequence():
            return [_held(each) for each in value]
        case _:
            raise StoreError(f"a document holds JSON values, bytes and UTC times, no {type(value).__name__}")
