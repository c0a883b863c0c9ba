"""Avro as it is specified: every type, both ways; what does not fit is told by its place, and bounded."""

import datetime as dt
import io
import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import bson
import fastavro
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import avro_codec, codec_for, conversion_by, fault_of_schema
from mstream.encodings.numbers import ExactNumber
from mstream.errors import DecodeError, EncodeError, ProviderUnavailable, SchemaInvalid
from mstream.ports.encoding import Codec
from mstream.ports.schemas import SchemaText

DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
MILLIS = {"type": "long", "logicalType": "timestamp-millis"}
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
LOCAL = {"type": "long", "logicalType": "local-timestamp-micros"}
DATE = {"type": "int", "logicalType": "date"}
CLOCK = {"type": "int", "logicalType": "time-millis"}
CLOCK_MICROS = {"type": "long", "logicalType": "time-micros"}
UUID_TEXT = {"type": "string", "logicalType": "uuid"}
UUID_BYTES = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
OID = {"type": "fixed", "name": "O", "size": 12}
MOMENT = dt.datetime(2023, 11, 14, 22, 13, 20, 123456, dt.UTC)
ID = UUID("12345678-1234-5678-1234-567812345678")
OBJECT_ID = ObjectId("60002e5e19e23b5c08a6c03c")


def record(**fields: Any) -> dict[str, Any]:
    return {"type": "record", "name": "T", "fields": [{"name": name, "type": each} for name, each in fields.items()]}


def inner(**fields: Any) -> dict[str, Any]:
    return {**record(**fields), "name": "Inner"}


def text(schema: Any, number: int = 0) -> SchemaText:
    return SchemaText(id=str(number), name=None, encoding=Encoding.AVRO, definition=json.dumps(schema))


def codec(schema: Any) -> Codec:
    return avro_codec("orders", text(schema))


def written(schema: Any, document: Any) -> bytes:
    (payload,), failures = codec(schema).encode([document])
    assert not failures
    assert payload is not None
    return payload


def refusal(schema: Any, document: Any) -> str:
    payloads, failures = codec(schema).encode([document])
    assert payloads == [None]
    assert isinstance(failures[0].error, EncodeError)
    return str(failures[0].error)


def converted(schema: Any, source: Encoding, target: Encoding, payload: bytes, mode: JsonMode = JsonMode.FLAT) -> bytes:
    conversion = conversion_by(codec(schema), source, target, mode)
    assert conversion is not None
    (made,), failures = conversion.of_payloads([payload])
    assert not failures
    assert made is not None
    return made


def read_by_fastavro(schema: Any, payload: bytes) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(payload), fastavro.parse_schema(schema), None)


@pytest.mark.parametrize(
    ("schema", "given", "back"),
    [
        (DECIMAL, Decimal("-12.5"), Decimal("-12.50")),
        (DECIMAL, Decimal128("9999.99"), Decimal("9999.99")),
        (DECIMAL, "1e2", Decimal("100.00")),
        (DECIMAL, 0.1, Decimal("0.10")),
        (DECIMAL, ExactNumber("1234.560000000000000000"), Decimal("1234.56")),
        ({"type": "fixed", "name": "D", "size": 3, "logicalType": "decimal", "precision": 6}, -128, Decimal(-128)),
        (MILLIS, MOMENT, MOMENT.replace(microsecond=123000)),
        (MILLIS, "2023-11-15T00:13:20.123+02:00", MOMENT.replace(microsecond=123000)),
        (MILLIS, MOMENT.replace(tzinfo=None), MOMENT.replace(microsecond=123000)),
        (MILLIS, DatetimeMS(-1), dt.datetime(1969, 12, 31, 23, 59, 59, 999000, dt.UTC)),
        (MICROS, MOMENT, MOMENT),
        (MICROS, "2023-11-14T22:13:20.123456789Z", MOMENT),
        (LOCAL, "2023-11-14T22:13:20.123456", MOMENT.replace(tzinfo=None)),
        (DATE, dt.date(1969, 12, 31), dt.date(1969, 12, 31)),
        (DATE, dt.datetime(2023, 11, 14, tzinfo=dt.UTC), dt.date(2023, 11, 14)),
        (DATE, "2023-11-14", dt.date(2023, 11, 14)),
        (CLOCK, dt.time(1, 2, 3, 4000), dt.time(1, 2, 3, 4000)),
        (CLOCK, "01:02", dt.time(1, 2)),
        (CLOCK_MICROS, dt.time(23, 59, 59, 999999), dt.time(23, 59, 59, 999999)),
        (UUID_TEXT, ID, ID),
        (UUID_TEXT, Binary(ID.bytes, 4), ID),
        (UUID_BYTES, str(ID), ID),
        (UUID_BYTES, ID.bytes, ID),
        (OID, OBJECT_ID, OBJECT_ID.binary),
        ("bytes", Binary(b"\x01", 0x80), b"\x01"),
        ("string", OBJECT_ID, str(OBJECT_ID)),
        ("long", Int64(-(1 << 63)), -(1 << 63)),
        ("long", (1 << 63) - 1, (1 << 63) - 1),
        ("int", -(1 << 31), -(1 << 31)),
        ("float", 0.1, 0.10000000149011612),
        ("double", 1 << 53, float(1 << 53)),
        ({"type": "map", "values": "int"}, {"a": 1, "": 200}, {"a": 1, "": 200}),
        ({"type": "array", "items": ["null", "long"]}, [1, None, 2], [1, None, 2]),
        ({"type": "enum", "name": "E", "symbols": ["A", "B"]}, "B", "B"),
        # A union takes the branch that has such values as its own, wherever it stands.
        (["string", "double", "long"], 5, 5),
        (["null", "string", MILLIS], MOMENT, MOMENT.replace(microsecond=123000)),
        (["null", "double"], 5, 5.0),
        (["null", {"type": "enum", "name": "E", "symbols": ["A"]}, "string"], "other", "other"),
        (["null", {"type": "map", "values": "int"}, inner(a="int", b="int")], {"a": 1, "b": 2}, {"a": 1, "b": 2}),
    ],
)
def test_values_of_every_type_come_back_and_others_can_read_them(schema: Any, given: Any, back: Any) -> None:
    whole = record(x=schema)

    payload = written(whole, {"x": given})

    assert codec(whole).decode([payload]) == ([{"x": back}], [])
    assert read_by_fastavro(whole, payload) == {"x": back} or schema == UUID_BYTES


@pytest.mark.parametrize(
    ("schema", "document", "told"),
    [
        (record(x="long"), {"x": "5"}, "$.x: the schema wants a long, a string came"),
        (record(x="int"), {"x": 1 << 40}, "$.x: the schema wants an int, of 32 bits, a whole number of 42 bits came"),
        (record(x="long"), {"x": 5.0}, "$.x: the schema wants a long, a double came"),
        (record(x="double"), {"x": (1 << 53) + 1}, "$.x: the schema wants a double, a whole number that it cannot be"),
        (record(x="float"), {"x": 1e300}, "$.x: the schema wants a float, a double that it cannot be"),
        (record(x="boolean"), {"x": 1}, "$.x: the schema wants a boolean, a whole number came"),
        (record(x="int"), {"x": True}, "$.x: the schema wants an int, a boolean came"),
        (record(x="bytes"), {"x": "AQI="}, "$.x: the schema wants bytes, a string came"),
        (record(x="bytes"), {"x": OBJECT_ID}, "$.x: the schema wants bytes, an ObjectId came"),
        (record(x=OID), {"x": b"short"}, "$.x: the schema wants a fixed of 12 bytes, 5 bytes came"),
        (record(x=inner(y="int")), {"x": {}}, "$.x.y: the schema wants an int, no such field is there"),
        (record(x={"type": "array", "items": "int"}), {"x": [1, None]}, "$.x[1]: the schema wants an int, null came"),
        (record(x={"type": "map", "values": "int"}), {"x": {"k": "v"}}, "$.x.k: the schema wants an int, a string"),
        (record(x=["null", "int", "string"]), {"x": 1.5}, "$.x: the schema wants null or an int or a string, a double"),
        (record(x=["null", inner(y="int")]), {"x": {"y": ""}}, "$.x.y: the schema wants an int, a string came"),
        (record(x=["int", inner(y="int"), "null"]), {"x": {"y": ""}}, "$.x.y: the schema wants an int, a string came"),
        (
            record(x={"type": "enum", "name": "E", "symbols": ["A", "B"]}),
            {"x": "C"},
            "wants one of A, B, another string",
        ),
        (record(x=DECIMAL), {"x": Decimal("1.234")}, "a decimal of 6 digits, 2 of them behind the point"),
        (record(x=DECIMAL), {"x": Decimal("1E+5")}, "one with more digits"),
        (record(x=DECIMAL), {"x": Decimal("1E+999999")}, "one with more digits"),
        (record(x=DECIMAL), {"x": Decimal("NaN")}, "a decimal came"),
        (record(x=MILLIS), {"x": "2023-11-14 22:13:20"}, "the schema wants a timestamp-millis, a string came"),
        (record(x=MILLIS), {"x": "2023-13-14T22:13:20Z"}, "a string came"),
        (record(x=DATE), {"x": MOMENT}, "$.x: the schema wants a date, a time came"),
        (record(x=UUID_TEXT), {"x": "12.50"}, "$.x: the schema wants a UUID, another string came"),
        (record(x="string"), {"x": "\ud800"}, "half of a surrogate pair came"),
        (record(x="string"), {"x": Decimal(1)}, "the schema wants a string, a decimal came"),
        (record(x="int"), [1], "$: the schema wants the record 'T', an array came"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(schema: Any, document: Any, told: str) -> None:
    assert told in refusal(schema, document)


def test_no_text_holds_the_value() -> None:
    for schema in ("int", "bytes", DECIMAL, MILLIS, UUID_TEXT, {"type": "enum", "name": "E", "symbols": ["A"]}):
        assert "hush" not in refusal(record(x=schema), {"x": "hush"})


def test_missing_fields_have_their_default_and_nullable_ones_are_null() -> None:
    fields = [
        {"name": "a", "type": "string", "default": "none"},
        {"name": "b", "type": ["null", "string"]},
        {"name": "c", "type": "bytes", "default": "\u00ff"},
        {"name": "d", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
        {"name": "e", "type": ["int", "null"], "default": 7},
        {"name": "f", "type": inner(g="int"), "default": {"g": 3}},
        {"name": "h", "type": {"type": "map", "values": "int"}, "default": {"k": 4}},
    ]
    schema = {"type": "record", "name": "T", "fields": fields}
    expected = {"a": "none", "b": None, "c": b"\xff", "d": [1, 2], "e": 7, "f": {"g": 3}, "h": {"k": 4}}

    assert codec(schema).decode([written(schema, {})]) == ([expected], [])


def test_a_record_can_be_part_of_itself() -> None:
    schema = record(value="int", next=["null", "T"])
    document = {"value": 1, "next": {"value": 2, "next": None}}
    deep: dict[str, Any] = {"value": 0, "next": None}
    for _ in range(100_000):
        deep = {"value": 0, "next": deep}

    assert codec(schema).decode([written(schema, document)]) == ([document], [])
    assert refusal(schema, deep) == "the document is nested too deeply, or contains itself"
    _, failures = codec(schema).decode([b"\x00\x02" * 100_000])
    assert "nested too deeply" in str(failures[0].error)


WHOLE = record(a="string", b=["null", "long"], c={"type": "array", "items": "string"}, d=DECIMAL, e=MILLIS)
DOCUMENT = {"a": "x" * 100, "b": 1 << 40, "c": ["p", "q"], "d": Decimal("1.25"), "e": MOMENT.replace(microsecond=0)}


def fault(schema: Any, payload: bytes) -> str:
    documents, failures = codec(schema).decode([payload])
    assert documents == [None]
    assert isinstance(failures[0].error, DecodeError)
    return str(failures[0].error)


def test_a_datum_that_is_cut_off_anywhere_is_refused() -> None:
    payload = written(WHOLE, DOCUMENT)

    for end in range(len(payload)):
        assert fault(WHOLE, payload[:end]).startswith("not valid Avro by schema 'orders': $.")
    assert fault(WHOLE, payload + b"\x00") == "not valid Avro by schema 'orders': there are bytes behind it"


@pytest.mark.parametrize(
    ("schema", "payload", "told"),
    [
        ("string", b"\x01", "$.x: a length is negative"),
        ("string", b"\x80\x80\x80\x80\x80\x80\x80\x80\x01", "$.x: a length leads beyond the record"),
        ("string", b"\x02\xff", "$.x: a string is not UTF-8"),
        ("bytes", b"\xff" * 9 + b"\x01", "$.x: a length leads beyond the record"),
        ("long", b"\xff" * 11, "$.x: a number is longer than 64 bits"),
        ("int", b"\x80\x80\x80\x80\x20", "$.x: an int is longer than 32 bits"),
        ("boolean", b"\x02", "$.x: a boolean is neither 0 nor 1"),
        (["null", "int"], b"\x04", "$.x: a branch that the union does not have"),
        (["null", "int"], b"\x01", "$.x: a branch that the union does not have"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, b"\x02", "$.x: a symbol that the enum does not have"),
        # Items without bytes: a count of five bytes could ask for any amount of memory.
        ({"type": "array", "items": "null"}, b"\xfe\xff\xff\xff\x0f", "$.x[0]: a count is larger than the record"),
        ({"type": "array", "items": inner()}, b"\xfe\xff\xff\xff\x0f", "$.x[0]: a count is larger than the record"),
        ({"type": "array", "items": "int"}, b"\x7f\x02", "$.x[0]: a count is larger than the record"),
        (MICROS, b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f", "$.x: "),
        (CLOCK, b"\xfe\xff\xff\xff\x0f", "$.x: a value that cannot be"),
    ],
)
def test_garbage_is_refused_by_its_place(schema: Any, payload: bytes, told: str) -> None:
    assert told in fault(record(x=schema), payload)


def test_the_others_of_a_batch_go_on() -> None:
    fine = written(record(x="int"), {"x": 1})

    assert codec(record(x="int")).decode([fine, b"", None, fine])[0] == [{"x": 1}, None, None, {"x": 1}]
    payloads, failures = codec(record(x="int")).encode([{"x": 1}, {"x": ""}, None, {"x": 1}])
    assert payloads == [fine, None, None, fine]
    assert [each.index for each in failures] == [1]


@pytest.mark.parametrize(
    "definition",
    [
        "{",
        '"text"',
        '{"type": "record", "name": "R"}',
        '{"type": "array"}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "Other"}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "default": "x"}]}',
        '{"type": "enum", "name": "E", "symbols": ["A", "A"]}',
        '{"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 4}',
        '{"type": "record", "name": "R", "fields": 5}',
        '{"type": "record", "name": "R", "fields": [{"name": ["a"], "type": "int"}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "aliases": [5]}]}',
        '{"type": "record", "name": "R", "fields": [{"name": "a", "type": "R", "default": {}}]}',
        '{"type": "fixed", "name": "F", "size": -1}',
        "5",
        "[]]",
        '{"type": "bytes", "logicalType": "decimal", "precision": 1000000000000000000000}',
        "[" * 100_000,
    ],
)
def test_a_schema_that_cannot_be_understood_is_invalid(definition: str) -> None:
    reason = fault_of_schema(definition)

    assert reason
    with pytest.raises(SchemaInvalid, match="schema 'orders': "):
        avro_codec("orders", SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=definition))
    assert fault_of_schema(json.dumps(WHOLE)) is None


def test_a_decimal_without_digits_is_the_bytes_that_it_is_made_of() -> None:
    schema = record(x={"type": "bytes", "logicalType": "decimal"})

    assert codec(schema).decode([written(schema, {"x": b"\x05"})]) == ([{"x": b"\x05"}], [])


def test_a_schema_of_another_kind_and_no_schema_at_all_are_told() -> None:
    with pytest.raises(SchemaInvalid, match="a schema of json, not of Avro"):
        avro_codec("x", SchemaText(id="", name=None, encoding=Encoding.JSON, definition="{}"))
    with pytest.raises(ProviderUnavailable, match="name one by 'schema_id'"):
        codec_for(Encoding.AVRO)


# ------------------------------------------------------------------------------------------------ numbered, and evolved
OLD = record(id="long", name="string", gone="string")
NEW = {
    "type": "record",
    "name": "T",
    "fields": [
        {"name": "title", "aliases": ["name"], "type": "string"},
        {"name": "id", "type": "double"},
        {"name": "more", "type": ["null", "int"], "default": None},
    ],
}


def numbered(schema: Any = None, number: int = 0, reads_as: Any = None) -> Any:
    given = None if schema is None else text(schema, number)
    return avro_codec("orders", given, reads_as=reads_as and text(reads_as), is_numbered=True)


def test_a_number_stands_before_what_is_written_and_tells_how_it_is_read() -> None:
    writer, reader = numbered(OLD, 7), numbered()
    document = {"id": 1, "name": "n", "gone": "g"}

    payloads, _ = writer.encode([document])

    assert payloads[0] == b"\x00\x00\x00\x00\x07" + written(OLD, document)
    assert reader.unknown([payloads[0], None, payloads[0], b"\x00", b"\x01abcdef"]) == [7]
    reader.learn(7, text(OLD, 7))
    assert reader.unknown(payloads) == []
    assert reader.decode(payloads) == ([document], [])


def test_records_of_several_schemas_are_read_by_one() -> None:
    reader = numbered(reads_as=NEW)
    reader.learn(1, text(OLD, 1))
    reader.learn(2, text(NEW, 2))
    old, _ = numbered(OLD, 1).encode([{"id": 1, "name": "n", "gone": "g"}])
    new, _ = numbered(NEW, 2).encode([{"id": 1.5, "title": "t", "more": 3}])

    documents, failures = reader.decode([*old, *new])

    assert not failures
    assert documents == [{"title": "n", "id": 1.0, "more": None}, {"title": "t", "id": 1.5, "more": 3}]


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        (None, "the registry has no schema number 9"),
        (record(id="string"), "records by schema number 9 cannot be read as 'orders': a string was written"),
        (record(name="string"), "field 'id' of 'T' was not written, and has no default"),
    ],
)
def test_what_a_number_leads_to_nowhere_is_refused(schema: Any, told: str) -> None:
    reader = numbered(reads_as={**NEW, "fields": NEW["fields"][1:]})
    if schema is not None:
        reader.learn(9, text(schema, 9))

    for _ in range(2):
        documents, failures = reader.decode([b"\x00\x00\x00\x00\x09\x02a", None])
        assert documents == [None, None]
        assert told in str(failures[0].error)


def test_a_payload_without_a_number_is_refused() -> None:
    for payload in (b"", b"\x00\x00", b'{"a":1}', b"\x00\xff\xff\xff\xff\x02", b"\x00\x00\x00\x00\x00\x02"):
        assert numbered().unknown([payload]) == []
        _, failures = numbered().decode([payload])
        assert "does not begin with a zero byte and the number of a schema" in str(failures[0].error)


def test_a_schema_that_only_reads_cannot_write() -> None:
    with pytest.raises(SchemaInvalid, match="has none of that name that could be written by"):
        numbered().encode([{}])


def test_branches_and_symbols_that_are_gone_are_refused_only_where_they_come() -> None:
    symbols = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
    fewer = {"type": "enum", "name": "E", "symbols": ["A", "U"], "default": "U"}
    reader = numbered(reads_as=record(x=["null", "int"], e=fewer))
    reader.learn(1, text(record(x=["null", "string", "int"], e=symbols), 1))
    payloads, _ = numbered(record(x=["null", "string", "int"], e=symbols), 1).encode(
        [{"x": 1, "e": "B"}, {"x": "text", "e": "A"}, {"x": None, "e": "A"}]
    )

    documents, failures = reader.decode(payloads)

    assert documents == [{"x": 1, "e": "U"}, None, {"x": None, "e": "A"}]
    assert "$.x: a string was written, which is none of null or an int" in str(failures[0].error)


# ------------------------------------------------------------------------------------------------------- JSON and BSON
TYPES: Mapping[str, tuple[Any, Any, Any, Any]] = {
    # What a script sees, in flat JSON, in BSON.
    "d": (DECIMAL, Decimal("1.25"), "1.25", Decimal128("1.25")),
    "t": (MICROS, MOMENT, "2023-11-14T22:13:20.123456Z", MOMENT.replace(microsecond=123000)),
    "m": (MILLIS, MOMENT.replace(microsecond=120000), "2023-11-14T22:13:20.12Z", MOMENT.replace(microsecond=120000)),
    "l": (LOCAL, MOMENT.replace(tzinfo=None), "2023-11-14T22:13:20.123456", MOMENT.replace(microsecond=123000)),
    "y": (DATE, dt.date(2023, 11, 14), "2023-11-14", dt.datetime(2023, 11, 14, tzinfo=dt.UTC)),
    "c": (CLOCK, dt.time(1, 2, 3, 400000), "01:02:03.4", 3_723_400),
    "u": (UUID_TEXT, ID, str(ID), Binary(ID.bytes, 4)),
    "b": ("bytes", b"\x01\x02", "AQI=", b"\x01\x02"),
    "f": (OID, OBJECT_ID.binary, "YAAuXhniO1wIpsA8", OBJECT_ID.binary),
    "n": ("long", 5, 5, Int64(5)),
    "i": ("int", 5, 5, 5),
    "x": ("double", 1e300, 1e300, 1e300),
}


def whole_schema() -> dict[str, Any]:
    return record(**{name: each[0] for name, each in TYPES.items()})


def test_types_become_those_of_bson_and_plain_json_and_come_back() -> None:
    schema = whole_schema()
    datum = written(schema, {name: each[1] for name, each in TYPES.items()})

    in_json = converted(schema, Encoding.AVRO, Encoding.JSON, datum)
    in_bson = converted(schema, Encoding.AVRO, Encoding.BSON, datum)

    assert json.loads(in_json) == {name: each[2] for name, each in TYPES.items()}
    assert b'"x":1e300' in in_json
    found = bson.decode(in_bson, bson.CodecOptions(tz_aware=True))
    assert found == {name: each[3] for name, each in TYPES.items()}
    assert type(found["n"]) is Int64
    assert converted(schema, Encoding.JSON, Encoding.AVRO, in_json) == datum
    without = {name: each for name, each in TYPES.items() if name not in "tlc"}  # BSON has no such types
    schema = record(**{name: each[0] for name, each in without.items()})
    datum = written(schema, {name: each[1] for name, each in without.items()})
    in_bson = converted(schema, Encoding.AVRO, Encoding.BSON, datum)
    assert converted(schema, Encoding.BSON, Encoding.AVRO, in_bson) == datum


@pytest.mark.parametrize("mode", [JsonMode.RELAXED, JsonMode.CANONICAL])
def test_extended_json_comes_back(mode: JsonMode) -> None:
    schema = record(d=DECIMAL, m=MILLIS, b="bytes", u=UUID_TEXT, n="long", o=OID)
    datum = written(schema, {"d": 1, "m": MOMENT, "b": b"\x01", "u": ID, "n": 1 << 40, "o": OBJECT_ID})

    in_json = converted(schema, Encoding.AVRO, Encoding.JSON, datum, mode)

    assert b'"$numberDecimal":"1.00"' in in_json
    assert converted(schema, Encoding.JSON, Encoding.AVRO, in_json, mode) == datum


def test_what_a_script_has_made_becomes_json_and_bson_too() -> None:
    document = {name: each[1] for name, each in TYPES.items()} | {"new": [{"oid": OBJECT_ID}], "nan": math.nan}
    expected = {name: each[2] for name, each in TYPES.items()} | {"new": [{"oid": str(OBJECT_ID)}], "nan": "NaN"}
    to_json = conversion_by(codec(record()), Encoding.AVRO, Encoding.JSON, JsonMode.FLAT)
    to_bson = conversion_by(codec(record()), Encoding.AVRO, Encoding.BSON, JsonMode.FLAT)
    assert to_json is not None
    assert to_bson is not None

    (in_json,), _ = to_json.of_documents([document])
    (in_bson,), _ = to_bson.of_documents([document])

    assert json.loads(in_json or b"") == expected
    found = bson.decode(in_bson or b"")
    assert (found["d"], found["y"]) == (Decimal128("1.25"), dt.datetime(2023, 11, 14))  # noqa: DTZ001 - as it is read


def test_what_is_no_number_is_text_in_flat_json() -> None:
    schema = record(a="double", b="float", c="double")
    datum = written(schema, {"a": math.nan, "b": math.inf, "c": -math.inf})

    in_json = converted(schema, Encoding.AVRO, Encoding.JSON, datum)

    assert in_json == b'{"a":"NaN","b":"Infinity","c":"-Infinity"}'
    assert converted(schema, Encoding.JSON, Encoding.AVRO, in_json) == datum


def test_times_that_have_no_name_in_python_are_not_lost() -> None:
    schema = record(m=MILLIS)
    datum = written(schema, {"m": DatetimeMS(1 << 52)})

    assert converted(schema, Encoding.AVRO, Encoding.JSON, datum) == b'{"m":"4503599627370496"}'
    in_bson = converted(schema, Encoding.AVRO, Encoding.BSON, datum)
    assert converted(schema, Encoding.BSON, Encoding.AVRO, in_bson) == datum
    assert "$.m: " in fault(schema, datum)
