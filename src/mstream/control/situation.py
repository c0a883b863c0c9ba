"""Reads all that a plan is made of, and never writes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from mstream.config.document import ConfigFile
from mstream.config.stored import StoredChecks
from mstream.domain.plan import Damaged, SeedMarker, Situation, StoredService
from mstream.domain.service import ServiceConfig
from mstream.errors import DocumentDamaged
from mstream.ports.documents import ABSENT, Revision
from mstream.ports.provider import Catalog
from mstream.stores.encryption import KeyRing
from mstream.stores.jobs import JobStore, StoredJob
from mstream.stores.markers import KEY, MarkerStore
from mstream.stores.services import StoredDefinition

#: Checking so many takes a few milliseconds; the loop is free between them.
_AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptServices:
    """The service store as it was read."""

    definitions: Sequence[StoredDefinition] = ()
    damaged: Sequence[Damaged] = ()
    #: Tells two definitions apart, and nothing of what is in them.
    mark: Callable[[ServiceConfig], str] = lambda config: ""
    #: False: they are in memory alone, and go with the program.
    are_kept: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A situation, with what it takes to write over what it was made of."""

    situation: Situation
    jobs: Sequence[StoredJob] = ()
    marker_revision: Revision = ABSENT


def marked_by(ring: KeyRing) -> Callable[[ServiceConfig], str]:
    """Marks that can be compared with each other, and from which without the key nothing can be guessed."""

    def mark(config: ServiceConfig) -> str:
        return ring.mark(config.digest().encode())

    return mark


async def situation(
    file: ConfigFile,
    catalog: Catalog,
    *,
    jobs: JobStore | None,
    markers: MarkerStore | None,
    services: KeptServices | None,
) -> Survey:
    """Everything as it stands; without markers jobs are not kept, and the file alone decides. Raises StoreError."""
    stored, damaged = await jobs.everything() if jobs is not None else ([], [])
    marker, revision, damaged_marker = await _marker(markers)
    kept = services or KeptServices()
    configs = {each.name: each.config for each in kept.definitions} | {each.name: each for each in file.services}
    checks = StoredChecks(configs.values(), file.system, catalog)
    return Survey(
        jobs=stored,
        marker_revision=revision,
        situation=Situation(
            startup_state=file.system.startup_state.value,
            connectors=file.connectors,
            services={each.name: kept.mark(each) for each in file.services},
            jobs=tuple(each.job for each in stored),
            damaged_jobs=tuple(damaged),
            faulty_jobs=await _faults(stored, checks),
            stored_services={
                each.name: StoredService(digest=kept.mark(each.config), origin=each.origin) for each in kept.definitions
            },
            damaged_services=tuple(kept.damaged),
            marker=marker,
            damaged_marker=damaged_marker,
            keeps_jobs=markers is not None,
            keeps_services=services is not None and services.are_kept,
        ),
    )


async def _faults(stored: Sequence[StoredJob], checks: StoredChecks) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, each in enumerate(stored):
        if number % _AT_ONCE == 0:
            await asyncio.sleep(0)
        if fault := checks.fault(each.job.spec):
            found[each.job.name] = fault
    return found


async def _marker(markers: MarkerStore | None) -> tuple[SeedMarker | None, Revision, Damaged | None]:
    if markers is None:
        return None, ABSENT, None
    try:
        return *await markers.read(), None
    except DocumentDamaged as error:
        return None, ABSENT, Damaged(name=KEY, reason=str(error))
