"""What is read beside a stream on request: one thing at a time, in turn with the stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Position
from mstream.domain.orders import SnapshotOrder
from mstream.errors import AccessDenied, Conflict, UsageError
from mstream.observability.logs import get_logger

from .config import MongodbSourceOptions
from .cursors import SESSIONS, ServerCursor
from .faults import FAILURES
from .following import ChangeStream
from .listing import collections_of, counted
from .places import Place, Snapshot, position_of, query_of
from .ranges import among, probing
from .rereading import Rereading
from .service import MongodbService
from .snapshot import Chunk
from .streams import PATIENCE_MS, is_member, stream_error

log = get_logger(__name__)

#: How long the stream is waited for when it is known which documents come next, and when it is not, in milliseconds.
_AT_ONCE_MS: Final = 1
_SOON_MS: Final = 100


class Beside:
    """Raises our own errors."""

    #: How it is read. Tests put one in that is wrong on purpose, to see that it is caught.
    kind: type[Rereading] = Rereading

    def __init__(
        self, live: MongodbService, resource: str, options: MongodbSourceOptions, hello: Mapping[str, Any]
    ) -> None:
        self._live = live
        self._resource = resource
        self._options = options
        self._hello = hello
        self._reading: Rereading | None = None
        self._is_its_turn = False

    @property
    def stand(self) -> Snapshot | None:
        """How far it has come; None: nothing is read."""
        return None if self._reading is None else self._reading.stand

    @property
    def is_under_way(self) -> bool:
        """Whether something is read, or its end was not noticed yet."""
        return self._reading is not None

    @property
    def patience_ms(self) -> int:
        """How long the stream may be waited for."""
        if self._reading is None:
            return PATIENCE_MS
        return _AT_ONCE_MS if self._reading.is_ready else _SOON_MS

    def require(self, *, is_under_way: bool) -> None:
        """Raises Conflict when it is otherwise."""
        if is_under_way == (self._reading is not None and not self._reading.stand.is_done):
            return
        what = "no snapshot is" if is_under_way else "a snapshot that was asked for before is still"
        advice = "" if is_under_way else "; wait for its end, or cancel it"
        message = f"{what} under way beside the change stream of {self._resource!r}{advice}"
        raise Conflict(message)

    async def looked_up(self, order: SnapshotOrder) -> Snapshot:
        """What is to be read on this order. Raises UsageError for what is not there or not possible, a ServiceError."""
        what = f"snapshot of {order.collection or self._resource!r} in service {self._live.config.name!r}"
        await self._end()
        try:
            query = query_of(order.filter)
        except ValueError:
            message = "the filter is no query in MongoDB's extended JSON"
            raise UsageError(message) from None
        try:
            there = await collections_of(
                self._live, self._resource, self._options, has_sessions=SESSIONS in self._hello
            )
            names = among(there, self._live.database.name, order.collection)
            if names and query:
                await self._probe(names[0], query)
            about = await counted(self._live, names, query)
        except FAILURES as error:
            raise stream_error(error, what) from None
        if not names:
            message = f"there is no collection {order.collection!r} among those that the job reads"
            raise UsageError(message if order.collection else "there is no collection yet of those that the job reads")
        return Snapshot(
            start=Place(), collections=names, about=about, is_beside=True, filter=order.filter if query else None
        )

    def take(self, stand: Snapshot) -> None:
        """Read this, from where it stands."""
        has_sessions, of_set = SESSIONS in self._hello, is_member(self._hello)
        self._reading = self.kind(self._live, self._options, stand, has_sessions=has_sessions, is_member=of_set)
        service, resource = self._live.config.name, self._resource
        log.info("snapshot_started", service=service, resource=resource, count=stand.read, about=stand.about)

    async def next(self, stream: ChangeStream) -> Chunk | None:
        """The next documents, if it is their turn: everything that the stream has told is in front of them.

        Raises a ServiceError after which they are tried again. What does not pass ends them instead: the stream goes
        on, whatever was asked for beside it.
        """
        await self._end()
        reading = self._reading
        if reading is None:
            return None
        try:
            await reading.begin(stream.time)
            self._is_its_turn = not self._is_its_turn and stream.is_open and reading.is_ready
            return await reading.next(stream.time) if self._is_its_turn else None
        except FAILURES as error:
            self._is_its_turn = False
            failure = stream_error(error, f"snapshot of {self._resource!r} in service {self._live.config.name!r}")
        if failure.retryable:
            raise failure
        log.error("snapshot_abandoned", resource=self._resource, error_code=failure.code, error=str(failure))
        await self.drop()
        return None

    def placed(self, batch: Batch, place: Place) -> Batch:
        """A batch of the stream, up to this place, with all that its places say."""
        return batch if self._reading is None else self._reading.along(batch, place)

    def position(self, place: Place) -> Position:
        """Where the source stands, when the stream does here."""
        return position_of(place) if self._reading is None else self._reading.stand.position()

    async def drop(self) -> None:
        """Read no further."""
        dropped, self._reading = self._reading, None
        if dropped is not None:
            await dropped.close()

    async def _end(self) -> None:
        """Notice that everything was handed out."""
        if self._reading is not None and self._reading.stand.is_done:
            service, count = self._live.config.name, self._reading.stand.read
            log.info("snapshot_finished", service=service, resource=self._resource, count=count)
            await self.drop()

    async def _probe(self, collection: str, query: dict[str, Any]) -> None:
        """Raises UsageError when the server does not take the query."""
        database = self._live.client[collection.partition(".")[0]]
        cursor = ServerCursor(database, has_sessions=SESSIONS in self._hello)
        try:
            await cursor.open(probing(collection, query))
        except FAILURES as error:
            failure = stream_error(error, "filter")
            if failure.retryable or isinstance(failure, AccessDenied):
                raise
            message = f"the server refuses the filter: {failure}"
            raise UsageError(message) from None
        finally:
            await cursor.close()
