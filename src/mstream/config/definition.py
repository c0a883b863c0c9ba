"""One service's definition outside of a file: out of a store, or out of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from mstream.config.document import service_adapter
from mstream.config.legacy import modernised
from mstream.config.problems import Code, Finding, did_you_mean, dotted
from mstream.config.reach import place_findings
from mstream.config.shape import one_of, parsed
from mstream.config.system import STATE_SERVICE, System
from mstream.config.tables import provider_of, text_at
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError
from mstream.ports.provider import Catalog


def stored_definitions(catalog: Catalog) -> Callable[[Mapping[str, Any]], ServiceConfig]:
    """Reads decrypted definitions, those of v0.47 included; raises ConfigError, without values."""
    adapter = service_adapter(catalog)

    def read(table: Mapping[str, Any]) -> ServiceConfig:
        with suppress(ValidationError):
            return adapter.validate_python(table)
        # What is odd about it is told, or made good, as in a file; outside of the error, whose text holds values.
        tables, _ = modernised({"services": [dict(table)]}, catalog)
        return _definition(tables["services"][0], catalog)

    return read


def definition_of_request(
    body: Mapping[str, Any], system: System, catalog: Catalog, reserved: Mapping[str, str]
) -> ServiceConfig:
    """A definition from somebody whose rights are not known. Raises ConfigError.

    It may not reach for the program's environment or files beyond what the file allows, nor bring code. `reserved`:
    paths that it may not name either, by what is there.
    """
    config = _definition(body, catalog)
    findings = [
        *_names(config),
        *_reaches(config, frozenset(system.api.env_allow)),
        *_code(config),
        *place_findings(config, system.api.allowed_paths, reserved),
    ]
    if findings:
        raise _error(findings)
    return config


def _definition(table: Mapping[str, Any], catalog: Catalog) -> ServiceConfig:
    provider = provider_of(table, catalog)
    if provider is None:
        raise _error([_no_provider(table, catalog)])
    config, findings = parsed(provider.config, dict(table))
    if config is None:
        raise _error(findings)
    definition: ServiceConfig = config
    return definition


def _no_provider(table: Mapping[str, Any], catalog: Catalog) -> Finding:
    known = [each.name for each in catalog]
    name = text_at(table, "provider")
    if name is None:
        return Finding(path=("provider",), code=Code.MISSING_KEY, message="it is missing", suggestion=one_of(known))
    return Finding(
        path=("provider",),
        code=Code.UNKNOWN_PROVIDER,
        message="there is no such provider",
        suggestion=did_you_mean(name, known) or one_of(known),
    )


def _names(config: ServiceConfig) -> Iterator[Finding]:
    if not config.name.strip():
        yield Finding(path=("name",), code=Code.EMPTY_NAME, message="the name is blank", suggestion="give it one")
    if config.name == STATE_SERVICE:
        message = f"the name {STATE_SERVICE!r} is reserved"
        yield Finding(path=("name",), code=Code.RESERVED_NAME, message=message, suggestion="choose another")


def _reaches(config: ServiceConfig, allowed: frozenset[str]) -> Iterator[Finding]:
    """Fields that refer to something that only the file may refer to."""
    for path, reference in config.references():
        kind, _, name = reference.partition(":")
        if kind == "env" and name in allowed:
            continue
        what, advice = ("file", "") if kind == "file" else ("variable", ", or list it in [system.api] env_allow")
        message = f"a definition from the API cannot refer to this {what}"
        yield Finding(
            path=path, code=Code.BAD_VALUE, message=message, suggestion=f"put the service into the file{advice}"
        )


def _code(config: ServiceConfig) -> Iterator[Finding]:
    if getattr(getattr(config, "engine", None), "kind", None) == "python":
        message = "scripts in Python are taken from the file alone: they may do whatever the program may do"
        yield Finding(path=("engine", "kind"), code=Code.BAD_VALUE, message=message)


def _error(findings: list[Finding]) -> ConfigError:
    told = [f"{dotted(each.path)}: {each.message}" for each in findings]
    advice = [f" ({each.suggestion})" if each.suggestion else "" for each in findings]
    return ConfigError("; ".join(map("".join, zip(told, advice, strict=True))))
