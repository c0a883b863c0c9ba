"""The mongodb source as the contract's checks see it, on a change stream that is played to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

import bson

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.ports.provider import role_options
from mstream.ports.roles import Limit, Resume, Source
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from tests.contracts.lanes import NoLanes
from tests.servers.replay import Replay, token
from tests.servers.replica import Replica, refusal


class Unpacked:
    """The same source, with what the checks have put into its documents as payloads."""

    def __init__(self, source: Any) -> None:
        self._source = source

    async def read(self, limit: Limit) -> Batch | None:
        batch: Batch | None = await self._source.read(limit)
        if batch is None:
            return None
        return replace(batch, payloads=[each and bson.decode(each)["value"] for each in batch.payloads or ()])

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        positions: Mapping[Lane, Position | None] = self._source.positions(batch, count)
        return positions

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        await self._source.ack(positions)

    async def finish(self) -> None:
        await self._source.finish()


class ReplaySourceHarness:
    """One collection; without a position the stream begins before all events."""

    can_progress = True
    #: The lane of a stream has no end.
    can_end = False
    can_fail = True
    #: Where the source begins that has no position.
    begin: ClassVar[Mapping[Lane, Position]] = {"": token(0)}
    options: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, member: Replica) -> None:
        self.replay = Replay(member)
        self.config = MongodbConfig.model_validate(
            {"name": "shop", "connection_string": member.uri, "db_name": "d", "password": "hunter2-planted"}
        )
        # a password without a user is of no use to the driver
        self._open = self.config.model_copy(update={"password": None})

    @asynccontextmanager
    async def open(self, positions: Mapping[Lane, Position] | None = None) -> AsyncIterator[Source]:
        assert PROVIDER.source is not None
        ref = SourceRef.model_validate({"service_name": "shop", "resource": "orders", **self.options})
        role = role_options(PROVIDER.source.options, self.config, ref)
        resume = Resume(positions=positions or self.begin)
        async with (
            PROVIDER.connect(self._open) as live,
            PROVIDER.source.open(live, ref, role, resume, NoLanes()) as source,
        ):
            yield self.wrapped(Unpacked(source))

    def wrapped(self, source: Source) -> Source:
        """The source itself; wrong ones are made here."""
        return source

    async def append(self, *payloads: bytes) -> None:
        for each in payloads:
            key = {"_id": len(self.replay.events)}
            self.replay.happen("insert", documentKey=key, fullDocument={**key, "value": each})

    async def progress(self) -> None:
        self.replay.pass_by()

    async def end(self) -> None:
        """Never asked for."""

    def fail_next_read(self) -> None:
        self.replay.refusals["getMore"].append(refusal(10107, "NotWritablePrimary"))

    def acked(self) -> Sequence[Mapping[Lane, Position | None]] | None:
        return None

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"

    def lost_positions(self, positions: Mapping[Lane, Position]) -> Mapping[Lane, Position]:
        self.replay.refusals["getMore"].append(refusal(286, "ChangeStreamHistoryLost"))
        return positions


class SnapshotHarness(ReplaySourceHarness):
    """The same behind a snapshot: what is there when the source is opened first is documents, all later is events."""

    begin: ClassVar[Mapping[Lane, Position]] = {}
    options: ClassVar[Mapping[str, Any]] = {"snapshot": "initial"}

    def __init__(self, member: Replica) -> None:
        super().__init__(member)
        self._was_opened = False

    @asynccontextmanager
    async def open(self, positions: Mapping[Lane, Position] | None = None) -> AsyncIterator[Source]:
        self._was_opened = True
        async with super().open(positions) as source:
            yield source

    async def append(self, *payloads: bytes) -> None:
        if self._was_opened:
            await super().append(*payloads)
            return
        there = self.replay.documents.setdefault("orders", [])
        there += [{"_id": len(there) + number, "value": each} for number, each in enumerate(payloads)]
