"""One connector's definition outside of a file: out of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mstream.config.checks import connector_findings
from mstream.config.problems import Code, Finding, Severity, dotted
from mstream.config.services import KnownService
from mstream.config.shape import parsed
from mstream.config.system import System
from mstream.domain.connector import ConnectorSpec
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError
from mstream.ports.provider import Catalog


def connector_of_request(
    body: Mapping[str, Any], services: Mapping[str, ServiceConfig], system: System, catalog: Catalog
) -> ConnectorSpec:
    """By the same rules as in a file. Raises ConfigError with everything that is wrong with it."""
    spec, findings = parsed(ConnectorSpec, dict(body))
    providers = {each.name: each for each in catalog}
    known = {
        name: KnownService(
            path=("services",), table=config.sealed(), provider=providers.get(config.provider), config=config
        )
        for name, config in services.items()
    }
    findings += connector_findings((), body, known, system, catalog)
    if spec is not None and not spec.name.strip():
        findings.append(
            Finding(path=("name",), code=Code.EMPTY_NAME, message="the name is blank", suggestion="give it one")
        )
    errors = {(each.path, each.code): each for each in findings if each.severity is Severity.ERROR}
    if spec is None or errors:
        raise ConfigError("; ".join(_text(each) for each in errors.values()))
    return spec


def _text(finding: Finding) -> str:
    where = f"{dotted(finding.path)}: " if finding.path else ""
    advice = f" ({finding.suggestion})" if finding.suggestion else ""
    return f"{where}{finding.message}{advice}"
