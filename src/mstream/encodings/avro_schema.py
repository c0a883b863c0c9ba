"""Avro schemas: texts read and checked, names in them resolved."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import fastavro
from fastavro.schema import SchemaParseException

from mstream.errors import SchemaInvalid

#: A part of a schema, as the package has it: a word, a table, or the list of a union.
Node = Any

_LOGICAL: Final = frozenset(
    {
        ("bytes", "decimal"),
        ("fixed", "decimal"),
        ("int", "date"),
        ("int", "time-millis"),
        ("long", "time-micros"),
        ("long", "timestamp-millis"),
        ("long", "timestamp-micros"),
        ("long", "local-timestamp-millis"),
        ("long", "local-timestamp-micros"),
        ("string", "uuid"),
        ("fixed", "uuid"),
    }
)
_UUID_SIZE: Final = 16
#: Types that have attributes of their own: `{"name": "g", "type": "enum", "symbols": […]}` as a field is both in one.
_WITH_ATTRIBUTES: Final = frozenset({"record", "error", "enum", "fixed", "array", "map"})
_OF_A_FIELD: Final = frozenset({"default", "order", "aliases", "doc"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a node is."""

    #: The type below a logical one; "union" of a list.
    base: str
    #: A logical type that we know; else "".
    logical: str
    #: The table that says more; of a union its branches.
    node: Node

    @property
    def word(self) -> str:
        """The logical type where there is one, else the type."""
        return self.logical or self.base


class AvroSchema:
    """One schema, with every named type that is in it."""

    def __init__(self, root: Node, names: Mapping[str, Any]) -> None:
        self.root = root
        self._names = names

    def kind(self, node: Node) -> Kind:
        """What stands there, references followed; a logical type that nobody knows counts for nothing."""
        while True:
            if isinstance(node, list):
                return Kind("union", "", node)
            if isinstance(node, str):
                if node not in self._names:
                    return Kind(node, "", {})
                node = self._names[node]
            if isinstance(node["type"], str) and node["type"] not in self._names:
                return Kind(node["type"].replace("error", "record"), _logical(node), node)
            node = node["type"]


def parsed(text: str, parts: Sequence[str] = ()) -> AvroSchema:
    """The schema that a text spells; `parts`: texts of named types that it refers to, each before who refers to it.

    Raises SchemaInvalid.
    """
    names: dict[str, Any] = {}
    root: Node = None
    for each in (*parts, text):
        root = _parsed(each, names)
    return AvroSchema(root, names)


def _parsed(text: str, names: dict[str, Any]) -> Node:
    try:
        given = _nested(json.loads(text))
    except (ValueError, RecursionError):
        given = text.strip()
        if not given.isalpha():
            raise SchemaInvalid("it is not JSON") from None
    try:
        root = fastavro.parse_schema(given, named_schemas=names)
    except KeyError as error:
        message = f"something in it lacks {error.args[0]!r}"
        raise SchemaInvalid(message) from None
    except (SchemaParseException, ValueError, TypeError, AttributeError, RecursionError) as error:
        what = f"{error.args[0]!r} is no type" if type(error).__name__ == "UnknownType" and error.args else str(error)
        raise SchemaInvalid(what or type(error).__name__) from None
    for each in names.values():
        _check(each)
    return root


def _nested(node: Node) -> Node:
    """Fields that are their type themselves, as v0.47 takes them, with a type of their own."""
    if isinstance(node, list):
        return [_nested(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {key: _nested(each) if key in {"type", "items", "values"} else each for key, each in node.items()}
    fields = node.get("fields")
    if isinstance(fields, list):
        made["fields"] = [_field(each) if isinstance(each, dict) else each for each in fields]
    elif node.get("type") in ("record", "error"):
        message = f"record {node.get('name')!r} has no fields"
        raise SchemaInvalid(message)
    return made


def _field(field: dict[str, Any]) -> dict[str, Any]:
    kind = field.get("type")
    if not isinstance(kind, str) or (kind not in _WITH_ATTRIBUTES and "logicalType" not in field):
        return {**field, "type": _nested(kind)}
    own = {key: field[key] for key in ("name", *_OF_A_FIELD) if key in field}
    inner = {key: each for key, each in field.items() if key not in _OF_A_FIELD}
    return {**own, "type": _nested(inner)}


def _check(named: Mapping[str, Any]) -> None:
    """What the package lets pass."""
    fields = [each["name"] for each in named.get("fields", ())]
    words = (
        *fields,
        *named.get("symbols", ()),
        *(alias for each in named.get("fields", ()) for alias in _aliases(each)),
    )
    if not all(isinstance(each, str) for each in words):
        message = f"in {named['name']!r} there is a name that is no text"
        raise SchemaInvalid(message)
    twice = next((each for each in fields if fields.count(each) > 1), None)
    if twice is not None:
        message = f"record {named['name']!r} has the field {twice!r} twice"
        raise SchemaInvalid(message)
    size = named.get("size", 0)
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        message = f"the size of {named['name']!r} is no number of bytes"
        raise SchemaInvalid(message)


def _aliases(field: Mapping[str, Any]) -> Sequence[Any]:
    aliases = field.get("aliases", ())
    return aliases if isinstance(aliases, list) else [] if aliases == () else [None]


def _logical(node: Mapping[str, Any]) -> str:
    base, logical = node["type"], node.get("logicalType")
    if not isinstance(logical, str) or (base, logical) not in _LOGICAL:
        return ""
    if (base, logical) == ("fixed", "uuid") and node.get("size") != _UUID_SIZE:
        return ""
    return "" if logical == "decimal" and not _has_digits(node) else logical


def _has_digits(node: Mapping[str, Any]) -> bool:
    """Without them a decimal is the bytes that it is made of, as the specification has it."""
    precision, scale = node.get("precision"), node.get("scale", 0)
    if type(precision) is not int or type(scale) is not int:
        return False
    return 0 <= scale <= precision and precision > 0
