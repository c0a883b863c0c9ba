"""Records and the offsets of their source's group in one transaction, on a real broker."""

from __future__ import annotations

import pytest

from tests.contracts.kafka_transaction_checks import CHECKS, Check, Shop
from tests.servers.kafka import KafkaTopics

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("check", CHECKS)
async def test_a_transaction_with_a_group(check: Check, kafka_topics: KafkaTopics) -> None:
    await check(Shop.of(kafka_topics))
