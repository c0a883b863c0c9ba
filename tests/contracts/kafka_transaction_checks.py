"""What a sink must keep that commits the places of its source's group with the records, on a real broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self

import pytest
from confluent_kafka import Consumer, ConsumerGroupState, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from mstream.domain.batch import Batch, concat
from mstream.domain.connector import SinkRef, SourceRef
from mstream.errors import GuaranteeUnavailable, RecordError, ServiceError
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.handles import GroupHandle
from mstream.providers.kafka.sink import KafkaSink
from mstream.providers.kafka.source import KafkaSource
from tests.contracts.lanes import NoLanes
from tests.servers.kafka import KafkaTopics


@dataclass
class Shop:
    """A job's topics; its roles are opened as a run does it."""

    topics: KafkaTopics
    job: str
    source: str
    sink: str
    config: KafkaConfig

    @classmethod
    def of(cls, topics: KafkaTopics) -> Self:
        """One of its own on that broker."""
        config = KafkaConfig.model_validate({"name": "bus", "bootstrap.servers": topics.bootstrap})
        source, sink = topics.create("in"), topics.create("out", **{"max.message.bytes": "100000"})
        return cls(topics, f"{topics.prefix}job", source, sink, config)

    @asynccontextmanager
    async def writer(self, member: int = 0) -> AsyncIterator[KafkaSink]:
        """The sink alone, fenced."""
        assert PROVIDER.sink is not None
        ref = SinkRef.model_validate({"service_name": "bus", "resource": self.sink})
        options = role_options(PROVIDER.sink.options, self.config, ref)
        async with PROVIDER.connect(self.config) as live, PROVIDER.sink.open(live, ref, options) as sink:
            assert isinstance(sink, KafkaSink)
            await self.fence(sink, member)
            yield sink

    @asynccontextmanager
    async def opened(self, member: int = 0) -> AsyncIterator[tuple[KafkaSource, Any]]:
        """Sink first, then the source."""
        assert PROVIDER.source is not None
        ref = SourceRef.model_validate({"service_name": "bus", "resource": self.source, "input_encoding": "json"})
        options = role_options(PROVIDER.source.options, self.config, ref)
        resume = Resume(job=self.job, member=member, are_copies=True)
        async with (
            self.writer(member) as sink,
            PROVIDER.connect(self.config) as live,
            PROVIDER.source.open(live, ref, options, resume, NoLanes()) as source,
        ):
            assert isinstance(source, KafkaSource)
            yield source, self.wrapped(sink, source)

    async def fence(self, sink: KafkaSink, member: int) -> None:
        """As a run does it; wrong ones do it otherwise."""
        await sink.fence(self.job, member)

    def wrapped(self, sink: KafkaSink, source: KafkaSource) -> Any:
        """The sink itself; wrong ones are made here."""
        return sink

    def fill(self, *values: bytes) -> None:
        """Messages in the source, all of one key."""
        producer = Producer({"bootstrap.servers": self.topics.bootstrap})
        for each in values:
            producer.produce(self.source, each, key=b"k")
        if producer.flush(30):
            raise TimeoutError("the source was not filled")

    def there(self, isolation: str = "read_committed") -> list[bytes | None]:
        """What a reader sees."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.topics.bootstrap,
                "group.id": "looking",
                "isolation.level": isolation,
                "enable.partition.eof": "true",
            }
        )
        consumer.assign([TopicPartition(self.sink, 0, 0)])
        found: list[bytes | None] = []
        try:
            while (message := consumer.poll(20)) is not None and message.error() is None:
                found.append(message.value())
        finally:
            consumer.close()
        return found

    def until_members(self, count: int) -> None:
        """Returns once the group has so many members and is at rest."""
        admin = AdminClient({"bootstrap.servers": self.topics.bootstrap})
        name = f"mstream-{self.job}"
        for _ in range(400):
            found = admin.describe_consumer_groups([name])[name].result(20)
            if found.state is ConsumerGroupState.STABLE and len(found.members) == count:
                return
            time.sleep(0.1)
        raise TimeoutError(found.state, len(found.members))

    def noted(self) -> int:
        """What the group keeps; below 0: nothing."""
        consumer = Consumer({"bootstrap.servers": self.topics.bootstrap, "group.id": f"mstream-{self.job}"})
        try:
            (found,) = consumer.committed([TopicPartition(self.source, 0)], 20)
            return int(found.offset)
        finally:
            consumer.close()


async def taken(source: KafkaSource, count: int) -> list[Batch]:
    """Batches with so many records in sum."""
    batches: list[Batch] = []
    async with asyncio.timeout(40):
        while sum(map(len, batches)) < count:
            batch = await source.read(Limit(records=2))
            assert batch is not None
            batches.append(batch)
    return batches


async def pending(source: KafkaSource, batches: list[Batch]) -> PendingCheckpoint:
    """What a run would have the sink commit with them."""
    positions = {lane: at for each in batches for lane, at in each.positions.items()}
    return PendingCheckpoint(positions=positions, entries=(), source_handle=await source.handle())


async def check_records_and_offsets_are_there_together(shop: Shop) -> None:
    """Neither without the other, and the source goes on behind them."""
    shop.fill(b"1", b"2", b"3")
    async with shop.opened() as (source, sink):
        batches = await taken(source, 3)
        assert await asyncio.to_thread(shop.noted) == 0, "where it began is noted at once"

        assert await sink.write_with(batches, await pending(source, batches)) == ()

    assert shop.there() == [b"1", b"2", b"3"]
    assert shop.noted() == 3
    async with shop.opened() as (source, sink):
        shop.fill(b"4")
        assert [each.payloads for each in await taken(source, 1)] == [[b"4"]]


async def check_positions_alone_are_committed_too(shop: Shop) -> None:
    """A transaction without records."""
    shop.fill(b"1")
    async with shop.opened() as (source, sink):
        batches = await taken(source, 1)
        empty = [each.head(0) for each in batches]

        assert await sink.write_with(empty, await pending(source, batches)) == ()

    assert shop.there() == []
    assert shop.noted() == 1


async def check_a_record_that_is_refused_is_told_and_nothing_is_there(shop: Shop) -> None:
    """Records that the client refuses."""
    large = b"x" * 200_000
    shop.fill(b"1", b"2", large, b"4")
    async with shop.opened() as (source, sink):
        batches = await taken(source, 4)
        carried = await pending(source, batches)

        failures = await sink.write_with(batches, carried)

        assert [each.index for each in failures] == [2]
        assert isinstance(failures[0].error, RecordError)
        assert not failures[0].error.retryable
        assert await asyncio.to_thread(shop.there) == []
        assert await asyncio.to_thread(shop.noted) == 0
        rest = [batches[0], batches[1].without([0])]
        assert await sink.write_with(rest, carried) == ()

    assert shop.there() == [b"1", b"2", b"4"]
    assert shop.noted() == 4


async def check_who_is_fenced_commits_nothing(shop: Shop) -> None:
    """The run that was opened later has the member."""
    shop.fill(b"1", b"2")
    async with shop.opened() as (source, sink):
        batches = await taken(source, 2)
        carried = await pending(source, batches)
        async with shop.writer():
            with pytest.raises(ServiceError) as refused:
                await sink.write_with(batches, carried)

            assert await asyncio.to_thread(shop.there) == []
    assert refused.value.retryable


async def check_another_generation_of_the_group_commits_nothing(shop: Shop) -> None:
    """Partitions may have another reader by now."""
    shop.fill(b"1", b"2")
    async with shop.opened() as (source, sink):
        batches = await taken(source, 2)
        old = await pending(source, batches)
        async with shop.opened(member=1):
            await asyncio.to_thread(shop.until_members, 2)

            with pytest.raises(ServiceError) as refused:
                await sink.write_with(batches, old)

            assert refused.value.retryable
            assert await asyncio.to_thread(shop.there) == []
            assert await asyncio.to_thread(shop.noted) == 0
            assert await sink.write_with(batches, await pending(source, batches)) == ()

    assert shop.there() == [b"1", b"2"]


async def check_what_a_killed_writer_has_left_open_is_given_up_at_once(shop: Shop) -> None:
    """Readers would have to wait for it."""
    shop.fill(b"1")
    left = Producer(
        {
            "bootstrap.servers": shop.topics.bootstrap,
            "transactional.id": f"mstream-{shop.job}-0",
            "transaction.timeout.ms": "600000",
        }
    )
    left.init_transactions(30)
    left.begin_transaction()
    left.produce(shop.sink, b"never")
    left.flush(30)

    async with shop.opened() as (source, sink):
        batches = await taken(source, 1)
        assert await sink.write_with(batches, await pending(source, batches)) == ()

    assert shop.there() == [b"1"]


async def check_a_commit_without_a_group_is_refused(shop: Shop) -> None:
    """There is nothing to commit the positions in."""
    async with shop.opened() as (_, sink):
        with pytest.raises(GuaranteeUnavailable, match="no group in this cluster"):
            await sink.write_with([], PendingCheckpoint(positions={}, entries=()))


async def check_what_the_broker_alone_refuses_is_told_without_its_neighbours(shop: Shop) -> None:
    """It refuses whole requests."""
    shop.sink = shop.topics.create("compacted", **{"cleanup.policy": "compact"})
    shop.fill(b"1", b"2", b"3", b"4")
    async with shop.opened() as (source, sink):
        batches = await taken(source, 4)
        # A compacted topic takes no message without a key.
        keys = [b"k", b"k", None, b"k"]
        one = replace(concat(batches), keys=keys)
        carried = await pending(source, batches)

        failures = await sink.write_with([one], carried)

        assert [each.index for each in failures] == [2]
        assert isinstance(failures[0].error, RecordError)
        assert await asyncio.to_thread(shop.noted) == 0
        assert await sink.write_with([one.without([2])], carried) == ()

    assert shop.there() == [b"1", b"2", b"4"]
    assert shop.noted() == 4


async def check_who_is_no_member_at_the_moment_commits_nothing(shop: Shop) -> None:
    """A group takes what nobody commits in a transaction, whoever has the partitions by then."""
    shop.fill(b"1")
    outside = Consumer({"bootstrap.servers": shop.topics.bootstrap, "group.id": f"mstream-{shop.job}"})
    async with shop.opened() as (source, sink):
        batches = await taken(source, 1)
        handle = GroupHandle(group=outside.consumer_group_metadata(), note=None)

        with pytest.raises(ServiceError, match="joining its group again") as refused:
            await sink.write_with(batches, replace(await pending(source, batches), source_handle=handle))

        assert refused.value.retryable
        assert await asyncio.to_thread(shop.noted) == 0
    outside.close()
    assert shop.there() == []


Check = Callable[[Shop], Awaitable[None]]
CHECKS: tuple[Check, ...] = (
    check_records_and_offsets_are_there_together,
    check_positions_alone_are_committed_too,
    check_a_record_that_is_refused_is_told_and_nothing_is_there,
    check_who_is_fenced_commits_nothing,
    check_another_generation_of_the_group_commits_nothing,
    check_what_a_killed_writer_has_left_open_is_given_up_at_once,
    check_a_commit_without_a_group_is_refused,
    check_what_the_broker_alone_refuses_is_told_without_its_neighbours,
    check_who_is_no_member_at_the_moment_commits_nothing,
)
