"""Estate: what a file keeps, opened for its owner, for those who change it by hand, and for those who look."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Literal
from uuid import uuid4

from mstream.bootstrap.stores import (
    SYSTEM,
    TABLES,
    Opened,
    Reach,
    connected,
    highest_epoch,
    lock_path,
    opened,
    shelf_of,
)
from mstream.config.definition import stored_definitions
from mstream.config.document import ConfigFile
from mstream.control.authority import Authority
from mstream.control.checkpoints import Checkpoints
from mstream.control.chronicle import Chronicle
from mstream.control.keys import KeySource
from mstream.control.lease import NoLease, Ownership, kept, present_owner
from mstream.control.owner import Stores
from mstream.control.services import ServiceRegistry
from mstream.control.standby import acquire
from mstream.control.startup import Archive, Startup
from mstream.control.vault import Vault, open_vault
from mstream.control.wiring import Lookup
from mstream.domain.lease import Identity, Tenure
from mstream.domain.service import ServiceConfig
from mstream.errors import StoreOwned
from mstream.foundation.clock import Clock, SystemClock
from mstream.foundation.locks import FileLock
from mstream.foundation.processes import this_process
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import Catalog
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.audit import AuditLog
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.dead_letters import DeadLetterStore
from mstream.stores.jobs import JobStore
from mstream.stores.runs import RunLog


class Estate:
    """A file's stores, as they are found and as they are put together."""

    def __init__(
        self,
        file: ConfigFile,
        *,
        catalog: Catalog,
        environ: Mapping[str, str],
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.file = file
        self.catalog = catalog
        self.environ = environ
        self.clock = clock or SystemClock()
        self.random = random or Random()
        #: Where jobs are while the file keeps none.
        self._memory = MemoryDocuments()

    def use(self, file: ConfigFile) -> None:
        """From now on this file's definitions; its stores must be the same."""
        self.file = file

    @asynccontextmanager
    async def found(self) -> AsyncIterator[Opened]:
        """Every store, at once or not at all. Raises StoreUnreachable and what else keeps one from being opened."""
        async with AsyncExitStack() as stack:
            found = await opened(stack, self.file, self._reached)
            yield found or Opened()

    @asynccontextmanager
    async def seen(self, tables: Sequence[str] = TABLES) -> AsyncIterator[Opened]:
        """The stores of some tables, to read: nothing is made. Raises as `found`."""
        async with AsyncExitStack() as stack:
            found = await opened(stack, self.file, self._reached_or_empty, tables)
            yield found or Opened()

    async def opened(self, stack: AsyncExitStack, reach: Reach) -> Opened | None:
        """Every store, in the way that `reach` goes about it; None when it has given up."""
        return await opened(stack, self.file, reach)

    async def connected(self, stack: AsyncExitStack, config: ServiceConfig) -> DocumentStore:
        """One attempt to open one database."""
        return await connected(stack, config, self.catalog, self.environ)

    async def owner(self, found: Opened) -> Tenure | None:
        """Who owns the stores now, as far as they say; None: nobody, or nobody can."""
        system = found.collections.get(SYSTEM)
        return None if system is None else await present_owner(system, self.clock)

    @asynccontextmanager
    async def owned(self, found: Opened) -> AsyncIterator[Ownership]:
        """To change what is stored without the program. Raises StoreOwned while somebody else is its owner."""
        lease = await self.acquired(found, self.identity(), on_conflict="exit")
        async with kept(lease):
            yield lease

    async def acquired(
        self, found: Opened, identity: Identity, *, on_conflict: Literal["wait", "exit"] | None = None
    ) -> Ownership:
        """The stores' lease, once it can be had. `on_conflict`: as the file says where it is None."""
        system, place = found.collections.get(SYSTEM), self.file.system.place(SYSTEM)
        if system is None or place is None:
            return NoLease()
        path = lock_path(found.databases[place.service_name])
        try:
            return await acquire(
                system,
                identity,
                clock=self.clock,
                lease_sec=self.file.system.instance.lease_sec,
                on_conflict=on_conflict or self.file.system.instance.on_conflict,
                lock=FileLock(path) if path else None,
                highest_epoch=lambda: highest_epoch(found),
                random=self.random,
            )
        except StoreOwned as error:
            if on_conflict is not None:
                raise
            raise StoreOwned(f'{error}, or set [system.instance] on_conflict = "wait"') from None

    def identity(self, address: str = "") -> Identity:
        """This process, as others are to know it."""
        return Identity(instance=uuid4().hex, process=this_process(), address=address)

    def keys(self) -> KeySource:
        """Where the keys of stored services come from."""
        return KeySource(self.file.system, self.environ)

    def registry(self) -> ServiceRegistry:
        """The services, for a command that makes no jobs run; `startup` opens it."""
        return ServiceRegistry(file=self.file, catalog=self.catalog, clock=self.clock, naming=dict)

    async def startup(self, found: Opened, authority: Authority, services: ServiceRegistry) -> Startup:
        """What leads to jobs that run. Raises KeyUnusable, StoreError."""
        shelf = shelf_of(found, self.file)
        vault = await open_vault(self.keys(), shelf, stored_definitions(self.catalog), authority) if shelf else None
        await services.open(vault.store if vault else None, audit=self._audit(found), authority=authority)
        return Startup(
            file=self.file,
            catalog=self.catalog,
            services=services,
            archive=self._archive(found, vault),
            authority=authority,
            clock=self.clock,
        )

    def checkpoints(
        self, found: Opened, authority: Authority, service: Lookup, store: CheckpointStore | None = None
    ) -> Checkpoints | None:
        """For those who look at checkpoints, or put jobs elsewhere; None: none are kept. `store`: the owner's."""
        collection = found.collections.get("checkpoints")
        if collection is None:
            return None
        return Checkpoints(
            store or CheckpointStore(collection, self.clock),
            service=service,
            catalog=self.catalog,
            authority=authority,
            clock=self.clock,
            audit=self._audit(found),
        )

    def stores(self, found: Opened, checkpoints: CheckpointStore | None, authority: Authority) -> Stores:
        """What runs have written. One store of checkpoints for all: it remembers what it has written last."""
        letters = found.collections.get("dead_letters")
        limit = self.file.system.max_dead_letters
        return Stores(
            checkpoints=checkpoints,
            dead_letters=DeadLetterStore(letters, max_documents=limit) if letters else None,
            authority=authority,
        )

    def _archive(self, found: Opened, vault: Vault | None) -> Archive:
        jobs, runs = found.collections.get("job_lifecycle"), found.collections.get("runs")
        checkpoints = found.collections.get("checkpoints")
        return Archive(
            jobs=JobStore(jobs if jobs is not None else self._memory.collection("jobs")),
            system=found.collections[SYSTEM] if jobs is not None else None,
            vault=vault,
            chronicle=Chronicle(
                audit=self._audit(found),
                runs=RunLog(runs, keep=self.file.system.kept_runs) if runs is not None else None,
            ),
            checkpoints=CheckpointStore(checkpoints, self.clock) if checkpoints is not None else None,
        )

    def _audit(self, found: Opened) -> AuditLog | None:
        trail = found.collections.get("audit")
        return None if trail is None else AuditLog(trail, keep=self.file.system.kept_changes)

    async def _reached(self, stack: AsyncExitStack, config: ServiceConfig) -> DocumentStore | None:
        return await self.connected(stack, config)

    async def _reached_or_empty(self, stack: AsyncExitStack, config: ServiceConfig) -> DocumentStore | None:
        """A database that is not there yet is as good as an empty one."""
        if not config.with_references_resolved(self.environ).is_made():
            return MemoryDocuments()
        return await self.connected(stack, config)
