"""A consumer in a thread of its own: it brings what there is room for, and keeps its place in the group."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from mstream.domain.checkpoint import Lane
from mstream.encodings.cursors import partition_lane
from mstream.errors import MstreamError, PositionLost, ResourceMissing
from mstream.foundation.concurrency import first_of
from mstream.observability.logs import get_logger
from mstream.ports.roles import Lanes, Resume

from .backlog import Backlog
from .faults import FAILURES, HOPELESS, Fault, fault_of
from .membership import Membership, is_membership_fault
from .offsets import Edge
from .options import Client
from .reading import KafkaSourceOptions, OnMissingTopic, OnPositionLost, Start
from .service import KafkaService, Listener

log = get_logger(__name__)

T = TypeVar("T")

_COOPERATIVE: Final = "cooperative-sticky"
#: Seconds that one call waits for messages; so long an order from the loop may have to wait.
_WAIT: Final = 0.1
#: Seconds between two looks whether a backlog without room has room again, at most.
_LOOK: Final = 0.05
#: Seconds without room after which the brokers are told to send no more, and the group is kept by polling.
_TO_HOLD: Final = 1.0
#: Seconds after an error before the next attempt.
_AFTER_ERROR: Final = 0.5
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
        self._membership = Membership(
            lanes=lanes,
            resume=resume,
            options=started(reading, service.config.client_settings),
            backlog=backlog,
            loop=self,
            is_eager=self._options.get("partition.assignment.strategy", _COOPERATIVE) != _COOPERATIVE,
        )
        self._loop = asyncio.get_running_loop()
        #: Set when there is something for the reader.
        self.came = asyncio.Event()
        self._orders: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._asked: Future[Any] | None = None
        self._trouble: MstreamError | None = None
        #: The trouble is for good.
        self._has_failed = False
        #: Lanes that bring nothing while nobody reads.
        self._held: set[Lane] = set()
        #: Where the read ends, by lane; None: it does not.
        self._heads: dict[Lane, int] | None = None
        self._is_finishing = False
        #: Lanes have begun whose heads are not known yet.
        self._seeks_heads = False
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="kafka-consumer", daemon=True)

    # ------------------------------------------------------------------------------------------- called from the loop
    def start(self) -> None:
        """Join the group; nothing is waited for."""
        self._thread.start()

    async def close(self) -> None:
        """Leave the group; a cluster that does not answer is not waited for."""
        self._closing.set()
        self._wake.set()
        if self._asked is not None:
            self._asked.cancel()
        try:
            async with asyncio.timeout(_TO_CLOSE):
                await self._ended.wait()
        except TimeoutError:
            log.warning("consumer_not_closed", service=self._service.config.name, seconds=_TO_CLOSE)

    def made_room(self) -> None:
        """The reader has taken something."""
        self._wake.set()

    def error(self) -> MstreamError | None:
        """What has gone wrong since the last call; what is for good stays."""
        trouble = self._trouble
        if not self._has_failed:
            self._trouble = None
        return trouble

    def finish(self) -> None:
        """Bring what there is at this moment, and then the end."""
        self._is_finishing = self._seeks_heads = True
        self._wake.set()

    def is_finished(self) -> bool:
        """Whether everything up to the heads was read."""
        heads = self._heads
        if heads is None:
            return False
        read = self._backlog.read_up_to()
        return all(read.get(lane, head) >= head for lane, head in heads.items())

    async def call(self, order: Callable[[Consumer, Membership], T]) -> T:
        """What the order brings, carried out in the thread and between two polls. Raises what it raises.

        The client lets one call at a time in, and one that polls leaves others no turn: nobody else may call it.
        """
        done: asyncio.Future[T] = self._loop.create_future()

        def carried_out(consumer: Consumer) -> None:
            try:
                found = order(consumer, self._membership)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                self._tell(_set_error, done, error)
            else:
                self._tell(_set_result, done, found)

        async def waited() -> tuple[T]:
            return (await done,)

        self._orders.put(carried_out)
        self._wake.set()
        answer = await first_of(waited(), self._ended)
        if answer is None:
            raise self.error() or self._service.error(TimeoutError(), self._where())
        return answer[0]

    async def behind(self) -> dict[Lane, int | None]:
        """Messages between what was read and the end of each lane; None: the end is not known. Raises KafkaException.

        By what the brokers have told with the last messages; while none are asked for they are asked for the ends.
        """
        ends = await self.call(lambda consumer, member: member.heads(consumer, are_told=not self._held))
        return {
            lane: max(0, ends[lane] - at) if lane in ends else None for lane, at in self._backlog.read_up_to().items()
        }

    # ------------------------------------------------------------------------------------------ called in the thread
    def ask(self, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """Implements `membership.Loop`."""
        if self._closing.is_set():
            work.close()
            return None
        self._asked = asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return asked.result(seconds)
        except (CancelledError, TimeoutError):
            asked.cancel()
            return None
        finally:
            self._asked = None

    def _run(self) -> None:
        try:
            self._consume()
        except FAILURES as error:
            self._report(self._service.error(error, self._where()), for_good=True)
        except MstreamError as error:
            self._report(error, for_good=True)
        except Exception as error:  # noqa: BLE001 - the run must hear of it, whatever it is
            self._report(MstreamError(f"{self._where()}: unexpected {type(error).__name__}: {error}"), for_good=True)
        finally:
            self._tell(self._ended.set)
            self._tell(self.came.set)

    def _consume(self) -> None:
        consumer = Consumer(self._options)
        try:
            self._membership.subscribe(consumer, self._topics)
            while not self._closing.is_set():
                try:
                    self._turn(consumer)
                except FAILURES as error:
                    self._went_wrong(error)
        finally:
            consumer.close()

    def _turn(self, consumer: Consumer) -> None:
        while not self._orders.empty():
            self._orders.get()(consumer)
        if self._membership.begin(consumer):
            self._seeks_heads = self._is_finishing
        if self._seeks_heads and self._membership.has_begun():
            self._heads = {**self._membership.heads(consumer), **(self._heads or {})}
            self._seeks_heads = False
            self._tell(self.came.set)
        room = self._backlog.room()
        if room == 0:
            self._hold_on(consumer)
            return
        if self._held:
            consumer.resume(self._membership.awake())
            self._held.clear()
        messages = consumer.consume(room, 0)
        if not messages:
            messages = consumer.consume(1, _WAIT)
            if messages and room > 1:
                messages += consumer.consume(room - 1, 0)
        if messages:
            self._sort(consumer, messages)

    def _hold_on(self, consumer: Consumer) -> None:
        """Nobody reads: wait a moment, and from then on keep the place in the group without messages."""
        if not self._held and self._backlog.full_for() < _TO_HOLD:
            self._wake.wait(_LOOK)
            self._wake.clear()
            return
        # Each time: the group may have given partitions since.
        new = set(self._membership.lanes) - self._held
        consumer.pause(self._membership.partitions(new))
        self._held |= new
        message = consumer.poll(_WAIT)
        if message is not None:
            self._sort(consumer, [message])

    def _sort(self, consumer: Consumer, messages: list[Message]) -> None:
        """Into the backlog, and what are events in their place among them."""
        if not any(map(Message.error, messages)):
            self._backlog.put(messages)
        else:
            for each in messages:
                error = each.error()
                if error is None:
                    self._backlog.put([each])
                else:
                    self._event(consumer, each, error)
        self._tell(self.came.set)

    def _event(self, consumer: Consumer, message: Message, error: KafkaError) -> None:
        partition = TopicPartition(message.topic() or "", message.partition() or 0)
        lane = partition_lane(partition.topic, partition.partition)
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name has the client's underscore
            self._backlog.end(lane, message.offset() or 0)
            return
        match fault_of(error):
            case Fault.OFFSET:
                self._lost_place(consumer, partition, message.offset())
            case Fault.MISSING:
                self._missing(partition.topic or ", ".join(self._topics))
            case _:
                self._went_wrong(error)

    def _lost_place(self, consumer: Consumer, partition: TopicPartition, offset: int | None) -> None:
        where = f"topic {partition.topic!r}, partition {partition.partition}"
        policy = self._reading.on_position_lost
        if policy is OnPositionLost.FAIL:
            message = (
                f"{self._service.named(where)}: it has no message with offset {offset} any more, or not yet, and what"
                " came after is lost; reset the job's checkpoint, or set on_position_lost = 'earliest' or 'latest'"
            )
            self._report(PositionLost(message), for_good=True)
            return
        place = Edge.FIRST if policy is OnPositionLost.EARLIEST else Edge.END
        begun = self._membership.begin_again(consumer, partition, place)
        log.warning("position_lost", topic=partition.topic, partition=partition.partition, offset=offset, begun=begun)

    def _missing(self, topic: str) -> None:
        if self._reading.on_missing_topic is OnMissingTopic.WAIT:
            log.warning("topic_missing", service=self._service.config.name, topic=topic)
            return
        message = (
            f"{self._service.named(f'topic {topic!r}')}: there is no such topic; create it, or set"
            " on_missing_topic = 'wait'"
        )
        self._report(ResourceMissing(message), for_good=True)

    def _heard(self, error: KafkaError) -> None:
        """What the client reports beside its messages; while it says that no broker answers, nothing can come."""
        if error.fatal() or fault_of(error) in HOPELESS:
            self._report(self._service.error(error, self._where()), for_good=True)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - as above
            self._report(self._service.error(error, self._where()), for_good=False)

    def _went_wrong(self, error: BaseException | KafkaError) -> None:
        """The group changes all the time; everything else is told to the reader, who knows how to wait."""
        if is_membership_fault(error):
            return
        found = self._service.error(error, self._where())
        self._report(found, for_good=not found.retryable)
        self._wake.wait(_AFTER_ERROR)
        self._wake.clear()

    def _report(self, error: MstreamError, *, for_good: bool) -> None:
        if self._has_failed:
            return
        self._trouble, self._has_failed = error, for_good
        self._tell(self.came.set)

    def _where(self) -> str:
        return f"topic {', '.join(self._topics)!r}"

    def _tell(self, call: Callable[..., Any], *args: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            # The loop is closed: nobody waits.
            log.debug("loop_closed", service=self._service.config.name)


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_error(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def started(reading: KafkaSourceOptions, settings: Mapping[str, str]) -> KafkaSourceOptions:
    """The options with a start: where they say none, as the service's `auto.offset.reset` does, else the earliest."""
    if reading.start is not None:
        return reading
    ends = {"latest", "largest", "end"}
    start = Start.LATEST if settings.get("auto.offset.reset") in ends else Start.EARLIEST
    return reading.model_copy(update={"start": start})


def options_of(service: KafkaService, heard: Listener, resume: Resume, reading: KafkaSourceOptions) -> dict[str, Any]:
    """What the consumer is made of: ours below, the service's above, and what delivery rests on above all."""
    group = f"mstream-{resume.job}"
    ours: dict[str, Any] = {
        "group.id": group,
        "queued.min.messages": "20000",
        "queued.max.messages.kbytes": "16384",
        "fetch.queue.backoff.ms": "20",
    }
    given = service.options(Client.CONSUMER, heard)
    if given.get("group.protocol", "classic") == "classic":
        ours["partition.assignment.strategy"] = _COOPERATIVE
    if reading.static_membership:
        ours["group.instance.id"] = group
    always = {
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "auto.offset.reset": "error",
        "enable.partition.eof": "true",
        "allow.auto.create.topics": "false",
    }
    return {**ours, **given, **always}
