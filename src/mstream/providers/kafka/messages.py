"""A consumer's messages as the columns of a batch; what few steps look at is made when somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar, overload

from confluent_kafka import Message

from mstream.domain.batch import Batch, Encoding, Headers
from mstream.domain.checkpoint import Lane, Position
from mstream.encodings.cursors import partition_lane, partition_position

from .offsets import topic_in

T = TypeVar("T")

#: As the client has them: names may come twice, values are bytes.
RawHeaders = Sequence[tuple[str, bytes | None]]

_OFFSET: Final = Message.offset


class Column(Sequence[T], Generic[T]):
    """One thing of every message, made when somebody looks; a slice of it is of its kind."""

    def __init__(self, messages: Sequence[Message], cell: Callable[[Message], T]) -> None:
        self._messages = messages
        self._cell = cell

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[T]:
        return map(self._cell, self._messages)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Column[T]: ...
    def __getitem__(self, index: int | slice) -> T | Column[T]:
        if isinstance(index, slice):
            return type(self)(self._messages[index], self._cell)
        return self._cell(self._messages[index])


class HeaderColumn(Column[Headers]):
    """The headers of every message."""

    def raw(self) -> list[RawHeaders | None]:
        """As they came; None for a message without any."""
        found: list[Any] = list(map(Message.headers, self._messages))
        return found


class MessageHeaders(dict[str, str]):
    """A message's headers as text, and as they came."""

    __slots__ = ("raw",)

    raw: RawHeaders


class TimeColumn(Column[int | None]):
    """Milliseconds since the epoch, by whoever set the time; None where a message has none."""

    def __iter__(self) -> Iterator[int | None]:
        return iter([milliseconds if kind else None for kind, milliseconds in map(Message.timestamp, self._messages)])


def headers_of(message: Message) -> MessageHeaders:
    r"""A message's headers as text, and where it came from: `origin`, `topic`, `partition` and `offset`.

    As text the last header of a name counts, bytes that are no UTF-8 are spelled `\xNN`, and one without a value is
    empty.
    """
    raw: Any = message.headers() or ()
    found = MessageHeaders([(name, (value or b"").decode(errors="backslashreplace")) for name, value in raw])
    found.raw = raw
    found["origin"] = "kafka"
    found["topic"] = message.topic() or ""
    found["partition"] = str(message.partition())
    found["offset"] = str(message.offset())
    return found


def last_of(messages: Sequence[Message]) -> dict[Lane, Message]:
    """The last message of each lane."""
    # The client's own methods, called by C, take a tenth of anything else.
    names = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
    last = dict(zip(names, messages, strict=True))
    return {partition_lane(topic or "", partition or 0): message for (topic, partition), message in last.items()}


def batch_of(
    messages: list[Message],
    encoding: Encoding,
    last: Mapping[Lane, Message] | None = None,
    topic_ids: Mapping[str, str] = MappingProxyType({}),
) -> Batch:
    """Messages in the order in which they came, at least one, none of them an event; `last`: as `last_of` gives it."""
    last = last_of(messages) if last is None else last
    keys = list(map(Message.key, messages))
    return Batch(
        payloads=list(map(Message.value, messages)),
        encoding=encoding,
        keys=None if keys.count(None) == len(keys) else keys,
        headers=HeaderColumn(messages, headers_of),
        times=TimeColumn(messages, _time),
        lanes=None if len(last) == 1 else Column(messages, lane_of),
        marks=Column(messages, _OFFSET),
        positions={
            lane: partition_position((message.offset() or 0) + 1, topic_ids.get(message.topic() or ""))
            for lane, message in last.items()
        },
    )


def positions_after(batch: Batch, count: int) -> Mapping[Lane, Position | None]:
    """Where the lanes stand after so many of its records; a mark is a record's offset."""
    if count >= len(batch) or batch.marks is None:
        return batch.positions
    lanes = repeat(batch.lane) if batch.lanes is None else batch.lanes
    newest = dict(zip(lanes, batch.marks[:count], strict=False))
    return {
        lane: partition_position(offset + 1, topic_in(batch.positions.get(lane))) for lane, offset in newest.items()
    }


def lane_of(message: Message) -> Lane:
    """The lane of its partition."""
    return partition_lane(message.topic() or "", message.partition() or 0)


def _time(message: Message) -> int | None:
    kind, milliseconds = message.timestamp()
    return milliseconds if kind else None
