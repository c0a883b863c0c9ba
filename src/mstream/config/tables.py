"""Raw tables of a file, read tolerantly: what has not the expected shape is passed over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mstream.ports.provider import Catalog, Provider


def table_at(table: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    """The table under a key, if it is one."""
    value = table.get(key)
    return value if isinstance(value, dict) else None


def entries(table: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The tables of a list, each with its place in it."""
    value = table.get(key)
    for index, each in enumerate(value if isinstance(value, list) else ()):
        if isinstance(each, dict):
            yield index, each


def text_at(table: Mapping[str, Any], key: str) -> str | None:
    """The text under a key, if it is one and not empty."""
    value = table.get(key)
    return value if isinstance(value, str) and value else None


def provider_of(service: Mapping[str, Any], catalog: Catalog) -> Provider[Any, Any] | None:
    """The descriptor that a service names, if there is one."""
    name = text_at(service, "provider")
    return next((each for each in catalog if each.name == name), None)
