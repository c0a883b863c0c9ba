"""The program carries keys in Avro from topic to topic: as they were, as JSON, and made of a field."""

from __future__ import annotations

import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.acceptance.programs import Program, until
from tests.integration.test_avro_flow import datum
from tests.servers.kafka import KafkaTopics
from tests.servers.schema_registry import SchemaRegistryServer

pytestmark = [pytest.mark.timeout(180), pytest.mark.any_kafka]

CONFIG = """
[system]
state = "state.db"

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
name = "keys"
on_error = "dead_letter"
middlewares = [{{ service_name = "scripts", resource = "step.py" }}]
sinks = [
    {{ service_name = "bus", resource = "{same}", key_schema_id = "pair" }},
    {{ service_name = "bus", resource = "{plain}" }},
    {{ service_name = "bus", resource = "{made}", key_field = "id", key_schema_id = "made" }},
]
[connectors.source]
service_name = "bus"
resource = "{topic}"
input_encoding = "json"
key_schema_id = "pair"

[[connectors.schemas]]
id = "pair"
service_name = "registry"
resource = "{topic}-key"

[[connectors.schemas]]
id = "made"
service_name = "registry"
text = '"long"'
"""
SCRIPT = """
def transform(data):
    data["seen"] = True
    return data
"""
PAIR = {
    "type": "record",
    "name": "Pair",
    "fields": [{"name": "b", "type": "string"}, {"name": "a", "type": "long"}],
}
OLDER = {**PAIR, "fields": PAIR["fields"][1:]}
Message = tuple[bytes | None, Any]


def messages(topics: KafkaTopics, topic: str, count: int) -> list[Message]:
    """Keys and values, these as JSON says them."""
    consumer = Consumer({"bootstrap.servers": topics.bootstrap, "group.id": topic})
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[Message] = []

    def have_come() -> bool:
        for each in consumer.consume(100, 0.2):
            value = each.value()
            found.append((each.key(), None if value is None else json.loads(value)))
        return len(found) >= count

    until(have_come, f"messages of {topic}")
    consumer.close()
    return found


def test_keys_stay_the_bytes_that_they_were_are_read_and_are_made(
    tmp_path: Path, kafka_topics: KafkaTopics, schema_registry: SchemaRegistryServer
) -> None:
    topic, same, plain, made = (kafka_topics.create(each) for each in ("pairs", "same", "plain", "made"))
    older, newer = (schema_registry.add(f"{topic}-key", each) for each in (OLDER, PAIR))
    text = CONFIG.format(
        bootstrap=kafka_topics.bootstrap,
        topic=topic,
        same=same,
        plain=plain,
        made=made,
        registry=schema_registry.url,
    )
    (tmp_path / "mstream-config.toml").write_text(text)
    (tmp_path / "step.py").write_text(SCRIPT)
    first, second = datum(PAIR, newer, {"b": "x", "a": 1}), datum(OLDER, older, {"a": 2})
    producer = Producer({"bootstrap.servers": kafka_topics.bootstrap})
    for number, key in enumerate((first, second, b"no Avro", None)):
        producer.produce(topic, json.dumps({"id": number}), key)
    assert producer.flush(30) == 0

    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        found = [messages(kafka_topics, each, 3) for each in (same, plain, made)]
        until(
            lambda: client.get("/jobs/keys").json()["counters"]["records_dead_lettered"] == 1,
            "the record whose key is not Avro is given up",
        )
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0

    values = [{"id": number, "seen": True} for number in (0, 1, 3)]
    assert [[value for _, value in each] for each in found] == [values] * 3
    keys = [[key for key, _ in each] for each in found]
    assert keys[0] == [first, second, None]
    assert keys[1] == [b'{"a":1,"b":"x"}', b'{"a":2}', None]
    (registered,) = schema_registry.subjects[f"{made}-key"]
    assert registered is not None
    head = b"\x00" + registered.to_bytes(4, "big")
    assert keys[2] == [head + b"\x00", head + b"\x02", head + b"\x06"]
    assert schema_registry.asked.count(f"GET /schemas/ids/{older}") == 1
