"""The memory provider in the hands of the conformance suites."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SinkRef, SourceRef
from mstream.errors import RecordRefused, Unreachable
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import role_options
from mstream.ports.roles import Resume, Sink, Source
from mstream.providers.memory import provider_on
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.memory.queue import MemoryQueue, MemoryRecord
from mstream.providers.memory.service import MemoryHub
from tests.contracts.lanes import NoLanes

REFUSED = {"_id": -1, "text": "refused"}


class MemoryHarness:
    """One queue of one service."""

    can_fail = True

    def __init__(self, folder: Path | None = None) -> None:
        self.hub = MemoryHub()
        self.provider = provider_on(self.hub)
        self.config = MemoryConfig(name="queues")

    @property
    def queue(self) -> MemoryQueue:
        return self.hub.service("queues").queue("records")

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"


class MemorySourceHarness(MemoryHarness):
    """Reads the queue."""

    can_progress = True
    can_end = True

    @asynccontextmanager
    async def open(self, positions: Mapping[Lane, Position] | None = None) -> AsyncIterator[Source]:
        assert self.provider.source is not None
        ref = SourceRef(service_name="queues", resource="records")
        options = role_options(self.provider.source.options, self.config, ref)
        async with (
            self.provider.connect(self.config) as live,
            self.provider.source.open(live, ref, options, Resume(positions=positions or {}), NoLanes()) as source,
        ):
            yield self.wrapped(source)

    def wrapped(self, source: Source) -> Source:
        """The source itself; wrong ones are made here."""
        return source

    async def append(self, *payloads: bytes) -> None:
        self.queue.put(*payloads)

    async def progress(self) -> None:
        self.queue.skip()

    async def end(self) -> None:
        self.queue.end("")

    def fail_next_read(self) -> None:
        self.queue.faults.reads.append(Unreachable("the queue does not answer"))

    def acked(self) -> Sequence[Mapping[Lane, Position | None]] | None:
        return self.queue.acked

    def lost_positions(self, positions: Mapping[Lane, Position]) -> Mapping[Lane, Position]:
        return dict.fromkeys(positions, 1_000_000)


class MemorySinkHarness(MemoryHarness):
    """Writes the queue."""

    can_crash = True

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Sink]:
        assert self.provider.sink is not None
        self.queue.faults.refuse = _refuse
        ref = SinkRef(service_name="queues", resource="records", **options)
        role = role_options(self.provider.sink.options, self.config, ref)
        async with self.provider.connect(self.config) as live, self.provider.sink.open(live, ref, role) as sink:
            yield self.wrapped(sink)

    def wrapped(self, sink: Sink) -> Sink:
        """The sink itself; wrong ones are made here."""
        return sink

    async def stored(self) -> list[Any]:
        return [orjson.loads(each) for each in self.queue.payloads() if each is not None]

    def refused(self) -> Any:
        return REFUSED

    def fail_next_write(self) -> None:
        self.queue.faults.writes.append(Unreachable("the queue does not answer"))

    async def crash(self) -> None:
        self.queue.crash()

    @asynccontextmanager
    async def documents(self) -> AsyncIterator[DocumentStore]:
        """The store that a transaction can write to."""
        yield self.hub.service("queues").documents

    def lose_answer(self, *, is_committed: bool) -> None:
        if is_committed:
            self.queue.faults.lost_answers += 1
        else:
            self.queue.faults.lost_commits += 1


def _refuse(record: MemoryRecord) -> RecordRefused | None:
    if record.payload is not None and orjson.loads(record.payload) == REFUSED:
        return RecordRefused("this queue does not take such a record")
    return None
