"""The checkpoints of a file's jobs, for commands that run without the program."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.stores import SYSTEM, Opened
from mstream.config.document import ConfigFile
from mstream.control.authority import SoleOwner
from mstream.control.checkpoints import Checkpoints
from mstream.control.lease import Ownership
from mstream.control.wiring import Lookup
from mstream.domain.connector import ConnectorSpec
from mstream.domain.lease import Tenure
from mstream.errors import Conflict, JobNotFound
from mstream.ports.provider import Catalog
from mstream.stores.jobs import JobStore


class CheckpointRoom:
    """What commands about checkpoints need of a file; its stores are opened when they are needed."""

    def __init__(self, file: ConfigFile, catalog: Catalog, environ: Mapping[str, str]) -> None:
        self._file = file
        self._estate = Estate(file, catalog=catalog, environ=environ)

    async def owner(self) -> Tenure | None:
        """Who owns the store now, as far as it says. Raises as `looking`."""
        async with self._estate.seen([SYSTEM]) as found:
            return await self._estate.owner(found)

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[Checkpoints]:
        """To look: nothing is made or written, its owner goes on. Raises Conflict when no checkpoints are kept."""
        async with self._estate.seen(["checkpoints"]) as found:
            yield self._checkpoints(found, SoleOwner(), self._file.service)

    @asynccontextmanager
    async def changing(self, job: str) -> AsyncIterator[tuple[Checkpoints, ConnectorSpec]]:
        """To put the job elsewhere, as the owner of the store, with the job's definition.

        Raises StoreOwned while somebody else is that, JobNotFound, Conflict when no checkpoints are kept, KeyUnusable
        when its source's service is stored and cannot be read.
        """
        if self._file.system.place("checkpoints") is None:
            raise _not_kept()
        async with self._estate.found() as found, self._estate.owned(found) as lease:
            connector = await self._definition(found, job)
            service = await self._lookup(found, lease, connector)
            yield self._checkpoints(found, lease, service), connector

    def _checkpoints(self, found: Opened, authority: SoleOwner | Ownership, service: Lookup) -> Checkpoints:
        checkpoints = self._estate.checkpoints(found, authority, service)
        if checkpoints is None:
            raise _not_kept()
        return checkpoints

    async def _definition(self, found: Opened, job: str) -> ConnectorSpec:
        """The stored one, which runs; else the file's."""
        stored = found.collections.get("job_lifecycle")
        if stored is not None:
            jobs, _ = await JobStore(stored).everything()
            for each in jobs:
                if each.job.name == job:
                    return each.job.spec
        for spec in self._file.connectors:
            if spec.name == job:
                return spec
        message = f"there is no job {job!r}, neither stored nor in the file"
        raise JobNotFound(message)

    async def _lookup(self, found: Opened, lease: Ownership, connector: ConnectorSpec) -> Lookup:
        """The file's services, and the stored ones only if they are needed: their key may be elsewhere."""
        if any(each.name == connector.source.service_name for each in self._file.services):
            return self._file.service
        services = self._estate.registry()
        await self._estate.startup(found, lease, services)
        return services.service


def _not_kept() -> Conflict:
    message = "the file names no store for checkpoints: none are kept; set [system] state"
    return Conflict(message)
