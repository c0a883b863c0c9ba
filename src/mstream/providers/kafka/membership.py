"""One member of a consumer group: partitions given, taken and lost. All of it runs in the consumer's thread."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mstream.domain.checkpoint import Lane, Position
from mstream.encodings.cursors import partition_lane
from mstream.errors import MstreamError
from mstream.foundation.clock import SystemClock
from mstream.observability.logs import get_logger
from mstream.ports.roles import Lanes, Resume

from .backlog import Backlog
from .faults import Fault, fault_of
from .offsets import AtTime, Edge, Noted, Place, beginning, note, noted, offset_in
from .reading import KafkaSourceOptions

log = get_logger(__name__)

T = TypeVar("T")

#: Seconds for a question to the cluster.
_PATIENCE: Final = 10.0
#: Seconds in which partitions that are taken away are settled or forgotten; the group waits for minutes.
_TO_GIVE_UP: Final = 30.0


class Loop(Protocol):
    """Asks the run, which lives on the loop, from the consumer's thread."""

    def ask(self, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """What it brings; None: the source is closing, or nothing has come in time. Raises what it raises."""


class Membership:
    """Which partitions are this member's, from where each is read, and what the group is told of it."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        resume: Resume,
        options: KafkaSourceOptions,
        backlog: Backlog,
        loop: Loop,
        is_eager: bool,
    ) -> None:
        self._lanes = lanes
        self._resume = resume
        self._options = options
        self._backlog = backlog
        self._loop = loop
        self._is_eager = is_eager
        #: Given by the group, and not begun yet.
        self._pending: dict[Lane, TopicPartition] = {}
        self._assigned: dict[Lane, TopicPartition] = {}
        self._paused: set[Lane] = set()
        #: The group has told what is this member's, be it nothing.
        self.joined = False
        #: Which partitions there were when they were first given: others are new.
        self._is_first = True

    def subscribe(self, consumer: Consumer, topics: list[str]) -> None:
        """Join the group; what it gives comes with later polls."""
        consumer.subscribe(topics, on_assign=self._given, on_revoke=self._taken, on_lost=self._lost)

    @property
    def lanes(self) -> Collection[Lane]:
        """Those that are read."""
        return list(self._assigned)

    def partitions(self, lanes: Iterable[Lane] | None = None) -> list[TopicPartition]:
        """Of these lanes, as far as they are read; None: of all."""
        wanted = self._assigned if lanes is None else [each for each in lanes if each in self._assigned]
        return [_copy(self._assigned[each]) for each in wanted]

    def has_begun(self) -> bool:
        """Whether the group has told what is this member's, and all of it is read."""
        return self.joined and not self._pending

    def begin(self, consumer: Consumer) -> bool:
        """Begin with what the group has given; answers whether there was something.

        Raises KafkaException, and is called again then, or a MstreamError for good.
        """
        if not self._pending:
            return False
        new = dict(self._pending)
        stored = self._stored(list(new))
        if stored is None:
            return False
        places = self._begins(consumer, new, stored)
        begun = [TopicPartition(each.topic, each.partition, places[lane]) for lane, each in new.items()]
        if self._is_eager:
            consumer.assign([*self.partitions(), *begun])
        else:
            consumer.incremental_assign(begun)
        self._assigned.update(new)
        self._pending.clear()
        self._is_first = False
        self._backlog.begin(places, told=[lane for lane in new if stored.get(lane) == places[lane]])
        held = [_copy(each) for lane, each in new.items() if lane in self._paused]
        if held:
            consumer.pause(held)
        return True

    def begin_again(self, consumer: Consumer, partition: TopicPartition, place: Place) -> int:
        """Read a partition from elsewhere, as its place is lost; answers where. Raises KafkaException."""
        lane = _lane(partition)
        offset = self._resolved(consumer, {lane: partition}, {lane: place})[lane]
        self._backlog.drop([lane])
        if self._is_eager:
            consumer.seek(TopicPartition(partition.topic, partition.partition, offset))
        else:
            consumer.incremental_unassign([_copy(partition)])
            consumer.incremental_assign([TopicPartition(partition.topic, partition.partition, offset)])
        self._backlog.begin({lane: offset}, told=())
        return offset

    def heads(self, consumer: Consumer, *, are_told: bool = False) -> dict[Lane, int]:
        """Behind the last message of each lane. Raises KafkaException.

        `are_told`: by what came with the last messages; a lane that nothing came of is left out.
        """
        if not are_told:
            return {lane: _watermarks(consumer, each)[1] for lane, each in self._assigned.items()}
        told = {
            lane: consumer.get_watermark_offsets(_copy(each), cached=True)[1] for lane, each in self._assigned.items()
        }
        return {lane: end for lane, end in told.items() if end >= 0}

    def commit(self, consumer: Consumer, offsets: Mapping[Lane, int]) -> None:
        """Tell the group, of the lanes that are this member's. Raises KafkaException."""
        self._commit(consumer, {lane: at for lane, at in offsets.items() if lane in self._assigned})

    def pause(self, consumer: Consumer, lanes: Collection[Lane]) -> None:
        """Bring nothing of these, now and when they come back."""
        self._paused.update(lanes)
        consumer.pause(self.partitions(lanes))

    def resume(self, consumer: Consumer, lanes: Collection[Lane]) -> None:
        """Bring them again."""
        self._paused.difference_update(lanes)
        consumer.resume(self.partitions(lanes))

    def awake(self) -> list[TopicPartition]:
        """Those that are not paused."""
        return self.partitions(lane for lane in self._assigned if lane not in self._paused)

    # ---------------------------------------------------------------------------------------- called by the consumer
    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.joined = True
        self._pending.update({_lane(each): each for each in partitions})
        # Where they begin is asked for outside of this call, which must not fail.
        if self._is_eager:
            consumer.assign([])
        else:
            consumer.incremental_assign([])

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lanes = [_lane(each) for each in partitions]
        held = [each for each in lanes if each in self._assigned]
        self._backlog.drop(lanes)
        saved = self._told(self._lanes.revoked(held, _TO_GIVE_UP)) if held else None
        offsets = {lane: at for lane in held if (at := offset_in((saved or {}).get(lane))) is not None}
        try:
            self._commit(consumer, offsets)
        except KafkaException as error:
            # They are saved: the next member goes on from there all the same.
            log.info("offsets_not_committed", lanes=sorted(offsets), fault=fault_of(error).name)
        self._leave(consumer, lanes)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lanes = [_lane(each) for each in partitions]
        log.warning("partitions_lost", lanes=sorted(lanes))
        held = [each for each in lanes if each in self._assigned]
        self._backlog.drop(lanes)
        if held:
            self._told(self._lanes.lost(held))
        self._leave(consumer, lanes)

    def _told(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The partitions go whatever the run says to it; an error that lasts meets the run itself."""
        try:
            return self._loop.ask(work, 2 * _TO_GIVE_UP)
        except MstreamError as error:
            log.warning("lanes_not_settled", error_code=error.code, error=str(error))
            return None

    def _leave(self, consumer: Consumer, lanes: Collection[Lane]) -> None:
        left = [_copy(self._assigned.pop(lane)) for lane in lanes if lane in self._assigned]
        for lane in lanes:
            self._pending.pop(lane, None)
        if self._is_eager:
            consumer.unassign()
        else:
            consumer.incremental_unassign(left)

    # ------------------------------------------------------------------------------------------------- where to begin
    def _stored(self, lanes: Collection[Lane]) -> dict[Lane, int] | None:
        """Stored offsets of lanes that this run has claimed with that; None: the source is closing."""
        claimed = self._loop.ask(self._lanes.assigned(lanes), 2 * _TO_GIVE_UP)
        if claimed is None:
            return None
        positions: Mapping[Lane, Position] = {**self._resume.positions, **claimed}
        return {lane: at for lane in lanes if (at := offset_in(positions.get(lane))) is not None}

    def _begins(
        self, consumer: Consumer, new: Mapping[Lane, TopicPartition], stored: Mapping[Lane, int]
    ) -> dict[Lane, int]:
        group = self._noted(consumer, new)
        is_new = bool(self._resume.positions) or not self._is_first
        now_ms = int(SystemClock().now().timestamp() * 1000)
        places = {
            lane: beginning(
                lane,
                stored=stored.get(lane),
                group=group.get(lane),
                resets=self._resume.resets,
                is_new=is_new,
                options=self._options,
                now_ms=now_ms,
            )
            for lane in new
        }
        begins = self._resolved(consumer, new, places)
        for lane, found in group.items():
            if found.offset < begins[lane] and found.resets >= self._resume.resets:
                log.info("group_behind_checkpoint", lane=lane, group=found.offset, stored=begins[lane])
        # Noted at once: a place that was found by time, or at an end, would be another one after a crash.
        behind = {
            lane: at for lane, at in begins.items() if group.get(lane) != Noted(offset=at, resets=self._resume.resets)
        }
        self._commit_of(consumer, {lane: (new[lane], at) for lane, at in behind.items()})
        return begins

    def _noted(self, consumer: Consumer, new: Mapping[Lane, TopicPartition]) -> dict[Lane, Noted]:
        found: dict[Lane, Noted] = {}
        for each in consumer.committed([_copy(each) for each in new.values()], _PATIENCE):
            if each.error is not None:
                raise KafkaException(each.error)
            place = noted(each.offset, each.metadata)
            if place is not None:
                found[_lane(each)] = place
        return found

    def _resolved(
        self, consumer: Consumer, partitions: Mapping[Lane, TopicPartition], places: Mapping[Lane, Place]
    ) -> dict[Lane, int]:
        found = {lane: place for lane, place in places.items() if isinstance(place, int)}
        by_time = {lane: place.ms for lane, place in places.items() if isinstance(place, AtTime)}
        if by_time:
            asked = [
                TopicPartition(partitions[lane].topic, partitions[lane].partition, ms) for lane, ms in by_time.items()
            ]
            for each in consumer.offsets_for_times(asked, _PATIENCE):
                if each.error is not None:
                    raise KafkaException(each.error)
                if each.offset >= 0:
                    found[_lane(each)] = each.offset
        for lane, place in places.items():
            if lane not in found:
                first, end = _watermarks(consumer, partitions[lane])
                found[lane] = first if place is Edge.FIRST else end
        return found

    # --------------------------------------------------------------------------------------------------------- commits
    def _commit(self, consumer: Consumer, offsets: Mapping[Lane, int]) -> None:
        self._commit_of(consumer, {lane: (self._assigned[lane], at) for lane, at in offsets.items()})

    def _commit_of(self, consumer: Consumer, offsets: Mapping[Lane, tuple[TopicPartition, int]]) -> None:
        if not offsets:
            return
        metadata = note(self._resume.resets)
        wanted = [_at(each, offset, metadata) for each, offset in offsets.values()]
        for each in consumer.commit(offsets=wanted, asynchronous=False) or ():
            if each.error is not None:
                raise KafkaException(each.error)


def is_membership_fault(error: BaseException | KafkaError) -> bool:
    """Whether something was refused because the group is just changing."""
    return fault_of(error) is Fault.MEMBERSHIP


def _lane(partition: TopicPartition) -> Lane:
    return partition_lane(partition.topic, partition.partition)


def _at(partition: TopicPartition, offset: int, metadata: str | None) -> TopicPartition:
    if metadata is None:
        return TopicPartition(partition.topic, partition.partition, offset)
    return TopicPartition(partition.topic, partition.partition, offset, metadata)


def _copy(partition: TopicPartition) -> TopicPartition:
    """Without an offset: the client writes into what it is given."""
    return TopicPartition(partition.topic, partition.partition)


def _watermarks(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    return consumer.get_watermark_offsets(_copy(partition), timeout=_PATIENCE, cached=False)
