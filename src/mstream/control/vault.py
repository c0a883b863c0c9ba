"""Vault: the stored services and the keys that open them, found to belong together before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mstream.control.authority import Authority
from mstream.control.keys import KeySource, LiveKeys
from mstream.domain.service import ServiceConfig
from mstream.errors import KeyUnusable, RevisionConflict
from mstream.observability.logs import get_logger
from mstream.ports.documents import Collection
from mstream.stores import key_file
from mstream.stores.encryption import KeyRing
from mstream.stores.key_check import KeyCheck
from mstream.stores.services import ServiceStore

log = get_logger(__name__)

Parse = Callable[[Mapping[str, Any]], ServiceConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Where a vault's documents lie."""

    services: Collection
    #: The name of that collection.
    resource: str
    #: The collection of the key check.
    system: Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A service store that can be read and written."""

    store: ServiceStore
    keys: LiveKeys
    check: KeyCheck
    source: KeySource


async def look_into(source: KeySource, shelf: Shelf, parse: Parse) -> Vault | None:
    """Open it without writing anything; None: there is neither a key nor anything that would need one.

    Raises KeyUnusable when the key is missing or wrong.
    """
    ring = await source.read()
    if ring is None:
        await require_no_need(source, shelf)
        return None
    vault = _vault(source, shelf, parse, ring)
    await _verify(vault)
    return vault


async def open_vault(source: KeySource, shelf: Shelf, parse: Parse, authority: Authority) -> Vault:
    """Open it as its owner; at the very first time a key is made, and later never again.

    Raises KeyUnusable when the key is missing or wrong; nothing was written then.
    """
    vault = await look_into(source, shelf, parse)
    authority.require()
    if vault is None:
        ring = key_file.create(source.path)
        vault = _vault(source, shelf, parse, ring)
        log.warning("key_made", path=str(source.path), key=ring.current.id, advice=key_file.BACKUP)
    try:
        if not await vault.check.exists():
            await vault.check.create(vault.keys.ring, epoch=authority.epoch)
    except RevisionConflict:
        # Somebody else was quicker; now it must be the same key.
        await _verify(vault)
    return vault


async def require_no_need(source: KeySource, shelf: Shelf) -> None:
    """Raises KeyUnusable when a key was in use here: a new one would open nothing."""
    has_check = await KeyCheck(shelf.system).exists()
    if has_check or await shelf.services.scan(limit=1):
        what = "holds services" if not has_check else "was used with a key"
        raise KeyUnusable(
            f"{source} is not there, but the store {what}, which a new key could not open; put the key back "
            "from your backup. Without one: delete the documents of "
            f"{shelf.resource!r} and the document 'key' beside them, and define the services anew"
        )


async def _verify(vault: Vault) -> None:
    ring = vault.keys.ring
    if await vault.check.verified(ring) is None and not await vault.store.opens():
        raise KeyUnusable(
            f"this is the wrong key: none of the stored services can be opened with {vault.source} "
            f"({', '.join(ring.ids)}); put the right one there"
        )


def _vault(source: KeySource, shelf: Shelf, parse: Parse, ring: KeyRing) -> Vault:
    check = KeyCheck(shelf.system)
    keys = LiveKeys(source, check, ring)
    store = ServiceStore(shelf.services, resource=shelf.resource, keys=keys, parse=parse)
    return Vault(store=store, keys=keys, check=check, source=source)
