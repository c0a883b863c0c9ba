"""Documents read once more, on request, between the answers of a stream that goes on.

Of each `_id` the last record is to be the newest. Two things are enough for that in one lane:

- Documents are read after an answer of the stream has come, by a read that sees whatever that answer, or one before
  it, was made of (`afterClusterTime` on a replica set; elsewhere there is one server). They are handed out behind that
  answer and before the next one is asked for. So nothing that was handed out before is newer than they are. That holds
  for an update's document too, which the server looks up later than the update: it is newer than its own event, and
  watermarks, which compare times of events, would let an older document pass behind it.
- What happens to them from then on, the stream tells behind the place where it stands, hence behind them. What had
  happened between that place and the read comes twice, as behind an initial snapshot; nothing has to be dropped.

So that the stream stands still for one short read only, which documents there are is found out beforehand, by a search
for their `_id`s that takes as long as it takes and may be old when its turn comes. What it has missed, or finds no
more, has changed since the request, and the stream tells that. The position names the stream's place and the last
`_id` that was handed out; each stop, kill and failure goes on from both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from bson import Timestamp
from pymongo.errors import OperationFailure

from mstream.domain.batch import Batch
from mstream.foundation.concurrency import begun
from mstream.observability.logs import get_logger

from .config import ID, MongodbSourceOptions
from .cursors import ServerCursor
from .following import LANE
from .places import Place, Range, Snapshot, query_of, text_of
from .ranges import BATCH, NO_EXPRESSIONS, both, id_of, named, reading, searching, within
from .service import MongodbService
from .snapshot import Chunk, Progress, chunk_of

log = get_logger(__name__)


class Along(NamedTuple):
    """The place behind one event, while documents are read."""

    before: Snapshot
    token: bytes

    def position(self) -> dict[str, Any]:
        """As it is stored."""
        return replace(self.before, start=Place(self.token)).position()


class Found(NamedTuple):
    """What a search has found."""

    #: `{"_id": …}` of each document.
    keys: list[bytes]
    #: There are no others in the range.
    is_last: bool


class Rereading:
    """One request under way. Raises what the driver raises; the next call then goes on where it was."""

    def __init__(
        self,
        live: MongodbService,
        options: MongodbSourceOptions,
        stand: Snapshot,
        *,
        has_sessions: bool,
        is_member: bool,
    ) -> None:
        self._live = live
        self._options = options
        #: Behind everything that was handed out, of the stream too.
        self.stand = stand
        self._has_sessions = has_sessions
        self._is_member = is_member
        self._query = query_of(stand.filter)
        self._search: _Search | None = None
        self._documents: ServerCursor | None = None
        #: Found, and not read yet.
        self._found: Found | None = None
        self._progress = Progress(live.config.name)

    @property
    def is_ready(self) -> bool:
        """Whether it is known which documents come next."""
        return self._found is not None or (self._search is not None and self._search.has_found)

    async def begin(self, time: Timestamp | None) -> None:
        """Have it found out which documents come next; returns at once."""
        self._progress.tell(self.stand)
        if self._search is not None:
            self._search.go_on()
            return
        if not self.stand.ranges:
            collection = self.stand.collections[0]
            self.stand = self.stand.begun(collection, (Range(collection=collection),))
        part = self.stand.ranges[0]
        self._documents = await self._renewed(self._documents, part)
        self._search = _Search(self._cursor(part), part, lambda part: self._searching(part, time))

    async def next(self, time: Timestamp | None) -> Chunk:
        """The next documents as they are now; `time`: of the stream's newest answer.

        Not to be called before it is ready, nor while something of the last answer is not handed out.
        """
        search, documents = self._search, self._documents
        assert search is not None  # noqa: S101 - it is ready
        assert documents is not None  # noqa: S101 - as above
        if self._found is None:
            self._found = search.taken()
        keys, is_last = self._found
        query = both(self._chosen(keys), self._query)
        command = reading(search.part, self._options, self._seen(time), query)
        if self._is_member:
            # the filter's own index would lead to many more
            command["hint"] = {ID: 1}
        try:
            chunk, is_cut = await self._read(documents, command, search.part, keys)
        finally:
            # what it kept for later would be older then than what the stream has told
            await documents.kill()
        left = keys[keys.index(chunk.ids[-1]) + 1 :] if is_cut else []
        self._found = Found(left, is_last) if left else None
        chunk.is_last = is_last and not left
        if chunk.is_last:
            self._search = None
            await search.close()
        return chunk

    def along(self, batch: Batch, place: Place) -> Batch:
        """A batch of the stream, with how far the documents have come in its places."""
        stand = self.stand
        self.stand = replace(stand, start=place)
        marks = [Along(stand, each) for each in batch.marks or ()]
        return replace(batch, marks=marks, positions={LANE: self.stand.position()})

    async def close(self) -> None:
        """Lets go of all cursors."""
        if self._search is not None:
            await self._search.close()
        if self._documents is not None:
            await self._documents.close()

    async def _read(
        self, cursor: ServerCursor, command: dict[str, Any], part: Range, keys: Sequence[bytes]
    ) -> tuple[Chunk, bool]:
        """As many of the documents as there is room for in an answer, and whether those behind them are left."""
        await cursor.open(command)
        found = cursor.taken()
        while True:
            chunk = chunk_of(self, part, found, self._options, is_last=False)
            if not cursor.is_open:
                return chunk, False
            if chunk.ids and chunk.ids[-1] in keys:
                return chunk, True
            await cursor.more(batchSize=BATCH)
            found = [*found, *cursor.taken()]

    def _searching(self, part: Range, time: Timestamp | None) -> dict[str, Any]:
        command = searching(part, self._query, self._seen(time))
        # an index of the filter's own may find them in another order
        return command | {"allowDiskUse": True} if self._is_member and self._query else command

    def _seen(self, time: Timestamp | None) -> Timestamp | None:
        """What had happened by then must be seen; no stand-in needs to be told, or understands it."""
        return time if self._is_member else None

    def _chosen(self, keys: Sequence[bytes]) -> dict[str, Any]:
        """The query for these documents; those between the first and the last, if one cannot be named in it."""
        query = named(keys)
        if query is None:
            part = self.stand.ranges[0]
            query = within(replace(part, until=text_of(keys[-1])))
        return query

    async def _renewed(self, cursor: ServerCursor | None, part: Range) -> ServerCursor:
        if cursor is not None:
            await cursor.close()
        return self._cursor(part)

    def _cursor(self, part: Range) -> ServerCursor:
        database = self._live.client[part.collection.partition(".")[0]]
        return ServerCursor(database, has_sessions=self._has_sessions)


class _Search:
    """Finds the `_id`s of a range, one answer ahead of who takes them."""

    def __init__(self, cursor: ServerCursor, part: Range, command: Callable[[Range], dict[str, Any]]) -> None:
        """`command`: what finds them in a range."""
        self._cursor = cursor
        #: As it was to be read from here on.
        self.part = part
        #: As far as it was searched.
        self._left = part
        self._command = command
        self._is_over = False
        self._task: asyncio.Task[Found] | None = begun(self._next())

    @property
    def has_found(self) -> bool:
        """Whether the next answer, or an error, is there."""
        return self._task is not None and self._task.done()

    def taken(self) -> Found:
        """What was found; what comes behind it is searched for. Raises what the driver has raised."""
        task, self._task = self._task, None
        assert task is not None  # noqa: S101 - it has found something
        found = task.result()
        self._is_over = found.is_last
        self.go_on()
        return found

    def go_on(self) -> None:
        """Search, if there is more to be found and nobody does."""
        if self._task is None and not self._is_over:
            self._task = begun(self._next())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()
        await self._cursor.close()

    async def _next(self) -> Found:
        if self._cursor.is_open:
            await self._cursor.more(batchSize=BATCH)
        else:
            await self._opened()
        keys = list(map(id_of, self._cursor.taken()))
        if keys:
            self._left = replace(self._left, after=text_of(keys[-1]))
        return Found(keys, not self._cursor.is_open)

    async def _opened(self) -> Any:
        try:
            return await self._cursor.open(self._command(self._left))
        except OperationFailure as error:
            if self._left.after is None or error.code not in NO_EXPRESSIONS:
                raise
            # not MongoDB itself: this server finds no way to the middle, but to the beginning
            log.warning("snapshot_range_repeated", resource=self._left.collection)
            self._left = replace(self._left, after=None)
            return await self._cursor.open(self._command(self._left))
