"""Definitions as canonical JSON: whether two are the same, where they differ, and their hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Final

from mstream.config.problems import shown_key
from mstream.domain.connector import ConnectorSpec

_MISSING: Final = object()


def canonical(value: object) -> bytes:
    """The same bytes for the same value, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def definition(spec: ConnectorSpec) -> dict[str, object]:
    """What makes two connectors the same; `enabled` is a wish about intent, and null is the same as absent."""
    return spec.model_dump(mode="json", exclude={"enabled"}, exclude_none=True)


def definition_hash(spec: ConnectorSpec) -> str:
    """The same for the same definition."""
    return hashlib.sha256(canonical(definition(spec))).hexdigest()


def file_hash(connectors: Iterable[ConnectorSpec]) -> str:
    """Covers every definition of a file, with whether it is enabled; not their order."""
    whole = sorted((each.model_dump(mode="json", exclude_none=True) for each in connectors), key=canonical)
    return hashlib.sha256(canonical(whole)).hexdigest()


def changes(before: ConnectorSpec, after: ConnectorSpec) -> tuple[str, ...]:
    """The dotted paths that differ; never values, which may be secrets, nor keys that look like values."""
    if before is after:
        return ()
    old, new = definition(before), definition(after)
    return () if canonical(old) == canonical(new) else tuple(_paths(old, new, ()))


def _paths(before: object, after: object, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _paths(before.get(key, _MISSING), after.get(key, _MISSING), (*path, shown_key(str(key))))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _paths(_at(before, index), _at(after, index), (*path, str(index)))
    elif not _same(before, after):
        yield ".".join(path)


def _at(values: list[object], index: int) -> object:
    return values[index] if index < len(values) else _MISSING


def _same(before: object, after: object) -> bool:
    """As canonical JSON tells: 1, 1.0 and true are three values."""
    if before is _MISSING or after is _MISSING:
        return before is after
    return canonical(before) == canonical(after)
