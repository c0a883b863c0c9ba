"""Rotation: a new key for the stored services, step by step; each step may be the last, and is then gone on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from mstream.control.authority import Authority
from mstream.control.keys import KeySource, Origin
from mstream.control.vault import Vault
from mstream.domain.plan import Damaged
from mstream.errors import (
    Conflict,
    DocumentDamaged,
    KeyUnusable,
    MstreamError,
    RevisionConflict,
    StoreUnreachable,
)
from mstream.foundation.backoff import delays
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import finish_all
from mstream.observability.logs import get_logger
from mstream.ports.documents import Stored
from mstream.stores import key_file
from mstream.stores.encryption import Key, KeyRing

log = get_logger(__name__)

#: Passes over the store, the last of which must find nothing left.
_ATTEMPTS: Final = 5
#: Services that are written at the same time: a store may take them in one transaction.
_AT_ONCE: Final = 64
#: Milliseconds between attempts while the store is away.
_BASE_MS: Final = 500
_MAX_MS: Final = 30_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """Which keys there are, and what is under them."""

    source: str
    current: str
    older: tuple[str, ...]
    #: The key that was current when everything was last brought under one key; None: nothing was stored yet.
    checked: str | None
    #: How many services, by the id of their key.
    under: Mapping[str, int]
    #: Documents that cannot be opened, and the key that they say they are under.
    damaged: Mapping[str, str | None]

    @property
    def is_rotating(self) -> bool:
        """Something is still to be brought under the current key."""
        is_behind = self.checked is not None and self.checked != self.current
        return is_behind or any(self.under.get(each) for each in self.older)

    def as_document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "source": self.source,
            "current": self.current,
            "older": list(self.older),
            "services": dict(self.under),
            "damaged": sorted(self.damaged),
            "rotating": self.is_rotating,
        }


@dataclass(slots=True, kw_only=True)
class Resealed:
    """What was brought under the current key."""

    count: int = 0
    #: Documents that no key opens; they stay as they are.
    damaged: list[Damaged] = field(default_factory=list)


class Rotation:
    """Everything that is done to the keys of a vault by its owner."""

    def __init__(self, vault: Vault, authority: Authority) -> None:
        self._vault = vault
        self._authority = authority

    async def status(self) -> KeyStatus:
        """How it stands. Raises KeyUnusable when the ring is not the store's."""
        return await status_of(self._vault)

    async def rotate(self) -> Resealed:
        """Add a new key, unless one waits to be used, and bring everything under it.

        Raises KeyUnusable, with the steps for people, when the keys do not stand in a file.
        """
        ring = await self._vault.keys.reload()
        if not (await self.status()).is_rotating:
            self._authority.require()
            self._vault.keys.use(with_new_key(self._vault.source, ring))
        return await self.complete()

    async def complete(self) -> Resealed:
        """Bring everything under the current key; only then the store says that it is the one.

        Raises StoreError when the store fails on the way; done again it goes on from there.
        """
        ring = self._vault.keys.ring
        checked = await self._vault.check.verified(ring)
        done = Resealed()
        for _ in range(_ATTEMPTS):
            # The last pass finds nothing left: that is the proof.
            if not await self._pass(done):
                break
        else:
            raise Conflict("somebody else keeps writing services under an older key; stop that instance, then rotate")
        if checked is not None and checked.key_id != ring.current.id:
            self._authority.require()
            await self._vault.check.move(ring, expect=checked.revision, epoch=self._authority.epoch)
        log.info("keys_rotated", current=ring.current.id, services=done.count, damaged=len(done.damaged))
        return done

    async def retire(self) -> tuple[str, ...]:
        """Take the older keys out of the file; answers their ids. Raises Conflict while anything is under them."""
        ring = await self._vault.keys.reload()
        require_retirable(await self.status(), self._vault.source)
        gone = ring.ids[1:]
        if gone:
            self._authority.require()
            self._vault.keys.use(key_file.replace(self._vault.source.path, [ring.current]))
            log.info("keys_retired", current=ring.current.id, retired=list(gone))
        return gone

    async def attend(self, *, clock: Clock, random: Random) -> None:
        """Complete what was begun, now and after each change of the ring; until it is cancelled."""
        while True:
            self._vault.keys.changed.clear()
            for seconds in delays(base_ms=_BASE_MS, max_ms=_MAX_MS, random=random):
                if await self._attended():
                    break
                await clock.sleep(seconds)
            await self._vault.keys.changed.wait()

    async def _attended(self) -> bool:
        """False: worth another attempt."""
        try:
            if (await self.status()).is_rotating:
                await self.complete()
        except MstreamError as error:
            log.warning("keys_not_rotated", error_code=error.code, error=str(error))
            return not isinstance(error, StoreUnreachable | RevisionConflict)
        return True

    async def _pass(self, done: Resealed) -> int:
        """How many were not yet under the current key, or may not have been."""
        done.damaged.clear()
        before = done.count
        async for page in self._vault.store.pages():
            for start in range(0, len(page), _AT_ONCE):
                try:
                    await finish_all(*(self._reseal(each, done) for each in page[start : start + _AT_ONCE]))
                except BaseExceptionGroup as several:
                    raise several.exceptions[0] from several
        return done.count - before

    async def _reseal(self, stored: Stored, done: Resealed) -> None:
        """What somebody else has changed meanwhile counts as well: the next pass meets it."""
        self._authority.require()
        try:
            is_another = await self._vault.store.reseal(stored, epoch=self._authority.epoch)
        except RevisionConflict:
            done.count += 1
        except DocumentDamaged as error:
            done.damaged.append(Damaged(name=stored.key, reason=str(error)))
        else:
            done.count += is_another


async def status_of(vault: Vault) -> KeyStatus:
    """Which keys there are, and what is under them. Raises KeyUnusable when the ring is not the store's."""
    ring = vault.keys.ring
    checked = await vault.check.verified(ring)
    census = await vault.store.census()
    return KeyStatus(
        source=str(vault.source),
        current=ring.current.id,
        older=ring.ids[1:],
        checked=checked.key_id if checked else None,
        under=dict(sorted(census.under.items())),
        damaged=census.damaged,
    )


def with_new_key(source: KeySource, ring: KeyRing) -> KeyRing:
    """Put a new key before the others, in the file. Raises KeyUnusable when they do not stand in one."""
    if source.origin is not Origin.FILE:
        raise KeyUnusable(
            f"the keys come from {source}, which mstream cannot change. 1. Make a key: openssl rand -hex 32. "
            "2. Put it before the one that is there (a line; in the variable, with a comma). 3. `mstream key rotate` "
            "once more, or restart: everything is brought under it. 4. When `mstream key check` finds nothing "
            "under the older key, take that one away, and keep it as long as there are backups under it"
        )
    return key_file.replace(source.path, [Key.new(), *ring.keys])


def require_retirable(status: KeyStatus, source: KeySource) -> None:
    """Raises Conflict while an older key is needed, KeyUnusable where it cannot be taken away from here."""
    if source.origin is not Origin.FILE:
        raise KeyUnusable(f"the keys come from {source}, which mstream cannot change; take the older ones away there")
    if status.is_rotating:
        counts = ", ".join(f"{status.under.get(each, 0)} under {each}" for each in status.older)
        raise Conflict(f"not everything is under the current key ({counts}); run `mstream key rotate` to its end first")
    if names := [name for name, key in status.damaged.items() if key in status.older]:
        raise Conflict(
            f"damaged services say that they are under an older key: {', '.join(map(repr, names))}; "
            "restore or delete them first"
        )
