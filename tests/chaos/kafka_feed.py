"""Topics: what is written to them, what stands in them, and members of the group that are no part of the program."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.chaos.stream import Putting, line

PARTITIONS = 12
KEYS = 60
#: Seconds in which brokers that are killed and come back must have answered.
_PATIENCE = 60.0
#: Where records are, by partition: the offset before which all are meant.
Offsets = Mapping[int, int]


class Row(NamedTuple):
    """A record where it stands."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes


def key_of(number: int) -> bytes:
    """The key of the record of that number."""
    return b"key-%d" % (number % KEYS)


class Numbers(Putting):
    """Writes records by key and in order, whatever becomes of the brokers; each once, as far as the client can."""

    def __init__(self, bootstrap: str, topic: str, *, at_least: int, per_second: float) -> None:
        super().__init__(at_least=at_least, per_second=per_second)
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": "true", "linger.ms": "2", **_quiet()}
        )
        self._errors: list[KafkaError] = []

    def finish(self) -> None:
        """All of them are acknowledged then. Raises KafkaException."""
        super().finish()
        if self._producer.flush(_PATIENCE) or self._errors:
            raise KafkaException(*(self._errors[:1] or [KafkaError(KafkaError._TIMED_OUT)]))

    def _put(self, numbers: range) -> None:
        for each in numbers:
            self._producer.produce(self._topic, line(each).rstrip(), key_of(each), on_delivery=self._note)
        self._producer.poll(0)

    def _note(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._errors.append(error)


class Log:
    """A topic as somebody sees it who reads nothing but what is committed, from its beginning on."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._partitions = [TopicPartition(topic, each, 0) for each in range(PARTITIONS)]
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": f"judge-of-{topic}",
                "enable.auto.commit": "false",
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": "true",
                "fetch.wait.max.ms": "50",
                **_quiet(),
            }
        )
        self._consumer.assign(self._partitions)
        #: In the order in which they came; of a partition, as they stand there.
        self.rows: list[Row] = []
        self._read: dict[int, int] = defaultdict(int)
        self._trouble: KafkaError | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, name=f"log of {topic}")
        self._thread.start()

    def up_to_now(self) -> Sequence[Row]:
        """All that is committed at this moment, and perhaps more; what is open is waited for.

        Raises KafkaException, TimeoutError.
        """
        ends = answered(self._ends)
        until = time.monotonic() + _PATIENCE
        while any(self._read[partition] < end for partition, end in ends.items()):
            if self._trouble is not None:
                raise KafkaException(self._trouble)
            if time.monotonic() > until:
                message = f"topic {self._topic!r} is read up to {dict(self._read)}, and goes to {ends}"
                raise TimeoutError(message)
            time.sleep(0.01)
        return list(self.rows)

    def close(self) -> None:
        """Read no more."""
        self._end.set()
        self._thread.join()
        self._consumer.close()

    def _ends(self) -> Offsets:
        """Behind the last message of each partition, be it committed or not."""
        # A client that has known these partitions under another leader asks in vain, again and again.
        admin = AdminClient({"bootstrap.servers": self._bootstrap, **_quiet()})
        asked = {each: OffsetSpec.latest() for each in self._partitions}
        answers = admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=5)
        return {each.partition: answer.result().offset for each, answer in answers.items()}

    def _look(self) -> None:
        while not self._end.is_set():
            for each in self._consumer.consume(1000, 0.05):
                self._take(each)

    def _take(self, message: Message) -> None:
        error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
        if error is None and offset < self._read[partition]:
            return  # the client brings it once more
        if error is None:
            self.rows.append(Row(partition, offset, message.key(), message.value() or b""))
            self._read[partition] = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            self._read[partition] = max(self._read[partition], offset)
        elif error.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE} or error.fatal():
            self._trouble = error


class Group:
    """What a consumer group keeps, seen from outside."""

    def __init__(self, bootstrap: str, name: str, topic: str) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": name,
                "enable.auto.commit": "false",
                "isolation.level": "read_committed",  # what a transaction has not committed yet is waited for
                **_quiet(),
            }
        )

    def offsets(self) -> Offsets:
        """By partition; one that nothing was noted of is left out. Raises KafkaException."""
        asked = [TopicPartition(self._topic, each) for each in range(PARTITIONS)]
        found = answered(lambda: self._asked(asked))
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def close(self) -> None:
        """Ask no more."""
        self._consumer.close()

    def _asked(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        found = self._consumer.committed(partitions, timeout=10)
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return found


class Visitors:
    """Other members of the group: they come, hold partitions without a word to anybody, and go."""

    def __init__(self, bootstrap: str, group: str, topic: str, *, seed: int, session_ms: int) -> None:
        self._topic = topic
        self._random = random.Random(seed)
        self._options = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": "false",
            "auto.offset.reset": "earliest",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": str(session_ms),
            "heartbeat.interval.ms": str(session_ms // 4),
            **_quiet(),
        }
        #: Visits in which one of them was given partitions.
        self.count = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="visitors")

    def start(self) -> None:
        """From now on they come and go."""
        self._thread.start()

    def end(self) -> None:
        """Nobody comes any more, and nobody is there."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._random.uniform(1.0, 4.0)):
            self._visit(self._random.uniform(0.5, 3.0))

    def _visit(self, seconds: float) -> None:
        consumer = Consumer(self._options)
        given: list[float] = []
        consumer.subscribe([self._topic], on_assign=lambda _, those: given.extend([time.monotonic()] * bool(those)))
        until = time.monotonic() + _PATIENCE / 4
        while time.monotonic() < (given[0] + seconds if given else until) and not self._end.is_set():
            consumer.poll(0.1)
        self.count += bool(given)
        consumer.close()


def answered(question: Any) -> Any:
    """What the brokers say, once those that are there can say it. Raises KafkaException."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return question()
        except KafkaException:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def _quiet() -> dict[str, Any]:
    """A broker that is not there is no news."""
    return {"log_level": 0, "error_cb": lambda _: None, "reconnect.backoff.max.ms": "500"}
