"""Checks on `[[services]]`: names, what cannot run here, references that lead nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mstream.config.availability import reason_unavailable
from mstream.config.problems import Code, Finding, Path, dotted, warning
from mstream.config.shape import parsed
from mstream.config.system import STATE_SERVICE
from mstream.config.tables import entries, provider_of, text_at
from mstream.domain.service import ServiceConfig
from mstream.ports.provider import Catalog, Provider

#: The provider of the service that `[system] state` implies.
STATE_PROVIDER = "sql"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownService:
    """A service of the file, as far as it can be understood."""

    path: Path
    table: Mapping[str, Any]
    provider: Provider[Any, Any] | None
    config: ServiceConfig | None

    @property
    def kind(self) -> str:
        """Its provider's name, for messages."""
        return self.provider.name if self.provider else "unknown"


def state_table(path: str) -> dict[str, str]:
    """The definition that `[system] state` stands for."""
    return {"provider": STATE_PROVIDER, "name": STATE_SERVICE, "url": f"sqlite:///{path}"}


def known_services(raw: Mapping[str, Any], catalog: Catalog) -> dict[str, KnownService]:
    """Every service that has a name, by it; of several the first."""
    found: dict[str, KnownService] = {}
    for path, table in _tables(raw):
        provider = provider_of(table, catalog)
        config = parsed(provider.config, dict(table))[0] if provider else None
        name = text_at(table, "name")
        if name and name not in found:
            found[name] = KnownService(path=path, table=table, provider=provider, config=config)
    return found


def service_findings(
    raw: Mapping[str, Any], known: Mapping[str, KnownService], environ: Mapping[str, str]
) -> Iterator[Finding]:
    """What single services cannot tell."""
    for index, table in entries(raw, "services"):
        path: Path = ("services", index)
        name = text_at(table, "name")
        if name == STATE_SERVICE:
            message = f"the name {STATE_SERVICE!r} is reserved for [system] state"
            yield Finding(path=(*path, "name"), code=Code.RESERVED_NAME, message=message, suggestion="choose another")
        else:
            yield from name_findings(path, name, known[name].path if name and name in known else path, "service")
        yield from _unset_references(path, table, environ)
    system = raw.get("system")
    allowed = not isinstance(system, dict) or system.get("allow_python_scripts") is not False
    hosts, used = set(_named(system)), set(_named(raw.get("connectors")))
    for name, service in known.items():
        if name in hosts - used and service.provider is not None and service.provider.documents is not None:
            # It keeps a store, which it can, and no job asks for more.
            continue
        yield from _unavailable(service, allow_python_scripts=allowed)


def name_findings(path: Path, name: str | None, first: Path, what: str) -> Iterator[Finding]:
    """A name that is blank, or that stands a second time."""
    if name is not None and not name.strip():
        yield Finding(path=(*path, "name"), code=Code.EMPTY_NAME, message="the name is blank", suggestion="give it one")
    elif name is not None and first != path:
        message = f"there is a {what} {name!r} already, at {dotted(first)}"
        yield Finding(path=(*path, "name"), code=Code.DUPLICATE_NAME, message=message, suggestion="rename one of them")


def _tables(raw: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    system = raw.get("system")
    if isinstance(system, dict) and (state := text_at(system, "state")):
        yield ("system", "state"), state_table(state)
    for index, table in entries(raw, "services"):
        yield ("services", index), table


def _named(value: object) -> Iterator[str]:
    """The services that something in there names."""
    match value:
        case dict():
            for key, each in value.items():
                yield from [each] if key == "service_name" and isinstance(each, str) else _named(each)
        case list():
            for each in value:
                yield from _named(each)
        case _:
            return


def _unavailable(service: KnownService, *, allow_python_scripts: bool) -> Iterator[Finding]:
    if service.provider is None or service.path[0] != "services":
        return
    reason = reason_unavailable(service.provider, service.config, allow_python_scripts=allow_python_scripts)
    if reason:
        message = f"{reason}; jobs that need this service will fail, all others run"
        yield warning((*service.path, "provider"), Code.PROVIDER_UNAVAILABLE, message)


def _unset_references(path: Path, value: object, environ: Mapping[str, str]) -> Iterator[Finding]:
    match value:
        case str() if value.startswith("env:") and value.removeprefix("env:") not in environ:
            message = f"environment variable {value.removeprefix('env:')!r} is not set"
            yield warning(path, Code.UNSET_REFERENCE, message, "set it before the job starts")
        case dict():
            for key, each in value.items():
                yield from _unset_references((*path, key), each, environ)
        case list():
            for index, each in enumerate(value):
                yield from _unset_references((*path, index), each, environ)
        case _:
            return
