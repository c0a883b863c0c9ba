"""Checks on stored definitions: by the file's own rules, against the services that there will be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from mstream.config.checks import connector_findings
from mstream.config.problems import Finding, Severity, dotted
from mstream.config.services import KnownService
from mstream.config.system import System
from mstream.domain.batch import Encoding
from mstream.domain.connector import ConnectorSpec, Delivery, OnError, Ref, SinkRef, SourceRef
from mstream.domain.service import ServiceConfig
from mstream.ports.provider import Catalog, role_options


class StoredChecks:
    """The rules, with the services and stores that they look at."""

    def __init__(self, services: Iterable[ServiceConfig], system: System, catalog: Catalog) -> None:
        providers = {each.name: each for each in catalog}
        self._known = {
            each.name: KnownService(
                path=("services",), table=each.sealed(), provider=providers.get(each.provider), config=each
            )
            for each in services
        }
        self._system = system
        self._catalog = catalog

    def fault(self, spec: ConnectorSpec) -> str | None:
        """Why a connector could not run; None: nothing is known, also where a service that it names is missing."""
        if not self._known.keys() >= set(spec.service_names) or self._is_plain(spec):
            return None
        table = _table(spec, self._known)
        findings = connector_findings((), table, self._known, self._system, self._catalog, spec=spec)
        return "; ".join(_text(each) for each in findings if each.severity is Severity.ERROR) or None

    def _is_plain(self, spec: ConnectorSpec) -> bool:
        """Nothing in it needs a closer look, and all that it names is there and fits: most are like that."""
        if (
            spec.schemas
            or spec.schema_ids
            or spec.dead_letters
            or spec.on_error is OnError.DEAD_LETTER
            or spec.delivery is not Delivery.AT_LEAST_ONCE
            or Encoding.AVRO in {spec.source.input_encoding, *(each.output_encoding for each in spec.steps)}
        ):
            return False
        steps = [("source", spec.source), *(("middleware", each) for each in spec.middlewares)]
        return all(self._fits(role, ref) for role, ref in [*steps, *(("sink", each) for each in spec.sinks)])

    def _fits(self, kind: str, ref: Ref) -> bool:
        service = self._known[ref.service_name]
        role = getattr(service.provider, kind, None)
        if role is None or service.config is None:
            return False
        try:
            options = role_options(role.options, service.config, ref)
        except ValidationError:
            return False
        if isinstance(ref, SourceRef):
            given = ref.input_encoding
            if given not in role.encodings if given is not None else role.needs_input_encoding:
                return False
        return not (isinstance(ref, SourceRef | SinkRef) and role.check(ref, options))


def _table(connector: ConnectorSpec, known: Mapping[str, KnownService]) -> dict[str, Any]:
    """As a file has it; without an encoding that older versions have stored in vain."""
    table = connector.model_dump(mode="json", exclude_none=True)
    provider = known[connector.source.service_name].provider
    if provider is not None and provider.source is not None and len(provider.source.encodings) == 1:
        table["source"].pop("input_encoding", None)
    return table


def _text(finding: Finding) -> str:
    where = f"{dotted(finding.path)}: " if finding.path else ""
    return f"{where}{finding.message}"
