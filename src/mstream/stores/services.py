"""ServiceStore: encrypted service definitions, each bound to its name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from mstream.domain import audit
from mstream.domain.audit import Change
from mstream.domain.plan import Damaged
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError, DocumentDamaged, StaleOwner
from mstream.foundation.clock import timestamp
from mstream.ports.documents import ABSENT, Collection, Document, Revision, Stored
from mstream.stores.encryption import KeyRing, is_legacy, is_whole, key_id_of
from mstream.stores.strays import Strays

#: Decrypting a page takes a few milliseconds; the loop is free between two.
_PAGE: Final = 200
#: Of v0.47: gone once a document is written by us.
_LEGACY: Final = frozenset({"data", "nonce"})
_KNOWN: Final = _LEGACY | {"name", "origin", "updated_at", "last_change", "epoch", "envelope", "removing"}


class Keys(Protocol):
    """Where the key ring comes from, and comes from again when it was changed."""

    @property
    def ring(self) -> KeyRing:
        """As it was last read."""

    async def renew(self) -> None:
        """Read it again; a ring that cannot be used leaves the one before in place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a service's document without decrypting it."""

    name: str
    #: `file` or `api`.
    origin: str
    revision: Revision
    updated_at: str | None = None
    last_change: Change | None = None
    epoch: int = 0
    #: Fields of the document that we do not know; they are kept.
    unknown: Mapping[str, Any] = field(default_factory=dict)

    @property
    def defined_at(self) -> Revision:
        """The revision in which the definition was last changed; bringing it under another key changes nothing."""
        return self.last_change.revision if self.last_change else self.revision


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDefinition(Standing):
    """A service as it stands in the store, decrypted."""

    config: ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """A service whose removal was begun: its definition is gone, its document not yet."""

    name: str
    origin: str
    change: Change
    revision: Revision


@dataclass(slots=True, kw_only=True)
class Contents:
    """Everything in the store, by name."""

    definitions: list[StoredDefinition] = field(default_factory=list)
    damaged: list[Damaged] = field(default_factory=list)
    removals: list[Removal] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Census:
    """Which documents are under which key."""

    #: How many of those that can be opened, by the key's id.
    under: Counter[str] = field(default_factory=Counter)
    #: Those that cannot, by name, and the key that they say they are under.
    damaged: dict[str, str | None] = field(default_factory=dict)


class ServiceStore:
    """Service documents over any collection; every write is compare-and-set and carries its change."""

    def __init__(
        self,
        documents: Collection,
        *,
        resource: str,
        keys: Keys,
        parse: Callable[[Mapping[str, Any]], ServiceConfig],
    ) -> None:
        """`resource`: the collection's name, which ciphertexts are bound to. `parse` raises ConfigError."""
        self._documents = documents
        self._resource = resource
        self._keys = keys
        self._parse = parse
        self._strays = Strays(documents, "service")

    async def everything(self) -> tuple[list[StoredDefinition], list[Damaged]]:
        """All services by name, and the documents that cannot be used."""
        contents = await self.contents()
        return contents.definitions, contents.damaged

    async def contents(self) -> Contents:
        """The same, and the removals that were begun."""
        found = Contents(damaged=await self._strays.damaged())
        may_renew = True
        async for page in self.pages():
            if may_renew and self._names_unknown_key(page):
                await self._keys.renew()
                may_renew = False
            for each in page:
                self._sort(each, found)
        return found

    async def get(self, name: str) -> StoredDefinition | None:
        """One service; None: there is none, or its removal was begun. Raises DocumentDamaged."""
        stored = await self._documents.get(name)
        if stored is None or stored.document.get("removing"):
            return None
        if self._names_unknown_key([stored]):
            await self._keys.renew()
        return self._read(stored)

    async def standing(self, name: str) -> Standing | None:
        """What is known of one service, also of one that cannot be decrypted; None: as `get`."""
        stored = await self._documents.get(name)
        return None if stored is None or stored.document.get("removing") else Standing(**_facts(stored))

    async def removal(self, name: str) -> Removal | None:
        """The removal of this service that was begun, if there is one."""
        stored = await self._documents.get(name)
        return _removal(stored) if stored is not None and stored.document.get("removing") else None

    async def create(self, config: ServiceConfig, *, origin: str, change: Change, epoch: int) -> StoredDefinition:
        """Store a new one under the change's revision. Raises RevisionConflict when there is one of that name."""
        return await self._put(config, origin, change, epoch, expect=ABSENT, unknown={})

    async def replace(
        self, before: Standing, config: ServiceConfig, *, origin: str, change: Change, epoch: int
    ) -> StoredDefinition:
        """Store a changed one. Raises RevisionConflict, or StaleOwner where a newer owner has written."""
        _require_newest(before.name, before.epoch, epoch)
        return await self._put(config, origin, change, epoch, expect=before.revision, unknown=before.unknown)

    async def begin_removal(self, before: Standing, *, change: Change, epoch: int) -> Removal:
        """The definition is gone, its name and the change are not: what is left is to be deleted.

        Raises RevisionConflict or StaleOwner.
        """
        _require_newest(before.name, before.epoch, epoch)
        document = {
            "name": before.name,
            "origin": before.origin,
            "updated_at": change.at,
            "last_change": audit.to_document(change),
            "epoch": epoch,
            "removing": True,
        }
        revision = await self._documents.put(before.name, document, expect=before.revision, revision=change.revision)
        return Removal(name=before.name, origin=before.origin, change=change, revision=revision)

    async def delete(self, name: str, *, expect: Revision) -> bool:
        """Take a document away, whatever it holds; False: there was none. Raises RevisionConflict."""
        return await self._documents.delete(name, expect=expect)

    async def is_empty(self) -> bool:
        """Whether it holds no document at all."""
        return not await self._documents.scan(limit=1)

    async def opens(self) -> bool:
        """Whether the ring opens any document; also when there is none that anything could open."""
        is_answered = True
        async for page in self.pages():
            for each in page:
                if self._is_opened(each):
                    return True
                is_answered = is_answered and not _is_whole(each.document)
        return is_answered

    async def census(self) -> Census:
        """Which documents are under which key. Decrypts every one."""
        found = Census()
        async for page in self.pages():
            for each in page:
                key_id = self._key_id(each.document)
                if each.document.get("removing"):
                    continue
                if key_id is not None and self._is_opened(each):
                    found.under[key_id] += 1
                else:
                    found.damaged[each.key] = key_id
        return found

    async def reseal(self, stored: Stored, *, epoch: int) -> bool:
        """Bring a document under the current key; False: it is there already, or holds nothing.

        Raises DocumentDamaged, RevisionConflict or StaleOwner.
        """
        document = stored.document
        ring = self._keys.ring
        if document.get("removing") or self._key_id(document) == ring.current.id:
            return False
        plain = self._plain(stored)
        _require_newest(stored.key, _epoch(document), epoch)
        envelope = ring.seal(plain, collection=self._resource, name=stored.key)
        kept = {key: value for key, value in document.items() if key not in _LEGACY}
        await self._documents.put(stored.key, {**kept, "epoch": epoch, "envelope": envelope}, expect=stored.revision)
        return True

    async def pages(self) -> AsyncIterator[Sequence[Stored]]:
        """The documents as they stand."""
        after = ""
        while page := await self._documents.scan(after=after, limit=_PAGE):
            yield page
            if len(page) < _PAGE:
                return
            after = page[-1].key

    async def stored(self, name: str) -> Stored | None:
        """One document as it stands."""
        return await self._documents.get(name)

    async def _put(
        self,
        config: ServiceConfig,
        origin: str,
        change: Change,
        epoch: int,
        *,
        expect: Revision,
        unknown: Mapping[str, Any],
    ) -> StoredDefinition:
        plain = json.dumps(config.sealed(), separators=(",", ":")).encode()
        document = {
            **unknown,
            "name": config.name,
            "origin": origin,
            "updated_at": change.at,
            "last_change": audit.to_document(change),
            "epoch": epoch,
            "envelope": self._keys.ring.seal(plain, collection=self._resource, name=config.name),
        }
        await self._documents.put(config.name, document, expect=expect, revision=change.revision)
        return StoredDefinition(
            config=config,
            name=config.name,
            origin=origin,
            revision=change.revision,
            updated_at=change.at,
            last_change=change,
            epoch=epoch,
            unknown=unknown,
        )

    def _sort(self, stored: Stored, found: Contents) -> None:
        try:
            if stored.document.get("removing"):
                found.removals.append(_removal(stored))
            else:
                found.definitions.append(self._read(stored))
        except DocumentDamaged as error:
            found.damaged.append(Damaged(name=stored.key, reason=str(error)))

    def _read(self, stored: Stored) -> StoredDefinition:
        table = _table(self._plain(stored))
        try:
            config = self._parse(table)
        except ConfigError as error:
            raise DocumentDamaged(f"its definition is not valid: {error}") from None
        if config.name != stored.key:
            raise DocumentDamaged("its definition has another name")
        return StoredDefinition(config=config, **_facts(stored))

    def _is_opened(self, stored: Stored) -> bool:
        try:
            self._plain(stored)
        except DocumentDamaged:
            return False
        return True

    def _plain(self, stored: Stored) -> bytes:
        if is_legacy(stored.document):
            return self._keys.ring.unseal_legacy(stored.document)[0]
        return self._keys.ring.unseal(_envelope(stored.document), collection=self._resource, name=stored.key)

    def _names_unknown_key(self, page: Sequence[Stored]) -> bool:
        ids = (key_id_of(_envelope(each.document)) for each in page)
        return any(each is not None and each not in self._keys.ring for each in ids)

    def _key_id(self, document: Document) -> str | None:
        """The key that it is, or says it is, under; None: that cannot be told."""
        if not is_legacy(document):
            return key_id_of(_envelope(document))
        try:
            return self._keys.ring.unseal_legacy(document)[1].id
        except DocumentDamaged:
            return None


def _is_whole(document: Document) -> bool:
    """Whether the right key, and nothing else, is missing to open it."""
    return is_whole(document) if is_legacy(document) else is_whole(_envelope(document))


def _facts(stored: Stored) -> dict[str, Any]:
    """The fields of a Standing."""
    document = stored.document
    return {
        "name": stored.key,
        # Of v0.47 only the name tells: those that stand in the file are the file's anyway.
        "origin": str(document.get("origin", "api")),
        "revision": stored.revision,
        "updated_at": _time(document.get("updated_at")),
        "last_change": _change(document),
        "epoch": _epoch(document),
        "unknown": {key: document[key] for key in document.keys() - _KNOWN},
    }


def _require_newest(name: str, stored: int, own: int) -> None:
    if stored > own:
        raise StaleOwner(f"service {name!r} was written by a newer owner (epoch {stored}, ours is {own})")


def _envelope(document: Document) -> Mapping[str, Any]:
    envelope = document.get("envelope")
    return envelope if isinstance(envelope, Mapping) else {}


def _epoch(document: Document) -> int:
    epoch = document.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


def _time(value: Any) -> str | None:
    if isinstance(value, datetime):
        return timestamp(value)
    return value if isinstance(value, str) else None


def _table(plain: bytes) -> Mapping[str, Any]:
    try:
        table = json.loads(plain)
    except ValueError:
        raise DocumentDamaged("what it holds is not JSON") from None
    if not isinstance(table, dict):
        raise DocumentDamaged("what it holds is no definition")
    return table


def _change(document: Document) -> Change | None:
    """Who changed it is history: a damaged entry does not cost the definition."""
    try:
        return audit.from_document(document["last_change"])
    except (KeyError, TypeError):
        return None


def _removal(stored: Stored) -> Removal:
    change = _change(stored.document)
    if change is None:
        raise DocumentDamaged("its removal was begun, but does not say by whom")
    return Removal(
        name=stored.key,
        origin=str(stored.document.get("origin", "api")),
        change=change,
        revision=stored.revision,
    )
