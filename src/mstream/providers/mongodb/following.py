"""A change stream, answer by answer; at which place it goes on is known at every moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bson import Timestamp

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane
from mstream.domain.uncut import Uncut
from mstream.errors import ServiceError
from mstream.observability.logs import get_logger
from mstream.ports.roles import Limit

from .config import MongodbSourceOptions, Watch
from .cursors import SESSIONS, ServerCursor
from .events import Events, events_of
from .faults import FAILURES
from .fragments import Fragments
from .places import Place, position_of
from .service import MongodbService
from .streams import PATIENCE_MS, is_member, is_stage_unknown, opening

log = get_logger(__name__)

#: The one lane of a source.
LANE: Final[Lane] = ""
#: A server that does not wait is asked again after this many seconds.
_PAUSE: Final = 0.05
#: What 7.0 says of itself: from then on every server splits large events.
_SPLITTING: Final = 21


@dataclass(slots=True)
class Fetched:
    """One answer of the server, with how much of it was handed out."""

    stream: ChangeStream
    events: Events
    #: The place behind all of it; None: the server has not said.
    token: bytes | None
    #: The rest of an event is still to come.
    is_partial: bool = False
    at: int = 0
    is_end: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing has happened that the stream tells of."""
        return not self.events.tokens and not self.events.skipped and not self.is_partial

    def batch(self, limit: Limit) -> Batch | None:
        """The next records, or the place behind the last, if that is newer; None: that was all."""
        if self.at < len(self.events.tokens):
            return self._records(limit)
        if self.token is None or self.token == self.stream.told:
            return None
        self.stream.told = self.token
        return Batch(payloads=[], encoding=Encoding.BSON, positions={LANE: position_of(Place(self.token))})

    def _records(self, limit: Limit) -> Batch:
        events, start = self.events, self.at
        self.at = end = cut(events.payloads, start, limit)
        part = slice(start, end)
        is_whole = end == len(events.tokens)
        token = self.token if is_whole and self.token is not None else events.tokens[end - 1]
        self.stream.told = token
        return Batch(
            payloads=events.payloads[part],
            encoding=Encoding.BSON,
            keys=events.keys[part],
            headers=events.headers[part],
            operations=None if self.stream.is_enveloped else events.operations[part],
            times=events.times[part],
            marks=events.tokens[part],
            positions={LANE: position_of(Place(token))},
        )


def cut(payloads: Sequence[bytes | None], start: int, limit: Limit) -> int:
    """Where a batch ends that begins at `start`."""
    end, room, rest = start, limit.bytes, payloads[start : start + limit.records]
    if isinstance(rest, Uncut) and rest.size <= room:
        return start + len(rest)
    for payload in rest:
        room -= len(payload or b"")
        if room < 0 and end > start:
            break
        end += 1
    return end


class ChangeStream:
    """Raises what the driver raises; the next call then opens it again where it was."""

    def __init__(
        self, live: MongodbService, resource: str, options: MongodbSourceOptions, place: Place, hello: dict[str, Any]
    ) -> None:
        self._resource = resource
        self._options = options
        database = live.client.admin if options.watch is Watch.DEPLOYMENT else live.database
        self._cursor = ServerCursor(database, has_sessions=SESSIONS in hello)
        self._splits = options.split_large_events
        if self._splits is None:
            self._splits = is_member(hello) and hello.get("maxWireVersion", 0) >= _SPLITTING
        self._fragments = Fragments()
        #: Behind everything that was fetched.
        self.place = place
        #: The time of the cluster when the stream was opened.
        self.opened_at: Timestamp | None = None
        #: The token that was told last.
        self.told = place.token
        #: Where it began, as long as no token was told.
        self._began = place

    @property
    def is_open(self) -> bool:
        """Whether the server has a cursor for it."""
        return self._cursor.is_open

    @property
    def is_enveloped(self) -> bool:
        """Whether its records are whole events."""
        return self._options.envelope

    @property
    def stands_at(self) -> Place:
        """Behind everything that was handed out."""
        return self._began if self.told is None else Place(self.told)

    @property
    def time(self) -> Timestamp | None:
        """Not before anything that its answers have told, nor what they were made of."""
        return self._cursor.time

    async def opened(self) -> Fetched:
        """Open the stream at its place: what happens from now on is in it."""
        self._fragments.clear()
        await self._open(self.place)
        if self.place.is_known:
            return self._taken()
        # where the server gives no token yet, what came after this moment is found by its time
        self.place = Place(time=self.opened_at)
        found = self._taken()
        self.told, self._began = None, self.place if found.is_empty else Place(time=self.opened_at)
        return found

    async def touched(self, place: Place) -> Place:
        """That place, found to be one that the server goes on from; for an unknown one that of this moment.

        No cursor is left: who reads documents first would leave it alone for longer than the server keeps it.
        """
        await self._open(place, cursor={"batchSize": 0})
        newest = self._cursor.token
        await self._cursor.kill()
        if place.is_known:
            return place
        return Place(time=self.opened_at) if newest is None else Place(newest)

    async def next(self, patience_ms: int = PATIENCE_MS) -> Fetched:
        """The next answer; waits for so long when there is nothing."""
        if not self._cursor.is_open:
            return await self.opened()
        began, pause = asyncio.get_running_loop().time(), min(_PAUSE, patience_ms / 1000)
        await self._cursor.more(maxTimeMS=patience_ms)
        found = self._taken()
        is_early = asyncio.get_running_loop().time() - began < pause
        if is_early and found.is_empty:
            await asyncio.sleep(pause)
        return found

    async def close(self) -> None:
        """Lets go of the cursor, as far as the server can be reached."""
        await self._cursor.close()

    async def _open(self, place: Place, **more: Any) -> None:
        command = opening(self._resource, self._options, place, splits=bool(self._splits)) | more
        try:
            reply = await self._cursor.open(command)
        except FAILURES as error:
            if not self._splits or self._options.split_large_events or not is_stage_unknown(error):
                raise
            # it passes for a newer server than it is
            self._splits = False
            await self._open(place, **more)
            return
        self.opened_at = reply.get("operationTime")

    def _taken(self) -> Fetched:
        documents = self._cursor.taken()
        try:
            documents = self._fragments.joined(documents) if self._splits else documents
            events = events_of(documents, envelope=self._options.envelope)
        except ServiceError:
            # the place is still in front of it
            self._cursor.forget()
            raise
        for kind, place in events.skipped:
            log.warning("change_event_without_record", resource=self._resource, operation_type=kind, namespace=place)
        newest = self._cursor.token
        # behind an invalidate only its own token opens another stream
        token = events.last if newest is None or events.is_invalidated or self._fragments.is_waiting else newest
        if token is not None:
            self.place = Place(token)
        if events.is_invalidated:
            self._cursor.forget()
        return Fetched(self, events, token, is_partial=self._fragments.is_waiting)
