"""Look at what a service holds: its resources, and the forms of the documents in one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mstream.domain.service import ServiceConfig
from mstream.errors import ProviderUnavailable
from mstream.ports.inspection import Inspection, Resource, Variant
from mstream.ports.provider import Catalog, not_built, provider_named


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceResources:
    """What a service holds."""

    name: str
    resources: Sequence[Resource]

    def as_document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        found = [{"name": each.name, "resource_type": each.kind} for each in self.resources]
        return {"service_name": self.name, "resources": found}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSchema:
    """The forms of the documents in a resource, the most frequent first."""

    resource: str
    variants: Sequence[Variant]

    @property
    def count(self) -> int:
        """How many documents were looked at."""
        return sum(each.count for each in self.variants)

    def share(self, variant: Variant) -> float:
        """Of a hundred documents, how many have that form."""
        return round(100 * variant.count / self.count, 2)

    def as_document(self) -> list[dict[str, Any]]:
        """Plain data, for JSON."""
        return [
            {"share_percent": self.share(each), "sample_count": each.count, "schema": each.schema}
            for each in self.variants
        ]


async def resources_of(config: ServiceConfig, catalog: Catalog, environ: Mapping[str, str]) -> ServiceResources:
    """Everything that a connector can name in a service. Raises as the provider does."""
    async with _opened(config, catalog, environ) as inspection:
        return ServiceResources(name=config.name, resources=await inspection.resources())


async def schema_of(
    config: ServiceConfig,
    catalog: Catalog,
    environ: Mapping[str, str],
    *,
    resource: str,
    sample: int,
    shows_values: bool,
) -> ResourceSchema:
    """What a sample of a resource's documents looks like. Raises as the provider does."""
    async with _opened(config, catalog, environ) as inspection:
        variants = await inspection.variants(resource, sample=sample, shows_values=shows_values)
    return ResourceSchema(resource=resource, variants=variants)


@asynccontextmanager
async def _opened(config: ServiceConfig, catalog: Catalog, environ: Mapping[str, str]) -> AsyncIterator[Inspection]:
    provider = provider_named(catalog, config.provider)
    if not provider.built:
        raise not_built(provider.name)
    if provider.inspection is None:
        able = ", ".join(each.name for each in catalog if each.inspection is not None)
        message = f"services of provider {provider.name!r} cannot be looked into; those of {able} can"
        raise ProviderUnavailable(message)
    resolved = config.with_references_resolved(environ)
    if reason := provider.unavailable(resolved):
        raise ProviderUnavailable(reason)
    async with provider.connect(resolved) as live:
        yield provider.inspection(live)
