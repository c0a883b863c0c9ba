"""The collections that a file places, opened in the databases of its services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mstream.config.document import ConfigFile
from mstream.config.system import RESOURCES, Place
from mstream.control.vault import Shelf
from mstream.domain.service import ServiceConfig
from mstream.errors import MstreamError, ProviderUnavailable
from mstream.ports.documents import Collection, Document, DocumentStore
from mstream.ports.exclusive import Exclusive
from mstream.ports.provider import Catalog, provider_named
from mstream.stores.dead_letters import KEY_FIELD as DEAD_LETTER_KEY
from mstream.stores.trail import KEY_FIELD as TRAIL_KEY

#: Where lease, markers and the key's check stand.
SYSTEM: Final = "system"
#: Everything that a file can place.
TABLES: Final = (*RESOURCES, SYSTEM)
#: The field that carries the key; in all others it is `name`.
_KEY_FIELDS: Final[Mapping[str, str]] = {
    "checkpoints": "job_name",
    "runs": TRAIL_KEY,
    "audit": TRAIL_KEY,
    "dead_letters": DEAD_LETTER_KEY,
    "schemas": "id",
    "test_suites": "id",
    "workspaces": "id",
}

#: Opens a store in the stack, waiting or not as its maker likes; None: it was told to give up.
Reach = Callable[[AsyncExitStack, ServiceConfig], Awaitable[DocumentStore | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """What was opened: collections by the name of their table, databases by the name of their service."""

    collections: Mapping[str, Collection] = field(default_factory=dict)
    databases: Mapping[str, DocumentStore] = field(default_factory=dict)


async def opened(
    stack: AsyncExitStack, file: ConfigFile, reach: Reach, tables: Sequence[str] = TABLES
) -> Opened | None:
    """Every collection that has a place, each database opened once; None when `reach` has given up."""
    databases: dict[str, DocumentStore] = {}
    collections: dict[str, Collection] = {}
    for table in tables:
        place = file.system.place(table)
        if place is None:
            continue
        if place.service_name not in databases:
            database = await reach(stack, file.service(place.service_name))
            if database is None:
                return None
            databases[place.service_name] = database
        collections[table] = collection_at(databases[place.service_name], table, place)
    return Opened(collections=collections, databases=databases)


def collection_at(database: DocumentStore, table: str, place: Place) -> Collection:
    """The collection of a table at its place."""
    return database.collection(place.resource, key=_KEY_FIELDS.get(table, "name"))


async def connected(
    stack: AsyncExitStack, config: ServiceConfig, catalog: Catalog, environ: Mapping[str, str]
) -> DocumentStore:
    """One attempt to open a service's database. Raises ProviderUnavailable, SecretUnavailable, StoreError."""
    provider = provider_named(catalog, config.provider)
    if provider.documents is None:
        message = f"service {config.name!r} of provider {config.provider!r} cannot host a store"
        raise ProviderUnavailable(message)
    resolved = config.with_references_resolved(environ)
    async with AsyncExitStack() as attempt:
        try:
            database = provider.documents(await attempt.enter_async_context(provider.connect(resolved)))
            await database.ping()
        except MstreamError as error:
            # The name alone says little of a service that stands nowhere, as that of [system] state.
            where = config.whereabouts()
            raise type(error)(f"{error} ({where})" if where else str(error)) from error
        stack.push_async_exit(attempt.pop_all())
        return database


def shelf_of(found: Opened, file: ConfigFile) -> Shelf | None:
    """Where the stored services and the check of their key lie; None: services are not kept."""
    services, place = found.collections.get("service_lifecycle"), file.system.place("service_lifecycle")
    if services is None or place is None:
        return None
    system = found.collections.get(SYSTEM)
    if system is None:
        # Neither jobs nor checkpoints are kept: what belongs to the services stands beside them.
        system = found.databases[place.service_name].collection(f"{place.resource}-system")
    return Shelf(services=services, resource=place.resource, system=system)


def lock_path(database: object) -> Path | None:
    """Where the system can lock a database; None: nowhere, it is not on this machine's disk."""
    return database.lock_path() if isinstance(database, Exclusive) else None


async def highest_epoch(found: Opened) -> int:
    """The highest epoch that any job, service or checkpoint carries; 0: none does. Raises StoreError."""
    highest = 0
    for table in ("job_lifecycle", "service_lifecycle", "checkpoints"):
        collection = found.collections.get(table)
        after = ""
        while collection is not None and (page := await collection.scan(after=after)):
            highest = max(highest, *(_epoch(each.document) for each in page))
            after = page[-1].key
    return highest


def _epoch(document: Document) -> int:
    epoch = document.get("epoch")
    return epoch if isinstance(epoch, int) else 0
