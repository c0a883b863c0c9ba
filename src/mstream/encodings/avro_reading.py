"""Readers of Avro, made once of the schema that a record was written by and the one that it is read by.

In pure Python, as fast as the package's `schemaless_reader`; they make what comes next right away: plain values, BSON's
types, or what JSON has for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mstream.encodings import avro_parts as parts
from mstream.encodings.avro_leaves import wanted
from mstream.encodings.avro_parts import Get
from mstream.encodings.avro_schema import AvroSchema, Kind, Node
from mstream.encodings.avro_writing import default_bytes
from mstream.errors import SchemaInvalid

#: What is made of a value as it is written, by the type; None: nothing.
Flavour = Mapping[str, Callable[[Kind], Callable[[Any], Any] | None]]

_PROMOTED: Final = frozenset(
    {
        ("int", "long"),
        ("int", "float"),
        ("int", "double"),
        ("long", "float"),
        ("long", "double"),
        ("float", "double"),
        ("string", "bytes"),
        ("bytes", "string"),
    }
)
_TO_FRACTION: Final = frozenset({"float", "double"})


class Reading:
    """Makes readers of the parts of a schema.

    Raises SchemaInvalid where what was written can never be read by the other schema; of two branches of a union,
    when one comes.
    """

    def __init__(self, written: AvroSchema, read: AvroSchema, flavour: Flavour) -> None:
        self._written = written
        self._read = read
        self._flavour = flavour
        self._records: dict[tuple[str, str], Get] = {}

    def get(self, written: Node, read: Node) -> Get:
        """The reader of what was written by one and is read by the other."""
        given, wanted_kind = self._written.kind(written), self._read.kind(read)
        if given.base == "union":
            return parts.union([self._branch(each, read) for each in given.node])
        if wanted_kind.base == "union":
            return self.get(written, self._chosen(given, wanted_kind))
        if given.base != wanted_kind.base:
            return self._promoted(given, wanted_kind)
        return self._same(given, wanted_kind)

    def _same(self, given: Kind, wanted_kind: Kind) -> Get:
        match given.base:
            case "record":
                return self._record(given, wanted_kind)
            case "array":
                get = self.get(given.node["items"], wanted_kind.node["items"])
                return parts.array(get, takes_bytes=_takes_bytes(self._written, given.node["items"]))
            case "map":
                return parts.mapping(self.get(given.node["values"], wanted_kind.node["values"]))
            case "enum":
                return parts.enum(_symbols(given, wanted_kind))
            case _:
                return self._leaf(given, wanted_kind)

    def _branch(self, written: Node, read: Node) -> Get:
        try:
            return self.get(written, read)
        except SchemaInvalid as error:
            return parts.refused(str(error))

    def _chosen(self, given: Kind, union: Kind) -> Node:
        """The branch that reads what was written: the same type and name first, then the same type, then a wider."""
        kinds = [(self._read.kind(each), each) for each in union.node]
        same = [(kind, each) for kind, each in kinds if kind.base == given.base]
        named = [each for kind, each in same if _name(kind) == _name(given) and kind.logical == given.logical]
        wider = [each for kind, each in kinds if (given.base, kind.base) in _PROMOTED]
        for each in (*named, *(each for _, each in same), *wider):
            return each
        message = f"{wanted(given, self._written)} was written, which is none of {wanted(union, self._read)}"
        raise SchemaInvalid(message)

    def _promoted(self, given: Kind, read: Kind) -> Get:
        if (given.base, read.base) not in _PROMOTED or (given.logical and given.logical != read.logical):
            message = f"{wanted(given, self._written)} was written, which cannot be read as {wanted(read, self._read)}"
            raise SchemaInvalid(message)
        get = parts.PLAIN[given.base]
        if read.base in _TO_FRACTION:
            get = parts.made(get, float)
        elif read.base == "bytes":
            get = parts.made(get, str.encode)
        elif read.base == "string":
            get = parts.made(get, bytes.decode)
        return self._flavoured(get, read)

    def _leaf(self, given: Kind, read: Kind) -> Get:
        size = given.node.get("size") if given.base == "fixed" else None
        if size is None:
            return self._flavoured(parts.PLAIN[given.base], given if given.logical == read.logical else read)
        if read.node["size"] != size:
            message = f"a fixed of {size} bytes was written, which cannot be read as one of {read.node['size']}"
            raise SchemaInvalid(message)
        return self._flavoured(parts.fixed(size), given if given.logical == read.logical else read)

    def _flavoured(self, get: Get, kind: Kind) -> Get:
        make = self._flavour.get(kind.word)
        making = make(kind) if make else None
        return get if making is None else parts.made(get, making)

    def _record(self, given: Kind, read: Kind) -> Get:
        key = given.node["name"], read.node["name"]
        if key in self._records:
            return self._records[key]
        made: list[Get] = []

        def again(data: bytes, place: int) -> tuple[Any, int]:  # a record may be part of itself
            return made[0](data, place)

        self._records[key] = again
        if given.node is read.node:
            fields = [(each["name"], self.get(each["type"], each["type"])) for each in given.node["fields"]]
            made.append(parts.record(fields))
        else:
            made.append(self._resolved(given, read))
        self._records[key] = made[0]
        return made[0]

    def _resolved(self, given: Kind, read: Kind) -> Get:
        """Fields as they were written; those that nobody wants are passed over, new ones have their default."""
        fields: list[tuple[str | None, Get]] = []
        by_name = {name: each for each in read.node["fields"] for name in (each["name"], *each.get("aliases", ()))}
        found = set()
        for each in given.node["fields"]:
            field = by_name.get(each["name"])
            if field is None:
                fields.append((None, Reading(self._written, self._written, {}).get(each["type"], each["type"])))
            else:
                found.add(field["name"])
                fields.append((field["name"], self.get(each["type"], field["type"])))
        new = [self._default(each, read) for each in read.node["fields"] if each["name"] not in found]
        return parts.resolved(fields, new, [each["name"] for each in read.node["fields"]])

    def _default(self, field: dict[str, Any], record: Kind) -> tuple[str, Callable[[], Any]]:
        if "default" not in field:
            message = f"field {field['name']!r} of {record.node['name']!r} was not written, and has no default"
            raise SchemaInvalid(message)
        data = default_bytes(self._read, field)
        get = Reading(self._read, self._read, self._flavour).get(field["type"], field["type"])
        return field["name"], lambda: get(data, 0)[0]


def _takes_bytes(schema: AvroSchema, node: Node, within: frozenset[str] = frozenset()) -> bool:
    """Whether every value of it takes a byte at least."""
    kind = schema.kind(node)
    if kind.base != "record":
        return kind.base != "null" and kind.node.get("size") != 0 if isinstance(kind.node, dict) else True
    name = kind.node["name"]
    fields = [each["type"] for each in kind.node["fields"]]
    return name in within or any(_takes_bytes(schema, each, within | {name}) for each in fields)


def _name(kind: Kind) -> str:
    return str(kind.node.get("name", "")).rpartition(".")[2] if isinstance(kind.node, dict) else ""


def _symbols(given: Kind, read: Kind) -> list[str | None]:
    """Of the enum that was written, as the one that is read has them."""
    known, default = set(read.node["symbols"]), read.node.get("default")
    return [each if each in known else default for each in given.node["symbols"]]
