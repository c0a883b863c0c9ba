"""DeadLetterStore: records that were given up; bounded, listable."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mstream.domain.dead_letter import DeadLetter
from mstream.errors import DeadLettersFull
from mstream.ports.documents import Collection

_PAGE = 1000

#: The field that carries the key.
KEY_FIELD = "key"


class DeadLetterStore:
    """Dead letters over any collection; nothing is dropped to make room."""

    def __init__(self, collection: Collection, *, max_documents: int = 100_000) -> None:
        self._collection = collection
        self._limit = max_documents
        #: The owner alone writes here; what it has counted once, it counts on.
        self._count: int | None = None
        self._writing = asyncio.Lock()

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Returns once they are stored; a letter that is there already is overwritten.

        Raises DeadLettersFull at the first one that finds no room.
        """
        async with self._writing:
            for each in letters:
                await self._bury(each)

    async def entries(self, job: str) -> Sequence[DeadLetter]:
        """Every letter of a job, the oldest first."""
        prefix = _job_prefix(job)
        letters: list[DeadLetter] = []
        after = prefix
        while True:
            page = await self._collection.scan(after=after, limit=_PAGE)
            for each in page:
                if not each.key.startswith(prefix):
                    return sorted(letters, key=_age)
                if each.document.get("job") == job:
                    letters.append(_letter(each.document))
            if len(page) < _PAGE:
                return sorted(letters, key=_age)
            after = page[-1].key

    async def _bury(self, letter: DeadLetter) -> None:
        key = key_of(letter)
        is_new = await self._collection.get(key) is None
        if self._count is None:
            self._count = await self._counted()
        if is_new and self._count >= self._limit:
            message = (
                f"job {letter.job!r}: the dead-letter collection holds {self._count} records, which is its limit"
                f" ({self._limit}); remove what is no longer needed, or raise the limit"
            )
            raise DeadLettersFull(message)
        await self._collection.put(key, {**asdict(letter), KEY_FIELD: key})
        self._count += is_new

    async def _counted(self) -> int:
        count, after = 0, ""
        while True:
            page = await self._collection.scan(after=after, limit=_PAGE)
            count += len(page)
            if len(page) < _PAGE or count >= self._limit:
                return count
            after = page[-1].key


def key_of(letter: DeadLetter) -> str:
    """The same for the same record, output and sink, so that a repeat overwrites."""
    position = json.dumps(letter.position, sort_keys=True, separators=(",", ":"), default=str)
    place = _short(json.dumps([letter.lane, position]))
    sink = "-" if letter.sink is None else str(letter.sink)
    return f"{_job_prefix(letter.job)}{_short(letter.lane)}/{place}/{letter.index}/{sink}"


def _job_prefix(job: str) -> str:
    return f"{job}/"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _age(letter: DeadLetter) -> str:
    return letter.at


def _letter(document: Mapping[str, Any]) -> DeadLetter:
    known = {name: document.get(name) for name in DeadLetter.__dataclass_fields__}
    return DeadLetter(**known)  # type: ignore[arg-type]  # written by `bury` from the same fields
