"""Where partitions begin, and what their group keeps of them; all of it runs in the consumer's thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mstream.domain.checkpoint import Lane
from mstream.encodings.cursors import partition_lane
from mstream.foundation.clock import SystemClock
from mstream.observability.logs import get_logger
from mstream.ports.roles import Resume

from .handles import GroupHandle, noted_at
from .offsets import AtTime, Edge, Noted, Place, beginning, note, noted
from .reading import KafkaSourceOptions

log = get_logger(__name__)

#: Seconds for a question to the cluster.
_PATIENCE: Final = 10.0

Partitions = Mapping[Lane, TopicPartition]
#: Where a commit puts partitions.
Answers = frozenset[tuple[str, int, int]]
#: Hears what became of a commit.
Told = Callable[[KafkaError | None], object]


class Places:
    """What a job's group has noted, and where the job goes on by that."""

    def __init__(self, resume: Resume, options: KafkaSourceOptions, topics: Sequence[str]) -> None:
        self._resume = resume
        self._options = options
        self._topics = topics
        #: Partitions that were there when the run joined its group; None: that decides nothing, or is not known yet.
        self._first: frozenset[Lane] | None = None
        #: A sink commits to the group, in transactions; what is stored is a copy.
        self.are_copies = resume.are_copies
        #: Commits whose answers are to come, each with whom to tell.
        self._awaited: list[tuple[Answers, Told]] = []

    def begins(
        self, consumer: Consumer, new: Partitions, stored: Mapping[Lane, int], given: Mapping[Lane, Place]
    ) -> dict[Lane, int]:
        """Where these begin, which the group notes at once: a place found by time would be another one after a crash.

        `given`: where some begin whatever is known of them. Raises KafkaException.
        """
        group = _noted(consumer, new)
        now_ms = int(SystemClock().now().timestamp() * 1000)
        places = {
            lane: beginning(
                lane,
                stored=stored.get(lane),
                group=group.get(lane),
                resets=self._resume.resets,
                is_new=bool(self._resume.positions) or (self._first is not None and lane not in self._first),
                options=self._options,
                now_ms=now_ms,
                is_copy=self.are_copies,
            )
            for lane in new
        }
        places |= given
        begins = resolved(consumer, new, places)
        for lane, found in group.items():
            if lane not in stored or found.resets < self._resume.resets:
                continue
            if found.offset < begins[lane]:
                log.info("group_behind_checkpoint", lane=lane, group=found.offset, stored=begins[lane])
            elif found.offset > stored[lane] and not self.are_copies:
                # What is stored goes first, always: this store was put back, or another job has used the group.
                log.warning("group_ahead_of_checkpoint", lane=lane, group=found.offset, stored=stored[lane])
        wanted = {lane: Noted(offset=at, resets=self._resume.resets) for lane, at in begins.items()}
        self.commit(consumer, new, {lane: at for lane, at in begins.items() if group.get(lane) != wanted[lane]})
        return begins

    def look(self, consumer: Consumer) -> None:
        """See which partitions there are, once: all of one that is added later is read. Raises KafkaException."""
        if self._first is not None or self._resume.positions or self._options.begins_everywhere_at_the_first:
            return
        found: set[Lane] = set()
        for each in self._topics:
            told = (
                consumer.list_topics(timeout=_PATIENCE)
                if each.startswith("^")
                else consumer.list_topics(each, _PATIENCE)
            )
            for name, topic in told.topics.items():
                if not each.startswith("^") or re.match(each, name):
                    found.update(partition_lane(name, number) for number in topic.partitions)
        self._first = frozenset(found)

    def committed(self, consumer: Consumer, partitions: Partitions) -> dict[Lane, int]:
        """What the group keeps of these, once no transaction with them is open any more. Raises KafkaException."""
        return {lane: each.offset for lane, each in _noted(consumer, partitions).items()}

    def handle(self, consumer: Consumer) -> GroupHandle:
        """For a sink that commits to the group. Raises KafkaException."""
        return GroupHandle(group=consumer.consumer_group_metadata(), note=note(self._resume.resets))

    def commit(self, consumer: Consumer, partitions: Partitions, offsets: Mapping[Lane, int]) -> None:
        """Tell the group; partitions that are not there are left out. Raises KafkaException."""
        wanted = self._noting(partitions, offsets)
        if wanted:
            _raised(consumer.commit(offsets=wanted, asynchronous=False) or [])

    def commit_soon(self, consumer: Consumer, partitions: Partitions, offsets: Mapping[Lane, int], told: Told) -> None:
        """The same, while messages come: `told` hears of the answer. Raises KafkaException.

        A coordinator that is away would be waited for as long as for a session.
        """
        wanted = self._noting(partitions, offsets)
        if not wanted:
            told(None)
            return
        consumer.commit(offsets=wanted, asynchronous=True)
        self._awaited.append((_answers(wanted), told))

    def _noting(self, partitions: Partitions, offsets: Mapping[Lane, int]) -> list[TopicPartition]:
        metadata = note(self._resume.resets)
        return [_at(partitions[lane], offset, metadata) for lane, offset in offsets.items() if lane in partitions]

    @property
    def is_telling(self) -> bool:
        """Whether a commit is on its way."""
        return bool(self._awaited)

    def heard(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """What the client says of any commit."""
        answers = _answers(partitions)
        for index, (awaited, told) in enumerate(self._awaited):
            if awaited == answers:
                del self._awaited[index]
                told(error or next((each.error for each in partitions if each.error is not None), None))
                return


def resolved(consumer: Consumer, partitions: Partitions, places: Mapping[Lane, Place]) -> dict[Lane, int]:
    """The offsets of places. Raises KafkaException."""
    found = {lane: place for lane, place in places.items() if isinstance(place, int)}
    by_time = {lane: place.ms for lane, place in places.items() if isinstance(place, AtTime)}
    if by_time:
        asked = [_at(partitions[lane], ms) for lane, ms in by_time.items()]
        answers = _raised(consumer.offsets_for_times(asked, _PATIENCE))
        found |= {lane_of(each): each.offset for each in answers if each.offset >= 0}
    for lane, place in places.items():
        if lane not in found:
            first, end = watermarks(consumer, partitions[lane])
            found[lane] = first if place is Edge.FIRST else end
    return found


def watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """The offset of the first message, and that behind the last. Raises KafkaException."""
    return consumer.get_watermark_offsets(copy_of(partition), timeout=_PATIENCE, cached=False)


def lane_of(partition: TopicPartition) -> Lane:
    """The lane of a partition."""
    return partition_lane(partition.topic, partition.partition)


def partition_of(lane: Lane) -> TopicPartition:
    """The partition of a lane."""
    topic, _, number = lane.rpartition("/")
    return TopicPartition(topic, int(number))


def copy_of(partition: TopicPartition, offset: int | None = None) -> TopicPartition:
    """The partition, at an offset or without one; the client writes into what it is given."""
    if offset is None:
        return TopicPartition(partition.topic, partition.partition)
    return TopicPartition(partition.topic, partition.partition, offset)


def _noted(consumer: Consumer, partitions: Partitions) -> dict[Lane, Noted]:
    asked = [copy_of(each) for each in partitions.values()]
    answers = _raised(consumer.committed(asked, _PATIENCE))
    found = {lane_of(each): noted(each.offset, each.metadata) for each in answers}
    return {lane: place for lane, place in found.items() if place is not None}


def _answers(partitions: list[TopicPartition]) -> Answers:
    return frozenset((each.topic, each.partition, each.offset) for each in partitions)


def _raised(answers: list[TopicPartition]) -> list[TopicPartition]:
    """The answers, if none of them is an error."""
    for each in answers:
        if each.error is not None:
            raise KafkaException(each.error)
    return answers


def _at(partition: TopicPartition, offset: int, metadata: str | None = None) -> TopicPartition:
    return noted_at(partition.topic, partition.partition, offset, metadata)
