"""Checks on the `[system]` tables: each store has a place, and a service that can host it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mstream.config.problems import Code, Finding, did_you_mean
from mstream.config.services import STATE_PROVIDER, KnownService
from mstream.config.shape import one_of
from mstream.config.system import BESIDE, RESOURCES, System
from mstream.config.tables import table_at, text_at
from mstream.ports.provider import Catalog


def understood(raw: Mapping[str, Any]) -> System:
    """The places of stores as far as they can be understood; what is faulty counts as not there."""
    system = table_at(raw, "system") or {}
    tables = {
        store: {key: value for key in ("service_name", "resource") if (value := text_at(table, key))}
        for store in RESOURCES
        if (table := table_at(system, store)) is not None
    }
    return System.model_validate({**tables, "state": text_at(system, "state")})


def store_findings(
    raw: Mapping[str, Any], places: System, known: Mapping[str, KnownService], catalog: Catalog
) -> Iterator[Finding]:
    """What single tables cannot tell."""
    system = table_at(raw, "system") or {}
    yield from _state(text_at(system, "state"), catalog)
    for store in RESOURCES:
        table = table_at(system, store)
        if table is None:
            continue
        if places.place(store) is None:
            yield from _without_place(store, table)
        if name := text_at(table, "service_name"):
            yield from _host(store, name, known, catalog)


def _state(state: str | None, catalog: Catalog) -> Iterator[Finding]:
    path = ("system", "state")
    if state is not None and (":" in state or "?" in state):
        message = "'state' must be the path of a file, without ':' and '?'"
        suggestion = 'as in state = "./mstream.db"; another database is named by [system.job_lifecycle] and its like'
        yield Finding(path=path, code=Code.BAD_VALUE, message=message, suggestion=suggestion)
    if state is not None and all(each.name != STATE_PROVIDER for each in catalog):
        message = f"'state' needs the provider {STATE_PROVIDER!r}, which is not there"
        yield Finding(path=path, code=Code.UNKNOWN_PROVIDER, message=message)


def _without_place(store: str, table: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = ("service_name",) if store in BESIDE else ("service_name", "resource")
    for key in wanted:
        if key not in table:
            message = f"{key!r} is missing: nothing says where this store lives"
            suggestion = f"add {key!r}, or set [system] state to keep everything in one SQLite file"
            yield Finding(path=("system", store, key), code=Code.MISSING_KEY, message=message, suggestion=suggestion)


def _host(store: str, name: str, known: Mapping[str, KnownService], catalog: Catalog) -> Iterator[Finding]:
    path = ("system", store, "service_name")
    service = known.get(name)
    if service is None:
        yield unknown_service(path, name, known)
    elif service.provider is not None and service.provider.documents is None:
        able = [each.name for each in catalog if each.documents is not None]
        message = f"service {name!r} ({service.kind}) cannot host a store"
        yield Finding(
            path=path, code=Code.ROLE_UNAVAILABLE, message=message, suggestion=f"providers that can: {one_of(able)}"
        )


def unknown_service(path: tuple[str | int, ...], name: str, known: Mapping[str, KnownService]) -> Finding:
    """A name that nothing defines."""
    names = list(known)
    suggestion = did_you_mean(name, names) or one_of(names) or "define it under [[services]]"
    return Finding(
        path=path, code=Code.UNKNOWN_REFERENCE, message=f"there is no service {name!r}", suggestion=suggestion
    )
