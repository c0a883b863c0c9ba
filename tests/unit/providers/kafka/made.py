"""Messages as the client hands them out."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Message


def message(
    offset: int = 0,
    value: bytes | None = b"v",
    *,
    topic: str = "t",
    partition: int = 0,
    key: bytes | None = None,
    headers: list[tuple[str, bytes | None]] | None = None,
    timestamp: tuple[int, int] = (1, 1000),
) -> Message:
    given: Any = {"headers": headers, "key": key, "value": value}
    return Message(topic=topic, partition=partition, offset=offset, timestamp=timestamp, **given)


def messages(count: int, first: int = 0, **same: Any) -> list[Message]:
    return [message(each, **same) for each in range(first, first + count)]
