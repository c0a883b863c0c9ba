"""What a consumer's thread has brought and nobody has read yet; shared by that thread and the loop."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate

from confluent_kafka import Message

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane, Position
from mstream.encodings.cursors import partition_position
from mstream.foundation.clock import monotonic
from mstream.ports.roles import Limit

from .messages import batch_of, lane_of, last_of


class Backlog:
    """Messages in order, bounded by what a read asks for, and places that are to be told without a message.

    Every method may be called from either side.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._lock = threading.Lock()
        self._messages: list[Message] = []
        #: Of these.
        self._bytes = 0
        #: Messages of lanes that shall bring nothing for a while.
        self._aside: dict[Lane, list[Message]] = {}
        self._limit = Limit(records=1000)
        #: Bytes of a message, by those that came last.
        self._average = 1024.0
        self._full_since: float | None = None
        #: Where lanes begin: told before their first message.
        self._begins: dict[Lane, int] = {}
        #: Where lanes stand behind their last message, where what follows it is none: told after it.
        self._ends: dict[Lane, int] = {}
        #: Lanes that go on from their end even if it is further back.
        self._elsewhere: set[Lane] = set()
        #: Next offsets: of what was read, or where a lane began.
        self._read: dict[Lane, int] = {}
        #: Of topics, as far as they are known: they are part of positions.
        self.topic_ids: Mapping[str, str] = {}
        #: Of the last message that was read, in milliseconds since the epoch.
        self._times: dict[Lane, int] = {}

    def room(self) -> int:
        """For how many messages there is room; 0: half of what a read may bring is there already, or more.

        What is filled up to the last message is filled up by one: every other read would bring a single message.
        """
        with self._lock:
            records = self._limit.records - len(self._messages)
            size = self._limit.bytes - self._bytes
            if records <= self._limit.records // 2 or size <= self._limit.bytes // 2:
                self._full_since = self._full_since or monotonic()
                return 0
            self._full_since = None
            return max(1, min(records, int(size / self._average)))

    def full_for(self) -> float:
        """Seconds since it was found without room; 0: it has room."""
        with self._lock:
            return 0.0 if self._full_since is None else monotonic() - self._full_since

    def put(self, messages: Sequence[Message]) -> None:
        """More messages, none of them an event."""
        size = sum(map(len, messages))
        with self._lock:
            self._messages += messages
            self._bytes += size
            self._average = max(1.0, size / len(messages))
            if self._ends:
                for each in messages:
                    self._ends.pop(lane_of(each), None)
                    self._elsewhere.discard(lane_of(each))

    def begin(self, places: Mapping[Lane, int], *, told: Collection[Lane]) -> None:
        """Lanes begin at these offsets; those of `told` are known to be there already."""
        with self._lock:
            self._read.update(places)
            self._begins.update({lane: at for lane, at in places.items() if lane not in told})

    def end(self, lane: Lane, offset: int) -> None:
        """The lane is read up to here, unless messages have passed it."""
        with self._lock:
            self._ends[lane] = offset

    def go_on(self, lane: Lane, offset: int) -> None:
        """The lane goes on from here, be it further back."""
        with self._lock:
            self._ends[lane] = offset
            self._elsewhere.add(lane)

    def drop(self, lanes: Collection[Lane]) -> None:
        """Nothing of these will be read."""
        with self._lock:
            self._keep([each for each in self._messages if lane_of(each) not in lanes])
            self._elsewhere.difference_update(lanes)
            for lane in lanes:
                for places in (self._begins, self._ends, self._read, self._times, self._aside):
                    places.pop(lane, None)

    def set_aside(self, lanes: Collection[Lane]) -> None:
        """Nothing of these is read until they are put back; there is room for others instead."""
        with self._lock:
            for lane in lanes:
                self._aside.setdefault(lane, [])
            for each in self._messages:
                if (aside := self._aside.get(lane_of(each))) is not None:
                    aside.append(each)
            self._keep([each for each in self._messages if lane_of(each) not in self._aside])

    def put_back(self, lanes: Collection[Lane]) -> None:
        """They are read again, before all others."""
        with self._lock:
            back = [each for lane in lanes for each in self._aside.pop(lane, ())]
            self._keep([*back, *self._messages])

    def take(self, limit: Limit) -> Batch | None:
        """What there is; None: nothing."""
        with self._lock:
            self._limit = limit
            if self._begins:
                begins, self._begins = self._begins, {}
                return self._progress(begins)
            if self._messages:
                return self._handed_out(self._some(limit))
            ends = {lane: at for lane, at in self._ends.items() if not self._aside.get(lane)}
            for lane in ends:
                del self._ends[lane]
            ends = {
                lane: at
                for lane, at in ends.items()
                if at > self._read.get(lane, at) or (lane in self._elsewhere and at != self._read.get(lane, at))
            }
            self._elsewhere.difference_update(ends)
            self._read.update(ends)
            return self._progress(ends) if ends else None

    def read_up_to(self) -> Mapping[Lane, int]:
        """Next offsets of what was handed out, by lane."""
        with self._lock:
            return dict(self._read)

    def times(self) -> Mapping[Lane, int]:
        """When the last messages that were handed out were made, by lane."""
        with self._lock:
            return dict(self._times)

    def _handed_out(self, messages: list[Message]) -> Batch:
        last = last_of(messages)
        for lane, message in last.items():
            self._read[lane] = (message.offset() or 0) + 1
            kind, milliseconds = message.timestamp()
            if kind:
                self._times[lane] = milliseconds
        return batch_of(messages, self._encoding, last, self.topic_ids)

    def position(self, lane: Lane, offset: int) -> Position:
        """The lane's at this offset."""
        return partition_position(offset, self.topic_ids.get(lane.rpartition("/")[0]))

    def _progress(self, places: Mapping[Lane, int]) -> Batch:
        return Batch(positions={lane: self.position(lane, offset) for lane, offset in places.items()})

    def _some(self, limit: Limit) -> list[Message]:
        if len(self._messages) <= limit.records and self._bytes <= limit.bytes:
            taken = self._messages
            self._keep([])
            return taken
        sizes = list(accumulate(map(len, self._messages[: limit.records])))
        count = max(1, bisect_right(sizes, limit.bytes))
        taken = self._messages[:count]
        self._messages = self._messages[count:]
        self._bytes -= sizes[count - 1]
        return taken

    def _keep(self, messages: list[Message]) -> None:
        self._messages = messages
        self._bytes = sum(map(len, messages))
