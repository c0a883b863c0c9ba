"""Test a service: whether it can be reached and used, and if not, what fails and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mstream.domain.service import ServiceConfig
from mstream.errors import MstreamError, SecretUnavailable
from mstream.ports.probe import Outcome, ProbeStep
from mstream.ports.provider import Catalog, Provider, provider_named

_REFERENCES: Final = "references"
_PROVIDER: Final = "provider"
_OPEN: Final = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTest:
    """What came of a test."""

    name: str
    provider: str
    steps: Sequence[ProbeStep]

    @property
    def is_fine(self) -> bool:
        """Whether no step has failed."""
        return all(each.outcome is not Outcome.FAILED for each in self.steps)

    def as_document(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        steps = [
            {"name": each.name, "outcome": each.outcome.value, "detail": each.detail, "advice": each.advice}
            for each in self.steps
        ]
        return {"service": self.name, "provider": self.provider, "ok": self.is_fine, "steps": steps}


async def probe_service(config: ServiceConfig, catalog: Catalog, environ: Mapping[str, str]) -> ServiceTest:
    """Resolve its references, then let its provider look, step by step; nothing is written. Never raises."""
    provider = provider_named(catalog, config.provider)
    try:
        resolved = config.with_references_resolved(environ)
    except SecretUnavailable as error:
        steps: Sequence[ProbeStep] = [ProbeStep(name=_REFERENCES, outcome=Outcome.FAILED, detail=str(error))]
    else:
        steps = await _looked(provider, resolved)
    return ServiceTest(name=config.name, provider=provider.name, steps=steps)


async def _looked(provider: Provider[Any, Any], config: ServiceConfig) -> Sequence[ProbeStep]:
    reason = provider.unavailable(config)
    if not provider.built:
        reason = f"provider {provider.name!r} cannot run in this version"
    if reason is not None:
        return [ProbeStep(name=_PROVIDER, outcome=Outcome.FAILED, detail=reason)]
    try:
        if provider.probe is not None:
            return await provider.probe(config)
        if not config.is_made():
            return [ProbeStep(name=_OPEN, outcome=Outcome.SKIPPED, detail="it is made when it is first used")]
        async with provider.connect(config):
            return [ProbeStep(name=_OPEN, outcome=Outcome.OK)]
    except MstreamError as error:
        return [ProbeStep(name=_OPEN, outcome=Outcome.FAILED, detail=str(error))]
