"""What files of older versions hold that a new one would not: taken, with a warning that says how."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from mstream.config.problems import Code, Finding, warning
from mstream.config.tables import entries, provider_of, table_at
from mstream.ports.provider import Catalog

#: Keys that had a meaning once, by the table they stood in, and what became of them.
LEGACY_KEYS: Final[Mapping[str, str]] = {
    "generate_encryption_key": "a missing key file is made when services are first stored",
}


def modernised(raw: Mapping[str, Any], catalog: Catalog) -> tuple[dict[str, Any], list[Finding]]:
    """The tables as a new file would have them, and what was done to them."""
    tables = copy.deepcopy(dict(raw))
    findings = [*_without_legacy_keys(tables)]
    for index, service in entries(tables, "services"):
        provider = provider_of(service, catalog)
        for key, done in getattr(provider.config, "tolerated", lambda _: ())(service) if provider else ():
            findings.append(warning(("services", index, key), Code.LEGACY_VALUE, done))
    findings.extend(_without_idle_encodings(tables, catalog))
    return tables, findings


def _without_legacy_keys(tables: dict[str, Any]) -> list[Finding]:
    findings = []
    for path, table in ((("system",), table_at(tables, "system")), ((), tables)):
        for key, became in LEGACY_KEYS.items():
            if table is not None and table.pop(key, None) is not None:
                message = f"{key!r} has no effect any more: {became}"
                findings.append(warning((*path, key), Code.LEGACY_KEY, message, "remove it"))
    return findings


def _without_idle_encodings(tables: dict[str, Any], catalog: Catalog) -> list[Finding]:
    """A source whose payloads can only be of one encoding is taken at its word, not the file's."""
    services = {each.get("name"): each for _, each in entries(tables, "services") if isinstance(each.get("name"), str)}
    findings = []
    for index, connector in entries(tables, "connectors"):
        source = table_at(connector, "source")
        name = source.get("service_name") if source else None
        service = services.get(name) if isinstance(name, str) else None
        provider = provider_of(service, catalog) if service else None
        role = provider.source if provider else None
        if source is None or role is None or len(role.encodings) != 1:
            continue
        given = source.get("input_encoding")
        if isinstance(given, str) and given != role.input_encoding.value:
            del source["input_encoding"]
            message = f"records of this source are always {role.input_encoding.value}; what the file says was ignored"
            findings.append(
                warning(("connectors", index, "source", "input_encoding"), Code.LEGACY_VALUE, message, "remove it")
            )
    return findings
