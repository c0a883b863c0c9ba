"""Members of one group on a real broker: partitions that move, members that are stuck, strategies and protocols."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mstream.domain.checkpoint import Lane
from mstream.foundation.concurrency import finish_all
from mstream.ports.roles import Limit
from tests.integration.kafka_reading import OF_CLASSIC_GROUPS, Job, Member, until
from tests.servers.kafka import KafkaTopics

pytestmark = pytest.mark.timeout(120)

PARTITIONS = 6
#: As short as the broker of the tests takes it.
IMPATIENT = {"session.timeout.ms": "6000", "max.poll.interval.ms": "6500"}


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % each for each in range(first, first + count)]


def lanes_of(topic: str, count: int = PARTITIONS) -> set[Lane]:
    return {f"{topic}/{each}" for each in range(count)}


async def feed(job: Job, topic: str, done: asyncio.Event) -> int:
    """More and more in every partition; answers how many there are in each."""
    count = 0
    while not done.is_set():
        for partition in range(PARTITIONS):
            await job.produce(topic, *numbered(20, count), partition=partition)
        count += 20
        await asyncio.sleep(0.02)
    return count


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
async def test_partitions_move_and_nothing_is_lost_or_read_twice(strategy: str, kafka_topics: KafkaTopics) -> None:
    """Where everything that was read is saved before a partition is given up."""
    job = Job(kafka_topics, **{"partition.assignment.strategy": strategy})
    topic = job.topics.create("moves", PARTITIONS)
    done = asyncio.Event()
    feeding = asyncio.create_task(feed(job, topic, done))
    members: list[Member] = []

    async def joins(number: int, leaves: asyncio.Event) -> None:
        async with job.member(topic, number=number) as member:
            members.append(member)
            async with member.going_on():
                await leaves.wait()
            await member.save()

    first, second, third = asyncio.Event(), asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(joins(0, first))]
    await until(lambda: members and len(members[0].records) > 100, "the first one reads")
    tasks.append(asyncio.create_task(joins(1, second)))
    await until(lambda: len(members) == 2 and len(members[1].records) > 100, "so does the second")
    tasks.append(asyncio.create_task(joins(2, third)))
    await until(lambda: len(members) == 3 and len(members[2].records) > 100, "and the third")
    first.set()
    await until(lambda: not (members[1].lanes & members[2].lanes), "two of them share")
    await until(lambda: members[1].lanes | members[2].lanes == lanes_of(topic), "the first one's are theirs")
    second.set()
    await until(lambda: members[2].lanes == lanes_of(topic), "the last one has them all")
    done.set()
    count = await feeding
    await until(lambda: sum(len(each.records) for each in members) >= count * PARTITIONS, "everything is read")
    third.set()
    await finish_all(*tasks)

    read = Counter(record for member in members for record in member.records)
    assert {each: times for each, times in read.items() if times > 1} == {}
    assert sorted(read) == [(lane, offset) for lane in sorted(lanes_of(topic)) for offset in range(count)]
    assert any(verb == "revoked" for verb, _ in members[0].told)
    assert not any(verb == "lost" for member in members for verb, _ in member.told)
    # What was saved of them is what the group was told.
    assert await job.noted(*lanes_of(topic)) == dict.fromkeys(lanes_of(topic), count)


async def stuck(topics: KafkaTopics) -> None:
    """A reader that nobody reads from keeps its place, and takes little."""
    job = Job(topics, **IMPATIENT, **{"queued.max.messages.kbytes": "1024", "fetch.max.bytes": "1000000"})
    topic = job.topics.create("stuck")
    line = b"x" * 10_000
    for _ in range(30):
        await job.produce(topic, *[line] * 200)
    async with job.member(topic) as member:
        await member.read(Limit(records=1, bytes=100_000))
        before = resident()
        await asyncio.sleep(9)
        grown = resident() - before
        told = list(member.told)
        await member.take(6000 - len(member.records))

    assert told == [("assigned", [f"{topic}/0"])]
    assert grown < 40_000_000
    assert member.records == [(f"{topic}/0", each) for each in range(6000)]


async def late(topics: KafkaTopics) -> None:
    """Partitions that the group thinks nobody reads are lost: what is not saved comes again, nothing is left out."""
    job = Job(topics, **IMPATIENT)
    topic = job.topics.create("late")
    await job.produce(topic, *numbered(10))
    async with job.member(topic) as member:
        await member.take(10)
        await member.save()
        await job.produce(topic, *numbered(10, 10))
        await member.take(10)
        # Its thread is busy for longer than the group waits.
        await member.source._consuming.call(lambda consumer, membership: time.sleep(8))
        async with member.going_on():
            await until(lambda: len(member.records) >= 30, "it has come back")

    assert [verb for verb, _ in member.told] == ["assigned", "lost", "assigned"]
    assert [offset for _, offset in member.records] == [*range(20), *range(10, 20)]


async def newer(topics: KafkaTopics) -> None:
    """The protocol in which the broker shares partitions out."""
    job = Job(topics)
    job.settings = {key: value for key, value in job.settings.items() if key not in OF_CLASSIC_GROUPS}
    job.settings["group.protocol"] = "consumer"
    topic = job.topics.create("newer", 2)
    for partition in (0, 1):
        await job.produce(topic, *numbered(50), partition=partition)
    async with job.member(topic) as one, one.going_on():
        await until(lambda: len(one.records) == 100, "everything is read")
        async with job.member(topic, number=1) as other, other.going_on():
            await until(lambda: len(one.lanes) == len(other.lanes) == 1, "two of them share")
            for partition in (0, 1):
                await job.produce(topic, *numbered(50, 50), partition=partition)
            await until(lambda: len(one.records) + len(other.records) >= 200, "everything is read")

    read = Counter([*one.records, *other.records])
    assert read == {(lane, offset): 1 for lane in lanes_of(topic, 2) for offset in range(100)}


async def test_what_members_are_in_for_when_time_passes(kafka_topics: KafkaTopics) -> None:
    """At the same time, as they mostly wait."""
    await finish_all(stuck(kafka_topics), late(kafka_topics), newer(kafka_topics))


async def test_a_static_member_that_comes_back_moves_no_partitions(job: Job) -> None:
    topic = job.topics.create("static", 2)
    options: dict[str, Any] = {"static_membership": True}
    async with job.member(topic, number=1, **options) as other, other.going_on():
        await until(lambda: len(other.lanes) == 2, "it has all of them")
        async with job.member(topic, number=0, **options) as member, member.going_on():
            await until(lambda: len(member.lanes) == len(other.lanes) == 1, "two of them share")
        told = list(other.told)
        await job.produce(topic, b"1")
        await job.produce(topic, b"1", partition=1)
        async with job.member(topic, number=0, **options) as member, member.going_on():
            await until(lambda: member.records and other.records, "both go on")
            (answer,) = job.topics.server.admin().describe_consumer_groups([job.group]).values()
            group = await asyncio.to_thread(answer.result, 20)

        assert other.told == told
        names = {each.group_instance_id for each in group.members}
        assert names == {f"mstream-{job.topics.prefix}-{each}" for each in (0, 1)}


@pytest.fixture
def job(kafka_topics: KafkaTopics) -> Job:
    return Job(kafka_topics)


def resident() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
