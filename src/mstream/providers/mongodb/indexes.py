"""The indexes of a collection: one to find by key, and one that keeps keys apart where the server can do that."""

from __future__ import annotations

import secrets
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure, PyMongoError

from mstream.observability.logs import get_logger

from .service import SAFE, MongodbService
from .shape import REVISION

log = get_logger(__name__)

_BY_KEY, _UNIQUE = "mstream_by_key", "mstream_unique"


async def provide_indexes(service: MongodbService, rows: AsyncCollection[RawBSONDocument], key: str) -> None:
    """Make them unless they are there.

    Only documents with a revision are kept apart: v0.47 writes many of one key. A server that does not know such an
    index would refuse those, so it is tried out first. Where there is none, `_id` keeps ours apart.
    """
    known = await rows.index_information()
    if _BY_KEY not in known:
        order = [(key, 1), (REVISION, -1), ("updated_at", -1)]
        await rows.create_indexes([IndexModel(order, name=_BY_KEY)])
    if _UNIQUE not in known and await _knows_partial_indexes(service, rows.database):
        await rows.create_indexes([unique_index(key)])


def unique_index(key: str) -> IndexModel:
    """Of the documents that we have written, one per key."""
    return IndexModel([(key, 1)], name=_UNIQUE, unique=True, partialFilterExpression={REVISION: {"$exists": True}})


async def _knows_partial_indexes(service: MongodbService, database: AsyncDatabase[Any]) -> bool:
    if service.abilities.partial_indexes is None:
        service.abilities.partial_indexes = await _try_partial_index(database)
        if not service.abilities.partial_indexes:
            log.info("partial_indexes_unavailable", service=service.config.name)
    return service.abilities.partial_indexes


async def _try_partial_index(database: AsyncDatabase[Any]) -> bool:
    """A server may take the index and keep to something else: two documents tell."""
    trial: AsyncCollection[dict[str, Any]] = database.get_collection(
        f"mstream-trial-{secrets.token_hex(8)}", write_concern=SAFE
    )
    try:
        await trial.create_indexes([unique_index("name")])
        await trial.insert_one({"name": "x"})
        await trial.insert_one({"name": "x"})
    except OperationFailure:
        return False
    finally:
        await _removed(trial)
    return True


async def _removed(trial: AsyncCollection[dict[str, Any]]) -> None:
    try:
        await trial.drop()
    except PyMongoError as error:
        log.warning("trial_collection_left", resource=trial.name, error_type=type(error).__name__)
