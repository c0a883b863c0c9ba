"""The stored services and their keys, for commands that run without the program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.running_owner import RunningOwner, running
from mstream.bootstrap.stores import Opened, shelf_of
from mstream.config.definition import stored_definitions
from mstream.config.document import ConfigFile
from mstream.control.rotation import KeyStatus, Rotation, require_retirable, status_of, with_new_key
from mstream.control.vault import Shelf, Vault, look_into, open_vault
from mstream.errors import Conflict, KeyUnusable, StoreOwned, Unavailable
from mstream.foundation.clock import Clock
from mstream.ports.provider import Catalog
from mstream.stores import key_file

#: Seconds between two looks at a rotation of the owner's, and how many there are.
_LOOK: Final = 0.5
_LOOKS: Final = 1200


class KeyRoom:
    """What commands about keys need of a file: where its keys are, and its stores, opened when they are needed."""

    def __init__(self, file: ConfigFile, catalog: Catalog, environ: Mapping[str, str]) -> None:
        self._file = file
        self._estate = Estate(file, catalog=catalog, environ=environ)
        self.source = self._estate.keys()

    @property
    def has_store(self) -> bool:
        """Whether the file says where services are stored."""
        return self._file.system.place("service_lifecycle") is not None

    @asynccontextmanager
    async def shelf(self) -> AsyncIterator[Shelf]:
        """Where stored services lie. Raises Conflict when they lie nowhere, and what the store says."""
        async with self._found() as (_, shelf):
            yield shelf

    @asynccontextmanager
    async def vault(self) -> AsyncIterator[Vault]:
        """To look into. Raises KeyUnusable when there is no key, or a wrong one."""
        async with self.shelf() as shelf:
            yield await self._looked_into(shelf)

    @asynccontextmanager
    async def rotation(self) -> AsyncIterator[Rotation]:
        """To change keys as the owner of the store. Raises StoreOwned while somebody else is."""
        async with self._found() as (found, shelf):
            await self._looked_into(shelf)
            async with self._estate.owned(found) as lease:
                vault = await open_vault(self.source, shelf, stored_definitions(self._estate.catalog), lease)
                yield Rotation(vault, lease)

    @asynccontextmanager
    async def beside(self, url: str | None = None) -> AsyncIterator[OwnedKeys]:
        """To change keys through the program that owns the store. Raises StoreOwned when it cannot be spoken to."""
        async with self._found() as (found, shelf):
            vault = await self._looked_into(shelf)
            tenure = await self._estate.owner(found)
            owner = await running(tenure, url)
            if owner is None:
                who = tenure.owner if tenure else "another program"
                raise StoreOwned(f"{who} owns the store and cannot be asked; end it first, or say where with --url")
            yield OwnedKeys(owner, vault, self._estate.clock)

    async def rotate(self, url: str | None = None) -> KeyStatus:
        """Bring everything under a new key: by the owner that runs, or without one as the owner."""
        if url is None:
            with suppress(StoreOwned):
                async with self.rotation() as rotation:
                    await rotation.rotate()
                    return await rotation.status()
        async with self.beside(url) as keys:
            return await keys.rotate()

    async def retire(self, url: str | None = None) -> tuple[tuple[str, ...], KeyStatus]:
        """Take older keys away, in the same way; the ids that are gone."""
        if url is None:
            with suppress(StoreOwned):
                async with self.rotation() as rotation:
                    return await rotation.retire(), await rotation.status()
        async with self.beside(url) as keys:
            return await keys.retire()

    async def _looked_into(self, shelf: Shelf) -> Vault:
        vault = await look_into(self.source, shelf, stored_definitions(self._estate.catalog))
        if vault is None:
            raise KeyUnusable(f"{self.source} is not there yet; make one with `mstream key generate`")
        return vault

    @asynccontextmanager
    async def _found(self) -> AsyncIterator[tuple[Opened, Shelf]]:
        if not self.has_store:
            raise Conflict("the file names no store for services: none is kept, and no key is used")
        async with self._estate.found() as found:
            shelf = shelf_of(found, self._file)
            if shelf is not None:
                yield found, shelf


class OwnedKeys:
    """The keys of a store that a running program owns: the file is changed here, all that is stored there."""

    def __init__(self, owner: RunningOwner, vault: Vault, clock: Clock) -> None:
        self._owner = owner
        self._vault = vault
        self._clock = clock

    async def rotate(self) -> KeyStatus:
        """Add a new key, unless one waits to be used, and have the owner bring everything under it.

        Raises KeyUnusable when the owner does not read this key file, Unavailable when it takes too long.
        """
        ring = self._vault.keys.ring
        theirs = await self._owner.ask("GET", "keys")
        if theirs.get("current") not in ring.ids:
            raise self._elsewhere(theirs)
        if theirs.get("current") == ring.current.id and not theirs.get("rotating"):
            self._vault.keys.use(with_new_key(self._vault.source, ring))
        await self._reload()
        for _ in range(_LOOKS):
            if not (await self._owner.ask("GET", "keys")).get("rotating"):
                return await status_of(self._vault)
            await self._clock.sleep(_LOOK)
        raise Unavailable(f"{self._owner.name} still rotates; `mstream key check` shows when it is done")

    async def retire(self) -> tuple[tuple[str, ...], KeyStatus]:
        """Take the older keys out of the file; the ids that are gone. Raises as `Rotation.retire`."""
        ring = self._vault.keys.ring
        theirs = await self._owner.ask("GET", "keys")
        if theirs.get("current") != ring.current.id:
            raise self._elsewhere(theirs)
        require_retirable(await status_of(self._vault), self._vault.source)
        gone = ring.ids[1:]
        if gone:
            self._vault.keys.use(key_file.replace(self._vault.source.path, [ring.current]))
            await self._reload()
        return gone, await status_of(self._vault)

    async def _reload(self) -> None:
        await self._owner.ask("POST", "keys", "reload")
        theirs = await self._owner.ask("GET", "keys")
        if theirs.get("current") != self._vault.keys.ring.current.id:
            raise self._elsewhere(theirs)

    def _elsewhere(self, theirs: Mapping[str, Any]) -> KeyUnusable:
        return KeyUnusable(
            f"{self._owner.name} uses the key {theirs.get('current')}, and {self._vault.source} begins with "
            f"{self._vault.keys.ring.current.id}: it reads its keys from elsewhere; bring this file there, then again"
        )
