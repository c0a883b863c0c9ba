"""Whether a service can run here, with this program and under this file's rules."""

from __future__ import annotations

from typing import Any

from mstream.domain.service import ServiceConfig
from mstream.ports.provider import Provider


def reason_unavailable(
    provider: Provider[Any, Any], config: ServiceConfig | None, *, allow_python_scripts: bool
) -> str | None:
    """Why jobs that need the service would fail; None: they can run."""
    if not provider.built:
        return f"provider {provider.name!r} cannot run in this version"
    if config is None:
        return None
    if not allow_python_scripts and _runs_python(config):
        return "scripts in Python are switched off by [system] allow_python_scripts"
    return provider.unavailable(config)


def _runs_python(config: ServiceConfig) -> bool:
    """Whatever the provider: a service that has an engine of this kind runs code of its user's."""
    return getattr(getattr(config, "engine", None), "kind", None) == "python"
