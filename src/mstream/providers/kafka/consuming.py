"""A consumer in a thread of its own: it brings what there is room for, and keeps its place in the group."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from mstream.domain.checkpoint import Lane
from mstream.errors import MstreamError
from mstream.foundation.clock import monotonic
from mstream.observability.logs import get_logger
from mstream.ports.roles import Lanes, Resume

from .backlog import Backlog
from .bridge import Bridge
from .faults import FAILURES, HOPELESS, Fault, fault_of, unwrapped
from .membership import Membership, is_membership_fault
from .offsets import Edge
from .places import Places, lane_of
from .reading import KafkaSourceOptions, OnMissingTopic, OnPositionLost
from .service import KafkaService
from .settings import is_eager, options_of, patience_of, started
from .topic_ids import TopicIds
from .troubles import Trouble, no_such_topic, place_lost

log = get_logger(__name__)

T = TypeVar("T")

#: Seconds that one call waits for messages; so long an order from the loop may have to wait.
_WAIT: Final = 0.1
#: Seconds between two looks whether a backlog without room has room again, at most.
_LOOK: Final = 0.05
#: Seconds without room after which the brokers are told to send no more, and the group is kept by polling.
_TO_HOLD: Final = 1.0
#: Seconds after an error before the next attempt.
_AFTER_ERROR: Final = 0.5
#: Seconds for commits that are on their way when the source closes.
_TO_COMMIT: Final = 3.0
#: Seconds that a topic has to appear in.
_TO_APPEAR: Final = 2.0
#: Seconds for leaving the group.
_TO_CLOSE: Final = 15.0


class Consuming:
    """The thread, seen from the loop."""

    def __init__(
        self,
        service: KafkaService,
        topics: list[str],
        reading: KafkaSourceOptions,
        resume: Resume,
        lanes: Lanes,
        backlog: Backlog,
    ) -> None:
        self._service = service
        self._topics = topics
        self._reading = reading
        self._backlog = backlog
        self._options = options_of(service, self._heard, resume, reading)
        self._bridge = Bridge()
        self.topic_ids = TopicIds(service, self._bridge, reading.on_position_lost)
        self._membership = Membership(
            lanes=lanes,
            resume=resume,
            places=Places(resume, started(reading, service.config.client_settings), topics),
            topic_ids=self.topic_ids,
            backlog=backlog,
            loop=self._bridge,
            is_eager=is_eager(self._options),
            patience=patience_of(self._options),
        )
        self._options["on_commit"] = self._membership.heard
        #: Set when there is something for the reader.
        self.came = asyncio.Event()
        #: Set when the group has told for the first time what is this member's.
        self.joined = asyncio.Event()
        self._trouble = Trouble()
        #: Topics that were not there, and when they are looked for again.
        self._missed: dict[str, float] = {}
        #: Partitions whose place is lost, with that place, until they have begun elsewhere.
        self._lost: dict[Lane, tuple[TopicPartition, int | None]] = {}
        #: Where the read ends, by lane; None: it does not.
        self._heads: dict[Lane, int] | None = None
        self._has_joined = False
        self._is_finishing = False
        #: Lanes have begun whose heads are not known yet.
        self._seeks_heads = False
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)

    # ------------------------------------------------------------------------------------------- called from the loop
    def start(self) -> None:
        """Join the group; nothing is waited for."""
        self._thread.start()

    async def close(self) -> None:
        """Leave the group; a cluster that does not answer is not waited for."""
        self._bridge.close()
        try:
            async with asyncio.timeout(_TO_CLOSE):
                await self._bridge.ended.wait()
        except TimeoutError:
            log.warning("consumer_not_closed", service=self._service.config.name, seconds=_TO_CLOSE)

    def made_room(self) -> None:
        """The reader has taken something."""
        self._bridge.wake()

    def error(self) -> MstreamError | None:
        """What has gone wrong since the last call; what is for good stays."""
        return self._trouble.told()

    def finish(self) -> None:
        """Bring what there is at this moment, and then the end."""
        self._is_finishing = self._seeks_heads = True
        self._bridge.wake()

    def is_finished(self) -> bool:
        """Whether everything up to the heads was read."""
        heads = self._heads
        if heads is None:
            return False
        read = self._backlog.read_up_to()
        return all(read.get(lane, head) >= head for lane, head in heads.items())

    async def call(self, order: Callable[[Consumer, Membership], T]) -> T:
        """What the order brings, carried out in the thread and between two polls. Raises what it raises.

        Where the thread has ended: what it ended with.
        """

        def wrapped(consumer: Consumer) -> tuple[T]:
            return (order(consumer, self._membership),)

        answer = await self._bridge.call(wrapped)
        if answer is None:
            raise self._ended()
        return answer[0]

    async def commit(self, offsets: Mapping[Lane, int]) -> None:
        """Returns once the group has noted these. Raises KafkaException."""

        def committed(consumer: Consumer, answer: Callable[[tuple[KafkaError | None]], None]) -> None:
            self._membership.commit(consumer, offsets, lambda error: answer((error,)))

        answer = await self._bridge.call_back(committed)
        if answer is None:
            raise self._ended()
        if answer[0] is not None:
            raise KafkaException(answer[0])

    def _ended(self) -> MstreamError:
        return self.error() or self._service.error(TimeoutError(), self._where())

    async def handle(self) -> object:
        """The group as the thread has seen it last: while partitions are taken away, it waits for who asks."""
        if self._membership.handle is None:
            await self.call(lambda consumer, member: member.look(consumer))
        return self._membership.handle

    async def behind(self) -> dict[Lane, int | None]:
        """Messages between what was read and the end of each lane; None: the end is not known. Raises KafkaException.

        By what the brokers have told with the last messages; of lanes that bring none they are asked for the ends.
        """
        ends = await self.call(lambda consumer, member: member.heads(consumer, are_told=True))
        return {
            lane: max(0, ends[lane] - at) if lane in ends else None for lane, at in self._backlog.read_up_to().items()
        }

    # ------------------------------------------------------------------------------------------ called in the thread
    def _run(self) -> None:
        try:
            self._consume()
        except FAILURES as error:
            self._report(self._service.error(error, self._where()), for_good=True)
        except MstreamError as error:
            self._report(error, for_good=True)
        except Exception as error:  # noqa: BLE001 - the run must hear of it, whatever it is
            self._report(MstreamError(f"{self._where()}: unexpected {type(error).__name__}"), for_good=True)
        finally:
            self._bridge.tell(self._bridge.ended.set)
            self._bridge.tell(self.came.set)

    def _consume(self) -> None:
        consumer = Consumer(self._options)
        try:
            self._membership.subscribe(consumer, self._topics)
            while not self._bridge.is_closing:
                self._bridge.carry_out(consumer)
                self._guarded(self._begin, consumer)
                self._guarded(self._membership.look_around, consumer)
                self._guarded(self._begin_lost, consumer)
                self._guarded(self._look_for_missed, consumer)
                # Whatever became of that: who does not poll hears of no change in the group.
                self._guarded(self._turn, consumer)
        finally:
            self._leave(consumer)

    def _leave(self, consumer: Consumer) -> None:
        """Commits on their way are waited for a moment; the client itself does so as long as for a session."""
        give_up = monotonic() + _TO_COMMIT
        while self._membership.is_telling and monotonic() < give_up:
            consumer.poll(_LOOK)
        if self._membership.is_telling:
            self._bridge.tell(self._bridge.ended.set)
        consumer.close()

    def _guarded(self, step: Callable[[Consumer], None], consumer: Consumer) -> None:
        try:
            with unwrapped():
                step(consumer)
        except (*FAILURES, MstreamError) as error:
            self._went_wrong(error)

    def _begin(self, consumer: Consumer) -> None:
        if self._membership.begin(consumer):
            self._seeks_heads = self._seeks_heads or self._is_finishing
            self._bridge.tell(self.came.set)
        if not self._has_joined and self._membership.has_begun():
            self._has_joined = True
            self._bridge.tell(self.joined.set)
        if self._seeks_heads and self._membership.has_begun():
            self._heads = {**self._membership.heads(consumer), **(self._heads or {})}
            self._seeks_heads = False
            self._bridge.tell(self.came.set)

    def _turn(self, consumer: Consumer) -> None:
        self._membership.look(consumer)
        room = self._backlog.room()
        if room == 0:
            self._hold_on(consumer)
            return
        self._membership.release(consumer)
        messages = consumer.consume(room, 0) or consumer.consume(1, _WAIT)
        if not messages:
            return
        try:
            self._sort(messages)
            if len(messages) == 1 < room:
                # What came with it; kept it is already, as this may fail.
                self._sort(consumer.consume(room - 1, 0))
        finally:
            self._bridge.tell(self.came.set)

    def _hold_on(self, consumer: Consumer) -> None:
        """Nobody reads: wait a moment, and from then on keep the place in the group without messages."""
        if not self._membership.is_holding and self._backlog.full_for() < _TO_HOLD:
            self._bridge.wait(_LOOK)
            return
        self._membership.hold(consumer)
        message = consumer.poll(_WAIT)
        if message is not None:
            self._sort([message])
            self._bridge.tell(self.came.set)

    def _sort(self, messages: list[Message]) -> None:
        """Into the backlog, and what are events in their place among them."""
        events = [each for each in messages if each.error()] if any(map(Message.error, messages)) else []
        if len(events) < len(messages):
            # First: an event may not be dealt with at once, and these will not come again.
            self._backlog.put([each for each in messages if not each.error()] if events else messages)
        for each in events:
            if (error := each.error()) is not None:
                self._event(each, error)

    def _event(self, message: Message, error: KafkaError) -> None:
        partition = TopicPartition(message.topic() or "", message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name has the client's underscore
            self._backlog.end(lane_of(partition), message.offset() or 0)
            return
        match fault_of(error):
            case Fault.OFFSET:
                self._lost_place(partition, message.offset())
            case Fault.MISSING:
                self._missing(partition.topic)
            case _:
                self._went_wrong(error, partition.topic)

    def _lost_place(self, partition: TopicPartition, offset: int | None) -> None:
        if self._reading.on_position_lost is OnPositionLost.FAIL:
            self._report(place_lost(self._service, partition.topic, partition.partition, offset), for_good=True)
        else:
            self._lost[lane_of(partition)] = (partition, offset)

    def _begin_lost(self, consumer: Consumer) -> None:
        """Where the policy says. Raises KafkaException, and can be called again then."""
        place = Edge.FIRST if self._reading.on_position_lost is OnPositionLost.EARLIEST else Edge.END
        for lane, (partition, offset) in list(self._lost.items()):
            begun = self._membership.begin_again(consumer, partition, place)
            del self._lost[lane]
            if begun is not None:
                log.warning(
                    "position_lost", topic=partition.topic, partition=partition.partition, offset=offset, begun=begun
                )

    def _missing(self, topic: str | None) -> None:
        name = topic or ", ".join(self._topics)
        if self._may_go(topic):
            log.warning("topic_missing", service=self._service.config.name, topic=name)
        else:
            self._missed[name] = monotonic() + _TO_APPEAR

    def _may_go(self, topic: str | None) -> bool:
        """Whether that topic, or where it is not known any, may be missing: one is waited for, or came by a pattern."""
        named = {each for each in self._topics if not each.startswith("^")}
        return self._reading.on_missing_topic is OnMissingTopic.WAIT or (topic not in named if topic else not named)

    def _look_for_missed(self, consumer: Consumer) -> None:
        """A topic that was just made is not known to every broker at once. Raises KafkaException."""
        for topic in [each for each, until in self._missed.items() if monotonic() >= until]:
            told = consumer.list_topics(topic, _TO_APPEAR).topics.get(topic)
            del self._missed[topic]
            if told is None or told.error is not None:
                self._report(no_such_topic(self._service, topic), for_good=True)

    def _heard(self, error: KafkaError) -> None:
        """What the client reports beside its messages; while it says that no broker answers, nothing can come."""
        if error.fatal() or fault_of(error) in HOPELESS:
            self._report(self._service.error(error, self._where()), for_good=True)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
            self._report(self._service.error(error, self._where()), for_good=False)

    def _went_wrong(self, error: BaseException | KafkaError, topic: str | None = None) -> None:
        """The group changes all the time; everything else is told to the reader, who knows how to wait."""
        if not isinstance(error, MstreamError):
            if is_membership_fault(error):
                return
            if fault_of(error) is Fault.MISSING and self._may_go(topic):
                self._missing(topic)
                self._bridge.wait(_AFTER_ERROR)
                return
            error = self._service.error(error, self._where(topic))
        self._report(error, for_good=not error.retryable)
        self._bridge.wait(_AFTER_ERROR)

    def _report(self, error: MstreamError, *, for_good: bool) -> None:
        self._bridge.tell(self._noted, error, for_good)

    def _where(self, topic: str | None = None) -> str:
        return f"topic {topic or ', '.join(self._topics)!r}"

    def _noted(self, error: MstreamError, for_good: bool) -> None:  # noqa: FBT001 - it comes through the bridge
        """On the loop."""
        self._trouble.note(error, for_good=for_good)
        self.came.set()
