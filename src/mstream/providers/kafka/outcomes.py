"""What became of the records of a batch: refused for good, to be written again, or written; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, Message

from mstream.domain.batch import Batch
from mstream.errors import MstreamError
from mstream.ports.roles import Failure

from .faults import OF_A_RECORD, Fault, fault_of
from .records import Messages

#: Bytes that a batch of Kafka's has beside its records, and a record beside key, value and headers, at most.
_AROUND: Final = 61 + 36
_AROUND_HEADER: Final = 10

#: Makes our error for one of the client's and the topic that it is about.
ErrorOf = Callable[[Any, str], MstreamError]


@dataclass(slots=True)
class Outcome:
    """By index in the batch."""

    refused: dict[int, MstreamError] = field(default_factory=dict)
    again: dict[int, MstreamError] = field(default_factory=dict)


def outcome_of(
    messages: Messages,
    failed: Sequence[tuple[KafkaError, Message]],
    limits: Mapping[str, int | None],
    error_of: ErrorOf,
    *,
    is_exact: bool = False,
    never_sent: Collection[int] = (),
) -> Outcome:
    """What the reports of failed messages say about their records; of a request that is too large it is judged."""
    found = Outcome()
    too_large: dict[str, list[int]] = defaultdict(list)
    for index, error in told_apart(messages, failed, never_sent):
        topic = topic_of(messages, index)
        fault = fault_of(error)
        ours = error_of(error, topic)
        if fault is Fault.TOO_LARGE and not is_exact:
            too_large[topic].append(index)
        (found.refused if fault in OF_A_RECORD else found.again)[index] = ours
    for topic, indexes in too_large.items():
        for index in set(indexes) - _guilty(messages, indexes, limits.get(topic)):
            found.again[index] = found.refused.pop(index)
    return found


def with_followers(
    batch: Batch, keys: Sequence[bytes | None] | None, again: Mapping[int, MstreamError], refused: Mapping[int, Any]
) -> list[Failure]:
    """These records, and what must not stand before them: later ones of the same key, or without key of the lane."""
    if not again:
        return []
    failures: list[Failure] = []
    errors: dict[object, MstreamError] = {}
    for index in range(len(batch)):
        if index in refused:
            continue
        key = None if keys is None else keys[index]
        mark: object = batch.lane_of(index) if key is None else key
        if index in again:
            errors.setdefault(mark, again[index])
        if mark in errors:
            failures.append(Failure(index=index, error=again.get(index, errors[mark])))
    return failures


def wire_size(messages: Messages, index: int) -> int:
    """Bytes of a message that is alone in its batch, uncompressed; never too few."""
    key = messages.keys[index] if messages.keys is not None else None
    headers = messages.headers[index] if messages.headers is not None else None
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    size = _AROUND + len(messages.values[index] or b"") + len(key or b"")
    return size + sum(_AROUND_HEADER + _length(name) + _length(value) for name, value in pairs)


def topic_of(messages: Messages, index: int) -> str:
    """The topic of one message."""
    return messages.topics if isinstance(messages.topics, str) else messages.topics[index]


def _guilty(messages: Messages, indexes: Sequence[int], limit: int | None) -> set[int]:
    """Those because of which a request was too large: each of them would be alone; at least one."""
    sizes = {each: wire_size(messages, each) for each in indexes}
    return {each for each, size in sizes.items() if limit is not None and size > limit} or {
        max(sizes, key=sizes.__getitem__)
    }


def told_apart(
    messages: Messages, failed: Sequence[tuple[KafkaError, Message]], never_sent: Collection[int] = ()
) -> list[tuple[int, KafkaError]]:
    """The records of messages that failed, found by what stands in them; those that were never sent have not.

    Of records that are alike those behind fail first: a producer delivers in order.
    """
    if not failed:
        return []
    places: dict[tuple[str | None, Any, Any], list[int]] = defaultdict(list)
    for index, topic, value, key, _, _ in messages.rows():
        if index not in never_sent:
            places[topic, value, key].append(index)
    return [
        (places[message.topic(), message.value(), message.key()].pop(), error) for error, message in reversed(failed)
    ]


def _length(part: str | bytes | None) -> int:
    return len(part.encode("utf-8", "surrogatepass")) if isinstance(part, str) else len(part or b"")
