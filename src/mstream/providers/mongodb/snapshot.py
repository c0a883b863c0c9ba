"""The documents that are there, range by range, as records of the lane of the stream that follows."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from bson import Timestamp
from pymongo.errors import OperationFailure

from mstream.domain.batch import Batch, Encoding, Headers, Operation
from mstream.foundation.concurrency import begun
from mstream.observability.logs import get_logger
from mstream.ports.roles import Limit

from .columns import Made
from .config import MongodbSourceOptions
from .cursors import ServerCursor
from .events import events_of
from .following import LANE, cut
from .places import Range, Snapshot, text_of
from .ranges import BATCH, NO_EXPRESSIONS, divided, enveloped, id_of, reading, sampling, within
from .service import MongodbService

log = get_logger(__name__)

#: What the header `operation_type` says of a document that was read, and not changed.
READ: Final = "read"
#: Seconds between two events that tell how far it has come.
_INTERVAL: Final = 60.0


class Mark(NamedTuple):
    """How far the snapshot has come with one record."""

    before: Snapshot
    part: Range
    key: bytes
    records: int

    def position(self) -> dict[str, Any]:
        """As it is stored."""
        return self.before.passed(self.part, text_of(self.key), self.records).position()


class Reader(Protocol):
    """Whoever reads documents."""

    #: Behind everything that was handed out.
    stand: Snapshot


@dataclass(slots=True)
class Chunk:
    """One answer out of a range, with how much of it was handed out."""

    reader: Reader
    part: Range
    payloads: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    #: Those of each record.
    headers: Headers
    #: `{"_id": …}` of each record.
    ids: Sequence[bytes]
    is_last: bool
    at: int = 0
    is_end: bool = False
    #: That the range has ended was told.
    is_told: bool = False

    def batch(self, limit: Limit) -> Batch | None:
        """The next records; behind the last an empty batch says that the range has ended; None: that was all."""
        reader = self.reader
        if self.at < len(self.ids):
            return self._records(limit)
        if self.is_told or not self.is_last:
            return None
        self.is_told = True
        reader.stand = reader.stand.ended(self.part)
        return Batch(payloads=[], encoding=Encoding.BSON, positions={LANE: reader.stand.position()})

    def _records(self, limit: Limit) -> Batch:
        reader, start = self.reader, self.at
        self.at = end = cut(self.payloads, start, limit)
        part, count, before, ids = slice(start, end), end - start, reader.stand, self.ids[start:end]
        reader.stand = before.passed(self.part, text_of(ids[-1]), count)
        return Batch(
            payloads=self.payloads[part],
            encoding=Encoding.BSON,
            keys=self.keys[part],
            headers=[self.headers] * count,
            operations=[Operation.INSERT] * count,
            marks=Made(range(count), lambda at: Mark(before, self.part, ids[at], at + 1)),
            positions={LANE: reader.stand.position()},
        )


class SnapshotReader:
    """Raises what the driver raises; the next call then goes on where it was."""

    def __init__(
        self,
        live: MongodbService,
        options: MongodbSourceOptions,
        stand: Snapshot,
        time: Timestamp | None,
        *,
        has_sessions: bool,
    ) -> None:
        self._live = live
        self._options = options
        #: Behind everything that was handed out.
        self.stand = stand
        self._time = time
        self._has_sessions = has_sessions
        self._parts = [self._reader(each) for each in stand.ranges]
        self._progress = Progress(live.config.name)

    async def next(self) -> Chunk | None:
        """Whatever comes first of the ranges that are read at once; None: everything was read.

        Not to be called before all of the last answer was handed out.
        """
        self._progress.tell(self.stand)
        while self.stand.collections and len(self._parts) < self._options.snapshot_ranges:
            await self._begin(self.stand.collections[0])
        if not self._parts:
            return None
        under_way = self._parts[: self._options.snapshot_ranges]
        tasks = {each.fetching() for each in under_way}
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        part = next(each for each in under_way if each.fetching() in done)
        found = part.taken()
        # the others first, next time
        self._parts.remove(part)
        if found.is_last:
            await part.close()
        elif len(under_way) == 1:
            self._parts.insert(0, part)
        else:
            self._parts.insert(len(under_way) - 1, part)
        return found

    async def close(self) -> None:
        """Lets go of all cursors."""
        for each in self._parts:
            await each.close()

    async def _begin(self, collection: str) -> None:
        ranges: tuple[Range, ...] = (Range(collection=collection),)
        if self._options.snapshot_ranges > 1:
            ranges = await self._divided(collection)
        self.stand = self.stand.begun(collection, ranges)
        self._parts += [self._reader(each) for each in ranges]

    async def _divided(self, collection: str) -> tuple[Range, ...]:
        most = self._options.snapshot_ranges
        database, _, name = collection.partition(".")
        cursor = ServerCursor(self._live.client[database], has_sessions=self._has_sessions)
        try:
            await cursor.open(sampling(collection, most))
            ranges = divided(collection, cursor.taken(), most)
            await cursor.kill()
            await cursor.open({"find": name, "filter": within(ranges[-1]), "limit": 1})
        except OperationFailure as error:
            if error.code not in NO_EXPRESSIONS:
                raise
            return (Range(collection=collection),)
        finally:
            await cursor.close()
        return ranges

    def _reader(self, part: Range) -> _RangeReader:
        database = self._live.client[part.collection.partition(".")[0]]
        cursor = ServerCursor(database, has_sessions=self._has_sessions)
        return _RangeReader(self, cursor, part, self._options, self._time)


class Progress:
    """Says in the log how far a snapshot has come, now and then."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._told_at = asyncio.get_running_loop().time()

    def tell(self, stand: Snapshot) -> None:
        """If it is time."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= _INTERVAL:
            self._told_at = now
            log.info("snapshot_progress", service=self._service, count=stand.read, about=stand.about)


class _RangeReader:
    """Reads one range ahead of who takes it, by one answer."""

    def __init__(
        self,
        reader: SnapshotReader,
        cursor: ServerCursor,
        part: Range,
        options: MongodbSourceOptions,
        time: Timestamp | None,
    ) -> None:
        self._reader = reader
        self._cursor = cursor
        #: As far as it was fetched.
        self._part = part
        self._options = options
        self._time = time
        self._task: asyncio.Task[Chunk] | None = None

    def fetching(self) -> asyncio.Task[Chunk]:
        """The next answer, on its way or there."""
        if self._task is None:
            self._task = begun(self._fetch())
        return self._task

    def taken(self) -> Chunk:
        """What has come; the one behind it is asked for."""
        task, self._task = self.fetching(), None
        found = task.result()
        if not found.is_last:
            self.fetching()
        return found

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()
        await self._cursor.close()

    async def _fetch(self) -> Chunk:
        if self._cursor.is_open:
            await self._cursor.more(batchSize=BATCH)
        else:
            await self._opened()
        found = self._cursor.taken()
        chunk = chunk_of(self._reader, self._part, found, self._options, is_last=not self._cursor.is_open)
        if chunk.ids:
            self._part = Range(collection=self._part.collection, after=text_of(chunk.ids[-1]), until=self._part.until)
        return chunk

    async def _opened(self) -> Any:
        try:
            return await self._cursor.open(reading(self._part, self._options, self._time))
        except OperationFailure as error:
            part = self._part
            if part.after is None or part.until is not None or error.code not in NO_EXPRESSIONS:
                raise
            # not MongoDB itself: this server finds no way to the middle, but to the beginning
            log.warning("snapshot_range_repeated", resource=part.collection)
            self._part = Range(collection=part.collection)
            return await self._cursor.open(reading(self._part, self._options, self._time))


def chunk_of(
    reader: Reader,
    part: Range,
    documents: Sequence[bytes],
    options: MongodbSourceOptions,
    *,
    is_last: bool,
) -> Chunk:
    """Documents of a range, or the events that stand for them, as records."""
    database, _, name = part.collection.partition(".")
    headers: Headers = {"operation_type": READ, "database": database, "collection": name}
    if options.pipeline:
        events = events_of(documents, envelope=options.envelope)
        return Chunk(reader, part, events.payloads, events.keys, headers, Made(events.tokens, id_of), is_last)
    ids = Made(documents, id_of)
    payloads: Sequence[bytes] = documents
    if options.envelope:
        place = {"db": database, "coll": name}
        payloads = [enveloped(each, key, place) for each, key in zip(documents, ids, strict=True)]
    return Chunk(reader, part, payloads, ids, headers, ids, is_last)
