"""Keys out of Avro, as every step can read them, and into Avro: of JSON, of text, and the very datum that a key was."""

import copy
import io
import json
import pickle
from decimal import Decimal
from typing import Any

import bson
import fastavro
import pytest

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import avro_codec, keys_by, read_keys
from mstream.errors import SchemaInvalid
from mstream.ports.encoding import Codec, NumberedCodec
from mstream.ports.schemas import SchemaText
from mstream.providers.mongodb.keys import document_of_key
from mstream.providers.sql.keys import fields_of_key

PAIR: dict[str, Any] = {
    "type": "record",
    "name": "Pair",
    "fields": [{"name": "b", "type": "long"}, {"name": "a", "type": {"type": "map", "values": "int"}}],
}
PRICE = {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 2}
DAY = {"type": "int", "logicalType": "date"}


def codec(schema: Any, name: str = "key") -> Codec:
    return avro_codec(name, SchemaText(id="3", name=None, encoding=Encoding.AVRO, definition=json.dumps(schema)))


def datum(schema: Any, value: Any) -> bytes:
    """As anybody else writes it."""
    written = io.BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), value)
    return written.getvalue()


def written(schema: Any, *keys: bytes | None) -> list[bytes | str | None]:
    """What becomes of each: its bytes, or why it has none."""
    made, failures = keys_by(codec(schema), Encoding.JSON, JsonMode.FLAT).of_payloads(keys)
    reasons = {each.index: str(each.error) for each in failures}
    assert all(made[each] is None for each in reasons)
    return [reasons.get(index, each) for index, each in enumerate(made)]


@pytest.mark.parametrize(
    ("schema", "value", "key"),
    [
        ("string", 'ö "5"', '"ö \\"5\\""'.encode()),
        ("string", "", b'""'),
        ("long", -7, b"-7"),
        ("boolean", True, b"true"),
        ("double", 1.5, b"1.5"),
        ("bytes", b"\x00\xff", b'"AP8="'),
        (PRICE, Decimal("123456789012345678.90"), b'"123456789012345678.90"'),
        (DAY, 1, b'"1970-01-02"'),
        (["null", "string"], "5", b'"5"'),
        (["null", "long"], 5, b"5"),
        (PAIR, {"b": 1, "a": {"y": 2, "x": 1}}, b'{"a":{"x":1,"y":2},"b":1}'),
    ],
)
def test_a_key_is_read_as_json_and_written_again_as_the_same_datum(schema: Any, value: Any, key: bytes) -> None:
    given = datum(schema, value)

    made, failures = read_keys(codec(schema), [given, None])

    assert (list(made), list(failures)) == ([key, None], [])
    assert written(schema, *made) == [given, None]
    if schema is not PAIR:  # the entries of its map stood in another order
        assert written(schema, key) == [given]


def test_a_null_is_no_key() -> None:
    assert read_keys(codec(["null", "string"]), [b"\x00"])[0] == [None]


def test_what_cannot_be_read_is_told_to_be_a_key() -> None:
    made, failures = read_keys(codec("string"), [b"\x02a", b"\x04a", b"", b"\x02a\x00"])

    assert made == [b'"a"', None, None, None]
    assert [each.index for each in failures] == [1, 2, 3]
    assert str(failures[0].error).startswith("its key is not valid Avro by schema 'key': ")


def test_by_the_same_schema_a_key_is_the_very_bytes_that_it_was_also_when_nobody_would_write_it_so() -> None:
    odd = datum(PAIR, {"b": 1, "a": {"y": 2, "x": 1}})
    (key,), _ = read_keys(codec(PAIR), [odd])

    for each in (key, copy.copy(key), pickle.loads(pickle.dumps(key))):
        assert written(PAIR, each) == [odd]
    (plain,) = written(PAIR, bytes(key or b""))
    assert isinstance(plain, bytes)
    assert plain != odd
    assert fastavro.schemaless_reader(io.BytesIO(plain), fastavro.parse_schema(PAIR), None) == {
        "b": 1,
        "a": {"y": 2, "x": 1},
    }


def test_by_another_schema_it_is_written_anew() -> None:
    made, _ = read_keys(codec("int", "other"), [datum("int", 5)])

    assert written("string", *made) == [datum("string", "5")]


@pytest.mark.parametrize(
    ("schema", "key", "value"),
    [
        ("string", b"5", "5"),
        ("string", b'"5"', "5"),
        ("string", b"a b", "a b"),
        ("string", b"null", "null"),
        (PRICE, b"12.50", Decimal("12.50")),
        (PRICE, b"123456789012345678.90", Decimal("123456789012345678.90")),
        ("string", b'{"a":1}', '{"a":1}'),
        ("long", b"5", 5),
        ("float", b"5", 5.0),
        (["null", "string", "long"], b"5", 5),
        (["null", "long", "string"], b'"5"', "5"),
        (PAIR, b' {"b": 1, "a": {}, "more": null}', {"b": 1, "a": {}}),
        ({"type": "array", "items": "int"}, b"[1]", [1]),
    ],
)
def test_a_key_is_what_it_says_as_json_or_the_text_that_it_is(schema: Any, key: bytes, value: Any) -> None:
    assert written(schema, key) == [datum(schema, value)]


def test_what_does_not_fit_is_told_for_each_key_and_without_its_value() -> None:
    a_string = "$: the schema wants a long, a string came"
    assert written("long", b"1", b"secret", None, b"\xff", b"null", b"3") == [
        b"\x02",
        a_string,
        None,
        "it is not UTF-8 text",
        a_string,
        b"\x06",
    ]
    assert written("long", b"2.5") != [a_string]
    assert written(PAIR, b'{"b":"x","a":{}}', b"secret", b"null") == [
        "$.b: the schema wants a long, a string came",
        "$: the schema wants the record 'Pair', a string came",
        "$: the schema wants the record 'Pair', a string came",
    ]


def test_sinks_find_by_it_what_a_tombstone_deletes() -> None:
    for schema, value in (("string", "5"), ("long", 5), ({**PAIR, "fields": PAIR["fields"][:1]}, {"b": 5})):
        (key,), _ = read_keys(codec(schema), [datum(schema, value)])
        plain = value["b"] if isinstance(value, dict) else value

        assert fields_of_key(key, ["b"]) == {"b": plain}
        assert bson.decode(document_of_key(key, ["b"])) == {"b": plain}


def test_values_of_fields_are_written_as_records_are() -> None:
    conversion = keys_by(codec("long"), Encoding.JSON, JsonMode.FLAT)

    made, failures = conversion.of_documents([5, "5", None])

    assert list(made) == [b"\x0a", None, None]
    assert [each.index for each in failures] == [1]


def test_keys_of_a_registry_have_its_number_before_them() -> None:
    text = SchemaText(id="3", name=None, encoding=Encoding.AVRO, definition='"string"')
    numbered = avro_codec("key", text, is_numbered=True)
    assert isinstance(numbered, NumberedCodec)

    made, _ = keys_by(numbered, Encoding.JSON, JsonMode.FLAT).of_payloads([b"a"])

    assert made == [b"\x00\x00\x00\x00\x03\x02a"]
    assert list(numbered.unknown([*made, b"\x00\x00\x00\x00\x04\x02a"])) == [4]
    assert read_keys(numbered, made)[0] == [b'"a"']


def test_where_the_registry_has_none_there_is_nothing_to_write_by() -> None:
    with pytest.raises(SchemaInvalid, match="has none of that name"):
        keys_by(avro_codec("key", None, is_numbered=True), Encoding.JSON, JsonMode.FLAT)
