"""Documents read once more beside a stream, while they change: of each `_id` the last record is the newest.

On each server that has change streams at all; readers that are wrong on purpose are caught.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from random import Random
from typing import Any

import bson
import pytest
from bson import Timestamp

from mstream.domain.batch import Batch
from mstream.domain.orders import SnapshotOrder
from mstream.ports.roles import Limit
from mstream.providers.mongodb.rereading import Rereading
from mstream.providers.mongodb.snapshot import Chunk
from mstream.providers.mongodb.source import MongodbSource
from tests.contracts.stores import MONGODB_DATABASES
from tests.contracts.test_mongodb_snapshot import filled as with_every_type
from tests.contracts.test_mongodb_snapshot import source_on
from tests.servers.mongodb import MongoDatabase

#: Some more than three answers hold.
COUNT = 3500
#: Written at the very end: behind it there is nothing.
LAST = "last"
#: Stands for a document that is gone.
GONE: dict[str, Any] = {}
PATIENCE = 60.0

pytestmark = pytest.mark.timeout(150)


class Writer:
    """Changes documents all the time, one after the other, on a thread of its own."""

    def __init__(self, database: MongoDatabase, seed: int) -> None:
        self._database = database
        self._random = Random(seed)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.writes = 0

    def _write(self) -> None:
        with self._database.client() as client:
            orders = client[self._database.name]["orders"]
            while not self._is_over.is_set():
                self.writes += 1
                key = {"_id": name_of(self._random.randrange(COUNT + 500))}
                if self._random.random() < 0.2:
                    orders.delete_one(key)
                else:
                    orders.replace_one(key, {**key, "n": self.writes}, upsert=True)
            orders.insert_one({"_id": LAST})

    @contextmanager
    def at_work(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self.end()

    def end(self) -> None:
        self._is_over.set()
        self._thread.join()


def name_of(number: int) -> str:
    return f"order-{number:05d}"


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


@pytest.fixture
def filled(database: MongoDatabase) -> MongoDatabase:
    """With documents that the stream will not tell of."""
    with database.client() as client:
        client[database.name]["orders"].insert_many({"_id": name_of(each), "n": 0} for each in range(COUNT))
    return database


def there(database: MongoDatabase) -> dict[str, dict[str, Any]]:
    with database.client() as client:
        return {each["_id"]: each for each in client[database.name]["orders"].find()}


class Sink:
    """The newest record of each `_id`, as a sink has it that writes by key."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.read: list[str] = []

    def take(self, batch: Batch) -> None:
        for payload, key, headers in zip(batch.payloads or (), batch.keys or (), batch.headers or (), strict=True):
            assert headers is not None
            # A stand-in looks up an empty document where there is none any more.
            document = bson.decode(payload) if payload and headers["operation_type"] != "delete" else GONE
            name = document.get("_id") or bson.decode(key or b"")["_id"]
            if headers["operation_type"] == "read":
                self.read.append(name)
            self.documents[name] = document

    def differences(self, database: MongoDatabase) -> list[str]:
        """Every `_id` whose last record is another than what the collection holds."""
        wanted = there(database)
        mine = {key: each for key, each in self.documents.items() if each != GONE}
        return sorted(key for key in wanted.keys() | mine.keys() if wanted.get(key) != mine.get(key))


async def took(source: Any, sink: Sink) -> Batch:
    async with asyncio.timeout(PATIENCE):
        batch: Batch = await source.read(Limit())
    sink.take(batch)
    return batch


def is_reading(batch: Batch) -> bool:
    return "snapshot" in batch.positions[""]


async def reread(source: Any, sink: Sink, writer: Writer) -> None:
    """From the order to the last that happens."""
    batch = await source.snapshot(SnapshotOrder())
    with writer.at_work():
        while is_reading(batch):
            batch = await took(source, sink)
            await asyncio.sleep(0.05)
        await asyncio.to_thread(writer.end)
        while LAST not in sink.documents:
            await took(source, sink)


@asynccontextmanager
async def following(database: MongoDatabase, kind: type[Rereading] = Rereading) -> AsyncIterator[MongodbSource]:
    async with source_on(database, snapshot="never") as source:
        assert isinstance(source, MongodbSource)
        assert source._beside is not None
        source._beside.kind = kind
        yield source


async def test_the_last_record_is_the_newest(filled: MongoDatabase) -> None:
    sink, writer = Sink(), Writer(filled, 1)

    async with following(filled) as source:
        await reread(source, sink, writer)

    assert sink.differences(filled) == []
    assert len(sink.read) > COUNT / 2
    assert writer.writes > 100


class Early(Rereading):
    """Wrong: reads documents early, and hands them out behind what the stream tells for a while."""

    early: Chunk | None = None
    since = 0.0

    @property
    def is_ready(self) -> bool:
        return self.early is not None and asyncio.get_running_loop().time() - self.since > 0.5

    async def begin(self, time: Timestamp | None) -> None:
        await super().begin(time)
        if self.early is None and super().is_ready:
            self.early = await super().next(time)
            self.since = asyncio.get_running_loop().time()

    async def next(self, time: Timestamp | None) -> Chunk:
        early, self.early = self.early, None
        assert early is not None
        return early


class Forgetful(Rereading):
    """Wrong: leaves a document out in each answer."""

    async def next(self, time: Timestamp | None) -> Chunk:
        chunk = await super().next(time)
        chunk.at = 1
        return chunk


@pytest.mark.parametrize("kind", [Early, Forgetful])
async def test_a_reader_that_is_wrong_is_caught(kind: type[Rereading], filled: MongoDatabase) -> None:
    sink, writer = Sink(), Writer(filled, 2)

    async with following(filled, kind) as source:
        await reread(source, sink, writer)

    assert sink.differences(filled) != []


@pytest.mark.parametrize("seed", [1, 2])
async def test_it_goes_on_in_the_middle_wherever_it_was_stopped(seed: int, filled: MongoDatabase) -> None:
    sink, writer, random = Sink(), Writer(filled, seed), Random(seed)
    async with following(filled) as source:
        positions = (await source.snapshot(SnapshotOrder())).positions

    with writer.at_work():
        for _ in range(4):
            async with source_on(filled, positions, snapshot="never") as source:
                for _ in range(random.randrange(1, 4)):
                    batch = await took(source, Sink())
                    count = random.randrange(len(batch) + 1)
                    positions = {**positions, **source.positions(batch, count)}
                    sink.take(batch.head(count))
                    if count < len(batch):
                        break
        async with source_on(filled, positions, snapshot="never") as source:
            while is_reading(await took(source, sink)):
                pass
            await asyncio.to_thread(writer.end)
            while LAST not in sink.documents:
                await took(source, sink)

    assert sink.differences(filled) == []


async def test_a_filter_reads_what_it_finds(filled: MongoDatabase) -> None:
    sink = Sink()
    with filled.client() as client:
        client[filled.name]["orders"].update_many({"_id": {"$lt": name_of(1200)}}, {"$set": {"n": -1}})

    async with following(filled) as source:
        batch = await source.snapshot(SnapshotOrder(collection="orders", filter='{"n": {"$lt": 0}}'))
        while is_reading(batch):
            batch = await took(source, sink)

    assert sink.read == [name_of(each) for each in range(1200)]


async def test_ids_of_every_type_are_read(database: MongoDatabase) -> None:
    wanted = with_every_type(database)
    found: list[bytes | None] = []

    async with following(database) as source:
        batch = await source.snapshot(SnapshotOrder())
        while is_reading(batch):
            batch = await source.read(Limit())
            found += batch.payloads or ()

    assert sorted(map(str, found)) == sorted(map(str, wanted))


def test_a_newer_document_than_the_last_record_is_noticed(filled: MongoDatabase) -> None:
    sink = Sink()
    sink.documents = there(filled)
    assert sink.differences(filled) == []

    sink.documents[name_of(1)] = {"_id": name_of(1), "n": 7}
    sink.documents[name_of(2)] = GONE
    sink.documents["none"] = {"_id": "none"}

    assert sink.differences(filled) == ["none", name_of(1), name_of(2)]
