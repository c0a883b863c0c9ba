"""KeyCheck: says under which key a store's services are, so that a wrong one is noticed before any write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from mstream.errors import DocumentDamaged, KeyUnusable
from mstream.ports.documents import ABSENT, Collection, Revision
from mstream.stores.encryption import KeyRing

#: The key of its document, in the collection that holds lease and markers too.
KEY_CHECK: Final = "key"
_PLACE: Final = "key check"
_PLAIN: Final = b"mstream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The check as it is stored."""

    #: The id of the key that is current in this store.
    key_id: str
    revision: Revision


class KeyCheck:
    """One document; made once, and moved by a rotation alone."""

    def __init__(self, system: Collection) -> None:
        self._system = system

    async def verified(self, ring: KeyRing) -> Checked | None:
        """What is stored, when the ring holds the right key; None: nothing is stored yet.

        Raises KeyUnusable when it does not hold it.
        """
        stored = await self._system.get(KEY_CHECK)
        if stored is None:
            return None
        key_id = str(stored.document.get("kid"))
        if key_id not in ring:
            raise KeyUnusable(
                f"this is the wrong key: the store's services are under the key {key_id}, the key ring holds "
                f"{', '.join(ring.ids)}; put that key back from your backup"
            )
        _require_opened(ring, stored.document)
        return Checked(key_id=key_id, revision=stored.revision)

    async def exists(self) -> bool:
        """Whether there is one."""
        return await self._system.get(KEY_CHECK) is not None

    async def create(self, ring: KeyRing, *, epoch: int) -> None:
        """Store it for the current key. Raises RevisionConflict when there is one already."""
        await self._system.put(KEY_CHECK, _document(ring, epoch), expect=ABSENT)

    async def move(self, ring: KeyRing, *, expect: Revision, epoch: int) -> None:
        """Everything is under the current key now. Raises RevisionConflict."""
        await self._system.put(KEY_CHECK, _document(ring, epoch), expect=expect)


def _document(ring: KeyRing, epoch: int) -> dict[str, Any]:
    envelope = ring.seal(_PLAIN, collection=_PLACE, name=KEY_CHECK)
    return {"name": KEY_CHECK, "kid": ring.current.id, "envelope": envelope, "epoch": epoch}


def _require_opened(ring: KeyRing, document: Mapping[str, Any]) -> None:
    try:
        plain = ring.unseal(document.get("envelope") or {}, collection=_PLACE, name=KEY_CHECK)
    except DocumentDamaged as error:
        raise KeyUnusable(f"the store's key check cannot be used: {error}") from None
    if plain != _PLAIN:
        raise KeyUnusable("the store's key check is not as it was written")
