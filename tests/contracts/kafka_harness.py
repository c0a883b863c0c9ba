"""The kafka sink as the contract's checks see it, on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from mstream.domain.connector import SinkRef
from mstream.errors import Unreachable
from mstream.ports.provider import role_options
from mstream.ports.roles import Sink
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.lots import Lot
from mstream.providers.kafka.sink import KafkaSink
from tests.servers.kafka import KafkaBroker, KafkaTopics

#: Bytes of a message that topics of these harnesses take.
LIMIT = 20_000_000
SMALL_LIMIT = 100_000


class KafkaSinkHarness:
    """One topic with one partition, keys from a field; a record without that field is refused."""

    can_fail = True
    limit = LIMIT
    options: ClassVar[dict[str, Any]] = {"key_field": "_id"}

    def __init__(self, topics: KafkaTopics, server: KafkaBroker) -> None:
        self.topic = topics.create("records", **{"max.message.bytes": str(self.limit)})
        self._server = server
        self.can_crash = server.is_apache
        self._fails = False
        self.config = KafkaConfig.model_validate(
            {"name": "bus", "bootstrap.servers": topics.bootstrap, "linger.ms": "50", "client.id": "hunter2-planted"}
        )

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Sink]:
        assert PROVIDER.sink is not None
        ref = SinkRef.model_validate({"service_name": "bus", "resource": self.topic, **self.options, **options})
        role = role_options(PROVIDER.sink.options, self.config, ref)
        async with PROVIDER.connect(self.config) as live, PROVIDER.sink.open(live, ref, role) as sink:
            assert isinstance(sink, KafkaSink)
            self._watched(sink)
            yield self.wrapped(sink)

    def wrapped(self, sink: Sink) -> Sink:
        """The sink itself; wrong ones are made here."""
        return sink

    async def stored(self) -> list[Any]:
        messages = await asyncio.to_thread(messages_of, self._server.bootstrap, self.topic)
        return [orjson.loads(each.value() or b"null") for each in messages]

    def refused(self) -> Any:
        return {"text": "it has no key"}

    def fail_next_write(self) -> None:
        self._fails = True

    async def crash(self) -> None:
        """Not in a thread: a server ends with the thread that has started it."""
        self._server.crash()
        self._server.start()

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"

    def _watched(self, sink: KafkaSink) -> None:
        """What the producer has got is taken back before it leaves, when a check says so."""
        producing = sink._producing
        begin = producing._begin

        async def begun(lot: Lot) -> None:
            await begin(lot)
            if self._fails:
                self._fails = False
                producing._spoil(Unreachable("the broker has gone away"))
                producing._poll()

        producing._begin = begun  # type: ignore[method-assign]


class LargeRecordsHarness(KafkaSinkHarness):
    """The same, where a record is refused that is too large; keys are those of the source."""

    limit = SMALL_LIMIT
    options: ClassVar[dict[str, Any]] = {}

    def refused(self) -> Any:
        return {"text": "z" * self.limit}


#: Every kind of sink of this provider.
KAFKA_SINKS: dict[str, Callable[[KafkaTopics, KafkaBroker], KafkaSinkHarness]] = {
    "kafka": KafkaSinkHarness,
    "kafka, too large": LargeRecordsHarness,
}


def messages_of(bootstrap: str, topic: str) -> list[Message]:
    """What stands in a topic: partition after partition, in order."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reads-without-group",
            "enable.auto.commit": "false",
            "enable.partition.eof": "true",
            "fetch.message.max.bytes": str(LIMIT),
            "logger": Quiet(),
        }
    )
    try:
        partitions = sorted(consumer.list_topics(topic, 20).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, each, OFFSET_BEGINNING) for each in partitions])
        found: dict[int, list[Message]] = {each: [] for each in partitions}
        ended: set[int] = set()
        while len(ended) < len(partitions):
            for each in consumer.consume(5000, 0.2):
                partition = each.partition()
                assert partition is not None
                if each.error() is None:
                    found[partition].append(each)
                elif each.error().name() == "_PARTITION_EOF":
                    ended.add(partition)
        return [each for partition in partitions for each in found[partition]]
    finally:
        consumer.close()


class Quiet:
    """Takes the log of a client, and says nothing."""

    def log(self, *_: object) -> None:
        """Not worth a line in a test's output."""
