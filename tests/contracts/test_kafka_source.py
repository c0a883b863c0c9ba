"""The kafka source keeps to the contract."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.contracts.kafka_source_harness import KafkaSourceHarness
from tests.contracts.source_checks import EVERY_SOURCE, NEEDS, SLOW, check_prints_nothing_secret
from tests.servers.kafka import KafkaTopics

pytestmark = pytest.mark.any_kafka

Check = Callable[[KafkaSourceHarness], Awaitable[None]]


def named(check: Check) -> str:
    return check.__name__.removeprefix("check_")


@pytest.fixture
def harness(kafka_topics: KafkaTopics) -> KafkaSourceHarness:
    return KafkaSourceHarness(kafka_topics)


@pytest.mark.parametrize("check", EVERY_SOURCE, ids=named)
async def test_the_kafka_source(check: Check, harness: KafkaSourceHarness, kafka_topics: KafkaTopics) -> None:
    need = NEEDS.get(check)
    if need and not getattr(harness, need):
        pytest.skip(f"a topic has no such thing ({need})")
    if check is check_prints_nothing_secret and not kafka_topics.server.is_apache:
        pytest.skip("Tansu does not say that an offset is beyond the end")

    await check(harness)


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW, ids=named)
async def test_the_kafka_source_with_much_to_carry(check: Check, harness: KafkaSourceHarness) -> None:
    await check(harness)
