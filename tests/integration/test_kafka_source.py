"""Topics of a real broker as records: where partitions begin, what topics do meanwhile, what is refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # it is there
from structlog.testing import capture_logs

from mstream.domain.batch import Batch, concat
from mstream.errors import AccessDenied, PositionLost, ResourceMissing, Unreachable
from mstream.ports.roles import Limit
from mstream.providers.kafka.offsets import offset_in
from tests.integration.kafka_reading import Job, add_partitions, delete_topic, until, until_gone
from tests.servers.kafka import KafkaServer, KafkaTopics

pytestmark = pytest.mark.timeout(120)


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % each for each in range(first, first + count)]


def offsets(job: Job) -> dict[str, int | None]:
    return {lane: offset_in(position) for lane, position in job.stored.items()}


@pytest.fixture
def job(kafka_topics: KafkaTopics) -> Job:
    return Job(kafka_topics)


# ------------------------------------------------------------------------------------------------------------- topics
async def test_several_topics_by_name(job: Job) -> None:
    topics = [job.topics.create(each, 2) for each in ("a", "b", "c")]
    for each in topics:
        await job.produce(each, each.encode(), partition=1)

    async with job.member(f"{topics[0]}, {topics[1]}") as member:
        await member.begun(4)
        found = await member.take(2)
        assert member.lanes == {f"{each}/{number}" for each in topics[:2] for number in (0, 1)}

    assert sorted(found, key=str) == [each.encode() for each in topics[:2]]


async def test_a_topic_of_a_pattern_that_appears_later_is_read_from_its_beginning(job: Job) -> None:
    first = job.topics.create("p-first")
    await job.produce(first, b"old")
    async with job.member(f"^{job.topics.prefix}p-.*", start="latest") as member:
        await member.begun()
        await member.save()
        second = job.topics.create("p-second")
        await job.produce(second, b"early")

        assert await member.take(1) == [b"early"]
        assert member.records == [(f"{second}/0", 0)]


async def test_partitions_that_are_added_are_read_from_their_beginning(job: Job, running_kafka: KafkaServer) -> None:
    topic = job.topics.create("grows")
    await job.produce(topic, b"old")
    async with job.member(topic, start="latest") as member:
        await member.begun()
        add_partitions(running_kafka, topic, 3)
        await job.produce(topic, b"early", partition=2)

        assert await member.take(1) == [b"early"]


async def test_a_topic_that_is_not_there(job: Job) -> None:
    topic = f"{job.topics.prefix}absent"
    async with job.member(topic) as member:
        error = await member.failure()
    assert isinstance(error, ResourceMissing)
    assert topic in str(error)
    assert "on_missing_topic" in str(error)

    async with job.member(topic, on_missing_topic="wait") as member, member.going_on():
        await asyncio.sleep(1)
        job.topics.create("absent")
        await job.produce(topic, b"1")
        await until(lambda: member.values == [b"1"], "what was waited for is read")


async def test_a_topic_that_goes_while_it_is_read(job: Job, running_kafka: KafkaServer) -> None:
    topic = job.topics.create("goes")
    await job.produce(topic, b"1")
    async with job.member(topic) as member:
        await member.take(1)
        delete_topic(running_kafka, topic)
        error = await member.failure()

    assert isinstance(error, ResourceMissing)
    assert topic in str(error)


async def test_a_topic_that_may_be_missing_goes_before_its_messages_are_acknowledged(
    job: Job, running_kafka: KafkaServer
) -> None:
    topic = job.topics.create("gone")
    await job.produce(topic, *numbered(5))
    async with job.member(topic, on_missing_topic="wait") as member:
        await member.take(5)
        delete_topic(running_kafka, topic)
        await until_gone(running_kafka, topic)
        await member.save()
        assert member.source._consuming.error() is None


async def test_a_topic_of_a_pattern_goes_and_the_others_are_read_on(job: Job, running_kafka: KafkaServer) -> None:
    topics = [job.topics.create(each) for each in ("first", "second")]
    for each in topics:
        await job.produce(each, *numbered(5))
    async with job.member(f"^{job.topics.prefix}.*") as member, member.going_on():
        await until(lambda: len(member.values) == 10, "both topics are read")
        delete_topic(running_kafka, topics[0])
        await until_gone(running_kafka, topics[0])
        await asyncio.sleep(4)
        await job.produce(topics[1], b"on")
        await until(lambda: member.values[10:] == [b"on"], "the other topic is read on")


async def test_a_topic_that_is_made_anew_while_it_is_read_ends_at_a_lost_position(
    job: Job, running_kafka: KafkaServer
) -> None:
    topic = job.topics.create("anew")
    await job.produce(topic, *numbered(5))
    options: dict[str, Any] = {"on_missing_topic": "wait", "on_position_lost": "earliest"}
    async with job.member(topic, **options) as member, member.going_on():
        await until(lambda: len(member.values) == 5, "the first topic is read")
        await member.save()
        delete_topic(running_kafka, topic)
        await until_gone(running_kafka, topic)
        await until(lambda: not member.lanes, "the partition is taken away")
        job.topics.create("anew")
        await job.produce(topic, b"new", b"newer")
        await until(lambda: member.values[5:] == [b"new", b"newer"], "the second topic is read from its beginning")
        await member.save()

    assert offsets(job) == {f"{topic}/0": 2}


@pytest.mark.parametrize("is_running", [True, False], ids=["while it is read", "between two runs"])
async def test_another_topic_of_the_same_name_is_not_read_on_where_the_first_one_was(
    is_running: bool, job: Job, running_kafka: KafkaServer
) -> None:
    """It has such an offset too; the client itself notices nothing."""
    job.settings["topic.metadata.refresh.interval.ms"] = "300000"
    topic = job.topics.create("namesake", 2)
    await job.produce(topic, *numbered(3))
    options = {"on_position_lost": "earliest"}
    async with AsyncExitStack() as stack:
        member = await stack.enter_async_context(job.member(topic, **options))
        await member.take(3)
        await member.save()
        if not is_running:
            await stack.aclose()
        await another(job, topic, running_kafka)
        await Job(job.topics).produce(topic, *numbered(6, 100))
        if not is_running:
            member = await stack.enter_async_context(job.member(topic, **options))
        member.source._consuming.topic_ids.hurry()
        async with member.going_on():
            await until(lambda: member.values[-6:] == numbered(6, 100), "all of the second topic is read")
        await member.save()
    assert offsets(job)[f"{topic}/0"] == 6

    await another(job, topic, running_kafka)
    await Job(job.topics).produce(topic, *numbered(9, 200))
    async with job.member(topic) as member:
        error = await member.failure()
    assert isinstance(error, PositionLost)
    for each in (topic, "made anew", "offset 6", "on_position_lost"):
        assert each in str(error)
    assert member.values == []


async def another(job: Job, topic: str, server: KafkaServer) -> None:
    """Instead of the topic."""
    delete_topic(server, topic)
    await until_gone(server, topic)
    server.create_topic(topic, 2)


# ----------------------------------------------------------------------------------------------------- where it begins
async def times(job: Job, topic: str) -> None:
    """Three messages, of the seconds 100, 200 and 300, in partition 0; nothing in partition 1."""
    for seconds in (100, 200, 300):
        await job.produce(topic, b"%d" % seconds, timestamp=seconds * 1000)


def ago(seconds: int) -> int:
    return int(time.time()) - seconds


STARTS: dict[str, tuple[dict[str, Any], list[bytes]]] = {
    "by itself": ({}, [b"100", b"200", b"300"]),
    "earliest": ({"start": "earliest"}, [b"100", b"200", b"300"]),
    "latest": ({"start": "latest"}, []),
    "timestamp": ({"start": "timestamp", "start_timestamp": "1970-01-01T00:03:20Z"}, [b"200", b"300"]),
    "a timestamp between": ({"start": "timestamp", "start_timestamp": "1970-01-01T00:03:21Z"}, [b"300"]),
    "a timestamp of the future": ({"start": "timestamp", "start_timestamp": "2999-01-01T00:00:00Z"}, []),
    "the first offset": ({"start": "offsets", "start_offsets": {"{topic}/0": 0}}, [b"100", b"200", b"300"]),
    "offsets": ({"start": "offsets", "start_offsets": {"{topic}/0": 2}}, [b"300"]),
    "the end as an offset": ({"start": "offsets", "start_offsets": {"{topic}/0": 3}}, []),
    "back to now": ({"offset_seek_back_seconds": 0}, []),
    "back a little": ({"offset_seek_back_seconds": 60}, []),
    "back to the second": ({"offset_seek_back_seconds": -150}, [b"200", b"300"]),
    "back for ever": ({"offset_seek_back_seconds": 10_000_000_000}, [b"100", b"200", b"300"]),
}


@pytest.mark.parametrize("name", STARTS)
async def test_where_a_job_begins_counts_once(name: str, job: Job) -> None:
    """It is noted at once: a crash before the first save changes nothing, nor what comes meanwhile."""
    given, wanted = STARTS[name]
    topic = job.topics.create("starts", 2)
    await times(job, topic)
    options = dict(given)
    if "start_offsets" in options:
        options["start_offsets"] = {key.format(topic=topic): at for key, at in options["start_offsets"].items()}
    if (seconds := options.get("offset_seek_back_seconds", 0)) < 0:
        options["offset_seek_back_seconds"] = ago(-seconds)

    async with job.member(topic, **options) as member:
        await member.begun(2)
    # Nothing was saved, and nothing acknowledged.
    await job.produce(topic, b"new")
    await job.produce(topic, b"other", partition=1)
    async with job.member(topic, **options) as member:
        await member.begun(2)
        found = await member.take(len(wanted) + 2)

    assert [each for each in found if each != b"other"] == [*wanted, b"new"]
    assert b"other" in found


async def test_after_a_reset_the_options_count_again(job: Job) -> None:
    topic = job.topics.create("reset", 2)
    for partition in (0, 1):
        await job.produce(topic, b"1", b"2", partition=partition)
    async with job.member(topic) as member:
        await member.take(4)
        await member.save()
    assert await job.noted(f"{topic}/0", f"{topic}/1") == {f"{topic}/0": 2, f"{topic}/1": 2}

    job.stored, job.resets = {}, 1
    async with job.member(topic) as member:
        assert sorted(await member.take(4), key=str) == [b"1", b"1", b"2", b"2"]
        await member.save()
    # By hand to one place: the partition that was not named begins as the options say.
    job.stored, job.resets = {f"{topic}/0": {"next_offset": 1}}, 2
    async with job.member(topic, start="latest") as member:
        await member.begun()  # of the one that nobody has put anywhere
        await job.produce(topic, b"3", partition=1)
        assert sorted(await member.take(2), key=str) == [b"2", b"3"]


async def test_the_later_of_the_stored_position_and_the_groups_offset_counts(job: Job) -> None:
    topic = job.topics.create("later", 3)
    for partition in range(3):
        await job.produce(topic, *numbered(6), partition=partition)
    async with job.member(topic) as member:
        await member.take(18)
        await member.source.ack({f"{topic}/{each}": {"next_offset": 3} for each in range(3)})
    # As v0.47 has stored it one partition may be there alone.
    job.stored = {f"{topic}/0": {"next_offset": 5}, f"{topic}/1": {"next_offset": 2}}

    with capture_logs() as logs:
        async with job.member(topic) as member:
            await member.take(1 + 3 + 3)

    firsts: dict[str, int] = {}
    for lane, offset in member.records:
        firsts.setdefault(lane, offset)
    assert firsts == {f"{topic}/0": 5, f"{topic}/1": 3, f"{topic}/2": 3}
    ahead = [each for each in logs if each["event"] == "group_ahead_of_checkpoint"]
    assert [(each["lane"], each["group"], each["stored"]) for each in ahead] == [(f"{topic}/1", 3, 2)]
    behind = [each for each in logs if each["event"] == "group_behind_checkpoint"]
    assert [(each["lane"], each["group"], each["stored"]) for each in behind] == [(f"{topic}/0", 3, 5)]
    assert (await job.noted(f"{topic}/0"))[f"{topic}/0"] == 5


# -------------------------------------------------------------------------------------------------------- lost places
async def test_a_position_that_is_gone_is_never_passed_over_in_silence(job: Job) -> None:
    topic = job.topics.create("lost")
    lane = f"{topic}/0"
    await job.produce(topic, *numbered(8))
    await job.delete_before(lane, 5)
    for stored, seen in ((3, "3"), (99, "99")):
        job.stored = {lane: {"next_offset": stored}}
        async with job.member(topic) as member:
            error = await member.failure()
        assert isinstance(error, PositionLost)
        assert not error.retryable
        for each in (topic, "partition 0", f"offset {seen}", "reset", "on_position_lost"):
            assert each in str(error)


@pytest.mark.parametrize("strategy", ["cooperative-sticky", "range"])
async def test_a_lost_position_may_be_made_up_for(strategy: str, kafka_topics: KafkaTopics) -> None:
    """And other partitions are where they were."""
    job = Job(kafka_topics, **{"partition.assignment.strategy": strategy})
    topic = job.topics.create("lost", 3)
    lane = f"{topic}/0"
    for partition in range(3):
        await job.produce(topic, *numbered(8), partition=partition)
    await job.delete_before(lane, 5)
    job.stored = {lane: {"next_offset": 3}, f"{topic}/1": {"next_offset": 2}}
    async with job.member(topic, on_position_lost="earliest") as member:
        await member.take(3 + 6 + 8)
        await member.save()
    assert sorted(member.records) == sorted(
        [(lane, each) for each in range(5, 8)]
        + [(f"{topic}/1", each) for each in range(2, 8)]
        + [(f"{topic}/2", each) for each in range(8)]
    )
    assert offsets(job) == {f"{topic}/{each}": 8 for each in range(3)}

    job.stored[lane] = {"next_offset": 99}
    async with job.member(topic, on_position_lost="latest") as member:
        batch = Batch()
        while offset_in(batch.positions.get(lane)) != 8:
            batch = await member.read()
        await job.produce(topic, b"new")
        assert await member.take(1) == [b"new"]


# --------------------------------------------------------------------------------------------------------- what comes
async def test_records_are_what_the_messages_were(job: Job) -> None:
    topic = job.topics.create("columns")
    headers = [("a", b"1"), ("a", b"2"), ("raw", b"\xff"), ("none", None)]
    await job.produce(topic, b'{"n":1}', key=b"k\x00", headers=headers, timestamp=1_769_842_800_123)
    await job.produce(topic, None, key=b"k", timestamp=5)
    await job.produce(topic, b"")

    async with job.member(topic) as member:
        assert await member.take(3) == [b'{"n":1}', None, b""]

    batch = concat(member.batches)
    assert list(batch.keys or ()) == [b"k\x00", b"k", None]
    assert list(batch.times or ())[:2] == [1_769_842_800_123, 5]
    first = (batch.headers or [None])[0]
    assert first is not None
    assert dict(first) == {
        "a": "2",
        "raw": "\\xff",
        "none": "",
        "origin": "kafka",
        "topic": topic,
        "partition": "0",
        "offset": "0",
    }
    assert list(getattr(first, "raw", ())) == headers


async def test_lanes_that_are_paused_bring_nothing_and_others_go_on(job: Job) -> None:
    topic = job.topics.create("pauses", 2)
    lanes = [f"{topic}/{each}" for each in range(2)]
    for partition in (0, 1):
        await job.produce(topic, *numbered(10), partition=partition)
    async with job.member(topic) as member:
        while not member.records:
            await member.read(Limit(records=1))
        # Some of both lie in the backlog by now.
        await member.source.pause([lanes[0]])
        read = sum(lane == lanes[0] for lane, _ in member.records)
        while sum(lane == lanes[1] for lane, _ in member.records) < 10:
            await member.read(Limit(records=1))
        await job.produce(topic, b"more")
        await job.produce(topic, b"more", partition=1)
        await member.take(1)
        assert sum(lane == lanes[0] for lane, _ in member.records) == read
        behind = await member.source.lag()
        assert behind[lanes[0]].records == 11 - read

        await member.source.resume([lanes[0]])
        await member.take(11 - read)

    for lane in lanes:
        assert [offset for each, offset in member.records if each == lane] == list(range(11))


async def test_how_far_behind_it_is(job: Job) -> None:
    topic = job.topics.create("lags", 2)
    lane, quiet = f"{topic}/0", f"{topic}/1"
    await job.produce(topic, *numbered(10), timestamp=int(time.time() * 1000) - 60_000)
    async with job.member(topic) as member:
        while not member.records:
            await member.read(Limit(records=4))
        some = await member.source.lag()
        await member.take(6)
        none = await member.source.lag()
        await member.source.pause([lane])
        await job.produce(topic, *numbered(3))
        grown = await member.source.lag()

    assert some[lane].records == 6
    seconds = some[lane].seconds
    assert seconds is not None
    assert 60 <= seconds < 120
    assert (none[lane].records, none[lane].seconds) == (0, 0.0)
    assert grown[lane].records == 3
    assert grown[quiet].records == 0


# ------------------------------------------------------------------------------------------------------ what is refused
async def test_a_wrong_password_is_access_denied(job: Job, running_kafka: KafkaServer) -> None:
    topic = job.topics.create("closed")
    wrong = {**running_kafka.sasl, "sasl.password": "not-the-password"}
    async with job.member(topic, settings=wrong) as member:
        error = await member.failure()

    assert isinstance(error, AccessDenied)
    assert "sasl.password" in str(error)
    assert "not-the-password" not in str(error)


async def test_who_may_not_read_is_told_what_is_missing(job: Job, running_kafka: KafkaServer) -> None:
    topic = job.topics.create("ruled")
    async with job.member(topic, settings=running_kafka.sasl) as member:
        error = await member.failure()
    assert isinstance(error, AccessDenied)
    assert not error.retryable
    assert "AUTHORIZATION_FAILED" in str(error)
    assert "grant" in str(error)

    running_kafka.allow(topic, AclOperation.READ, AclOperation.DESCRIBE)
    async with job.member(topic, settings=running_kafka.sasl) as member:
        error = await member.failure()
    assert isinstance(error, AccessDenied)
    assert "GROUP_AUTHORIZATION_FAILED" in str(error)


# ---------------------------------------------------------------------------------------------------------- bad times
async def test_a_broker_that_crashes(job: Job, kafka_server: KafkaServer) -> None:
    """It is waited for and nothing is missing; only who closes does not wait."""
    topic = job.topics.create("crash", 2)
    await job.produce(topic, *numbered(500))
    async with job.member(topic) as member, member.going_on():
        await until(lambda: len(member.values) == 500, "everything is read")
        await member.save()
        async with closing(job.topics, topic) as closes:
            kafka_server.crash()
            await until(lambda: member.errors, "the reader hears of it")
            await closes()
        kafka_server.start()
        await job.produce(topic, *numbered(500, 500))
        await until(lambda: len(member.values) >= 1000, "it goes on")
        await asyncio.sleep(0.2)

    assert all(each.retryable for each in member.errors)
    assert member.values == numbered(1000)
    await until(lambda: not any(each.name == "kafka-consumer" for each in threading.enumerate()), "no thread is left")


@asynccontextmanager
async def closing(topics: KafkaTopics, topic: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Sources that have nobody to say goodbye to: one with an acknowledgement on its way, one that has not joined."""
    job = Job(topics)
    async with AsyncExitStack() as stack:
        member = await stack.enter_async_context(job.member(topic))
        await member.take(500)

        async def closes() -> None:
            acking = asyncio.create_task(member.save())
            await asyncio.sleep(0.3)
            began = time.monotonic()
            await stack.aclose()
            assert time.monotonic() - began < 10
            await asyncio.wait({acking})
            assert isinstance(acking.exception(), Unreachable)
            async with Job(topics).member("anything") as other:
                assert isinstance(await other.failure(), Unreachable)
                began = time.monotonic()
            assert time.monotonic() - began < 10

        yield closes
