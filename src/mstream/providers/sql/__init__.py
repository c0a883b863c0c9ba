"""PROVIDER: the sql descriptor (SQLite, PostgreSQL, MySQL/MariaDB by URL); imports no driver."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

from mstream.domain.connector import SinkRef, SourceRef
from mstream.ports.documents import DocumentStore
from mstream.ports.probe import ProbeStep
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built
from mstream.ports.roles import Lanes, Resume, Sink, Source

from .config import SqlConfig, SqlSinkOptions, check, identity, is_idempotent, same_database, unavailable

if TYPE_CHECKING:
    from .service import SqlService


def _connect(config: SqlConfig) -> AbstractAsyncContextManager[SqlService]:
    from .service import connect  # noqa: PLC0415 - the driver is loaded when it is needed

    return connect(config)


def _sink(live: SqlService, ref: SinkRef, options: Any) -> AbstractAsyncContextManager[Sink]:
    from .sink import open_sink  # noqa: PLC0415 - the driver is loaded when it is needed

    return open_sink(live, ref, options)


def _documents(live: SqlService) -> DocumentStore:
    from .documents import SqlDocuments  # noqa: PLC0415 - the driver is loaded when it is needed

    return SqlDocuments(live)


async def _probe(config: SqlConfig) -> Sequence[ProbeStep]:
    from .probe import probe  # noqa: PLC0415 - the driver is loaded when it is needed

    return await probe(config)


def _source(
    live: SqlService, ref: SourceRef, options: Any, resume: Resume, lanes: Lanes
) -> AbstractAsyncContextManager[Source]:
    raise not_built("sql source")


def _fingerprint(config: SqlConfig, ref: SourceRef, options: Any) -> str:
    return f"sql:{identity(config.url.reveal())}:{ref.resource}"


PROVIDER: Provider[SqlConfig, SqlService] = Provider(
    name="sql",
    config=SqlConfig,
    connect=_connect,
    source=SourceRole(open=_source, fingerprint=_fingerprint),
    sink=SinkRole(open=_sink, options=SqlSinkOptions, idempotent=is_idempotent, transactional=True, check=check),
    documents=_documents,
    transactional_with=same_database,
    unavailable=unavailable,
    probe=_probe,
)

__all__ = ["PROVIDER"]
