"""What is written here others read, and what they write is read here; garbage is refused, whatever it is."""

import datetime as dt
import io
import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Encoding
from mstream.encodings import avro_codec
from mstream.errors import DecodeError, SchemaInvalid
from mstream.ports.encoding import Codec
from mstream.ports.schemas import SchemaText

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TIMES = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001 - bounds
CENTS = st.integers(-999_999, 999_999).map(lambda cents: Decimal(cents).scaleb(-2))

#: A type, and values of it.
Typed = tuple[Any, st.SearchStrategy[Any]]
PLAIN: list[Typed] = [
    ("null", st.none()),
    ("boolean", st.booleans()),
    ("int", st.integers(-(1 << 31), (1 << 31) - 1)),
    ("long", INT64),
    ("double", st.floats(allow_nan=False)),
    ("float", st.floats(width=32, allow_nan=False)),
    ("string", st.text(max_size=200)),
    ("bytes", st.binary(max_size=200)),
    ({"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}, CENTS),
    ({"type": "long", "logicalType": "timestamp-micros"}, TIMES),
    ({"type": "int", "logicalType": "date"}, st.dates()),
    ({"type": "string", "logicalType": "uuid"}, st.uuids()),
]


def larger(parts: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Arrays and maps of a part, and what may be missing."""
    return st.one_of(
        parts.map(lambda part: ({"type": "array", "items": part[0]}, st.lists(part[1], max_size=4))),
        parts.map(
            lambda part: ({"type": "map", "values": part[0]}, st.dictionaries(st.text(max_size=3), part[1], max_size=3))
        ),
        parts.filter(lambda part: part[0] != "null" and not isinstance(part[0], list)).map(
            lambda part: (["null", part[0]], st.none() | part[1])
        ),
    )


TYPED = st.recursive(st.sampled_from(PLAIN), larger, max_leaves=3)


@st.composite
def records(draw: st.DrawFn) -> tuple[Any, list[dict[str, Any]]]:
    """A schema, and documents by it."""
    fields = draw(st.lists(TYPED, min_size=1, max_size=5))
    schema = {
        "type": "record",
        "name": "R",
        "fields": [{"name": f"f{place}", "type": each} for place, (each, _) in enumerate(fields)],
    }
    document = st.fixed_dictionaries({f"f{place}": values for place, (_, values) in enumerate(fields)})
    return schema, draw(st.lists(document, min_size=1, max_size=3))


def codec(schema: Any) -> Codec:
    return avro_codec("one", SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=json.dumps(schema)))


def theirs(schema: Any, document: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), document)
    return out.getvalue()


@given(records())
def test_the_same_bytes_and_documents_as_the_package(given_records: tuple[Any, list[dict[str, Any]]]) -> None:
    schema, documents = given_records
    ours = codec(schema)

    payloads, failures = ours.encode(documents)

    assert not failures
    assert payloads == [theirs(schema, each) for each in documents]
    assert ours.decode(payloads) == (documents, [])


@given(records(), st.binary(max_size=60), st.integers(0, 400))
def test_garbage_is_refused_or_means_something(
    given_records: tuple[Any, list[dict[str, Any]]], garbage: bytes, place: int
) -> None:
    schema, documents = given_records
    payload = theirs(schema, documents[0])

    for each in (garbage, payload[:place], payload[:place] + garbage + payload[place:]):
        (document,), failures = codec(schema).decode([each])
        assert all(isinstance(failure.error, DecodeError) for failure in failures)
        assert bool(failures) == (document is None)


WIDER = {"int": ["long", "float", "double"], "long": ["float", "double"], "float": ["double"], "string": ["bytes"]}


@st.composite
def evolved(draw: st.DrawFn) -> tuple[Any, Any, list[dict[str, Any]]]:
    """A schema, another that can read what was written by it, and documents by the first."""
    schema, documents = draw(records())
    fields = []
    for field in draw(st.permutations(schema["fields"])):
        if draw(st.integers(0, 4)) == 0:
            continue
        kind = field["type"]
        wider = WIDER.get(kind, []) if isinstance(kind, str) else []
        made = draw(st.sampled_from([kind, *wider]))
        if made == kind and kind != "null" and not isinstance(kind, list) and draw(st.booleans()):
            made = ["null", kind]
        name, aliases = field["name"], {}
        if draw(st.booleans()):
            name, aliases = f"new_{name}", {"aliases": [name]}
        fields.append({"name": name, "type": made, **aliases})
    added = draw(st.sampled_from([("int", 5), (["null", "string"], None), ({"type": "array", "items": "int"}, [1])]))
    if draw(st.booleans()):
        fields.append({"name": "added", "type": added[0], "default": added[1]})
    return schema, {**schema, "fields": fields}, documents


@given(evolved())
def test_what_others_have_written_is_read_by_another_schema_as_the_package_does(
    given_records: tuple[Any, Any, list[dict[str, Any]]],
) -> None:
    schema, later, documents = given_records
    text = SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=json.dumps(schema))
    reads_as = SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=json.dumps(later))
    payloads = [theirs(schema, each) for each in documents]

    found, failures = avro_codec("one", text, reads_as=reads_as).decode(payloads)

    assert not failures
    parsed, parsed_later = fastavro.parse_schema(schema), fastavro.parse_schema(later)
    assert found == [fastavro.schemaless_reader(io.BytesIO(each), parsed, parsed_later) for each in payloads]


WHOLE: Any = {
    "type": "record",
    "name": "R",
    "namespace": "a.b",
    "fields": [
        {"name": "a", "type": "long", "default": 1},
        {"name": "b", "type": ["null", "string"], "default": None},
        {"name": "c", "type": {"type": "array", "items": "int"}, "default": []},
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
        {"name": "e", "type": {"type": "enum", "name": "E", "symbols": ["A", "B"], "default": "A"}},
        {"name": "f", "type": {"type": "fixed", "name": "F", "size": 4}},
        {"name": "g", "type": {"type": "map", "values": "E"}},
        {"name": "i", "type": ["null", "R"], "default": None},
    ],
}
ODD: list[Any] = [None, 5, -1, 1.5, True, 10**30, "", "int", "R", "x y", "decimal", [], {}, ["null"], {"type": "int"}]


@st.composite
def odd_schemas(draw: st.DrawFn) -> Any:
    """A schema with something else in a place or two."""
    schema = deepcopy(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        node: Any = schema
        while True:
            place = draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            inner = node[place]
            if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 4)) == 0:
                break
            node = inner
        node[place] = deepcopy(draw(st.sampled_from(ODD)))
    return schema


@given(odd_schemas(), st.binary(max_size=30))
def test_whatever_a_schema_says_it_is_understood_or_refused(schema: Any, garbage: bytes) -> None:
    document = {"a": 1, "b": "x", "c": [1], "d": 1.5, "e": "A", "f": b"1234", "g": {"k": "A"}, "i": None}
    try:
        made = codec(schema)
    except SchemaInvalid:
        return

    payloads, failures = made.encode([document, {}, 5])
    documents, more = made.decode([garbage, *payloads])

    assert [each is None for each in payloads] == [each in {f.index for f in failures} for each in range(3)]
    assert all(isinstance(each.error, DecodeError) for each in more)
    assert len(documents) == 4
