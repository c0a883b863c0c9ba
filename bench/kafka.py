"""From topic to topic: mstream against a bare loop of confluent-kafka and against mq-bridge, on one broker."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from bench import mongodb, process, records
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

{services}
[[connectors]]
name = "{name}"
max_in_flight = 6
source = {{ {source} }}
middlewares = {steps}
sinks = [{{ {sink} }}]
"""


class End(StrEnum):
    """What stands at the other end of a topic."""

    KAFKA = "Kafka to Kafka"
    SQLITE = "Kafka to SQLite"
    MONGODB = "MongoDB to Kafka"


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of work."""

    partitions: int
    #: Bytes of a record, about.
    size: int
    scripted: bool
    end: End = End.KAFKA

    @property
    def contenders(self) -> tuple[str, ...]:
        """mq-bridge where it does the same."""
        return CONTENDERS if self.end is End.KAFKA else tuple(each for each in CONTENDERS if each != "mq-bridge")

    @property
    def name(self) -> str:
        """As it is printed."""
        if self.end is not End.KAFKA:
            return f"{self.end}, {self.partitions} partitions"
        what = "with a script" if self.scripted else "passed through"
        return f"{self.end}, {what}, {self.partitions} partitions, {self.size / 1000:g} KB"


WAYS: Final = [
    *(Way(count, size, scripted) for scripted in (False, True) for size in (500, 5000) for count in (1, 4)),
    Way(4, 500, scripted=False, end=End.SQLITE),
    Way(4, 500, scripted=False, end=End.MONGODB),
]


class Broker:
    """A broker with topics that hold so many records each."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self._filled: dict[tuple[int, int, int], str] = {}

    def filled(self, way: Way, count: int) -> str:
        """The topic that this way reads."""
        found = (way.partitions, 0 if way.end is End.SQLITE else way.size, count)
        if found not in self._filled:
            self._filled[found] = name = f"in-{way.partitions}-{found[1]}"
            self.server.create_topic(name, way.partitions)
            fill(self.server.bootstrap, name, payloads(found[1], count))
        return self._filled[found]

    def emptied(self, way: Way) -> str:
        """A new topic."""
        name = f"out-{secrets.token_hex(4)}"
        self.server.create_topic(name, way.partitions, **{"file.delete.delay.ms": "100"})
        return name


@contextlib.contextmanager
def broker() -> Iterator[Broker]:
    """It ends with the block."""
    memory = Path("/dev/shm")  # noqa: S108 - made safely below
    # A disk of its own pace would be measured with it.
    server = KafkaServer(folder=Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None)))
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
        if self.way.end is End.SQLITE:
            return self._to_sqlite()
        with contextlib.ExitStack() as stack:
            if self.way.end is End.MONGODB:
                server = stack.enter_context(mongodb.served(self.folder, self.count))
                source, ignored = server.uri, server.pid
            else:
                source, ignored = self.broker.filled(self.way, self.count), 0
            return self._to_topic(source, ignored)

    def _to_topic(self, source: str, ignored: int) -> Result:
        target = self.broker.emptied(self.way)
        partitions = [TopicPartition(target, each) for each in range(self.way.partitions)]
        bootstrap = self.broker.server.bootstrap
        looking = Consumer({"bootstrap.servers": bootstrap, "group.id": "bench", "enable.auto.commit": "false"})
        clock = Processor(self.broker.server.process_id, ignored)

        def progress() -> int:
            time.sleep(_LOOK)
            try:
                ends = [looking.get_watermark_offsets(each, timeout=10) for each in partitions]
            except KafkaException:
                return clock.seen(0, self.count)  # one that was just made has no leader for a moment
            return clock.seen(sum(end for _, end in ends), self.count)

        try:
            measured = process.run(
                self._command(source, target),
                progress=progress,
                count=self.count,
                log=self.folder / "log",
                ends_itself=not self.contender.startswith("mq"),
            )
            return Result(measured, clock.seconds(self.count) / self.count * 1e6, digest(looking, partitions))
        finally:
            looking.close()
            self.broker.server.admin().delete_topics([target])[target].result(30)

    def _to_sqlite(self) -> Result:
        # Its name is the job's, and so the group's: one that has been there would go on from where it was.
        target = self.folder / f"{secrets.token_hex(4)}.db"
        clock = Processor(self.broker.server.process_id)
        command = self._command(self.broker.filled(self.way, self.count), str(target))
        measured = process.run(
            command,
            progress=lambda: clock.seen(process.rows(target), self.count),
            count=self.count,
            log=self.folder / "log",
        )
        return Result(measured, clock.seconds(self.count) / self.count * 1e6, str(process.rows(target)))

    def _command(self, source: str, target: str) -> list[str]:
        bootstrap, script = self.broker.server.bootstrap, ["script"] if self.way.scripted else []
        loop = [bootstrap, source, target, str(self.count)]
        if self.contender == "mq-bridge":
            return [sys.executable, "-m", "bench.mq_kafka", bootstrap, source, target, *script]
        if self.contender == "bare" and self.way.end is End.KAFKA:
            return [sys.executable, "-m", "bench.bare_kafka", *loop, *script]
        if self.contender == "bare":
            kind = "sqlite" if self.way.end is End.SQLITE else "mongodb"
            return [sys.executable, "-m", "bench.bare_kafka_ends", kind, *loop]
        config = self.folder / "bench.toml"
        config.write_text(config_text(self, source, target))
        return [sys.executable, "-m", "mstream", "run", "--config", str(config), "--until-idle", "2"]


def config_text(trial: Trial, source: str, target: str) -> str:
    """The configuration file of mstream: one job, the process runtime."""
    read, write = f'service_name = "bus", resource = "{source}"', f'service_name = "bus", resource = "{target}"'
    services = ""
    if trial.way.end is End.SQLITE:
        services = f'[[services]]\nprovider = "sql"\nname = "out"\nurl = "sqlite:///{target}"\n'
        write = 'service_name = "out", resource = "records"'
    elif trial.way.end is End.MONGODB:
        uri = f'connection_string = "{source}"\ndb_name = "bench"'
        services = f'[[services]]\nprovider = "mongodb"\nname = "shop"\n{uri}\n'
        read = 'service_name = "shop", resource = "orders", output_encoding = "json"'
    encoding = "" if trial.way.end is End.MONGODB else ', input_encoding = "json"'
    return _CONFIG.format(
        folder=trial.folder,
        bootstrap=trial.broker.server.bootstrap,
        scripts=SCRIPTS,
        services=services,
        name=Path(target).name,
        source=read + encoding,
        steps='[{ service_name = "scripts", resource = "edit.py" }]' if trial.way.scripted else "[]",
        sink=write,
    )


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
