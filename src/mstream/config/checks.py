"""Rules across entries: references, capabilities, duplicate names, guarantees.

They work on the raw tables and pass over what has not the expected shape, so that a
misspelt key never hides a dangling name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mstream.config.encodings import Stage, arrival, encoding_findings, stage_of
from mstream.config.guarantees import delivery_plan, may_have_members
from mstream.config.problems import Code, Finding, Path, warning
from mstream.config.refs import SCHEMA_KEYS, RefTable, ref_findings
from mstream.config.schemas import schema_findings
from mstream.config.services import KnownService, known_services, name_findings, service_findings
from mstream.config.shape import parsed
from mstream.config.stores import store_findings, understood, unknown_service
from mstream.config.system import System
from mstream.config.tables import entries, table_at, text_at
from mstream.domain.connector import ConnectorSpec, DeadLettersRef, MiddlewareRef, SinkRef, SourceRef
from mstream.errors import GuaranteeUnavailable
from mstream.ports.provider import Catalog


def cross_findings(raw: Mapping[str, Any], catalog: Catalog, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Everything that no single entry can tell."""
    known = known_services(raw, catalog)
    places = understood(raw)
    yield from store_findings(raw, places, known, catalog)
    yield from service_findings(raw, known, environ)
    first: dict[str, Path] = {}
    for index, connector in entries(raw, "connectors"):
        path: Path = ("connectors", index)
        if name := text_at(connector, "name"):
            yield from name_findings(path, name, first.setdefault(name, path), "connector")
        yield from connector_findings(path, connector, known, places, catalog)


def connector_findings(
    path: Path,
    table: Mapping[str, Any],
    known: Mapping[str, KnownService],
    places: System,
    catalog: Catalog,
    *,
    spec: ConnectorSpec | None = None,
) -> Iterator[Finding]:
    """Everything that a connector's own model cannot tell; `spec`: what the table is known to mean."""
    return _Connector(path, table, known, places, catalog, spec).findings()


class _Connector:
    """One connector of the file, with everything that it may refer to."""

    def __init__(
        self,
        path: Path,
        table: Mapping[str, Any],
        known: Mapping[str, KnownService],
        places: System,
        catalog: Catalog,
        spec: ConnectorSpec | None,
    ) -> None:
        self._path = path
        self._spec = spec
        self._table = table
        self._known = known
        self._places = places
        self._catalog = catalog

    def findings(self) -> Iterator[Finding]:
        """Its schemas, its refs, then its policies."""
        aliases = {alias for _, each in entries(self._table, "schemas") if (alias := text_at(each, "id"))}
        of_refs = [found for ref in self._refs() for found in ref_findings(ref, self._known, self._catalog, aliases)]
        yield from self._schemas()
        yield from of_refs
        yield from self._encodings()
        yield from self._dead_letters()
        yield from self._checkpoint()
        if not of_refs:
            yield from self._parallelism()
            yield from self._circles()
            yield from self._delivery()

    def _refs(self) -> Iterator[RefTable]:
        if (source := table_at(self._table, "source")) is not None:
            yield RefTable(path=(*self._path, "source"), table=source, role="source", model=SourceRef)
        for index, each in entries(self._table, "middlewares"):
            path = (*self._path, "middlewares", index)
            yield RefTable(path=path, table=each, role="middleware", model=MiddlewareRef)
        for index, each in entries(self._table, "sinks"):
            yield RefTable(path=(*self._path, "sinks", index), table=each, role="sink", model=SinkRef)
        if (letters := table_at(self._table, "dead_letters")) is not None:
            yield RefTable(path=(*self._path, "dead_letters"), table=letters, role="sink", model=DeadLettersRef)

    def _schemas(self) -> Iterator[Finding]:
        seen: set[str] = set()
        for index, each in entries(self._table, "schemas"):
            path = (*self._path, "schemas", index)
            alias = text_at(each, "id")
            if alias in seen:
                message = f"there is a schema {alias!r} in this connector already"
                yield Finding(path=(*path, "id"), code=Code.DUPLICATE_NAME, message=message, suggestion="rename it")
            seen.update([alias] if alias else [])
            name = text_at(each, "service_name")
            service = self._known.get(name) if name else None
            registers = bool(service and service.provider and service.provider.schema_name)
            has_name = registers and len(self._uses_of(alias)) == 1
            yield from schema_findings(path, each, registers=registers, has_name=has_name)
            if name and service is None:
                yield unknown_service((*path, "service_name"), name, self._known)
            elif service and service.provider and not (service.provider.schemas or service.provider.documents):
                message = f"service {name!r} ({service.kind}) keeps no schemas"
                yield Finding(path=(*path, "service_name"), code=Code.ROLE_UNAVAILABLE, message=message)

    def _uses_of(self, alias: str | None) -> set[tuple[str | None, str]]:
        """What the source and the sinks read and write whose steps name a schema, and under which key."""
        ends = [table_at(self._table, "source") or {}, *(each for _, each in entries(self._table, "sinks"))]
        found = [(each, key) for each in ends for key in SCHEMA_KEYS if alias and text_at(each, key) == alias]
        return {(text_at(each, "resource"), key) for each, key in found}

    def _encodings(self) -> Iterator[Finding]:
        """Judged only where every step can be understood."""
        source, name = table_at(self._table, "source"), text_at(table_at(self._table, "source") or {}, "service_name")
        service = self._known.get(name) if name else None
        role = service.provider.source if service and service.provider else None
        if source is None or role is None:
            return
        path = (*self._path, "source")
        steps = [arrival(path, source, role.input_encoding), stage_of(path, source)]
        steps += [stage_of((*self._path, "middlewares", at), each) for at, each in entries(self._table, "middlewares")]
        sinks = [self._sink((*self._path, "sinks", at), each) for at, each in entries(self._table, "sinks")]
        understood: list[Stage] = [each for each in steps if each is not None]
        if len(understood) == len(steps):
            yield from encoding_findings(understood, sinks)

    def _sink(self, path: Path, table: Mapping[str, Any]) -> list[Stage]:
        """What a sink is given, and what it makes of that by itself."""
        given = stage_of(path, table)
        if given is None:
            return []
        service = self._known.get(text_at(table, "service_name") or "")
        role = service.provider.sink if service and service.provider else None
        if role is None or role.keeps is None:
            return [given]
        return [given, replace(given, encoding=role.keeps, is_of_sink=True)]

    def _dead_letters(self) -> Iterator[Finding]:
        if self._table.get("on_error") != "dead_letter" or "dead_letters" in self._table:
            return
        if self._places.place("dead_letters") is None:
            message = "records that are given up would have no place: no store keeps them"
            yield Finding(
                path=(*self._path, "on_error"),
                code=Code.NO_DEAD_LETTERS,
                message=message,
                suggestion="add 'dead_letters' to the connector, or set [system] state",
            )

    def _checkpoint(self) -> Iterator[Finding]:
        if self._places.place("checkpoints") is not None:
            return
        policy = self._table.get("checkpoint")
        if policy is None:
            message = "no store keeps positions: a restart begins anew"
            yield warning(self._path, Code.NO_CHECKPOINTS, message, "set [system] state or [system.checkpoints]")
        elif isinstance(policy, dict) and policy.get("enabled", True) is True:
            message = "no store keeps positions: they are kept in memory and end with this process"
            path = (*self._path, "checkpoint")
            yield warning(path, Code.NO_CHECKPOINTS, message, "set [system] state or [system.checkpoints]")

    def _parallelism(self) -> Iterator[Finding]:
        """Only the lanes of a group can be shared by several member runs."""
        members = self._table.get("parallelism")
        if isinstance(members, bool) or not isinstance(members, int) or members <= 1:
            return
        ref, _ = parsed(SourceRef, dict(table_at(self._table, "source") or {}))
        service = self._known.get(ref.service_name) if ref else None
        if ref is None or service is None or service.config is None:
            return
        if not may_have_members(ref, service.config, self._catalog):
            message = (
                f"the job runs as one member, not as {members}: "
                f"a source of provider {service.kind!r}, as it is set here, is no member of a group"
            )
            path = (*self._path, "parallelism")
            yield warning(path, Code.ONE_MEMBER, message, "leave it out, or split the source into several connectors")

    def _circles(self) -> Iterator[Finding]:
        """A pattern soon matches more than was meant: the topic of the sink, or that of dead letters."""
        ref, _ = parsed(SourceRef, dict(table_at(self._table, "source") or {}))
        service = self._known.get(ref.service_name) if ref else None
        role = service.provider.source if service and service.provider else None
        if ref is None or role is None:
            return
        for each in self._refs():
            resource = text_at(each.table, "resource") or ""
            is_end = each.role == "sink" and text_at(each.table, "service_name") == ref.service_name
            if is_end and role.reads(ref, resource):
                message = f"what is written to {resource!r} comes out of the source {ref.resource!r} again, without end"
                yield warning(
                    (*each.path, "resource"), Code.FEEDS_ITSELF, message, "write to another one, or read less"
                )

    def _delivery(self) -> Iterator[Finding]:
        """Judged only where everything that it depends on can be understood."""
        connector = self._spec or parsed(ConnectorSpec, dict(self._table))[0]
        place = self._places.place("checkpoints")
        host = self._known.get(place.service_name) if place else None
        if connector is None or (place is not None and (host is None or host.config is None)):
            return
        named = {name: self._known[name].config for name in connector.service_names if name in self._known}
        configs = {name: config for name, config in named.items() if config is not None}
        if len(configs) < len(connector.service_names):
            return
        try:
            delivery_plan(connector, configs, self._catalog, host.config if host else None)
        except GuaranteeUnavailable as error:
            yield Finding(
                path=(*self._path, "delivery"),
                code=Code.GUARANTEE_UNAVAILABLE,
                message=str(error),
                suggestion='change what is named, or use delivery = "at_least_once"',
            )
