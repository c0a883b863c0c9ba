"""Checks on one ref of a connector: its service, that service's role there, and the role's options."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from mstream.config.problems import Code, Finding, Path, did_you_mean, shown_key
from mstream.config.services import KnownService
from mstream.config.shape import one_of, parsed
from mstream.config.stores import unknown_service
from mstream.config.system import STATE_SERVICE
from mstream.config.tables import text_at
from mstream.config.vocabulary import keys_of
from mstream.domain.batch import Encoding
from mstream.domain.connector import DeadLettersRef, MiddlewareRef, Ref, SinkRef, SourceRef
from mstream.domain.service import RoleOptions
from mstream.ports.provider import Catalog, SinkRole, SourceRole

R = TypeVar("R", bound=Ref)

#: Keys of a ref that name a schema of the connector.
SCHEMA_KEYS: Final = ("schema_id", "key_schema_id")

RefModel = type[SourceRef] | type[MiddlewareRef] | type[SinkRef] | type[DeadLettersRef]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefTable:
    """A ref as it stands in the file."""

    path: Path
    table: Mapping[str, Any]
    #: What the service is asked to be there: source, middleware or sink.
    role: str
    model: RefModel


def ref_findings(
    ref: RefTable, known: Mapping[str, KnownService], catalog: Catalog, aliases: Collection[str]
) -> Iterator[Finding]:
    """What a ref's own model cannot tell."""
    for key in SCHEMA_KEYS:
        alias = text_at(ref.table, key) if key in ref.model.model_fields else None
        if alias is not None and alias not in aliases:
            message = f"there is no schema {alias!r} in this connector"
            suggestion = did_you_mean(alias, aliases) or "define it under the connector's 'schemas'"
            yield Finding(path=(*ref.path, key), code=Code.UNKNOWN_REFERENCE, message=message, suggestion=suggestion)
    name = text_at(ref.table, "service_name")
    service = known.get(name) if name != STATE_SERVICE and name is not None else None
    role = getattr(service.provider, ref.role) if service and service.provider else None
    if name is not None and service is None:
        public = {key: each for key, each in known.items() if key != STATE_SERVICE}
        yield unknown_service((*ref.path, "service_name"), name, public)
    if service is None or service.provider is None:
        yield from _near_misses(ref)
    elif role is None:
        yield _no_role(ref, name or "", service, catalog)
        yield from _near_misses(ref)
    else:
        yield from _key_findings(ref, service, role)
        yield from _role_findings(ref, service, role)


def _key_findings(ref: RefTable, service: KnownService, role: Any) -> Iterator[Finding]:
    """A schema of keys where there are none that it could be of."""
    if "key_schema_id" in ref.table and isinstance(role, SourceRole | SinkRole) and not role.has_keys:
        does = "bring no keys that a schema could be of" if ref.role == "source" else "are written without such keys"
        message = f"records of this service ({service.kind}) {does}"
        path = (*ref.path, "key_schema_id")
        yield Finding(path=path, code=Code.BAD_VALUE, message=message, suggestion="take it out")


def _role_findings(ref: RefTable, service: KnownService, role: Any) -> Iterator[Finding]:
    options, findings = _options(ref, service, role.options)
    yield from findings
    if isinstance(role, SourceRole):
        yield from _encoding_findings(ref, role)
    if isinstance(role, SourceRole) and options is not None:
        yield from _told_by(role.check, ref, SourceRef, options)
    if isinstance(role, SinkRole) and options is not None:
        yield from _told_by(role.check, ref, SinkRef, options)


def _told_by(
    check: Callable[[R, Any], Sequence[tuple[str, str]]], ref: RefTable, model: type[R], options: RoleOptions
) -> Iterator[Finding]:
    """What the provider itself finds, once the ref is whole."""
    whole, _ = parsed(model, dict(ref.table))
    for key, message in check(whole, options) if whole else ():
        yield Finding(path=(*ref.path, key), code=Code.BAD_VALUE, message=message)


def _options(
    ref: RefTable, service: KnownService, model: type[RoleOptions]
) -> tuple[RoleOptions | None, list[Finding]]:
    """The role's options, and what is wrong with those that stand in the ref itself."""
    own = keys_of(ref.model)
    theirs = keys_of(model)
    given = {key: value for key, value in ref.table.items() if key not in own}
    shared = keys_of(service.provider.config) if service.provider else []
    defaults = {key: service.table[key] for key in theirs if key in shared and key in service.table}
    options, findings = parsed(model, {**defaults, **given}, ref.path)
    place = len(ref.path)
    told = []
    for each in findings:
        key = each.path[place] if len(each.path) > place else None
        if each.code is Code.UNKNOWN_KEY and len(each.path) == place + 1:
            words = [*own, *theirs]
            told.append(replace(each, suggestion=did_you_mean(key, words) or one_of(words)))
        elif key in given or each.code is Code.MISSING_KEY:
            told.append(each)
    return options, told


def _near_misses(ref: RefTable) -> Iterator[Finding]:
    """Of keys that nobody can judge, those that were meant to be one of ours."""
    own = keys_of(ref.model)
    for key in ref.table:
        if key not in own and (suggestion := did_you_mean(key, own)):
            yield Finding(
                path=(*ref.path, key),
                code=Code.UNKNOWN_KEY,
                message=f"unknown key {shown_key(key)!r}",
                suggestion=suggestion,
            )


def _no_role(ref: RefTable, name: str, service: KnownService, catalog: Catalog) -> Finding:
    able = one_of([each.name for each in catalog if getattr(each, ref.role) is not None])
    return Finding(
        path=(*ref.path, "service_name"),
        code=Code.ROLE_UNAVAILABLE,
        message=f"service {name!r} ({service.kind}) cannot be a {ref.role}",
        suggestion=f"providers that can: {able}",
    )


def _encoding_findings(ref: RefTable, role: SourceRole[Any, Any]) -> Iterator[Finding]:
    path = (*ref.path, "input_encoding")
    given = text_at(ref.table, "input_encoding")
    words = sorted(each.value for each in role.encodings)
    if "input_encoding" not in ref.table and role.needs_input_encoding:
        message = "'input_encoding' is missing: nothing else says how records arrive from this service"
        yield Finding(path=path, code=Code.MISSING_KEY, message=message, suggestion=one_of(words))
    elif given in list(Encoding) and given not in words:
        message = f"records of this service do not arrive as {given}"
        yield Finding(path=path, code=Code.BAD_VALUE, message=message, suggestion=one_of(words))
