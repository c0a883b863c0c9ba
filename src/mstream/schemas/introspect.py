"""Infer schema variants from sampled documents; pure, and in the same order for the same documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mstream.ports.inspection import Variant

#: Documents inside of documents are looked into so deep.
DEEPEST: Final = 100

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HEX_ID: Final = re.compile(r"[0-9a-fA-F]{24}")
_LIKE_ID: Final = re.compile(r"[0-9a-fA-F-]{24}|[0-9a-fA-F-]{32}|[0-9a-fA-F-]{36}|[0-9a-fA-F-]{40}")
_LONGEST_WORD: Final = 50
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
#: Values of an enum, at most; each was seen so often, and there are so many of them.
_MOST_VALUES: Final = 10
_SEEN: Final = 2
_FEWEST_VALUES: Final = 2
#: A field with one of these in its name shows no values, asked for or not.
_PERSONAL: Final = (
    *("email", "phone", "mobile", "name", "street", "address", "birth", "social", "ssn", "passport", "license"),
    *("credit", "card", "account", "salary", "password", "secret", "token", "key", "login", "user_id", "userid", "ip"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that documents can have, and what it is in JSON."""

    name: str
    type: str
    format: str | None = None


NULL, BOOLEAN = Kind("null", "null"), Kind("boolean", "boolean")
INTEGER, NUMBER, STRING = Kind("integer", "integer"), Kind("number", "number"), Kind("string", "string")
OBJECT, ARRAY = Kind("object", "object"), Kind("array", "array")

_KINDS: Final[Mapping[type, Kind]] = {
    type(None): NULL,
    bool: BOOLEAN,
    int: INTEGER,
    float: NUMBER,
    dict: OBJECT,
    list: ARRAY,
}

KindOf = Callable[[Any], Kind]
Path = tuple[str, ...]


def kind_of(value: Any) -> Kind:  # noqa: ANN401 - any value of a document
    """Of a value that JSON has; of any other it is a string."""
    return next((_KINDS[each] for each in type(value).__mro__ if each in _KINDS), STRING)


def infer(documents: Sequence[Mapping[str, Any]], of: KindOf = kind_of, *, shows_values: bool = False) -> list[Variant]:
    """A variant for each combination of types at the paths that have several; the most frequent first."""
    kinds = [dict(_kinds(each, of)) for each in documents]
    conflicts = _conflicts(kinds)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for document, found in zip(documents, kinds, strict=True):
        signature = tuple(found[path].name if path in found else "missing" for path in conflicts)
        groups.setdefault(signature, []).append(document)
    ordered = sorted(groups.items(), key=lambda each: (-len(each[1]), each[0]))
    return [
        Variant(count=len(group), schema={"$schema": _DIALECT, **_Builder(of, shows_values).object(group, 0)})
        for _, group in ordered
    ]


def _kinds(document: Mapping[str, Any], of: KindOf, path: Path = ()) -> Iterator[tuple[Path, Kind]]:
    """The type at every path; elements of arrays have none."""
    for name, value in document.items():
        inner = (*path, name)
        yield inner, of(value)
        if isinstance(value, Mapping) and len(inner) < DEEPEST:
            yield from _kinds(value, of, inner)


def _conflicts(kinds: Sequence[Mapping[Path, Kind]]) -> list[Path]:
    """Paths where documents have types that differ, null not counted."""
    seen: dict[Path, set[str]] = {}
    for found in kinds:
        for path, kind in found.items():
            if kind is not NULL:
                seen.setdefault(path, set()).add(kind.name)
    return sorted(path for path, names in seen.items() if len(names) > 1)


class _Builder:
    """Makes schemas of values that stand in the same place."""

    def __init__(self, of: KindOf, shows_values: bool) -> None:  # noqa: FBT001 - as it was given
        self._of = of
        self._shows_values = shows_values

    def object(self, documents: Sequence[Mapping[str, Any]], depth: int) -> dict[str, Any]:
        """Of documents; a field that each of them has is required."""
        schema: dict[str, Any] = {"type": "object"}
        if depth >= DEEPEST:
            return schema
        values: dict[str, list[Any]] = {}
        for document in documents:
            for name, value in document.items():
                values.setdefault(name, []).append(value)
        names = sorted(values)
        schema["properties"] = {name: self._field(name, values[name], depth) for name in names}
        schema["required"] = [name for name in names if len(values[name]) == len(documents)]
        return schema

    def _field(self, name: str, values: Sequence[Any], depth: int) -> dict[str, Any]:
        """Of everything that stands in one place; several types are alternatives."""
        groups: dict[Kind, list[Any]] = {}
        for each in values:
            groups.setdefault(self._of(each), []).append(each)
        is_nullable = groups.pop(NULL, None) is not None
        schemas = [self._of_kind(kind, name, groups[kind], depth) for kind in sorted(groups, key=lambda one: one.name)]
        if not schemas:
            return {"type": "null"}
        if len(schemas) > 1 or (is_nullable and schemas[0]["type"] in {"object", "array"}):
            return {"oneOf": [*schemas, {"type": "null"}] if is_nullable else schemas}
        return _nullable(schemas[0]) if is_nullable else schemas[0]

    def _of_kind(self, kind: Kind, name: str, values: Sequence[Any], depth: int) -> dict[str, Any]:
        if kind.type == "object":
            inner = [each for each in values if isinstance(each, Mapping)]
            return self.object(inner, depth + 1) if inner else {"type": "object"}
        if kind.type == "array":
            items = [item for each in values for item in each]
            # what is inside of an array has the array's name
            inner_depth = depth + 1
            found = self._field(name, items, inner_depth) if items and inner_depth < DEEPEST else None
            return {"type": "array"} if found is None else {"type": "array", "items": found}
        schema: dict[str, Any] = {"type": kind.type}
        if kind.format is not None:
            return schema | {"format": kind.format}
        if kind is STRING and (found_format := _format(name, values)):
            return schema | {"format": found_format}
        return schema | self._values(kind, name, values)

    def _values(self, kind: Kind, name: str, values: Sequence[Any]) -> dict[str, Any]:
        """What was seen, where it is asked for and tells of nobody."""
        if not self._shows_values or any(each in name.lower() for each in _PERSONAL):
            return {}
        if kind is STRING:
            return _enum(values)
        return {"minimum": min(values), "maximum": max(values)} if kind in {INTEGER, NUMBER} else {}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    found = schema | {"type": [schema["type"], "null"]}
    return found | {"enum": [*found["enum"], None]} if "enum" in found else found


def _format(name: str, values: Sequence[Any]) -> str | None:
    """What all texts of a field are."""
    texts = [each for each in values if isinstance(each, str)]
    if len(texts) < len(values):
        return None
    if (name == "_id" or name.endswith("_id")) and all(map(_HEX_ID.fullmatch, texts)):
        return "objectid"
    if all(map(_TIME.match, texts)):
        return "date-time"
    return "email" if all(map(_EMAIL.fullmatch, texts)) else None


def _enum(values: Sequence[Any]) -> dict[str, Any]:
    counts = Counter(each for each in values if isinstance(each, str))
    often = sorted(each for each, count in counts.items() if count >= _SEEN)
    is_word = all(len(each) <= _LONGEST_WORD and not _LIKE_ID.fullmatch(each) for each in counts)
    return {"enum": often} if len(counts) <= _MOST_VALUES and len(often) >= _FEWEST_VALUES and is_word else {}
