"""Members of a group that read topics of the tests' Kafka, and what their job has stored."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewPartitions  # type: ignore[attr-defined]  # it is there

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.errors import MstreamError
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.source import KafkaSource
from tests.contracts.kafka_harness import Quiet
from tests.servers.kafka import KafkaServer, KafkaTopics

#: Far more than any broker needs, on a machine with much else to do.
PATIENCE = 40.0
AMPLE = Limit(records=5000)
#: Settings of a consumer that hears soon of what changes.
QUICK = {
    "session.timeout.ms": "6000",
    "heartbeat.interval.ms": "300",
    "topic.metadata.refresh.interval.ms": "300",
    "fetch.wait.max.ms": "100",
}
#: Of these the newer protocol of groups knows none.
OF_CLASSIC_GROUPS = ("session.timeout.ms", "heartbeat.interval.ms")


class Job:
    """What a job with members keeps: positions by lane, and a group."""

    def __init__(self, topics: KafkaTopics, **settings: str) -> None:
        self.topics = topics
        self.group = f"{topics.prefix}{secrets.token_hex(3)}"
        self.settings = {"bootstrap.servers": topics.bootstrap, "group.id": self.group, **QUICK, **settings}
        self.stored: dict[Lane, Position] = {}
        self.resets = 0
        self._producer = Producer(
            {
                "bootstrap.servers": topics.bootstrap,
                "linger.ms": "1",
                "topic.metadata.refresh.interval.ms": "200",
                "logger": Quiet(),
            }
        )

    @asynccontextmanager
    async def member(
        self, resource: str, *, number: int = 0, settings: Mapping[str, str] | None = None, **options: Any
    ) -> AsyncIterator[Member]:
        """A source of the job, which goes on from what is stored."""
        assert PROVIDER.source is not None
        config = KafkaConfig.model_validate({"name": "bus", **self.settings, **(settings or {})})
        ref = SourceRef.model_validate(
            {"service_name": "bus", "resource": resource, "input_encoding": "json", **options}
        )
        role = role_options(PROVIDER.source.options, config, ref)
        resume = Resume(positions=dict(self.stored), job=self.topics.prefix, member=number, resets=self.resets)
        member = Member(self)
        async with PROVIDER.connect(config) as live, PROVIDER.source.open(live, ref, role, resume, member) as source:
            assert isinstance(source, KafkaSource)
            member.source = source
            yield member

    async def produce(self, topic: str, *values: bytes | None, partition: int = 0, **columns: Any) -> None:
        """Messages, once they stand in the topic."""

        def produced() -> None:
            give_up = time.monotonic() + PATIENCE
            for each in values:
                while True:
                    try:
                        self._producer.produce(topic, each, partition=partition, **columns)
                    except KafkaException:
                        # The partition is new, and the producer has not heard of it.
                        if time.monotonic() > give_up:
                            raise
                        time.sleep(0.05)
                    else:
                        break
            assert self._producer.flush(30) == 0

        await asyncio.to_thread(produced)

    async def noted(self, *lanes: Lane) -> dict[Lane, int]:
        """What the group keeps."""
        wanted = [partition_of(each) for each in lanes]
        request = [ConsumerGroupTopicPartitions(self.group, wanted)]
        (answer,) = self.topics.server.admin().list_consumer_group_offsets(request).values()
        found = await asyncio.to_thread(answer.result, 20)
        return {f"{each.topic}/{each.partition}": each.offset for each in found.topic_partitions if each.offset >= 0}

    async def delete_before(self, lane: Lane, offset: int) -> None:
        """Have the broker forget older messages."""
        partition = partition_of(lane)
        partition.offset = offset
        (answer,) = self.topics.server.admin().delete_records([partition]).values()
        await asyncio.to_thread(answer.result, 20)


class Member:
    """One of a job's sources, and its lanes: what it has read is saved at once when lanes are taken."""

    source: KafkaSource

    def __init__(self, job: Job) -> None:
        self._job = job
        #: What the group has told, in order.
        self.told: list[tuple[str, list[Lane]]] = []
        #: Where the lanes that are this member's stand by what was read of them.
        self.stands: dict[Lane, Position] = {}
        self.records: list[tuple[Lane, int]] = []
        self.batches: list[Batch] = []
        self.errors: list[MstreamError] = []

    async def assigned(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        """Implements `Lanes`."""
        self.told.append(("assigned", sorted(lanes)))
        return {each: self._job.stored[each] for each in lanes if each in self._job.stored}

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Position]:
        """Everything is settled as soon as it is read."""
        self.told.append(("revoked", sorted(lanes)))
        saved = {each: self.stands.pop(each) for each in lanes if each in self.stands}
        self._job.stored |= saved
        return saved

    async def lost(self, lanes: Collection[Lane]) -> None:
        """What is not saved is forgotten."""
        self.told.append(("lost", sorted(lanes)))
        for each in lanes:
            self.stands.pop(each, None)

    @property
    def lanes(self) -> set[Lane]:
        """Those that it has by what it was told."""
        found: set[Lane] = set()
        for verb, lanes in self.told:
            found = found | set(lanes) if verb == "assigned" else found - set(lanes)
        return found

    @property
    def values(self) -> list[bytes | None]:
        """What it has read."""
        return [each for batch in self.batches for each in batch.payloads or ()]

    async def read(self, limit: Limit = AMPLE) -> Batch:
        """One batch, with records or without."""
        async with asyncio.timeout(PATIENCE):
            batch = await self.source.read(limit)
        assert batch is not None
        self.batches.append(batch)
        marks: Sequence[int] = batch.marks or ()
        self.records += [(batch.lane_of(index), offset) for index, offset in enumerate(marks)]
        self.stands |= {lane: at for lane, at in batch.positions.items() if at is not None}
        return batch

    async def take(self, count: int) -> list[bytes | None]:
        """The values of so many more records."""
        start = len(self.values)
        while len(self.values) < start + count:
            await self.read()
        return self.values[start:]

    async def begun(self, count: int = 1) -> None:
        """So many lanes are this one's, and it is known where they begin."""
        while len(self.stands) < count:
            await self.read()

    async def save(self, *, ack: bool = True) -> None:
        """As the engine does."""
        self._job.stored |= self.stands
        if ack:
            await self.source.ack(self.stands)

    async def failure(self) -> MstreamError:
        """The error that a read brings."""
        try:
            while True:
                await self.read()
        except MstreamError as error:
            return error

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Reads beside the body, and after errors that may pass."""

        async def reads() -> None:
            while True:
                try:
                    await self.read()
                except MstreamError as error:
                    self.errors.append(error)
                    if not error.retryable:
                        raise
                    await asyncio.sleep(0.05)
                except TimeoutError:
                    continue

        task = asyncio.create_task(reads())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error


async def until(holds: Callable[[], object], what: str) -> None:
    """Returns once it holds."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what) from None


def partition_of(lane: Lane) -> TopicPartition:
    topic, _, number = lane.rpartition("/")
    return TopicPartition(topic, int(number))


def add_partitions(server: KafkaServer, topic: str, count: int) -> None:
    """The topic has so many from now on."""
    (answer,) = server.admin().create_partitions([NewPartitions(topic, count)]).values()
    answer.result(20)


def delete_topic(server: KafkaServer, topic: str) -> None:
    """It goes, with everything in it."""
    (answer,) = server.admin().delete_topics([topic]).values()
    answer.result(20)


async def until_gone(server: KafkaServer, topic: str) -> None:
    """No broker knows it any more."""

    def is_gone() -> bool:
        return topic not in server.admin().list_topics(timeout=10).topics

    while not await asyncio.to_thread(is_gone):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.05)
