"""The program sends lines to Kafka in Avro and back, by a schema registry: a real one, and one that goes away."""

from __future__ import annotations

import io
import json
import signal
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import httpx
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.acceptance.programs import Program, until
from tests.servers.apicurio import ApicurioServer
from tests.servers.kafka import KafkaTopics
from tests.servers.schema_registry import SchemaRegistryServer

pytestmark = [pytest.mark.timeout(180), pytest.mark.any_kafka]

CONFIG = """
[system]
state = "state.db"

[[services]]
provider = "file"
name = "files"
path = "."

[[services]]
provider = "udf"
name = "scripts"
script_path = "."
engine = {{ kind = "python" }}

[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "{bootstrap}"
"group.id" = "{topic}"

[[services]]
provider = "schema_registry"
name = "registry"
url = "{registry}"

[[connectors]]
name = "there"
source = {{ service_name = "files", resource = "in.jsonl" }}
sinks = [{{ service_name = "bus", resource = "{topic}", output_encoding = "avro", schema_id = "order" }}]
schemas = [{{ id = "order", service_name = "registry", file = "order.avsc" }}]

[[connectors]]
name = "back"
on_error = "dead_letter"
middlewares = [{{ service_name = "scripts", resource = "double.py", output_encoding = "avro" }}]
sinks = [{{ service_name = "files", resource = "out.jsonl" }}]
schemas = [{{ id = "order", service_name = "registry"{version} }}]
[connectors.source]
service_name = "bus"
resource = "{topic}"
input_encoding = "avro"
output_encoding = "avro"
schema_id = "order"
"""
SCRIPT = """
def transform(data):
    data["total"] *= 2
    return data
"""
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "Order",
    "fields": [{"name": "id", "type": "long"}, {"name": "total", "type": DECIMAL}],
}
LATER = {**ORDER, "fields": [*ORDER["fields"], {"name": "note", "type": "string", "default": ""}]}


def configured(folder: Path, topics: KafkaTopics, topic: str, registry: str, version: str = "") -> None:
    text = CONFIG.format(bootstrap=topics.bootstrap, topic=topic, registry=registry, version=version)
    (folder / "mstream-config.toml").write_text(text)
    (folder / "order.avsc").write_text(json.dumps(ORDER))
    (folder / "double.py").write_text(SCRIPT)


def lines(folder: Path) -> list[Any]:
    path = folder / "out.jsonl"
    return [json.loads(each) for each in path.read_text().splitlines()] if path.exists() else []


def messages(topics: KafkaTopics, topic: str, count: int) -> list[bytes]:
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[bytes] = []
    until(lambda: found.extend(each.value() for each in consumer.consume(100, 0.2)) or len(found) >= count, "messages")
    consumer.close()
    return found


def datum(schema: Any, number: int, document: dict[str, Any]) -> bytes:
    """As anybody else writes it."""
    written = io.BytesIO(b"\x00" + number.to_bytes(4, "big"))
    written.seek(0, io.SEEK_END)
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), document)
    return written.getvalue()


def send(topics: KafkaTopics, topic: str, *payloads: bytes) -> None:
    producer = Producer({"bootstrap.servers": topics.bootstrap})
    for each in payloads:
        producer.produce(topic, each)
    assert producer.flush(30) == 0


def test_lines_become_avro_by_a_registered_schema_and_lines_again(
    tmp_path: Path, kafka_topics: KafkaTopics, apicurio: ApicurioServer
) -> None:
    topic = kafka_topics.create("orders")
    configured(tmp_path, kafka_topics, topic, apicurio.url)
    (tmp_path / "in.jsonl").write_text('{"id": 1, "total": 12.5}\n{"id": 2, "total": "7", "more": true}\n')

    with Program(tmp_path, "run") as program:
        until(lambda: len(lines(tmp_path)) == 2, "what was sent is back")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert lines(tmp_path) == [{"id": 1, "total": "25.00"}, {"id": 2, "total": "14.00"}]
    known = httpx.get(f"{apicurio.url}/subjects/{topic}-value/versions/latest").json()
    assert json.loads(known["schema"]) == ORDER
    assert messages(kafka_topics, topic, 2) == [
        datum(ORDER, known["id"], {"id": 1, "total": Decimal("12.50")}),
        datum(ORDER, known["id"], {"id": 2, "total": Decimal(7)}),
    ]


def test_schemas_that_come_later_are_found_when_the_registry_is_back(
    tmp_path: Path, kafka_topics: KafkaTopics, schema_registry: SchemaRegistryServer
) -> None:
    topic = kafka_topics.create("orders")
    configured(tmp_path, kafka_topics, topic, schema_registry.url)
    first = schema_registry.add(f"{topic}-value", ORDER)
    send(kafka_topics, topic, datum(ORDER, first, {"id": 1, "total": Decimal(1)}))
    odd = datum(ORDER, 77, {"id": 2, "total": Decimal(2)})

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:

        def job() -> Any:
            return client.get("/jobs/back").json()

        until(lambda: len(lines(tmp_path)) == 1, "the first record is there")
        second = schema_registry.add(f"{topic}-value", LATER)
        schema_registry.stop()
        send(kafka_topics, topic, odd, datum(LATER, second, {"id": 3, "total": Decimal(3), "note": "n"}))
        until(lambda: "schemas of registry" in program.log and "retrying" in program.log, "it asks again and again")
        assert len(lines(tmp_path)) == 1
        schema_registry.start()
        until(lambda: len(lines(tmp_path)) == 2, "the record of the later schema is there")
        until(lambda: job()["counters"]["records_dead_lettered"] == 1, "the record of no schema is given up")
        assert job()["phase"] == "running"
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert lines(tmp_path)[-1] == {"id": 3, "total": "6.00", "note": "n"}
    assert schema_registry.asked.count(f"GET /schemas/ids/{second}") == 1


def test_by_a_version_records_of_all_schemas_are_read_alike(
    tmp_path: Path, kafka_topics: KafkaTopics, schema_registry: SchemaRegistryServer
) -> None:
    topic = kafka_topics.create("orders")
    first, second = (schema_registry.add(f"{topic}-value", each) for each in (ORDER, LATER))
    configured(tmp_path, kafka_topics, topic, schema_registry.url, f', resource = "{topic}-value:2"')
    send(
        kafka_topics,
        topic,
        datum(ORDER, first, {"id": 1, "total": Decimal(1)}),
        datum(LATER, second, {"id": 2, "total": Decimal(2), "note": "n"}),
    )

    with Program(tmp_path, "run") as program:
        until(lambda: len(lines(tmp_path)) == 2, "both are there")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    assert lines(tmp_path) == [{"id": 1, "total": "2.00", "note": ""}, {"id": 2, "total": "4.00", "note": "n"}]
