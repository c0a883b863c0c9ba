"""PROVIDER: queues and documents in this process, for tests, demos and embedding."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from mstream.domain.checkpoint import Begin
from mstream.domain.connector import SinkRef, SourceRef
from mstream.domain.service import ServiceConfig
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import Provider, SinkRole, SourceRole
from mstream.ports.roles import Lanes, Resume, Sink, Source
from mstream.providers.memory.config import MemoryConfig, MemorySinkOptions, MemorySourceOptions

if TYPE_CHECKING:
    from mstream.providers.memory.service import MemoryHub, MemoryService


@asynccontextmanager
async def _source(
    service: MemoryService, ref: SourceRef, options: MemorySourceOptions, resume: Resume, lanes: Lanes
) -> AsyncIterator[Source]:
    from mstream.providers.memory.source import MemorySource  # noqa: PLC0415 - a descriptor imports what it describes

    queue = service.queue(ref.resource)
    source = MemorySource(queue, options, resume, lanes)
    queue.members.append(source)
    try:
        yield source
    finally:
        queue.members.remove(source)


@asynccontextmanager
async def _sink(service: MemoryService, ref: SinkRef, options: MemorySinkOptions) -> AsyncIterator[Sink]:
    from mstream.providers.memory.sink import MemorySink  # noqa: PLC0415 - as above

    yield MemorySink(service.queue(ref.resource), service.documents, options)


def _documents(service: MemoryService) -> DocumentStore:
    return service.documents


def _fingerprint(config: MemoryConfig, ref: SourceRef, options: MemorySourceOptions) -> str:
    return f"memory:{config.name}:{ref.resource}"


def _is_member(ref: SourceRef, options: MemorySourceOptions) -> bool:
    return options.member


def _same_service(config: MemoryConfig, other: ServiceConfig) -> bool:
    return isinstance(other, MemoryConfig) and other.name == config.name


def provider_on(hub: MemoryHub | None = None) -> Provider[MemoryConfig, MemoryService]:
    """The descriptor, bound to services that somebody else holds too.

    An embedder or a test keeps the hub, fills queues and looks into them; what is in it
    outlives a connection, as in a real server. Without a hub each connection begins empty.
    """

    def connect(config: MemoryConfig) -> AbstractAsyncContextManager[MemoryService]:
        return _connect(config, hub)

    return Provider(
        name="memory",
        config=MemoryConfig,
        connect=connect,
        source=SourceRole(
            open=_source,
            fingerprint=_fingerprint,
            options=MemorySourceOptions,
            begins={Begin.BEGINNING: {"start": "beginning"}, Begin.NOW: {"start": "end"}},
            finite=True,
            has_keys=True,
            members=_is_member,
        ),
        sink=SinkRole(open=_sink, options=MemorySinkOptions, transactional=True),
        documents=_documents,
        transactional_with=_same_service,
        one_process=True,
    )


@asynccontextmanager
async def _connect(config: MemoryConfig, hub: MemoryHub | None) -> AsyncIterator[MemoryService]:
    from mstream.providers.memory.service import MemoryHub  # noqa: PLC0415 - as above

    yield (hub if hub is not None else MemoryHub()).service(config.name)


PROVIDER: Provider[MemoryConfig, MemoryService] = provider_on()
