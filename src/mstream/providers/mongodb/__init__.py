"""PROVIDER: the mongodb descriptor; imports no driver. It can host stores; source and sink are described only."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from mstream.domain.batch import Encoding
from mstream.domain.connector import SinkRef, SourceRef
from mstream.domain.service import RoleOptions
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built

from .config import MongodbConfig, MongodbSinkOptions

if TYPE_CHECKING:
    from .service import MongodbService


def _connect(config: MongodbConfig) -> AbstractAsyncContextManager[MongodbService]:
    if find_spec("pymongo") is None:
        raise not_built("mongodb", extra="mongodb")
    from .service import connect  # noqa: PLC0415 - the driver is loaded when it is needed

    return connect(config)


def _documents(live: MongodbService) -> DocumentStore:
    from .documents import MongodbDocuments  # noqa: PLC0415 - the driver is loaded when it is needed

    return MongodbDocuments(live)


def _unbuilt(*_: Any) -> NoReturn:
    raise not_built("mongodb")


def _fingerprint(config: MongodbConfig, ref: SourceRef, options: RoleOptions) -> str:
    return f"mongodb:{config.name}/{config.db_name}/{ref.resource}"


def _idempotent(ref: SinkRef, options: MongodbSinkOptions) -> bool:
    return options.write_mode == "replace"


PROVIDER: Provider[MongodbConfig, MongodbService] = Provider(
    name="mongodb",
    config=MongodbConfig,
    connect=_connect,
    source=SourceRole(
        open=_unbuilt,
        fingerprint=_fingerprint,
        input_encoding=Encoding.BSON,
        encodings=frozenset({Encoding.BSON}),
    ),
    sink=SinkRole(open=_unbuilt, options=MongodbSinkOptions, idempotent=_idempotent),
    documents=_documents,
    schemas=_unbuilt,
    extra="mongodb",
    # No job can use it yet; stores do not ask.
    built=False,
)
