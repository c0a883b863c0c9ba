"""THE table of document stores: one without its line here does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bson
import pytest
import sqlalchemy as sa
from bson.raw_bson import RawBSONDocument

from mstream.domain.service import ServiceConfig
from mstream.foundation.tagged_json import to_text
from mstream.ports.documents import ABSENT, Collection
from mstream.ports.provider import Provider
from mstream.providers.memory import PROVIDER as MEMORY
from mstream.providers.mongodb import PROVIDER as MONGODB
from mstream.providers.mongodb.documents import MongodbCollection
from mstream.providers.mongodb.shape import written
from mstream.providers.sql import PROVIDER as SQL
from mstream.providers.sql.documents import SqlCollection
from tests.servers.mongodb import MongoDatabase, deployment

#: Stand-ins for MongoDB, and the real one where one is named.
MONGODB_DATABASES = {"mongo-java": "mongo_java_database", "nx": "nx_database"}
if deployment() is not None:
    MONGODB_DATABASES["mongodb"] = "mongodb_deployment"
#: Whose documents leave the process.
OUTSIDE = ["sqlite", "sqlite in memory", "postgres", "mariadb", *MONGODB_DATABASES]
STORES = ["memory", *OUTSIDE]

Opening = tuple[Provider[Any, Any], ServiceConfig]


def opened(kind: str, request: pytest.FixtureRequest, folder: Path) -> Opening:
    """A provider, and the service that production would open with it."""
    match kind:
        case "memory":
            return MEMORY, MEMORY.config(name="it")
        case "sqlite":
            return SQL, SQL.config(name="it", url=f"sqlite:///{folder / 'documents.db'}")
        case "sqlite in memory":
            return SQL, SQL.config(name="it", url="sqlite://")
        case "postgres":
            return SQL, SQL.config(name="it", url=request.getfixturevalue("postgres_url"))
        case "mariadb":
            return SQL, SQL.config(name="it", url=request.getfixturevalue("mysql_url"))
    return of_mongodb(request.getfixturevalue(MONGODB_DATABASES[kind]))


def of_mongodb(database: MongoDatabase) -> Opening:
    """The same for a database of MongoDB."""
    return MONGODB, MONGODB.config(name="it", connection_string=database.uri, db_name=database.name)


async def filled(collection: Collection, keys: Sequence[str]) -> None:
    """With a document for each key; at once, where writing one by one takes long."""
    first, *others = keys
    await collection.put(first, {"name": first}, expect=ABSENT)
    if isinstance(collection, MongodbCollection):
        rows = [{"_id": each, **written("name", each, {"name": each}, each, "")} for each in others]
        await collection._rows.insert_many(RawBSONDocument(bson.encode(each)) for each in rows)
    elif isinstance(collection, SqlCollection):
        values = [{"key": each, "revision": each, "document": to_text({"name": each})} for each in others]
        insert = sa.insert(collection._table)
        service = collection._service
        await service.thread.run(lambda: service.transact(lambda connection: connection.execute(insert, values)))
    else:
        for each in others:
            await collection.put(each, {"name": each}, expect=ABSENT)
