"""What a source tells a sink of its group."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from mstream.providers.kafka.handles import GroupHandle, member_of


def told(generation: int, member: bytes) -> bytes:
    return b"CGMDv2:" + generation.to_bytes(4, "little", signed=True) + b"orders\0" + member + b"\0\1"


def test_a_member_of_a_generation_is_known() -> None:
    assert member_of(told(7, b"rdkafka-1")) == (7, "rdkafka-1")
    assert GroupHandle(group=told(0, b"m"), note=None).has_generation


@pytest.mark.parametrize(("generation", "member"), [(-1, b""), (-1, b"rdkafka-1"), (3, b"")])
def test_between_two_generations_it_is_nobodys(generation: int, member: bytes) -> None:
    assert not GroupHandle(group=told(generation, member), note=None).has_generation


def test_a_client_that_has_joined_no_group_says_so() -> None:
    consumer = Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "orders", "log_level": 0})
    try:
        assert member_of(consumer.consumer_group_metadata()) is None
    finally:
        consumer.close()


def test_what_is_written_in_another_way_is_refused() -> None:
    with pytest.raises(ValueError, match="not known"):
        member_of(b"CGMDv9:...")


def test_positions_become_offsets_with_the_note() -> None:
    handle = GroupHandle(group=told(1, b"m"), note="mstream resets=2")

    (found,) = handle.offsets({"a/b/3": {"next_offset": 5}, "x": None})

    assert (found.topic, found.partition, found.offset, found.metadata) == ("a/b", 3, 5, "mstream resets=2")
