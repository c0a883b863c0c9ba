"""Writers of Avro, made of a schema once: one pass over a document that checks, converts and writes.

In pure Python, and yet faster than the package's `schemaless_writer`, which reads its schema anew for every record and
writes much that it should refuse: a whole number as boolean, a time without a zone in the zone of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from mstream.encodings import avro_leaves as leaves
from mstream.encodings import avro_values as values
from mstream.encodings.avro_leaves import NOTHING, Add, Misfit, Put, varint, wanted
from mstream.encodings.avro_schema import AvroSchema, Kind, Node
from mstream.errors import SchemaInvalid

_END: Final = b"\x00"


class Writing:
    """Makes writers of the parts of one schema; `of_json`: texts stand for bytes, as JSON spells them."""

    def __init__(self, schema: AvroSchema, *, of_json: bool) -> None:
        self._schema = schema
        self._of_json = of_json
        self._records: dict[str, Put] = {}

    def put(self, node: Node) -> Put:
        """The writer of a part."""
        kind = self._schema.kind(node)
        match kind.base:
            case "record":
                return self._record(kind)
            case "union":
                return self._union(kind)
            case "array":
                return _array(self.put(kind.node["items"]))
            case "map":
                return _map(self.put(kind.node["values"]))
            case _:
                return leaves.leaf(kind, of_json=self._of_json)

    def wants(self, node: Node) -> str:
        """What a part takes, for people."""
        return wanted(self._schema.kind(node), self._schema)

    def _record(self, kind: Kind) -> Put:
        name = kind.node["name"]
        if name in self._records:
            return self._records[name]
        made: list[Put] = []

        def again(value: Any, add: Add) -> None:  # a record may be part of itself
            made[0](value, add)

        self._records[name] = again
        fields = [(each["name"], self.put(each["type"]), self._absent(each)) for each in kind.node["fields"]]
        made.append(_record(fields, wanted(kind, self._schema)))
        self._records[name] = made[0]
        return made[0]

    def _absent(self, field: dict[str, Any]) -> bytes | str:
        """What is written where the field is missing; a text: what the schema wants instead."""
        kind = self._schema.kind(field["type"])
        if "default" in field:
            return default_bytes(self._schema, field)
        branches = kind.node if kind.base == "union" else []
        places = [place for place, each in enumerate(branches) if self._schema.kind(each).base == "null"]
        return varint(places[0]) if places else self.wants(field["type"])

    def _union(self, kind: Kind) -> Put:
        branches = [self._schema.kind(each) for each in kind.node]
        puts = [self.put(each) for each in kind.node]
        nulls = [place for place, each in enumerate(branches) if each.base == "null"]
        if len(branches) == 2 and len(nulls) == 1:  # noqa: PLR2004 - null and something
            other = 1 - nulls[0]
            return _optional(varint(nulls[0]), varint(other), puts[other])
        return _union(branches, puts, " or ".join(wanted(each, self._schema) for each in branches))


def _record(fields: Sequence[tuple[str, Put, bytes | str]], wants: str) -> Put:
    def put(value: Any, add: Add) -> None:
        if not isinstance(value, dict):
            raise Misfit(wants, values.came(value))
        name = ""
        try:
            for name, each, absent in fields:
                if name in value:
                    each(value[name], add)
                elif absent.__class__ is bytes:
                    add(absent)
                else:
                    raise Misfit(str(absent), NOTHING)  # noqa: TRY301 - caught for its path
        except Misfit as misfit:
            misfit.path.append(f".{name}")
            raise

    return put


def _optional(null: bytes, other: bytes, put_other: Put) -> Put:
    def put(value: Any, add: Add) -> None:
        if value is None:
            add(null)
        else:
            add(other)
            put_other(value, add)

    return put


def _union(branches: Sequence[Kind], puts: Sequence[Put], wants: str) -> Put:
    """The first branch that has values like this as its own, else the first that can take it without a loss."""
    heads = [varint(each) for each in range(len(branches))]
    fields = [
        frozenset(field["name"] for field in each.node["fields"]) if each.base == "record" else frozenset()
        for each in branches
    ]

    def order(value: Any, came: str) -> list[int]:
        def rank(place: int) -> tuple[bool, int]:
            similar = len(fields[place] & value.keys()) if fields[place] and isinstance(value, dict) else 0
            return came not in values.OWN.get(branches[place].word, ()), -similar

        return sorted(range(len(branches)), key=rank)

    def put(value: Any, add: Add) -> None:
        came = values.came(value)
        own: list[Misfit] = []
        for place in order(value, came):
            parts: list[bytes] = [heads[place]]
            try:
                puts[place](value, parts.append)
            except Misfit as misfit:
                if came in values.OWN.get(branches[place].word, ()):
                    own.append(misfit)
                continue
            add(b"".join(parts))
            return
        raise own[0] if len(own) == 1 else Misfit(wants, came)

    return put


def _array(put_item: Put) -> Put:
    def put(value: Any, add: Add) -> None:
        if not isinstance(value, list | tuple):
            raise Misfit("an array", values.came(value))
        done = 0
        try:
            if value:
                add(varint(len(value)))
                for each in value:
                    put_item(each, add)
                    done += 1
        except Misfit as misfit:
            misfit.path.append(f"[{done}]")
            raise
        add(_END)

    return put


def _map(put_value: Put) -> Put:
    def put(value: Any, add: Add) -> None:
        if not isinstance(value, dict):
            raise Misfit("a map", values.came(value))
        key: Any = ""
        try:
            if value:
                add(varint(len(value)))
                for key, each in value.items():
                    if not isinstance(key, str):
                        raise Misfit("names that are strings", values.came(key))  # noqa: TRY301 - the same
                    leaves.string(key, add)
                    put_value(each, add)
        except Misfit as misfit:
            misfit.path.append(f".{key}")
            raise
        add(_END)

    return put


def default_bytes(schema: AvroSchema, field: dict[str, Any]) -> bytes:
    """The default of a field as it is written. Raises SchemaInvalid."""
    parts: list[bytes] = []
    try:
        _put_default(schema, field["type"], field["default"], parts.append)
    except Misfit as misfit:
        message = f"the default of field {field['name']!r} is not of its type: {misfit.error()}"
        raise SchemaInvalid(message) from None
    except RecursionError:
        message = f"the default of field {field['name']!r} has no end"
        raise SchemaInvalid(message) from None
    return b"".join(parts)


def _put_default(schema: AvroSchema, node: Node, value: Any, add: Add) -> None:
    """Of a union the first branch that the default fits, bytes as text of one character each."""
    kind = schema.kind(node)
    match kind.base:
        case "union":
            _put_default_of_union(schema, kind, value, add)
        case "record" if isinstance(value, dict):
            for field in kind.node["fields"]:
                if field["name"] in value:
                    _put_default(schema, field["type"], value[field["name"]], add)
                else:
                    add(default_bytes(schema, field) if "default" in field else _missing(field))
        case "array" if isinstance(value, list):
            for each in value:
                add(varint(1))
                _put_default(schema, kind.node["items"], each, add)
            add(_END)
        case "map" if isinstance(value, dict):
            for key, each in value.items():
                add(varint(1))
                leaves.string(key, add)
                _put_default(schema, kind.node["values"], each, add)
            add(_END)
        case "bytes" | "fixed" if isinstance(value, str):
            data = value.encode("latin-1", "replace")
            add((varint(len(data)) if kind.base == "bytes" else b"") + data)
        case _:
            Writing(schema, of_json=True).put(node)(value, add)


def _put_default_of_union(schema: AvroSchema, kind: Kind, value: Any, add: Add) -> None:
    for place, each in enumerate(kind.node):
        parts: list[bytes] = [varint(place)]
        try:
            _put_default(schema, each, value, parts.append)
        except Misfit:
            continue
        add(b"".join(parts))
        return
    raise Misfit(wanted(kind, schema), values.came(value))


def _missing(field: dict[str, Any]) -> bytes:
    raise Misfit(f"a value for field {field['name']!r}", NOTHING)
