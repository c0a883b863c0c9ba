"""What happens in collections as batches, and what is in them before, in raw BSON all the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Lag
from mstream.errors import Conflict, GuaranteeUnavailable, PositionLost, ServiceError
from mstream.foundation.concurrency import begun, shielded
from mstream.observability.logs import get_logger
from mstream.ports.roles import Limit, Resume

from .beside import Beside
from .config import MongodbSourceOptions, OnHistoryLost, TakeSnapshot
from .cursors import SESSIONS
from .faults import FAILURES
from .following import LANE, ChangeStream, Fetched
from .listing import collections_of, counted
from .places import Place, Snapshot, position_of, stand_of
from .service import MongodbService
from .snapshot import Chunk, SnapshotReader
from .streams import is_history_lost, is_member, stream_error

log = get_logger(__name__)

#: So many snapshots in a row may be made in vain before another one is refused.
_TRIES = 2
#: While a snapshot is read: seconds between two looks whether the stream's place is still kept.
_LOOKS_EVERY = 60.0


@dataclass(slots=True)
class Told:
    """A place without records, as it is when it is told."""

    position: Callable[[], Position]
    is_end: bool = False
    is_told: bool = False

    def batch(self, limit: Limit) -> Batch | None:
        """The place, once."""
        if self.is_told:
            return None
        self.is_told = True
        return Batch(payloads=[], encoding=Encoding.BSON, positions={LANE: self.position()})


Answer = Fetched | Chunk | Told


class MongodbSource:
    """A snapshot, if one is due, and the stream behind it, in one lane.

    A task of its own fetches, so that a reader that is given up loses nothing.
    """

    def __init__(
        self, live: MongodbService, ref: SourceRef, options: MongodbSourceOptions, stand: Place | Snapshot | None
    ) -> None:
        self._live = live
        self._resource = ref.resource
        self._options = options
        self._what = f"change stream of {ref.resource!r} in service {live.config.name!r}"
        self._stand = stand
        #: The snapshot behind which the stream was opened, or will be.
        self._snapshot = stand if isinstance(stand, Snapshot) and not stand.is_beside else None
        self._reader: SnapshotReader | None = None
        self._beside: Beside | None = None
        self._stream: ChangeStream | None = None
        self._hello: dict[str, Any] = {}
        self._step: asyncio.Task[Answer] | None = None
        self._rest: Answer | None = None
        #: When the server was last found to keep the stream's place.
        self._looked_at = 0.0
        self._is_finishing = False
        self._is_over = False

    async def open(self) -> None:
        """Note the place of the stream: what happens from now on is behind it."""
        try:
            self._hello = await self._live.client.admin.command("hello")
        except FAILURES as error:
            raise stream_error(error, self._what) from None
        stand = self._stand
        start = stand.start if isinstance(stand, Snapshot) else stand or Place()
        self._stream = ChangeStream(self._live, self._resource, self._options, start, self._hello)
        self._beside = Beside(self._live, self._resource, self._options, self._hello)
        if stand is None and self._options.snapshot is not TakeSnapshot.NEVER:
            self._rest = await self._kept(lambda: self._begun(()))
        elif isinstance(stand, Snapshot) and not stand.is_beside:
            self._rest = await self._kept(lambda: self._resumed(stand))
        elif self._options.snapshot is TakeSnapshot.ONLY:
            self._is_over = True
        else:
            if isinstance(stand, Snapshot):
                self._beside.take(stand)
            self._rest = await self._kept(self._stream.opened)

    async def read(self, limit: Limit) -> Batch | None:
        """Waits for events; an empty batch says that a quiet stream has a newer place."""
        while True:
            if self._rest is None:
                if self._is_over:
                    return None
                stream = self._opened_stream
                is_reading = self._reader is not None or self._what_is_beside.is_under_way
                is_last_look = self._is_finishing and self._step is None and not is_reading and stream.is_open
                self._rest = await self._fetched()
                if is_last_look and isinstance(self._rest, Fetched) and self._rest.is_empty:
                    self._is_over = True
            batch = self._rest.batch(limit)
            if batch is not None:
                if isinstance(self._rest, Fetched):
                    return self._what_is_beside.placed(batch, self._opened_stream.stands_at)
                return batch
            self._is_over = self._is_over or self._rest.is_end
            self._rest = None

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        """Each record's mark is the place after it."""
        if count >= len(batch) or batch.marks is None:
            return batch.positions
        if not count:
            return {}
        mark = batch.marks[count - 1]
        return {LANE: position_of(Place(mark)) if isinstance(mark, bytes) else mark.position()}

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        """Nothing to do: the oplog is kept by its size, whoever has read it."""

    async def finish(self) -> None:
        """From now on `read` ends once the server, asked anew, has nothing more; what is read beside it comes first."""
        self._is_finishing = True

    async def snapshot(self, order: SnapshotOrder) -> Batch:
        """Documents are read once more beside the stream, or no longer; see `rereading`."""
        stream, beside = self._opened_stream, self._what_is_beside
        if self._is_over or self._reader is not None or self._options.snapshot is TakeSnapshot.ONLY:
            message = f"{self._what} is not read yet, or no longer: there is nothing beside which to read documents"
            raise Conflict(message)
        beside.require(is_under_way=order.cancels)
        if order.cancels:
            await self._waited()
            beside.require(is_under_way=True)
            self._forget_documents()
            await shielded(beside.drop())
        else:
            found = await beside.looked_up(order)
            if not stream.stands_at.is_known:
                message = f"{self._what}: the server has not told yet where it stands; ask once something has happened"
                raise Conflict(message)
            beside.take(replace(found, start=stream.stands_at))
        return Batch(payloads=[], encoding=Encoding.BSON, positions={LANE: beside.position(stream.stands_at)})

    async def lag(self) -> Mapping[Lane, Lag]:
        """Documents that a snapshot has still to read; how many events lie ahead no server tells."""
        stand = self._reader.stand if self._reader else self._what_is_beside.stand
        if stand is None or stand.about is None:
            return {LANE: Lag()}
        return {LANE: Lag(records=max(stand.about - stand.read, 0))}

    async def close(self) -> None:
        """Lets go of the cursors, as far as the server can be reached."""
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
            if not self._step.cancelled():
                self._step.exception()
        if self._reader is not None:
            await self._reader.close()
        if self._beside is not None:
            await self._beside.drop()
        if self._stream is not None:
            await self._stream.close()

    @property
    def _opened_stream(self) -> ChangeStream:
        assert self._stream is not None  # noqa: S101 - nobody reads before `open`
        return self._stream

    @property
    def _what_is_beside(self) -> Beside:
        assert self._beside is not None  # noqa: S101 - as above
        return self._beside

    async def _fetched(self) -> Answer:
        """The next answer; who is cancelled while waiting leaves it to the next reader."""
        if self._step is None:
            self._step = begun(self._next())
        await asyncio.wait({self._step})
        step, self._step = self._step, None
        answer = step.result()
        if isinstance(answer, Fetched) and answer.events.tokens and not self._is_finishing:
            # The server looks for more while these are on their way.
            self._step = begun(self._next())
        return answer

    async def _next(self) -> Answer:
        if self._what_is_beside.is_under_way:
            return await self._next_beside(self._what_is_beside)
        if self._reader is None:
            return await self._kept(self._opened_stream.next)
        now = asyncio.get_running_loop().time()
        if now - self._looked_at >= _LOOKS_EVERY:
            self._looked_at = now
            return await self._kept(self._looked)
        try:
            found = await self._reader.next()
        except FAILURES as error:
            raise stream_error(error, f"snapshot of {self._resource!r} in service {self._live.config.name!r}") from None
        return found if found is not None else await self._passed(self._reader)

    async def _next_beside(self, beside: Beside) -> Answer:
        """The stream's answers and documents in turn."""
        stream = self._opened_stream
        chunk = await beside.next(stream)
        if chunk is not None:
            return chunk
        if not beside.is_under_way:
            return Told(lambda: beside.position(stream.stands_at))
        return await self._kept(lambda: stream.next(beside.patience_ms))

    async def _waited(self) -> None:
        """Returns when nothing is on its way; what has come is left to the next reader."""
        if self._step is not None:
            await asyncio.wait({self._step})

    def _forget_documents(self) -> None:
        """What has come of documents is not handed out."""
        if isinstance(self._rest, Chunk):
            self._rest = None
        step = self._step
        if step is not None and not step.cancelled() and step.exception() is None and isinstance(step.result(), Chunk):
            self._step = None

    async def _kept(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """The stream's answer; what becomes of a history that is lost is up to the options."""
        stream = self._opened_stream
        try:
            return await work()
        except FAILURES as error:
            if not stream.place.is_known or not is_history_lost(error):
                raise stream_error(error, self._what) from None
            lost = stream_error(error, self._what)
        except ServiceError as error:
            raise type(error)(f"{self._what}: {error}") from None
        match self._options.on_history_lost:
            case OnHistoryLost.FAIL:
                raise lost
            case OnHistoryLost.RESTART_FROM_NOW:
                log.warning("change_stream_restarted_from_now", service=self._live.config.name, resource=self._resource)
                return await self._told(self._moved)
            case OnHistoryLost.RESNAPSHOT:
                return await self._told(self._again)

    async def _told(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await work()
        except FAILURES as error:
            raise stream_error(error, self._what) from None

    # ------------------------------------------------------------------------------------------------------- snapshots
    async def _begun(self, lost: tuple[Place, ...]) -> Answer:
        """A snapshot from its beginning: the stream's place first, so that nothing falls between both."""
        stream = self._opened_stream
        start = await stream.touched(Place())
        if not start.is_known:
            message = "the server tells no place at which the stream behind a snapshot begins; set snapshot = 'never'"
            raise GuaranteeUnavailable(message)
        names = await collections_of(self._live, self._resource, self._options, has_sessions=SESSIONS in self._hello)
        about = await counted(self._live, names)
        stream.place, stream.told = start, start.token
        return await self._reading(Snapshot(start=start, collections=names, about=about, lost=lost))

    async def _resumed(self, stand: Snapshot) -> Answer:
        """A snapshot from where it was, if the stream can still go on behind it."""
        await self._opened_stream.touched(stand.start)
        return await self._reading(stand)

    async def _looked(self) -> Answer:
        """Nothing, as long as the stream can go on behind the snapshot; better to know that early than at its end."""
        await self._opened_stream.touched(self._opened_stream.place)
        return Told(dict, is_told=True)

    async def _moved(self) -> Answer:
        """From now on: what is left of a snapshot is read all the same."""
        stream, snapshot = self._opened_stream, self._snapshot_now
        if snapshot is None or snapshot.is_done:
            stream.place = Place()
            return await stream.opened()
        stream.place = await stream.touched(Place())
        stream.told = stream.place.token
        return await self._reading(replace(snapshot, start=stream.place))

    async def _again(self) -> Answer:
        """Another snapshot, because the stream's place is lost; not for ever."""
        place, snapshot = self._opened_stream.place, self._snapshot_now
        before = snapshot.lost if snapshot is not None and place == snapshot.start else ()
        if len(before) >= _TRIES:
            message = (
                f"{self._what}: the oplog has lost the place of the stream again, after {len(before)} snapshots in a"
                " row that came to nothing; the stored position names the places. Make the oplog larger, or a snapshot"
                " shorter (fewer collections, more snapshot_ranges), then reset the job's checkpoint"
            )
            raise PositionLost(message)
        log.warning("change_stream_read_anew", service=self._live.config.name, resource=self._resource)
        return await self._begun((*before, place))

    @property
    def _snapshot_now(self) -> Snapshot | None:
        return self._snapshot if self._reader is None else self._reader.stand

    async def _reading(self, stand: Snapshot) -> Told:
        time = self._opened_stream.opened_at if is_member(self._hello) else None
        if self._reader is not None:
            await self._reader.close()
        self._snapshot = stand
        self._looked_at = asyncio.get_running_loop().time()
        self._reader = SnapshotReader(self._live, self._options, stand, time, has_sessions=SESSIONS in self._hello)
        # all that was asked for is read with it
        await self._what_is_beside.drop()
        log.info(
            "snapshot_started",
            service=self._live.config.name,
            resource=self._resource,
            count=stand.read,
            about=stand.about,
        )
        # what was lost must be stored before anything else is
        return Told(stand.position, is_told=not stand.lost)

    async def _passed(self, reader: SnapshotReader) -> Told:
        """The snapshot is done: from now on the stream tells where the source stands."""
        self._snapshot = reader.stand
        log.info("snapshot_finished", service=self._live.config.name, resource=self._resource, count=reader.stand.read)
        await reader.close()
        self._reader = None
        return Told(reader.stand.position, is_end=self._options.snapshot is TakeSnapshot.ONLY)


@asynccontextmanager
async def open_source(
    live: MongodbService, ref: SourceRef, options: MongodbSourceOptions, resume: Resume
) -> AsyncIterator[MongodbSource]:
    """Raises PositionLost for a position that is none, or that the server cannot go on from."""
    try:
        stand = stand_of(resume.positions[LANE]) if LANE in resume.positions else None
    except ValueError:
        message = f"the stored position of {ref.resource!r} is no resume token; reset the job's checkpoint"
        raise PositionLost(message) from None
    source = MongodbSource(live, ref, options, stand)
    try:
        await source.open()
        yield source
    finally:
        await shielded(source.close())
