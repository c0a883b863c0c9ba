"""From topic to topic: mstream against a bare loop of confluent-kafka and against mq-bridge, on one broker."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from bench import process, records
from bench.mongodb import Processor, Result
from bench.process import Measured
from tests.servers.kafka import KafkaServer

CONTENDERS: Final = ("mstream", "bare", "mq-bridge", "mstream again")
#: Seconds between two looks: each asks the broker.
_LOOK: Final = 0.02
SCRIPTS = Path(__file__).parent / "scripts"
_CONFIG: Final = """\
[system]
state = "{folder}/state.db"

[system.api]
port = 0

[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "{bootstrap}"

[[services]]
provider = "udf"
name = "scripts"
script_path = "{scripts}"
engine = {{ kind = "python" }}

[[connectors]]
name = "{target}"
max_in_flight = 16
source = {{ service_name = "bus", resource = "{source}", input_encoding = "json" }}
middlewares = {steps}
sinks = [{{ service_name = "bus", resource = "{target}" }}]
"""


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of work."""

    partitions: int
    #: Bytes of a record, about.
    size: int
    scripted: bool

    @property
    def name(self) -> str:
        """As it is printed."""
        what = "with a script" if self.scripted else "passed through"
        return f"Kafka to Kafka, {what}, {self.partitions} partitions, {self.size / 1000:g} KB"


WAYS: Final = [Way(count, size, scripted) for scripted in (False, True) for size in (500, 5000) for count in (1, 4)]


class Broker:
    """A broker with topics that hold so many records each."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self._filled: dict[tuple[int, int, int], str] = {}

    def filled(self, way: Way, count: int) -> str:
        """The topic that this way reads."""
        found = (way.partitions, way.size, count)
        if found not in self._filled:
            self._filled[found] = name = f"in-{way.partitions}-{way.size}"
            self.server.create_topic(name, way.partitions)
            fill(self.server.bootstrap, name, payloads(way.size, count))
        return self._filled[found]

    def emptied(self, way: Way) -> str:
        """A new topic."""
        name = f"out-{secrets.token_hex(4)}"
        self.server.create_topic(name, way.partitions)
        return name


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    """It ends with the block."""
    server = KafkaServer()
    try:
        server.start()
        yield Broker(server)
    finally:
        server.remove()


def payloads(size: int, count: int) -> Iterator[bytes]:
    """Records of about that size."""
    for each in records.payloads(min(count, 1000)) * (count // min(count, 1000)):
        yield each[:-1] + b',"pad":"%s"}' % (b"x" * (size - len(each) - 9)) if size > len(each) + 9 else each


def fill(bootstrap: str, topic: str, values: Iterator[bytes]) -> None:
    """With keys, in order."""
    producer = Producer({"bootstrap.servers": bootstrap, "queue.buffering.max.kbytes": "100000"})
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(topic, value, key=b"%d" % (number % 997))
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one contender in a folder of its own."""

    way: Way
    contender: str
    folder: Path
    count: int
    broker: Broker

    def run(self) -> Result:
        """Start it and see it through, counted at the destination."""
        self.folder.mkdir()
        source, target = self.broker.filled(self.way, self.count), self.broker.emptied(self.way)
        partitions = [TopicPartition(target, each) for each in range(self.way.partitions)]
        bootstrap = self.broker.server.bootstrap
        looking = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": "false"})
        process_id = self.broker.server.process_id
        clock = Processor(process_id)

        def progress() -> int:
            time.sleep(_LOOK)
            ends = [looking.get_watermark_offsets(each, timeout=10) for each in partitions]
            return clock.seen(sum(end for _, end in ends), self.count)

        try:
            command = self._command(source, target)
            ends_itself = not self.contender.startswith("mq")
            measured = process.run(
                command, progress=progress, count=self.count, log=self.folder / "log", ends_itself=ends_itself
            )
            return Result(measured, clock.seconds(self.count) / self.count * 1e6, digest(looking, partitions))
        finally:
            looking.close()

    def _command(self, source: str, target: str) -> list[str]:
        bootstrap, script = self.broker.server.bootstrap, ["script"] if self.way.scripted else []
        if self.contender == "bare":
            return [sys.executable, "-m", "bench.bare_kafka", bootstrap, source, target, str(self.count), *script]
        if self.contender == "mq-bridge":
            return [sys.executable, "-m", "bench.mq_kafka", bootstrap, source, target, *script]
        config = self.folder / "bench.toml"
        steps = '[{ service_name = "scripts", resource = "edit.py" }]' if self.way.scripted else "[]"
        fields: dict[str, Any] = {"folder": self.folder, "bootstrap": bootstrap, "scripts": SCRIPTS, "steps": steps}
        config.write_text(_CONFIG.format(source=source, target=target, **fields))
        return [sys.executable, "-m", "mstream", "run", "--config", str(config), "--until-idle", "2"]


def digest(consumer: Consumer, partitions: list[TopicPartition]) -> str:
    """Of what is there, whatever its order."""
    total = 0
    ends = {each.partition: consumer.get_watermark_offsets(each)[1] for each in partitions}
    consumer.assign([TopicPartition(each.topic, each.partition, 0) for each in partitions])
    left = sum(ends.values())
    while left > 0:
        for each in consumer.consume(10_000, 1.0):
            total += int.from_bytes(hashlib.blake2b(each.value(), digest_size=8).digest())
            left -= 1
    return f"{total:x}"


__all__ = ["CONTENDERS", "WAYS", "Measured", "Trial", "broker"]
