"""Launcher: from a job's definition to a run that can be handed over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from mstream.config.availability import reason_unavailable
from mstream.config.guarantees import may_have_members
from mstream.config.system import System
from mstream.control.beginning import begun
from mstream.control.members import Members
from mstream.control.owner import JobOwner, Stores
from mstream.control.recovery import Recovery
from mstream.control.wiring import Lookup, wiring
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Job
from mstream.domain.run import RunSpec
from mstream.domain.service import ServiceConfig
from mstream.errors import ProviderUnavailable
from mstream.foundation.clock import Clock
from mstream.ports.provider import Catalog, provider_named, role_options
from mstream.runtimes.base import Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run that may begin: its checkpoint is claimed."""

    spec: RunSpec
    owner: JobOwner


class Launcher:
    """Prepares and starts runs; knows the services, the catalog, the stores and the runtime."""

    def __init__(
        self,
        *,
        system: System,
        service: Lookup,
        catalog: Catalog,
        runtime: Runtime,
        stores: Stores,
        clock: Clock,
        random: Random,
        log_level: str = "info",
    ) -> None:
        self._system = system
        self._service = service
        self._catalog = catalog
        self._runtime = runtime
        self._stores = stores
        self._clock = clock
        self._random = random
        self._log_level = log_level

    def is_finite(self, connector: ConnectorSpec) -> bool:
        """Whether its source can come to an end. Raises ServiceNotFound or ProviderUnavailable."""
        config = self._service(connector.source.service_name)
        role = provider_named(self._catalog, config.provider).source
        return role is not None and role.finite

    async def prepare(self, job: Job, run_id: str) -> Prepared:
        """Claim the job's checkpoint for this run. Safe to cancel: the next claim supersedes it.

        Raises ProviderUnavailable, GuaranteeUnavailable, PositionOfAnotherSource, or a StoreError.
        """
        connector = job.spec
        services = {name: self._service(name) for name in connector.service_names}
        self._require(services)
        services = {name: await self._pinned(connector, each) for name, each in services.items()}
        plan = wiring(connector, self._system, self._service, self._catalog)
        owner = JobOwner(
            job=job.name,
            run_id=run_id,
            stores=self._stores,
            clock=self._clock,
            random=self._random,
        )
        fingerprint = self._fingerprint(job, services)
        checkpoint = await owner.begin(plan.mode, fingerprint)
        spec = RunSpec(
            job=job.name,
            run_id=run_id,
            epoch=checkpoint.epoch,
            members=self._members(connector, services),
            connector=begun(connector, checkpoint, services[connector.source.service_name], self._catalog),
            services=services,
            script_versions={
                name: version for name, each in services.items() if (version := each.script_version()) is not None
            },
            schemas_resource=self._system.schemas_resource,
            positions=dict(checkpoint.positions),
            resets=checkpoint.resets,
            fingerprint=fingerprint,
            checkpoint=plan.mode,
            checkpoint_resource=plan.resource,
            checkpoint_database=plan.database,
            transactional_sink=plan.transactional_sink,
            log_level=self._log_level,
        )
        return Prepared(spec=spec, owner=owner)

    def members(self, prepared: Prepared, recovery: Recovery) -> Members:
        """The members that it has; none of them has begun."""
        return Members(prepared.spec, prepared.owner, runtime=self._runtime, recovery=recovery, clock=self._clock)

    def _require(self, services: Mapping[str, ServiceConfig]) -> None:
        for config in services.values():
            provider = provider_named(self._catalog, config.provider)
            why = reason_unavailable(provider, config, allow_python_scripts=self._system.allow_python_scripts)
            if why is not None:
                message = f"service {config.name!r}: {why}"
                raise ProviderUnavailable(message)

    async def _pinned(self, connector: ConnectorSpec, config: ServiceConfig) -> ServiceConfig:
        """The service as this run has it to its end."""
        provider = provider_named(self._catalog, config.provider)
        if provider.pinned is None:
            return config
        resources = [each.resource for each in connector.steps if each.service_name == config.name]
        return await asyncio.to_thread(provider.pinned, config, resources)

    def _members(self, connector: ConnectorSpec, services: Mapping[str, ServiceConfig]) -> int:
        """One where nobody shares the lanes of the source out, whatever is asked for."""
        config = services[connector.source.service_name]
        return connector.parallelism if may_have_members(connector.source, config, self._catalog) else 1

    def _fingerprint(self, job: Job, services: Mapping[str, ServiceConfig]) -> str:
        ref = job.spec.source
        config = services[ref.service_name]
        role = provider_named(self._catalog, config.provider).source
        if role is None:
            message = f"service {config.name!r} of provider {config.provider!r} cannot be a source"
            raise ProviderUnavailable(message)
        return role.fingerprint(config, ref, role_options(role.options, config, ref))
