"""Document store in collections: the shape of v0.47, compare-and-set by revision, majority everywhere.

A document that we create has its key as `_id`, so no server can hold two of them, whatever it makes of unique
indexes. One that v0.47 has left keeps its `_id`, and gets a revision when it is first written.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import bson
import pymongo
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError, InvalidName, OperationFailure
from pymongo.read_concern import ReadConcern

from mstream.errors import RevisionConflict, StoreError
from mstream.ports.documents import (
    ABSENT,
    LAYOUT,
    LAYOUT_KEY,
    LAYOUT_RESOURCE,
    Document,
    Revision,
    Stored,
    Stray,
    check_layout,
)

from .faults import FAILURES, REFUSES_LINEARIZABLE, store_error
from .indexes import provide_indexes
from .service import SAFE, MongodbService
from .shape import REVISION, Found, found, written
from .strays import Census

T = TypeVar("T")
Rows = AsyncCollection[RawBSONDocument]

#: Seconds after which an operation is given up, the driver's own tries included; `timeoutMS` in the connection
#: string says otherwise.
PATIENCE = 10.0

#: Seconds for what looks at a whole collection.
_LONG_PATIENCE = 300.0

#: What we have written comes first, then what v0.47 has written last.
_NEWEST_FIRST = [(REVISION, -1), ("updated_at", -1)]

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument, tz_aware=True)


class MongodbDocuments:
    """The collections of one database."""

    def __init__(self, service: MongodbService, database: str = "") -> None:
        """`database`: another one of the same deployment than the service's."""
        self._service = service
        self.database = service.client[database] if database else service.database
        #: Collections that are known to be complete, with their indexes.
        self._provided: set[str] = set()

    def collection(self, resource: str, *, key: str = "name") -> MongodbCollection:
        """The collection of that name; it is made when it is first written to."""
        return MongodbCollection(self, self._service, resource, key)

    async def ping(self) -> None:
        """Answers when the deployment has a primary that can be read."""
        await self.layout()

    async def layout(self) -> Stored | None:
        """What the store says of itself. Raises StoreTooNew."""
        stored = await self.collection(LAYOUT_RESOURCE).get(LAYOUT_KEY)
        check_layout(None if stored is None else stored.document, f"database {self.database.name!r}")
        return stored

    async def provide(self, collection: MongodbCollection) -> None:
        """Make what a collection needs before its first write."""
        if collection.resource in self._provided or collection.resource == LAYOUT_RESOURCE:
            return
        if await self.layout() is None:
            mark = {"name": LAYOUT_KEY, "version": LAYOUT}
            with suppress(RevisionConflict):  # another process was quicker: let us see what it says
                await self.collection(LAYOUT_RESOURCE).put(LAYOUT_KEY, mark, expect=ABSENT)
            await self.layout()
        await collection.make_indexes()
        self._provided.add(collection.resource)


class MongodbCollection:
    """One collection of documents."""

    def __init__(self, store: MongodbDocuments, service: MongodbService, resource: str, key: str) -> None:
        self.resource = resource
        self._store = store
        self._service = service
        self._key = key
        self._what = f"collection {resource!r}"
        try:
            rows: Rows = store.database.get_collection(
                resource, codec_options=_RAW, read_preference=ReadPreference.PRIMARY
            )
        except InvalidName:
            message = f"{self._what}: MongoDB takes no such name; name another resource"
            raise StoreError(message) from None
        self._rows = rows.with_options(write_concern=SAFE, read_concern=ReadConcern("local"))
        self._agreed = rows.with_options(read_concern=ReadConcern("majority"))
        self._beyond_doubt = rows.with_options(read_concern=ReadConcern("linearizable"))

    async def get(self, key: str) -> Stored | None:
        """The document as last written by anybody."""
        newest = await self._run(lambda: self._read(key))
        return None if newest is None else newest.stored(self._what)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        """By key in code-point order, which is the order of a text's bytes; damaged documents are left out."""

        async def page() -> list[Stored]:
            stored: list[Stored] = []
            query = {self._key: {"$gt": after, "$type": "string"}}
            async with aclosing(self._by_key(query, batch=limit)) as ordered:
                async for counting, _ in ordered:
                    if counting.content is not None:
                        stored.append(counting.stored(self._what))
                    if len(stored) == limit:
                        break
            return stored

        return await self._run(page)

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        """Write; with `expect` only if that is still the revision."""
        token = revision or secrets.token_hex(16)
        fields = await self._run(lambda: self._written(key, document, token))
        await self._store.provide(self)
        if expect is None:
            await self._run(lambda: self._overwrite(key, fields))
        elif expect == ABSENT:
            await self._run(lambda: self._create(key, fields))
        else:
            await self._run(lambda: self._replace(key, fields, expect))
        return token

    async def put_within(
        self, session: AsyncClientSession, key: str, document: Document, *, expect: Revision, revision: Revision
    ) -> None:
        """The same in a transaction that somebody else commits. Raises what the driver does, and RevisionConflict."""
        fields = await self._written(key, document, revision)
        there = await self._newest(self._rows, key, session)
        if expect != (ABSENT if there is None else there.revision):
            raise self._conflict(key)
        if there is None:
            await self._rows.insert_one(RawBSONDocument(_encoded({"_id": key, **fields})), session=session)
        elif not (await self._rows.replace_one(there.unchanged(), fields, session=session)).matched_count:
            raise self._conflict(key)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """Remove; with `expect` only if that is still the revision."""
        return await self._run(lambda: self._delete(key, expect))

    async def strays(self) -> Sequence[Stray]:
        """What `scan` has left out: older and newer ones of v0.47, damaged ones, and what bears no key."""

        async def count() -> list[Stray]:
            census = Census()
            async for counting, others in self._by_key({}, batch=1000):
                census.add(counting, others)
            return census.strays()

        return await self._run(count, patience=_LONG_PATIENCE)

    async def make_indexes(self) -> None:
        """Unless they are there."""
        await self._run(lambda: provide_indexes(self._service, self._rows, self._key))

    async def _written(self, key: str, document: Document, token: Revision) -> dict[str, Any]:
        return written(self._key, key, document, token, self._what)

    async def _read(self, key: str) -> Found | None:
        """The newest document of the key, beyond doubt where the server can say so."""
        if await self._service.reads_linearizable():
            try:
                return await self._newest(self._beyond_doubt, key)
            except OperationFailure as error:
                if error.code not in REFUSES_LINEARIZABLE:
                    raise
                self._service.without_linearizable(f"the server refuses them with code {error.code}")
        return await self._newest(self._agreed, key)

    async def _newest(self, rows: Rows, key: str, session: AsyncClientSession | None = None) -> Found | None:
        raw = await rows.find_one({self._key: key}, sort=[*_NEWEST_FIRST, ("_id", -1)], session=session)
        return None if raw is None else found(bytes(raw.raw), self._key)

    async def _by_key(
        self, query: dict[str, Any], *, batch: int
    ) -> AsyncGenerator[tuple[Found, Sequence[Found]], None]:
        """In the order of keys: the one that counts, and the others that bear its key."""
        group: list[Found] = []
        # The index has the same order; `_id` cannot be in it, some servers stumble over that.
        async with self._agreed.find(query, sort=[(self._key, 1), *_NEWEST_FIRST], batch_size=batch) as cursor:
            async for raw in cursor:
                each = found(bytes(raw.raw), self._key)
                if group and (not each.key or each.key != group[0].key):
                    yield group[0], group[1:]
                    group = []
                group.insert(0 if group and each.is_later_twin(group[0]) else len(group), each)
        if group:
            yield group[0], group[1:]

    async def _overwrite(self, key: str, fields: dict[str, Any]) -> None:
        while True:
            there = await self._newest(self._rows, key)
            if there is not None:
                if (await self._rows.replace_one({"_id": there.id}, fields)).matched_count:
                    return
            elif await self._insert(key, fields):
                return

    async def _create(self, key: str, fields: dict[str, Any]) -> None:
        if await self._newest(self._rows, key) is not None or not await self._insert(key, fields):
            raise self._conflict(key)

    async def _replace(self, key: str, fields: dict[str, Any], expect: Revision) -> None:
        """What a program has changed that does not know revisions is seen here, too; see `Found.unchanged`."""
        there = await self._newest(self._rows, key)
        if there is None or there.revision != expect:
            raise self._conflict(key)
        if not (await self._rows.replace_one(there.unchanged(), fields)).matched_count:
            raise self._conflict(key)

    async def _insert(self, key: str, fields: dict[str, Any]) -> bool:
        """False: somebody else was quicker. Raises StoreError when its place is taken by something foreign."""
        try:
            await self._rows.insert_one(RawBSONDocument(_encoded({"_id": key, **fields})))
        except DuplicateKeyError:
            taken = await self._rows.find_one({"_id": key})
            if taken is not None and found(bytes(taken.raw), self._key).key != key:
                message = f"{self._what}: the document with _id {key!r} has another {self._key!r}; remove it"
                raise StoreError(message) from None
            return False
        return True

    async def _delete(self, key: str, expect: Revision | None) -> bool:
        while True:
            there = await self._newest(self._rows, key)
            if expect is not None and expect != (ABSENT if there is None else there.revision):
                raise self._conflict(key)
            if there is None:
                return False
            # Older ones of v0.47 first: they would take its place.
            await self._rows.delete_many({self._key: key, REVISION: {"$exists": False}, "_id": {"$ne": there.id}})
            query = {"_id": there.id} if expect is None else there.unchanged()
            if (await self._rows.delete_one(query)).deleted_count:
                return True

    def _conflict(self, key: str) -> RevisionConflict:
        return RevisionConflict(f"{self._what}: {key!r} is not at the expected revision; read it again")

    async def _run(self, work: Callable[[], Awaitable[T]], *, patience: float = PATIENCE) -> T:
        try:
            with pymongo.timeout(self._service.client.options.timeout or patience):
                return await work()
        except FAILURES as error:
            raise store_error(error, self._what) from None


def _encoded(fields: dict[str, Any]) -> bytes:
    return bson.encode(fields)
