"""What a producer is given for a record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import ObjectId
from pydantic import ValidationError

from mstream.domain.batch import Batch, Encoding, Operation
from mstream.domain.connector import SinkRef
from mstream.errors import DecodeError, RecordRefused
from mstream.providers.kafka.records import MessageMaker, Messages, key_of
from mstream.providers.kafka.templates import Misfit
from mstream.providers.kafka.writing import KafkaSinkOptions, check_sink

ID = ObjectId("64b7f0a2c5d8950e3aba19b9")


class Raw(dict[str, str]):
    """Headers that a source of Kafka has brought, as they came."""

    raw = (("x", b"\xff"), ("x", None))


def messages(batch: Batch, resource: str = "orders", **options: Any) -> Messages:
    maker = MessageMaker(resource, KafkaSinkOptions.model_validate(options), "service 'bus'")
    return maker.messages(batch)


def keys(batch: Batch, **options: Any) -> list[bytes | None]:
    return [row[3] for row in messages(batch, **options).rows()]


def headers(given: Mapping[str, str] | None, **options: Any) -> Any:
    (row,) = messages(Batch(payloads=[b"x"], headers=[given]), **options).rows()
    return row[5]


def test_payloads_keys_and_headers_pass_as_they_are() -> None:
    batch = Batch(payloads=[b"1", None], keys=[b"a", None], headers=[{"h": "v"}, None])

    assert list(messages(batch).rows()) == [
        (0, "orders", b"1", b"a", 0, {"h": "v"}),
        (1, "orders", None, None, 0, None),
    ]


def test_nothing_is_read_that_is_not_needed() -> None:
    batch = Batch(payloads=[b"no JSON"])

    assert messages(batch).refused == {}
    assert list(messages(batch, key_field="_id").refused) == [0]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("ö", "ö".encode()),
        (7, b"7"),
        (True, b"true"),
        (1.5, b"1.5"),
        (b"\x00\xff", b"\x00\xff"),
        ({"b": 1, "a": [2]}, b'{"a":[2],"b":1}'),
        (ID, str(ID).encode()),
        (datetime(2026, 1, 2, tzinfo=UTC), b"2026-01-02T00:00:00+00:00"),
    ],
)
def test_what_a_value_is_as_a_key(value: Any, key: bytes) -> None:
    assert key_of(value, "x") == key


@pytest.mark.parametrize("value", [None, {1j: 2}])
def test_what_can_be_no_key(value: Any) -> None:
    with pytest.raises(Misfit, match="'x'"):
        key_of(value, "x")


def test_a_key_comes_from_a_field_of_json_or_bson() -> None:
    assert keys(Batch(payloads=[b'{"a":{"b":5}}']), key_field="a.b") == [b"5"]
    assert keys(Batch(payloads=[bson.encode({"_id": ID})], encoding=Encoding.BSON), key_field="_id") == [
        str(ID).encode()
    ]
    assert keys(Batch(payloads=[b"x"], documents=[{"a": 1}]), key_field="a") == [b"1"]


def test_a_record_without_content_is_found_by_its_own_key() -> None:
    """A delete must reach the message that its document was."""
    plain, as_json, as_bson = b"plain", b'{"_id":"7"}', bson.encode({"_id": ID})
    batch = Batch(payloads=[None] * 3, keys=[plain, as_json, as_bson])

    assert keys(batch, key_field="_id") == [plain, b"7", str(ID).encode()]


def test_a_record_without_its_key_field_is_refused_and_nobody_sees_its_values() -> None:
    found = messages(Batch(payloads=[b'{"a":"hunter2"}', b'{"b":1}', b"no"], keys=None), key_field="b")

    assert [type(found.refused[each]) for each in (0, 2)] == [RecordRefused, DecodeError]
    assert "hunter2" not in str(found.refused[0])
    assert [row[0] for row in found.rows()] == [1]


def test_keys_can_be_left_out() -> None:
    assert keys(Batch(payloads=[b"1"], keys=[b"a"]), key="none") == [None]


def test_deletes_are_tombstones_where_there_is_a_key() -> None:
    operations = [Operation.DELETE, Operation.DELETE, Operation.UPDATE]
    batch = Batch(payloads=[b"1", b"2", b"3"], keys=[b"a", None, b"c"], operations=operations)

    assert [row[2] for row in messages(batch).rows()] == [None, b"2", b"3"]
    assert [row[2] for row in messages(batch, on_delete="keep").rows()] == [b"1", b"2", b"3"]
    assert [row[2] for row in messages(batch, key="none").rows()] == [b"1", b"2", b"3"]


def test_times_are_those_of_the_records_when_that_is_asked_for() -> None:
    """Kafka has none before 1970."""
    batch = Batch(payloads=[b"1", b"2", b"3"], times=[5, None, -1])

    assert [row[4] for row in messages(batch).rows()] == [0, 0, 0]
    assert [row[4] for row in messages(batch, timestamp="source").rows()] == [5, 0, 0]


def test_headers_are_attributes() -> None:
    given = {"a": "1", "b": "2"}

    assert headers(given) == given
    assert headers(given, headers=False) is None
    assert headers(given, headers=["b", "c"]) == {"b": "2"}
    assert headers(given, headers=["c"]) is None
    assert headers(None, headers=["c"]) is None
    assert headers({}) is None


def test_where_a_record_stood_in_kafka_is_no_header_unless_that_is_asked_for() -> None:
    given = {"a": "1", "origin": "kafka", "topic": "t", "partition": "0", "offset": "9"}

    assert headers(given) == {"a": "1"}
    assert headers(given, origin_headers=True) == given
    assert headers({"topic": "of somebody else"}) == {"topic": "of somebody else"}


def test_headers_of_a_message_pass_as_they_came() -> None:
    given = Raw(origin="kafka", topic="t", offset="9", x="")

    assert headers(given) == [("x", b"\xff"), ("x", None)]
    assert headers(given, origin_headers=True) == [
        ("x", b"\xff"),
        ("x", None),
        ("offset", b"9"),
        ("origin", b"kafka"),
        ("topic", b"t"),
    ]


def test_topics_are_put_together_and_their_names_known() -> None:
    batch = Batch(payloads=[b'{"r":"eu"}', b'{"r":"us"}', b'{"r":"e u"}', b"{}"])

    found = messages(batch, resource="orders-{r}")
    assert found.names() == {"orders-eu", "orders-us"}
    assert sorted(found.refused) == [2, 3]
    assert [row[1] for row in found.rows()] == ["orders-eu", "orders-us"]


def test_a_topic_by_header_needs_no_content() -> None:
    batch = Batch(payloads=[b"no JSON"], headers=[{"tenant": "acme"}])

    assert messages(batch, resource="{header:tenant}").names() == {"acme"}


@pytest.mark.parametrize(
    "options",
    [
        {"group.id": "g"},
        {"sasl.password": "p"},
        {"linger": 5},
        {"plugin.library.paths": "x"},
        {"key": "field"},
        {"key_field": ""},
        {"create_topics": {"partitions": 0}},
        {"create_topics": {"colour": 1}},
        {"acks": 0},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaSinkOptions.model_validate(options)


def test_options_of_the_producer_stand_beside_ours() -> None:
    options = KafkaSinkOptions.model_validate({"linger.ms": 20, "compression.type": "zstd", "key_field": "_id"})

    assert options.client_settings == {"linger.ms": "20", "compression.type": "zstd"}


def test_a_resource_that_can_be_no_topic_is_told() -> None:
    def problems(resource: str) -> list[str]:
        ref = SinkRef.model_validate({"service_name": "bus", "resource": resource})
        return [key for key, _ in check_sink(ref, KafkaSinkOptions())]

    assert problems("orders-{region}") == []
    assert problems("orders {region}") == ["resource"]


@pytest.mark.parametrize("encoding", ["text", "avro"])
def test_fields_of_what_is_no_document_are_told(encoding: str) -> None:
    def problems(resource: str, **options: Any) -> list[str]:
        given = {"service_name": "bus", "resource": resource, "output_encoding": encoding}
        return [key for key, _ in check_sink(SinkRef.model_validate(given), KafkaSinkOptions.model_validate(options))]

    assert problems("orders-{header:tenant}") == []
    assert problems("orders-{region}", key_field="_id") == ["key_field", "resource"]
