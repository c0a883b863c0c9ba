"""A cluster as `services test`, `services resources` and `services schema` see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import bson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AclOperation

from mstream.errors import ResourceMissing
from mstream.ports.inspection import Inspection
from mstream.ports.probe import Outcome, ProbeStep
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from tests.contracts.kafka_harness import Quiet
from tests.servers.kafka import PASSWORD, KafkaTopics
from tests.servers.process import free_port

OK, FAILED, SKIPPED, WARNING = Outcome.OK, Outcome.FAILED, Outcome.SKIPPED, Outcome.WARNING
STEPS = ["settings", "names", "tcp", "tls", "authentication", "brokers", "privileges"]


async def probed(**options: str) -> dict[str, ProbeStep]:
    assert PROVIDER.probe is not None
    steps = await PROVIDER.probe(KafkaConfig.model_validate({"name": "bus", **options}))
    assert [each.name for each in steps] == STEPS
    assert not [each for each in steps if PASSWORD in each.detail or "hunter2" in each.detail]
    return {each.name: each for each in steps}


def outcomes(steps: dict[str, ProbeStep]) -> list[Outcome]:
    return [each.outcome for each in steps.values()]


@asynccontextmanager
async def inspection(bootstrap: str) -> AsyncIterator[Inspection]:
    assert PROVIDER.inspection is not None
    async with PROVIDER.connect(KafkaConfig.model_validate({"name": "bus", "bootstrap.servers": bootstrap})) as live:
        yield PROVIDER.inspection(live)


def write(topics: KafkaTopics, topic: str, *values: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": topics.bootstrap, "logger": Quiet()})
    for each in values:
        producer.produce(topic, each)
    assert producer.flush(30) == 0


async def test_a_cluster_that_works_is_told_step_by_step(kafka_topics: KafkaTopics) -> None:
    kafka_topics.create("orders")
    steps = await probed(**{"bootstrap.servers": kafka_topics.bootstrap, "group.id": "readers"})

    assert outcomes(steps) == [OK, OK, OK, SKIPPED, SKIPPED, OK, OK]
    assert steps["settings"].detail == kafka_topics.bootstrap
    assert "may be read" in steps["privileges"].detail


async def test_a_user_is_told_what_it_may_do(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    kafka_topics.server.allow(topic, AclOperation.WRITE, AclOperation.READ)
    steps = await probed(**kafka_topics.server.sasl, **{"group.id": "not-allowed"})

    assert outcomes(steps) == [OK, OK, OK, SKIPPED, OK, OK, WARNING]
    assert "the group may not be used" in steps["privileges"].detail


async def test_a_wrong_password_is_told_where_it_belongs(kafka_topics: KafkaTopics) -> None:
    steps = await probed(**{**kafka_topics.server.sasl, "sasl.password": "hunter2"})

    assert outcomes(steps) == [OK, OK, OK, SKIPPED, FAILED, SKIPPED, SKIPPED]
    assert "sasl.password" in steps["authentication"].detail


async def test_a_broker_that_wants_a_user_is_told(kafka_topics: KafkaTopics) -> None:
    steps = await probed(**{"bootstrap.servers": kafka_topics.server.sasl["bootstrap.servers"]})

    assert steps["brokers"].outcome is FAILED
    assert "security.protocol" in steps["brokers"].advice


async def test_a_broker_that_speaks_no_tls_is_told(kafka_topics: KafkaTopics) -> None:
    steps = await probed(**{"bootstrap.servers": kafka_topics.bootstrap, "security.protocol": "ssl"})

    assert outcomes(steps) == [OK, OK, OK, FAILED, SKIPPED, SKIPPED, SKIPPED]


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        ({"bootstrap.servers": "nowhere.invalid:9092"}, "names"),
        ({"bootstrap.servers": ""}, "settings"),
        ({"bootstrap.servers": "127.0.0.1:1", "linger.ms": "soon"}, "settings"),
    ],
)
async def test_what_fails_first_is_the_last_that_is_tried(options: dict[str, str], failed: str) -> None:
    steps = await probed(**options)

    at = STEPS.index(failed)
    assert outcomes(steps)[at:] == [FAILED, *[SKIPPED] * (len(STEPS) - at - 1)]


async def test_a_broker_of_several_that_does_not_answer_is_a_warning(kafka_topics: KafkaTopics) -> None:
    steps = await probed(**{"bootstrap.servers": f"127.0.0.1:{free_port()},{kafka_topics.bootstrap},nowhere.invalid"})

    assert (steps["names"].outcome, steps["tcp"].outcome, steps["brokers"].outcome) == (WARNING, WARNING, OK)


async def test_topics_come_by_name_without_those_of_kafka_itself(kafka_topics: KafkaTopics) -> None:
    names = [kafka_topics.create(each) for each in ("b", "a")]
    mine: list[str] = []
    async with inspection(kafka_topics.bootstrap) as found, asyncio.timeout(30):
        while len(mine) < len(names):  # a broker learns of a topic from the controller
            resources = await found.resources()
            mine = [each.name for each in resources if each.name.startswith(kafka_topics.prefix)]

    assert mine == sorted(names)
    assert {each.kind for each in resources} == {"topic"}
    assert not [each for each in resources if each.name.startswith("__")]


async def test_newest_messages_of_all_partitions_are_looked_at(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders", partitions=3)
    write(kafka_topics, topic, *[b'{"old":1}'] * 300)
    write(kafka_topics, topic, *[b'{"n":1}'] * 100, *[b'{"n":"x"}'] * 100, *[None, b"\xff"] * 5)
    async with inspection(kafka_topics.bootstrap) as found:
        variants = await found.variants(topic, sample=60, shows_values=False)

    assert sum(each.count for each in variants) <= 60
    assert all("n" in each.schema["properties"] or "old" in each.schema["properties"] for each in variants)


async def test_messages_in_bson_are_looked_at_too(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    write(kafka_topics, topic, *[bson.encode({"b": 1})] * 3)
    async with inspection(kafka_topics.bootstrap) as found:
        (variant,) = await found.variants(topic, sample=10, shows_values=False)

    assert variant.count == 3
    assert variant.schema["properties"] == {"b": {"type": "integer"}}


async def test_a_topic_without_documents_or_that_is_not_there_is_told(kafka_topics: KafkaTopics) -> None:
    empty = kafka_topics.create("empty")
    async with inspection(kafka_topics.bootstrap) as found:
        with pytest.raises(ResourceMissing, match="no message in JSON or BSON"):
            await found.variants(empty, sample=10, shows_values=False)
        with pytest.raises(ResourceMissing, match="services resources"):
            await found.variants("nowhere", sample=10, shows_values=False)
