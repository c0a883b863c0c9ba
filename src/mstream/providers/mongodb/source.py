"""A change stream's events as batches, in raw BSON all the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession

from mstream.domain.batch import Batch, Encoding
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.errors import PositionLost, ServiceError
from mstream.foundation.concurrency import begun, shielded
from mstream.observability.logs import get_logger
from mstream.ports.roles import Limit, Resume

from .config import MongodbSourceOptions, OnHistoryLost, Watch
from .events import Events, events_of
from .faults import FAILURES
from .service import MongodbService
from .streams import PATIENCE_MS, Place, is_history_lost, opening, position_of, stream_error, token_of

log = get_logger(__name__)

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument, tz_aware=True)
#: The one lane of a stream.
LANE: Final = ""
#: A server that does not wait is asked again after this many seconds.
_PAUSE: Final = 0.05


@dataclass(slots=True)
class _Fetched:
    """One answer of the server, with how much of it was handed out."""

    events: Events
    #: The place behind all of it; None: the server has not said.
    token: bytes | None
    at: int = 0


class MongodbSource:
    """One change stream; a task of its own fetches, so that a reader that is given up loses nothing."""

    def __init__(
        self, live: MongodbService, ref: SourceRef, options: MongodbSourceOptions, token: bytes | None
    ) -> None:
        self._live = live
        self._resource = ref.resource
        self._options = options
        self._database = live.client.admin if options.watch is Watch.DEPLOYMENT else live.database
        self._what = f"change stream of {ref.resource!r} in service {live.config.name!r}"
        self._session: AsyncClientSession | None = None
        self._place = Place(token)
        self._cursor = 0
        self._collection = ""
        self._step: asyncio.Task[_Fetched] | None = None
        self._rest: _Fetched | None = None
        self._told = token
        self._is_finishing = False
        self._is_over = False

    async def open(self) -> None:
        """Open the stream: what happens from now on is in it."""
        client = self._live.client
        try:
            hello = await client.admin.command("hello")
        except FAILURES as error:
            raise stream_error(error, self._what) from None
        if "logicalSessionTimeoutMinutes" in hello:
            # a cursor belongs to the session that opened it
            self._session = client.start_session(causal_consistency=False)
        self._rest = await self._opened()

    async def read(self, limit: Limit) -> Batch | None:
        """Waits for events; an empty batch says that a quiet stream has a newer place."""
        while True:
            if self._rest is None:
                if self._is_over:
                    return None
                is_last_look = self._is_finishing and self._step is None and bool(self._cursor)
                self._rest = await self._fetched()
                self._is_over = is_last_look and not self._rest.events.tokens and not self._rest.events.skipped
            rest = self._rest
            if rest.at < len(rest.events.tokens):
                return self._batch(rest, limit)
            self._rest = None
            if rest.token is not None and rest.token != self._told:
                self._told = rest.token
                return Batch(payloads=[], encoding=Encoding.BSON, positions={LANE: position_of(rest.token)})

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        """Each record's mark is the token after it."""
        if count >= len(batch) or batch.marks is None:
            return batch.positions
        return {LANE: position_of(batch.marks[count - 1])} if count else {}

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        """Nothing to do: the oplog is kept by its size, whoever has read it."""

    async def finish(self) -> None:
        """From now on `read` ends once the server, asked anew, has nothing more."""
        self._is_finishing = True

    async def close(self) -> None:
        """Lets go of the cursor, as far as the server can be reached."""
        if self._step is not None:
            self._step.cancel()
            await asyncio.wait({self._step})
            if not self._step.cancelled():
                self._step.exception()
        with suppress(*FAILURES):
            if self._cursor:
                await self._command({"killCursors": self._collection, "cursors": [self._cursor]})
        if self._session is not None:
            await self._session.end_session()

    def _batch(self, rest: _Fetched, limit: Limit) -> Batch:
        events, start = rest.events, rest.at
        end, room = start, limit.bytes
        for payload in events.payloads[start : start + limit.records]:
            room -= len(payload or b"")
            if room < 0 and end > start:
                break
            end += 1
        rest.at = end
        part = slice(start, end)
        is_whole = end == len(events.tokens)
        token = rest.token if is_whole and rest.token is not None else events.tokens[end - 1]
        self._told = token
        return Batch(
            payloads=events.payloads[part],
            encoding=Encoding.BSON,
            keys=events.keys[part],
            headers=events.headers[part],
            operations=None if self._options.envelope else events.operations[part],
            times=events.times[part],
            marks=events.tokens[part],
            positions={LANE: position_of(token)},
        )

    async def _fetched(self) -> _Fetched:
        """The next answer; who is cancelled while waiting leaves it to the next reader."""
        if self._step is None:
            self._step = begun(self._next())
        await asyncio.wait({self._step})
        step, self._step = self._step, None
        return step.result()

    async def _next(self) -> _Fetched:
        if not self._cursor:
            return await self._opened()
        command = {"getMore": self._cursor, "collection": self._collection, "maxTimeMS": PATIENCE_MS}
        began = asyncio.get_running_loop().time()
        try:
            reply = await self._command(command)
        except FAILURES as error:
            self._cursor = 0
            if is_history_lost(error) and self._options.on_history_lost is OnHistoryLost.RESTART_FROM_NOW:
                return await self._restarted()
            raise stream_error(error, self._what) from None
        found = self._taken(reply["cursor"], "nextBatch")
        is_early = asyncio.get_running_loop().time() - began < _PAUSE
        if is_early and not self._is_finishing and not found.events.tokens:
            await asyncio.sleep(_PAUSE)
        return found

    async def _opened(self) -> _Fetched:
        command = opening(self._resource, self._options, self._place)
        try:
            reply = await self._command(command)
        except FAILURES as error:
            is_lost = self._place.token is not None and is_history_lost(error)
            if is_lost and self._options.on_history_lost is OnHistoryLost.RESTART_FROM_NOW:
                return await self._restarted()
            raise stream_error(error, self._what) from None
        if self._place.token is None and self._place.time is None:
            # where the server gives no token yet, what came after this moment is found by its time
            self._place = Place(time=reply.get("operationTime"))
        return self._taken(reply["cursor"], "firstBatch")

    async def _restarted(self) -> _Fetched:
        log.warning("change_stream_restarted_from_now", service=self._live.config.name, resource=self._resource)
        self._place = Place()
        return await self._opened()

    def _taken(self, cursor: Any, name: str) -> _Fetched:
        documents: Sequence[RawBSONDocument] = cursor[name]
        try:
            events = events_of(documents, envelope=self._options.envelope)
        except ServiceError as error:
            # the place is still in front of it
            self._cursor = 0
            raise type(error)(f"{self._what}: {error}") from None
        for kind, place in events.skipped:
            log.warning("change_event_without_record", resource=self._resource, operation_type=kind, namespace=place)
        last = documents[-1]["_id"].raw if documents else None
        newest = cursor.get("postBatchResumeToken")
        # behind an invalidate only its own token opens another stream
        token = last if newest is None or events.is_invalidated else newest.raw
        if token is not None:
            self._place = Place(token)
        self._cursor = 0 if events.is_invalidated else int(cursor["id"])
        self._collection = cursor["ns"].partition(".")[2]
        return _Fetched(events, token)

    async def _command(self, command: dict[str, Any]) -> Any:
        return await self._database.command(command, codec_options=_RAW, session=self._session)


@asynccontextmanager
async def open_source(
    live: MongodbService, ref: SourceRef, options: MongodbSourceOptions, resume: Resume
) -> AsyncIterator[MongodbSource]:
    """Raises PositionLost for a position that is no token, or that the server cannot go on from."""
    try:
        token = token_of(resume.positions[LANE]) if LANE in resume.positions else None
    except ValueError:
        message = f"the stored position of {ref.resource!r} is no resume token; reset the job's checkpoint"
        raise PositionLost(message) from None
    source = MongodbSource(live, ref, options, token)
    try:
        await source.open()
        yield source
    finally:
        await shielded(source.close())
