"""Topics as batches: one member of a consumer group, one lane per partition."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.domain.run import Lag
from mstream.foundation.clock import SystemClock
from mstream.foundation.concurrency import shielded
from mstream.observability.logs import get_logger
from mstream.ports.roles import Lanes, Limit, Resume

from .backlog import Backlog
from .consuming import Consuming
from .faults import FAILURES, Fault, fault_of
from .messages import positions_after
from .offsets import offset_in
from .reading import KafkaSourceOptions, topics_of
from .service import KafkaService

log = get_logger(__name__)


class KafkaSource:
    """Reads what the group gives to this member."""

    def __init__(
        self, service: KafkaService, ref: SourceRef, consuming: Consuming, backlog: Backlog, *, are_copies: bool
    ) -> None:
        self._service = service
        self._ref = ref
        self._consuming = consuming
        self._backlog = backlog
        #: A sink tells the group itself.
        self._are_copies = are_copies

    async def read(self, limit: Limit) -> Batch | None:
        """Messages of any of its partitions, or where partitions begin and end."""
        while True:
            self._consuming.came.clear()
            batch = self._backlog.take(limit)
            if batch is not None:
                self._consuming.made_room()
                return batch
            error = self._consuming.error()
            if error is not None:
                raise error
            if self._consuming.is_finished():
                return None
            self._consuming.made_room()
            await self._consuming.came.wait()

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        """By the offsets of the records."""
        return positions_after(batch, count)

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        """Told to the group, which other tools look at; where it is just changing, the next time tells it.

        What becomes of a topic that has gone is decided where it is read.
        """
        if self._are_copies:
            return
        offsets = {lane: at for lane, position in positions.items() if (at := offset_in(position)) is not None}
        try:
            await self._consuming.commit(offsets)
        except FAILURES as error:
            if fault_of(error) not in {Fault.MEMBERSHIP, Fault.MISSING}:
                raise self._service.error(error, f"topic {self._ref.resource!r}") from None
            log.info("offsets_not_committed", lanes=sorted(offsets))

    async def pause(self, lanes: Collection[Lane]) -> None:
        """At the brokers too."""
        await self._consuming.call(lambda consumer, member: member.pause(consumer, lanes))

    async def resume(self, lanes: Collection[Lane]) -> None:
        """From where they were paused."""
        await self._consuming.call(lambda consumer, member: member.resume(consumer, lanes))

    async def handle(self) -> object:
        """Of the group as this member has seen it last; a commit with an older one is refused.

        None: no sink commits to it. The thread is not asked then: while partitions are taken away, it waits for who
        asks.
        """
        if not self._are_copies:
            return None
        return await self._consuming.handle()

    async def has_committed(self, positions: Mapping[Lane, Position | None]) -> bool:
        """By the offsets that the group keeps."""
        try:
            found = await self._consuming.call(lambda consumer, member: member.committed(consumer, list(positions)))
        except FAILURES as error:
            raise self._service.error(error, f"topic {self._ref.resource!r}") from None
        return any(found.get(lane, -1) == offset_in(position) for lane, position in positions.items())

    async def joined(self) -> None:
        """The group has told what is this member's, be it nothing."""
        await self._consuming.joined.wait()

    async def finish(self) -> None:
        """Ends at the ends that the partitions have now."""
        self._consuming.finish()

    async def lag(self) -> Mapping[Lane, Lag]:
        """By what the brokers have told with the last messages, or now where they are not asked for any."""
        try:
            behind = await self._consuming.behind()
        except FAILURES as error:
            raise self._service.error(error, f"topic {self._ref.resource!r}") from None
        times, now = self._backlog.times(), SystemClock().now().timestamp()
        return {
            lane: Lag(
                records=records,
                seconds=0.0 if records == 0 else max(0.0, now - times[lane] / 1000) if lane in times else None,
            )
            for lane, records in behind.items()
        }


@asynccontextmanager
async def open_source(
    service: KafkaService, ref: SourceRef, options: KafkaSourceOptions, resume: Resume, lanes: Lanes
) -> AsyncIterator[KafkaSource]:
    """The source, on its way into its group."""
    backlog = Backlog(ref.input_encoding or Encoding.JSON)
    consuming = Consuming(service, topics_of(ref.resource), options, resume, lanes, backlog)
    consuming.start()
    try:
        yield KafkaSource(service, ref, consuming, backlog, are_copies=resume.are_copies)
    finally:
        await shielded(consuming.close())
