"""The program moves messages from topic to topic, in transactions with the offsets of its group; killed meanwhile."""

from __future__ import annotations

import signal
import time
from collections import defaultdict
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.acceptance.programs import Program, until
from tests.servers.kafka import KafkaTopics

CONFIG = """
[system]
state = "state.db"

[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "{bootstrap}"
"session.timeout.ms" = "6000"

[[connectors]]
name = "copy"
parallelism = {parallelism}
delivery = "{delivery}"
checkpoint = {{ interval_ms = 100 }}
[connectors.source]
service_name = "bus"
resource = "{source}"
input_encoding = "json"
[[connectors.sinks]]
service_name = "bus"
resource = "{sink}"
"""
PARTITIONS = 4
KEYS = 20

pytestmark = pytest.mark.timeout(180)


class Feed:
    """Numbered messages by key, and what has arrived of them, read as by a careful consumer."""

    def __init__(self, topics: KafkaTopics) -> None:
        self._bootstrap = topics.bootstrap
        self.source = topics.create("in", PARTITIONS)
        self.sink = topics.create("out", PARTITIONS)
        self.count = 0
        self._producer = Producer({"bootstrap.servers": topics.bootstrap, "linger.ms": "1"})
        self._consumer = Consumer(
            {
                "bootstrap.servers": topics.bootstrap,
                "group.id": self.sink,
                "enable.auto.commit": "false",
                "isolation.level": "read_committed",
            }
        )
        self._consumer.assign([TopicPartition(self.sink, each, 0) for each in range(PARTITIONS)])
        #: By key, in the order in which they stand in the topic.
        self.arrived: dict[bytes, list[int]] = defaultdict(list)

    def more(self, count: int) -> None:
        for number in range(self.count, self.count + count):
            self._producer.produce(self.source, b"%d" % (number // KEYS), key=b"key-%d" % (number % KEYS))
        self.count += count
        assert self._producer.flush(30) == 0

    def look(self) -> int:
        """How many have arrived, repeats included."""
        while messages := self._consumer.consume(10_000, 0.2):
            for each in messages:
                assert each.error() is None
                self.arrived[each.key()].append(int(each.value()))
        return sum(map(len, self.arrived.values()))

    def is_there(self) -> bool:
        self.look()
        return sum(len(set(each)) for each in self.arrived.values()) >= self.count

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def feed(kafka_topics: KafkaTopics) -> Feed:
    return Feed(kafka_topics)


def configured(folder: Path, feed: Feed, bootstrap: str, *, delivery: str, parallelism: int) -> None:
    text = CONFIG.format(
        bootstrap=bootstrap, source=feed.source, sink=feed.sink, delivery=delivery, parallelism=parallelism
    )
    (folder / "mstream-config.toml").write_text(text)


def test_effectively_once_brings_each_message_once(tmp_path: Path, feed: Feed, kafka_topics: KafkaTopics) -> None:
    configured(tmp_path, feed, kafka_topics.bootstrap, delivery="effectively_once", parallelism=2)
    dice = Random(7)
    feed.more(2000)
    for _ in range(3):
        with Program(tmp_path, "run") as program:
            before = feed.look()
            feed.more(20_000)
            until(lambda before=before: feed.look() > before, "something arrives")
            time.sleep(dice.uniform(0, 0.2))
            program.send(signal.SIGKILL)
            program.ended()
    with Program(tmp_path, "run") as program:
        program.ready().close()
        until(feed.is_there, "everything has arrived")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0
    feed.look()
    feed.close()

    each = list(range(feed.count // KEYS))
    assert {key: numbers for key, numbers in feed.arrived.items() if numbers != each} == {}
