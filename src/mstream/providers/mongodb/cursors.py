"""A cursor of the server, command by command, in raw BSON."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from bson import CodecOptions, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.database import AsyncDatabase

from .elements import ARRAY, DOUBLE, INT32, INT64, documents_in, spans
from .faults import FAILURES

#: Documents stay as they came.
RAW: CodecOptions[RawBSONDocument] = CodecOptions(RawBSONDocument, tz_aware=True)
#: What a server greets with that knows sessions.
SESSIONS: Final = "logicalSessionTimeoutMinutes"
_DOUBLE: Final = struct.Struct("<d")


class ServerCursor:
    """At most one cursor at a time; it belongs to the session that opened it."""

    def __init__(self, database: AsyncDatabase[Any], *, has_sessions: bool) -> None:
        self._database = database
        self._session: AsyncClientSession | None = None
        if has_sessions:
            self._session = database.client.start_session(causal_consistency=False)
        self._id = 0
        self._collection = ""
        self._documents: Sequence[bytes] = ()
        #: The place behind the last answer of a change stream, if the server has told it.
        self.token: bytes | None = None
        #: The newest time of the cluster that an answer has told.
        self.time: Timestamp | None = None

    @property
    def is_open(self) -> bool:
        """Whether the server may have more."""
        return bool(self._id)

    async def open(self, command: dict[str, Any]) -> Any:
        """The whole reply. Raises what the driver raises, as `more` does."""
        reply = await self.ask(command)
        self._took(reply["cursor"])
        return reply

    async def more(self, **options: Any) -> Any:
        """The reply's `cursor`; after an error there is none any more."""
        command = {"getMore": self._id, "collection": self._collection, **options}
        try:
            reply = await self.ask(command)
        except FAILURES:
            self._id = 0
            raise
        self._took(reply["cursor"])
        return reply["cursor"]

    def taken(self) -> Sequence[bytes]:
        """The documents of the last answer, once: nobody keeps them here."""
        found, self._documents = self._documents, ()
        return found

    async def ask(self, command: dict[str, Any]) -> Any:
        """Any command, in the same session."""
        reply = await self._database.command(command, codec_options=RAW, session=self._session)
        self.time = reply.get("operationTime", self.time)
        return reply

    def forget(self) -> None:
        """The server has closed it, or what it has is of no use."""
        self._id = 0

    async def kill(self) -> None:
        """Let the server close it, as far as it can be reached."""
        closed, self._id = self._id, 0
        with suppress(*FAILURES):
            if closed:
                await self.ask({"killCursors": self._collection, "cursors": [closed]})

    async def close(self) -> None:
        """Let go of the cursor and of its session."""
        await self.kill()
        if self._session is not None:
            await self._session.end_session()

    def _took(self, cursor: RawBSONDocument) -> None:
        """By its bytes: the driver would make documents of all that is in it."""
        raw = bytes(cursor.raw)
        fields = spans(raw)
        values = {name: raw[slice(*span)] for name, span in fields.items() if name[0] != ARRAY}
        self._id = _number(values)
        self._collection = values[b"\x02ns"][4:-1].decode().partition(".")[2]
        batch = fields.get(b"\x04nextBatch") or fields.get(b"\x04firstBatch")
        self._documents = () if batch is None else documents_in(raw, *batch)
        self.token = values.get(b"\x03postBatchResumeToken")


def _number(fields: Mapping[bytes, bytes]) -> int:
    """The cursor's, of whatever type."""
    kind = next(each for each in (INT64, INT32, DOUBLE) if bytes([each]) + b"id" in fields)
    value = fields[bytes([kind]) + b"id"]
    return int(_DOUBLE.unpack(value)[0]) if kind == DOUBLE else int.from_bytes(value, "little", signed=True)
