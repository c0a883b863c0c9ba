"""One member of a consumer group: partitions given, taken and lost. All of it runs in the consumer's thread."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Coroutine, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mstream.domain.checkpoint import Lane, Position
from mstream.errors import MstreamError
from mstream.observability.logs import get_logger
from mstream.ports.roles import Lanes, Resume

from .backlog import Backlog
from .faults import Fault, fault_of
from .handles import GroupHandle
from .offsets import Place, offset_in
from .places import Places, Told, copy_of, lane_of, partition_of, resolved, watermarks
from .topic_ids import TopicIds, made_anew, topics_in

log = get_logger(__name__)

T = TypeVar("T")

#: Seconds in which partitions that are taken away are settled or forgotten, at most.
_TO_GIVE_UP: Final = 30.0


class Loop(Protocol):
    """Asks the run, which lives on the loop, from the consumer's thread."""

    @property
    def is_closing(self) -> bool:
        """Whether nobody answers any more."""

    def begin(self, work: Coroutine[Any, Any, Any]) -> object:
        """Have it done, and go on."""

    def ask(self, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """What it brings; None: the source is closing, or nothing has come in time. Raises what it raises."""


class Membership:
    """Which partitions are this member's, which of them bring messages, and what the run is told of it."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        resume: Resume,
        places: Places,
        topic_ids: TopicIds,
        backlog: Backlog,
        loop: Loop,
        is_eager: bool,
        patience: float,
    ) -> None:
        """`patience`: seconds for which the group waits for one that does not poll."""
        self._topic_ids = topic_ids
        self._lanes = lanes
        self._resume = resume
        self._places = places
        #: To be called with what the client says of commits.
        self.heard = places.heard
        self._backlog = backlog
        self._loop = loop
        self._is_eager = is_eager
        self._to_give_up = min(_TO_GIVE_UP, patience / 2)
        #: Given by the group, and not begun yet.
        self._pending: dict[Lane, TopicPartition] = {}
        #: This run's, by the run's own word.
        self._claimed: set[Lane] = set()
        self._assigned: dict[Lane, TopicPartition] = {}
        #: Lanes that shall bring nothing.
        self._paused: set[Lane] = set()
        #: Lanes that bring nothing while nobody reads.
        self._held: set[Lane] = set()
        self.is_holding = False
        #: The group has told what is this member's, be it nothing.
        self.joined = False
        #: The group as it was seen last, for a sink that commits to it.
        self.handle: GroupHandle | None = None

    def subscribe(self, consumer: Consumer, topics: list[str]) -> None:
        """Join the group; what it gives comes with later polls."""
        consumer.subscribe(topics, on_assign=self._given, on_revoke=self._taken, on_lost=self._lost)

    def look(self, consumer: Consumer) -> None:
        """See how the group is now, if a sink has to know. Raises KafkaException."""
        if self._places.are_copies:
            self.handle = self._places.handle(consumer)

    def has_begun(self) -> bool:
        """Whether the group has told what is this member's, and all of it is read."""
        return self.joined and not self._pending

    def begin(self, consumer: Consumer) -> bool:
        """Begin with what the group has given; answers whether there was something.

        Raises KafkaException or MstreamError, and can be called again then.
        """
        if self.joined:
            self._places.look(consumer)
        if not self._pending:
            return False
        new = dict(self._pending)
        positions = self._stored(list(new))
        ids = None if positions is None else self._topic_ids.of(topics_in(new.values()))
        if positions is None or ids is None:
            return False
        offsets = {lane: offset_in(each) for lane, each in positions.items()}
        given = {
            lane: self._topic_ids.beginning(new[lane], offsets[lane])
            for lane, each in positions.items()
            if made_anew(lane, each, ids)
        }
        stored = {lane: at for lane, at in offsets.items() if at is not None and lane not in given}
        begins = self._places.begins(consumer, new, stored, given)
        self._backlog.topic_ids = {**self._backlog.topic_ids, **ids}
        # What came together with their leaving may still be there.
        self._backlog.drop(new)
        self._assign(consumer, {lane: copy_of(each, begins[lane]) for lane, each in new.items()})
        self._pending.clear()
        # A place that the group has noted already is not given to a sink that commits to it.
        known = [
            lane
            for lane in new
            if self._places.are_copies or positions.get(lane) == self._backlog.position(lane, begins[lane])
        ]
        self._backlog.begin(begins, told=known)
        return True

    def begin_again(self, consumer: Consumer, partition: TopicPartition, place: Place) -> int | None:
        """Read a partition from elsewhere, as its place is lost; answers where. Raises KafkaException.

        None: it is not this member's any more.
        """
        lane = lane_of(partition)
        if lane not in self._assigned:
            return None
        offset = resolved(consumer, {lane: partition}, {lane: place})[lane]
        # A partition that has failed cannot be sought in.
        again = {lane: copy_of(partition, offset)}
        if self._is_eager:
            # All or none: the others from where they are.
            self._assign(consumer, {**self._whereabouts(consumer), **again})
        else:
            consumer.incremental_unassign([copy_of(partition)])
            self._assign(consumer, again)
        self._backlog.go_on(lane, offset)
        return offset

    def look_around(self, consumer: Consumer) -> None:
        """Where a topic was made anew, read it as such. Raises KafkaException or PositionLost."""
        ids = self._topic_ids.looked(lambda: topics_in(self._assigned.values()))
        known = self._backlog.topic_ids
        changed = {topic for topic, each in ids.items() if known.get(topic, each) != each}
        if not changed:
            return
        read = self._backlog.read_up_to()
        places = {
            lane: self._topic_ids.beginning(each, read.get(lane))
            for lane, each in self._assigned.items()
            if each.topic in changed
        }
        # Until all of them have begun, the next look finds the same.
        offsets = {lane: self.begin_again(consumer, self._assigned[lane], place) for lane, place in places.items()}
        self._backlog.drop(places)
        self._backlog.topic_ids = {**known, **ids}
        self._backlog.begin({lane: offset or 0 for lane, offset in offsets.items()}, told=())

    def heads(self, consumer: Consumer, *, are_told: bool = False) -> dict[Lane, int]:
        """Behind the last message of each lane. Raises KafkaException.

        `are_told`: by what came with the last messages, where any are asked for; a lane that nothing came of is left
        out.
        """
        quiet = self._held | self._paused
        found: dict[Lane, int] = {}
        for lane, each in self._assigned.items():
            if are_told and lane not in quiet:
                end = consumer.get_watermark_offsets(copy_of(each), cached=True)[1]
            else:
                end = watermarks(consumer, each)[1]
            if end >= 0:
                found[lane] = end
        return found

    def commit(self, consumer: Consumer, offsets: Mapping[Lane, int], told: Told) -> None:
        """Tell the group, of the lanes that are this member's; `told` hears of the answer. Raises KafkaException."""
        self._places.commit_soon(consumer, self._assigned, offsets, told)

    def committed(self, consumer: Consumer, lanes: Collection[Lane]) -> dict[Lane, int]:
        """What the group keeps of these lanes, this member's or not. Raises KafkaException."""
        return self._places.committed(consumer, {lane: partition_of(lane) for lane in lanes})

    @property
    def is_telling(self) -> bool:
        """Whether a commit is on its way."""
        return self._places.is_telling

    def pause(self, consumer: Consumer, lanes: Collection[Lane]) -> None:
        """Bring nothing of these, now and when they come back."""
        self._paused.update(lanes)
        self._held.difference_update(lanes)
        consumer.pause(self._partitions(lanes))
        self._backlog.set_aside(lanes)

    def resume(self, consumer: Consumer, lanes: Collection[Lane]) -> None:
        """Bring them again."""
        awake = self._paused.intersection(lanes)
        self._paused -= awake
        if self.is_holding:
            self._held |= awake & self._assigned.keys()
        else:
            consumer.resume(self._partitions(awake))
        self._backlog.put_back(awake)

    def hold(self, consumer: Consumer) -> None:
        """Bring nothing at all; to be called again, as the group may have given partitions since."""
        self.is_holding = True
        new = self._assigned.keys() - self._held - self._paused
        if new:
            consumer.pause(self._partitions(new))
            self._held |= new

    def release(self, consumer: Consumer) -> None:
        """Bring what was held."""
        self.is_holding = False
        if self._held:
            consumer.resume(self._partitions(self._held))
            self._held.clear()

    # ---------------------------------------------------------------------------------------- called by the consumer
    def _given(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.joined = True
        self._pending.update({lane_of(each): each for each in partitions})
        # Where they begin is asked for outside of this call, which must not fail.
        if self._is_eager:
            consumer.assign([])
        else:
            consumer.incremental_assign([])

    def _taken(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        with contextlib.suppress(KafkaException):
            # The run may have to commit once more, while this thread waits for it.
            self.look(consumer)
        lanes = [lane_of(each) for each in partitions]
        held = [each for each in lanes if each in self._claimed]
        self._backlog.drop(lanes)
        saved = self._told(self._lanes.revoked(held, self._to_give_up)) if held else {}
        if saved is None and not self._loop.is_closing:
            # Whenever the run comes round to it: nothing of theirs may be delivered any more.
            self._loop.begin(self._lanes.lost(held))
        offsets = {lane: at for lane, each in (saved or {}).items() if (at := offset_in(each)) is not None}
        try:
            if not self._places.are_copies:
                self._places.commit(consumer, self._assigned, offsets)
        except KafkaException as error:
            # They are saved: the next member goes on from there all the same.
            log.info("offsets_not_committed", lanes=sorted(offsets), fault=fault_of(error).name)
        self._leave(consumer, lanes)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        lanes = [lane_of(each) for each in partitions]
        log.warning("partitions_lost", lanes=sorted(lanes))
        held = [each for each in lanes if each in self._claimed]
        self._backlog.drop(lanes)
        if held:
            self._loop.begin(self._lanes.lost(held))
        self._leave(consumer, lanes)

    def _told(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The partitions go whatever the run says to it; an error that lasts meets the run itself."""
        try:
            return self._loop.ask(work, 1.5 * self._to_give_up)
        except MstreamError as error:
            log.warning("lanes_not_settled", error_code=error.code, error=str(error))
            return None

    def _leave(self, consumer: Consumer, lanes: Collection[Lane]) -> None:
        left = [copy_of(self._assigned.pop(lane)) for lane in lanes if lane in self._assigned]
        self._held.difference_update(lanes)
        self._claimed.difference_update(lanes)
        for lane in lanes:
            self._pending.pop(lane, None)
        if self._is_eager:
            consumer.unassign()
        else:
            consumer.incremental_unassign(left)

    # ----------------------------------------------------------------------------------------------------- what is read
    def _stored(self, lanes: Collection[Lane]) -> dict[Lane, Position] | None:
        """Stored positions of lanes that this run has claimed with that; None: the source is closing."""
        claimed = self._loop.ask(self._lanes.assigned(lanes), 1.5 * self._to_give_up)
        if claimed is None:
            return None
        self._claimed.update(lanes)
        positions: Mapping[Lane, Position] = {**self._resume.positions, **claimed}
        return {lane: positions[lane] for lane in lanes if offset_in(positions.get(lane)) is not None}

    def _assign(self, consumer: Consumer, begun: Mapping[Lane, TopicPartition]) -> None:
        """Have these read from their offsets."""
        if self._is_eager:
            consumer.assign(list(begun.values()))
        else:
            consumer.incremental_assign(list(begun.values()))
        self._assigned.update(begun)
        self._hush(consumer, begun)

    def _hush(self, consumer: Consumer, begun: Collection[Lane]) -> None:
        """Lanes that have just begun may be such as are to bring nothing."""
        if self.is_holding:
            self._held |= set(begun) - self._paused
        quiet = [lane for lane in begun if lane in self._held or lane in self._paused]
        if quiet:
            consumer.pause(self._partitions(quiet))

    def _whereabouts(self, consumer: Consumer) -> dict[Lane, TopicPartition]:
        """What comes next of each lane that is read: behind what has come, else where it began."""
        places = consumer.position(self._partitions(self._assigned))
        return {lane_of(each): each if each.offset >= 0 else self._assigned[lane_of(each)] for each in places}

    def _partitions(self, lanes: Iterable[Lane]) -> list[TopicPartition]:
        return [copy_of(self._assigned[each]) for each in lanes if each in self._assigned]


def is_membership_fault(error: BaseException | KafkaError) -> bool:
    """Whether something was refused because the group is just changing."""
    return fault_of(error) is Fault.MEMBERSHIP
