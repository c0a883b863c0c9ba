"""Which collections a snapshot reads, and about how many documents they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import OperationFailure

from .config import MongodbSourceOptions, Watch
from .cursors import ServerCursor
from .ranges import is_of_users, is_wanted
from .service import MongodbService

#: How long documents that a query finds may be counted, in milliseconds.
_PATIENCE_MS: Final = 2000


async def collections_of(
    live: MongodbService, resource: str, options: MongodbSourceOptions, *, has_sessions: bool
) -> tuple[str, ...]:
    """With the name of its database before each. Raises what the driver raises."""
    if options.watch is Watch.COLLECTION:
        return (f"{live.database.name}.{resource}",)
    databases = [live.database]
    if options.watch is Watch.DEPLOYMENT:
        reply = await live.client.admin.command({"listDatabases": 1, "nameOnly": True})
        names = sorted(each["name"] for each in reply["databases"])
        databases = [live.client[each] for each in names if is_of_users(each, options)]
    found: list[str] = []
    for database in databases:
        cursor = ServerCursor(database, has_sessions=has_sessions)
        try:
            listed = await _listed(cursor)
        finally:
            await cursor.close()
        names = sorted(each["name"] for each in listed if is_wanted(each["name"], each.get("type", ""), options))
        found += [f"{database.name}.{each}" for each in names]
    return tuple(found)


async def counted(
    live: MongodbService, collections: Sequence[str], query: Mapping[str, Any] | None = None
) -> int | None:
    """By what the server notes beside each collection; None where it does not say, or would have to search for long."""
    count = 0
    chosen = {"query": query, "maxTimeMS": _PATIENCE_MS} if query else {}
    for each in collections:
        database, _, name = each.partition(".")
        known: AsyncDatabase[dict[str, Any]] = live.client[database]
        try:
            count += int((await known.command({"count": name, **chosen}))["n"])
        except (OperationFailure, KeyError):
            return None
    return count


async def _listed(cursor: ServerCursor) -> list[Any]:
    reply = await cursor.open({"listCollections": 1, "nameOnly": True})
    listed = list(reply["cursor"]["firstBatch"])
    while cursor.is_open:
        listed += (await cursor.more())["nextBatch"]
    return listed
