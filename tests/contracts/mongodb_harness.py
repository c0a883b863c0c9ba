"""The mongodb sink as the contract's checks see it, on each server that speaks the protocol.

Run here: mongo-java-server and nx-27017, and the deployment that MSTREAM_TEST_MONGODB_URI names. Of the stand-ins nx
alone has transactions (commit and abort, not isolated); what a replica set is asked, and what comes of its refusals,
is shown with a scripted member in tests/unit/providers/mongodb.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pymongo.errors import AutoReconnect

from mstream.domain.connector import SinkRef
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import role_options
from mstream.ports.roles import Sink
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from mstream.providers.mongodb.service import MongodbService
from mstream.providers.mongodb.sink import MongodbSink
from tests.servers.mongodb import MongoDatabase


class MongodbSinkHarness:
    """One collection; faults come up from the driver."""

    can_fail = True
    can_crash = False

    def __init__(self, database: MongoDatabase, **settings: Any) -> None:
        self.config = MongodbConfig.model_validate(
            {"name": "shop", "connection_string": database.uri, "db_name": database.name, **settings}
        )
        self._database = database
        self._fails = False
        self._lost: bool | None = None

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Sink]:
        assert PROVIDER.sink is not None
        ref = SinkRef.model_validate(
            {"service_name": "shop", "resource": "orders", "output_encoding": "bson", **options}
        )
        role = role_options(PROVIDER.sink.options, self.config, ref)
        async with PROVIDER.connect(self.config) as live, PROVIDER.sink.open(live, ref, role) as sink:
            assert isinstance(sink, MongodbSink)
            self._watched(sink, live)
            yield self.wrapped(sink)

    def wrapped(self, sink: Sink) -> Sink:
        """The sink itself; wrong ones are made here."""
        return sink

    async def stored(self) -> list[Any]:
        with self._database.client() as client:
            return list(client[self._database.name]["orders"].find())

    def refused(self) -> Any:
        """No document."""
        return 7

    def fail_next_write(self) -> None:
        self._fails = True

    async def crash(self) -> None:
        """What the write concern asks for is there; only a lost majority could take it."""

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"

    @asynccontextmanager
    async def documents(self) -> AsyncIterator[DocumentStore]:
        assert PROVIDER.documents is not None
        async with PROVIDER.connect(self.config) as live:
            yield PROVIDER.documents(live)

    def lose_answer(self, *, is_committed: bool) -> None:
        self._lost = is_committed

    def _watched(self, sink: MongodbSink, live: MongodbService) -> None:
        """The driver's calls fail when a check says so."""
        bulk_write, start_session = sink._rows.bulk_write, live.client.start_session

        async def written(*given: Any, **named: Any) -> Any:
            if self._fails:
                self._fails = False
                message = "connection closed"
                raise AutoReconnect(message)
            return await bulk_write(*given, **named)

        def started(*given: Any, **named: Any) -> Any:
            session = start_session(*given, **named)
            commit = session.commit_transaction

            async def committed() -> None:
                lost, self._lost = self._lost, None
                if lost is None:
                    return await commit()
                await (commit() if lost else session.abort_transaction())
                error = AutoReconnect("connection closed")
                error._add_error_label("UnknownTransactionCommitResult")
                raise error

            session.commit_transaction = committed  # type: ignore[method-assign]
            return session

        sink._rows.bulk_write = written  # type: ignore[method-assign]
        live.client.start_session = started  # type: ignore[method-assign]
