"""PROVIDER: the mongodb descriptor; imports no driver. Stores, sinks and change streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from mstream.domain.batch import Encoding
from mstream.domain.checkpoint import Begin, Lane
from mstream.domain.connector import SinkRef, SourceRef
from mstream.ports.documents import DocumentStore
from mstream.ports.inspection import Inspection
from mstream.ports.probe import ProbeStep
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built
from mstream.ports.roles import Lanes, Resume, Sink, Source

from .config import (
    MongodbConfig,
    MongodbSinkOptions,
    MongodbSourceOptions,
    check,
    filter_digest,
    is_idempotent,
    same_deployment,
)

if TYPE_CHECKING:
    from .service import MongodbService

#: One of these stands in a position: a token, a time, or how far a snapshot has come.
_PLACES = frozenset({"_data", "time", "snapshot"})


def _connect(config: MongodbConfig) -> AbstractAsyncContextManager[MongodbService]:
    if find_spec("pymongo") is None:
        raise not_built("mongodb", extra="mongodb")
    from .service import connect  # noqa: PLC0415 - the driver is loaded when it is needed

    return connect(config)


def _documents(live: MongodbService) -> DocumentStore:
    from .documents import MongodbDocuments  # noqa: PLC0415 - the driver is loaded when it is needed

    return MongodbDocuments(live)


def _sink(live: MongodbService, ref: SinkRef, options: MongodbSinkOptions) -> AbstractAsyncContextManager[Sink]:
    from .sink import open_sink  # noqa: PLC0415 - the driver is loaded when it is needed

    return open_sink(live, ref, options)


def _source(
    live: MongodbService, ref: SourceRef, options: MongodbSourceOptions, resume: Resume, lanes: Lanes
) -> AbstractAsyncContextManager[Source]:
    from .source import open_source  # noqa: PLC0415 - the driver is loaded when it is needed

    return open_source(live, ref, options, resume)


def _unavailable(config: MongodbConfig) -> str | None:
    if find_spec("pymongo") is None:
        return "provider 'mongodb' needs a driver: pip install 'mstream[mongodb]'"
    return None


async def _probe(config: MongodbConfig) -> Sequence[ProbeStep]:
    from .probe import probe  # noqa: PLC0415 - the driver is loaded when it is needed

    return await probe(config)


def _inspection(live: MongodbService) -> Inspection:
    from .inspection import MongodbInspection  # noqa: PLC0415 - the driver is loaded when it is needed

    return MongodbInspection(live)


def _unbuilt(*_: Any) -> NoReturn:
    raise not_built("mongodb schemas")


def _fingerprint(config: MongodbConfig, ref: SourceRef, options: MongodbSourceOptions) -> str:
    digest = filter_digest(options)
    return f"mongodb:{config.name}/{config.db_name}/{ref.resource}{digest and '#'}{digest}"


def _with_snapshot(options: Mapping[str, Any]) -> Mapping[str, Any]:
    """What reads nothing but a snapshot reads it again, and no more."""
    return {} if options.get("snapshot") == "only" else {"snapshot": "initial"}


def _refused(lane: Lane, position: Any) -> str | None:
    is_place = lane == "" and isinstance(position, dict) and not _PLACES.isdisjoint(position)
    return None if is_place else 'it takes {"": {"_data": …}}, a resume token, as `checkpoints show` has it'


PROVIDER: Provider[MongodbConfig, MongodbService] = Provider(
    name="mongodb",
    config=MongodbConfig,
    connect=_connect,
    source=SourceRole(
        open=_source,
        fingerprint=_fingerprint,
        options=MongodbSourceOptions,
        begins={Begin.BEGINNING: _with_snapshot, Begin.NOW: {"snapshot": "never"}},
        refuses=_refused,
        finite=True,
        input_encoding=Encoding.BSON,
        encodings=frozenset({Encoding.BSON}),
    ),
    sink=SinkRole(
        open=_sink,
        options=MongodbSinkOptions,
        idempotent=is_idempotent,
        transactional=True,
        check=check,
        keeps=Encoding.BSON,
    ),
    documents=_documents,
    schemas=_unbuilt,
    transactional_with=same_deployment,
    database=lambda config: config.db_name,
    unavailable=_unavailable,
    probe=_probe,
    inspection=_inspection,
    extra="mongodb",
)
