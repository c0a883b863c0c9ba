"""Trail: what was written about each of many things, in order of time, the newest few of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from mstream.ports.documents import Collection, Stored

_PAGE: Final = 500

#: The field that carries the key.
KEY_FIELD: Final = "key"


class Trail:
    """Entries over any collection; a key is its thing's prefix, then something that sorts by time.

    The owner alone writes here, so that the keys which it has seen once need not be read again.
    """

    def __init__(self, collection: Collection, *, keep: int) -> None:
        self._collection = collection
        self._keep = keep
        #: The keys of each prefix that was written to, oldest first, in the order in which they are given up.
        self._keys: dict[str, list[str]] = {}

    async def add(self, prefix: str, key: str, document: Mapping[str, Any]) -> None:
        """Store the entry and give up the oldest that are too many; writing one twice is harmless."""
        await self._collection.put(key, {**document, KEY_FIELD: key})
        if prefix not in self._keys:
            stored = [each.key for each in await self._stored(prefix)]
            self._keys.setdefault(prefix, stored)
        keys = self._keys[prefix]
        # What this process adds is newer than what it found, whatever a clock that was set back says.
        if key in keys:
            keys.remove(key)
        keys.append(key)
        while len(keys) > self._keep:
            oldest = keys[0]
            await self._collection.delete(oldest)
            # Another call may have been quicker.
            if keys and keys[0] == oldest:
                del keys[0]

    async def has(self, key: str) -> bool:
        """Whether the entry is stored."""
        return await self._collection.get(key) is not None

    async def newest(self, prefix: str) -> list[Stored]:
        """The entries of this prefix, the newest first."""
        return list(reversed(await self._stored(prefix)))

    async def forget(self, prefix: str) -> None:
        """Remove every entry of this prefix."""
        for each in await self._stored(prefix):
            await self._collection.delete(each.key)
        self._keys.pop(prefix, None)

    async def _stored(self, prefix: str) -> list[Stored]:
        found: list[Stored] = []
        after = prefix
        while True:
            page = await self._collection.scan(after=after, limit=_PAGE)
            for each in page:
                if not each.key.startswith(prefix):
                    return found
                found.append(each)
            if len(page) < _PAGE:
                return found
            after = page[-1].key


def prefix_of(*names: str) -> str:
    """What the keys of a thing begin with; a `/` in a name is escaped, so that no thing's prefix is another's."""
    return "".join(f"{quote(each, safe='')}/" for each in names)
