"""Looks at what is stored for commands that write nothing: no file, no table, no key, no lease comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.stores import SYSTEM, Opened, shelf_of
from mstream.config.definition import stored_definitions
from mstream.config.document import ConfigFile
from mstream.control.planning import plan_of_apply, plan_start
from mstream.control.situation import KeptServices, Survey, marked_by, situation
from mstream.control.startup import REPORT
from mstream.control.vault import Shelf, look_into
from mstream.domain.lease import Tenure
from mstream.domain.plan import Damaged, Plan
from mstream.domain.service import ServiceConfig
from mstream.errors import Conflict, KeyUnusable, ServiceNotFound
from mstream.ports.provider import Catalog
from mstream.stores.jobs import JobStore
from mstream.stores.markers import MarkerStore

#: What a plan is made of.
_TABLES: Final = ("job_lifecycle", "service_lifecycle", SYSTEM)
#: What services are kept in.
_SHELF: Final = ("service_lifecycle", SYSTEM)


@dataclass(frozen=True, slots=True)
class FoundService:
    """A definition, and whether the store has told it."""

    config: ServiceConfig
    is_stored: bool


class Lookout:
    """What may be asked about the stores of a file."""

    def __init__(self, file: ConfigFile, catalog: Catalog, environ: Mapping[str, str]) -> None:
        self._file = file
        self._catalog = catalog
        self._estate = Estate(file, catalog=catalog, environ=environ)

    async def planned(self) -> Plan:
        """What a start would do now. Raises StoreError, and what keeps a store from being opened."""
        async with self._estate.seen(_TABLES) as found:
            kept, refusal = await self._services(shelf_of(found, self._file))
            survey = await self._survey(found, kept)
        made = plan_start(survey.situation)
        return _refused(made, "a start is refused", refusal)

    async def applied(self, *, prune: bool) -> Plan:
        """What `apply` would do now. Raises as `planned`."""
        async with self._estate.seen(_TABLES) as found:
            kept, refusal = await self._services(shelf_of(found, self._file))
            survey = await self._survey(found, kept)
        made = plan_of_apply(survey.situation, prune=prune)
        return _refused(made, "it would be refused", refusal)

    @asynccontextmanager
    async def holdings(self) -> AsyncIterator[tuple[Opened, KeptServices | None, str | None]]:
        """Everything to read, the services opened, and why they could not be. Raises as `planned`."""
        async with self._estate.seen((*_TABLES, "checkpoints")) as found:
            yield found, *await self._services(shelf_of(found, self._file))

    async def service(self, name: str, *, stored: bool = False) -> FoundService:
        """As the file says, or else the store; `stored`: as the store says, whatever the file does.

        Raises ServiceNotFound, KeyUnusable, Conflict for one that cannot be used, and as `planned`.
        """
        named = next((each for each in self._file.services if each.name == name), None)
        if named is not None and not stored:
            return FoundService(named, is_stored=False)
        async with self._estate.seen(_SHELF) as found:
            kept, refusal = await self._services(shelf_of(found, self._file))
        if kept is None:
            where = "the file keeps services in no store" if stored else "the file has none and keeps them in no store"
            raise ServiceNotFound(f"there is no service {name!r}: {where}")
        for each in kept.definitions:
            if each.config.name == name:
                return FoundService(each.config, is_stored=True)
        for damage in kept.damaged:
            if damage.name == name:
                raise KeyUnusable(refusal) if refusal else Conflict(f"service {name!r} is stored: {damage.reason}")
        where = "the store" if stored else "the file or its store"
        raise ServiceNotFound(f"there is no service {name!r} in {where}")

    async def owner(self) -> Tenure | None:
        """Who owns the stores now, as far as they say."""
        async with self._estate.seen(_TABLES) as found:
            return await self._estate.owner(found)

    async def last_report(self) -> Mapping[str, Any] | None:
        """What the last start decided, as it has stored it; None: there was none. Raises as `planned`."""
        if self._file.system.place("job_lifecycle") is None:
            raise Conflict("the file names no store for jobs: what a start decided is kept nowhere")
        async with self._estate.seen(_TABLES) as found:
            stored = await found.collections[SYSTEM].get(REPORT)
        return None if stored is None else stored.document

    async def _survey(self, found: Opened, kept: KeptServices | None) -> Survey:
        jobs = found.collections.get("job_lifecycle")
        return await situation(
            self._file,
            self._catalog,
            jobs=JobStore(jobs) if jobs is not None else None,
            markers=MarkerStore(found.collections[SYSTEM]) if jobs is not None else None,
            services=kept,
        )

    async def _services(self, shelf: Shelf | None) -> tuple[KeptServices | None, str | None]:
        """The stored services, and why a start could not open them; None: they are not kept."""
        if shelf is None:
            return None, None
        try:
            vault = await look_into(self._estate.keys(), shelf, stored_definitions(self._catalog))
        except KeyUnusable as error:
            return await _sealed(shelf), str(error)
        if vault is None:
            return KeptServices(), None
        definitions, damaged = await vault.store.everything()
        return KeptServices(definitions=definitions, damaged=damaged, mark=marked_by(vault.keys.ring)), None


async def _sealed(shelf: Shelf) -> KeptServices:
    """Names alone can be read without the key."""
    reason = "the key is missing, or is not the one that it is under"
    damaged: list[Damaged] = []
    after = ""
    while page := await shelf.services.scan(after=after):
        damaged += [Damaged(name=each.key, reason=reason) for each in page]
        after = page[-1].key
    return KeptServices(damaged=damaged)


def _refused(plan: Plan, what: str, refusal: str | None) -> Plan:
    return replace(plan, refused=refusal, notes=(f"{what}: {refusal}", *plan.notes)) if refusal else plan
