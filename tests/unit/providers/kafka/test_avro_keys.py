"""Keys by a schema: records' own, and values of their fields."""

from __future__ import annotations

from typing import Any

import bson
from bson import Int64

from mstream.domain.batch import Batch, Encoding, JsonMode, Operation
from mstream.encodings import avro_codec, keys_by
from mstream.ports.schemas import SchemaText
from mstream.providers.kafka.records import MessageMaker, Messages
from mstream.providers.kafka.writing import KafkaSinkOptions

SEVEN = b"\x00\x00\x00\x00\x05\x0e"


def messages(batch: Batch, schema: str = '"long"', **options: Any) -> Messages:
    text = SchemaText(id="5", name=None, encoding=Encoding.AVRO, definition=schema)
    maker = MessageMaker("orders", KafkaSinkOptions.model_validate(options), "service 'bus'")
    maker.write_keys_by(keys_by(avro_codec("key", text, is_numbered=True), batch.encoding, JsonMode.FLAT))
    return maker.messages(batch)


def rows(made: Messages) -> list[tuple[int, bytes | None, bytes | None]]:
    return [(index, value, key) for index, _, value, key, _, _ in made.rows()]


def test_keys_of_records_are_written_by_it() -> None:
    made = messages(Batch(payloads=[b"a", b"b", None], keys=[b"7", None, b"7"]))

    assert rows(made) == [(0, b"a", SEVEN), (1, b"b", None), (2, None, SEVEN)]
    assert rows(messages(Batch(payloads=[b"a"]))) == [(0, b"a", None)]
    assert rows(messages(Batch(payloads=[b"a"], keys=[b"7"]), key="none")) == [(0, b"a", None)]


def test_the_value_of_a_field_is_the_datum() -> None:
    made = messages(Batch(payloads=[b'{"n":{"id":7}}', b'{"n":{"id":"7"}}', b'{"n":{"id":null}}']), key_field="n.id")

    assert rows(made) == [(0, b'{"n":{"id":7}}', SEVEN)]
    assert {index: str(error) for index, error in made.refused.items()} == {
        1: "service 'bus': its key: $: the schema wants a long, a string came",
        2: "service 'bus': its field 'n.id' is null; it is the message's key",
    }
    of_bson = Batch(payloads=[bson.encode({"id": Int64(7)})], encoding=Encoding.BSON)
    assert [key for _, _, key in rows(messages(of_bson, key_field="id"))] == [SEVEN]


def test_a_record_without_content_has_the_key_that_it_has() -> None:
    made = messages(Batch(payloads=[None, None, b'{"id":7}'], keys=[b'{"id":7}', b"7", b"8"]), key_field="id")

    assert rows(made) == [(0, None, SEVEN), (1, None, SEVEN), (2, b'{"id":7}', SEVEN)]


def test_what_does_not_fit_is_refused_alone() -> None:
    made = messages(Batch(payloads=[b"a", b"b"], keys=[b"x", b"7"]))

    assert rows(made) == [(1, b"b", SEVEN)]
    assert [str(each) for each in made.refused.values()] == [
        "service 'bus': its key: $: the schema wants a long, a string came"
    ]


def test_deletes_are_tombstones_of_such_keys() -> None:
    operations = [Operation.DELETE, Operation.INSERT]

    made = messages(Batch(payloads=[b'{"id":7}', b'{"id":7}'], operations=operations), key_field="id")

    assert rows(made) == [(0, None, SEVEN), (1, b'{"id":7}', SEVEN)]
