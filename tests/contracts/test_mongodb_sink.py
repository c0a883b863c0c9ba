"""The mongodb sink on servers: bytes that pass through, keys, deletes; and wrong sinks that the checks must catch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import bson
import pytest
from bson import ObjectId
from bson.raw_bson import RawBSONDocument

from mstream.domain.batch import Batch, Encoding, Operation
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure, Sink
from tests.contracts import sink_checks as checks
from tests.contracts.mongodb_harness import MongodbSinkHarness
from tests.contracts.stores import MONGODB_DATABASES
from tests.contracts.test_sink_twins import Twin
from tests.servers.mongodb import MongoDatabase
from tests.unit.providers.mongodb.test_writes import EVERY_TYPE

#: What mongo-java-server does not take: it ends the connection.
NOT_THERE = {"scope", "binary", "old binary"}
PUT, GONE = Operation.REPLACE, Operation.DELETE


@pytest.fixture(params=MONGODB_DATABASES)
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    """Each server that is there."""
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


def batch(documents: Sequence[Any], operations: Sequence[Operation] | None = None) -> Batch:
    payloads = [None if each is None else bson.encode(each) for each in documents]
    return Batch(payloads=payloads, encoding=Encoding.BSON, operations=operations)


@pytest.mark.parametrize("mode", ["insert", "replace"])
async def test_every_type_arrives_as_it_was(mode: str, mongo_java_database: MongoDatabase) -> None:
    """mongo-java-server keeps what a server keeps; nx-27017 knows fewer types."""
    given = {name: value for name, value in EVERY_TYPE.items() if name not in NOT_THERE}
    async with MongodbSinkHarness(mongo_java_database).open(write_mode=mode) as sink:
        assert list(await sink.write(batch([given]))) == []

    with mongo_java_database.client() as client:
        options: Any = bson.CodecOptions(document_class=RawBSONDocument)
        rows = client[mongo_java_database.name].get_collection("orders", codec_options=options)
        assert [each.raw for each in rows.find()] == [bson.encode(given)]


async def test_an_insert_over_other_content_is_that_records_failure(database: MongoDatabase) -> None:
    harness = MongodbSinkHarness(database)
    async with harness.open() as sink:
        await sink.write(batch([{"_id": ObjectId(), "a": 0}, {"_id": "k", "a": 1}]))
        failures = await sink.write(batch([{"_id": "k", "a": 1}, {"_id": "k", "a": 2}, {"_id": "l", "a": 3}]))

    assert [each.index for each in failures] == [1]
    assert [each["a"] for each in await harness.stored()] == [0, 1, 3]


async def test_the_last_of_many_changes_to_one_document_wins(database: MongoDatabase) -> None:
    harness = MongodbSinkHarness(database)
    documents = [{"_id": f"k{number % 7}", "n": number} for number in range(100)]
    operations = [GONE if number % 10 == 9 else PUT for number in range(100)]
    wanted: dict[str, Any] = {}
    for document, operation in zip(documents, operations, strict=True):
        wanted.pop(str(document["_id"]), None)
        if operation is PUT:
            wanted[str(document["_id"])] = document
    async with harness.open(write_mode="replace") as sink:
        assert list(await sink.write(batch(documents, operations))) == []

    assert sorted(await harness.stored(), key=lambda row: row["_id"]) == [wanted[each] for each in sorted(wanted)]


async def test_an_upsert_leaves_fields_that_it_does_not_have(database: MongoDatabase) -> None:
    harness = MongodbSinkHarness(database)
    async with harness.open(write_mode="upsert") as sink:
        await sink.write(batch([{"_id": "k", "a": 1, "b": 1}]))
        await sink.write(batch([{"_id": "k", "b": 2}]))

    assert await harness.stored() == [{"_id": "k", "a": 1, "b": 2}]


async def test_documents_can_be_known_by_other_fields(database: MongoDatabase) -> None:
    harness = MongodbSinkHarness(database)
    async with harness.open(write_mode="replace", key_fields=["sku"]) as sink:
        await sink.write(batch([{"_id": 1, "sku": "x", "n": 1}, {"_id": 2, "sku": "y", "n": 1}]))
        first = await harness.stored()
        await sink.write(batch([{"_id": 3, "sku": "x", "n": 2}]))
        await sink.write(batch([{"_id": 4, "sku": "y"}], [GONE]))

    assert await harness.stored() == [{"_id": first[0]["_id"], "sku": "x", "n": 2}]


async def test_a_change_event_changes_what_it_names(database: MongoDatabase) -> None:
    harness = MongodbSinkHarness(database)
    key = {"documentKey": {"_id": "k"}}
    described = {"updatedFields": {"in.b": 2}, "removedFields": ["a"]}
    async with harness.open(write_mode="merge") as sink:
        await sink.write(batch([{**key, "operationType": "insert", "fullDocument": {"_id": "k", "a": 1, "in": {}}}]))
        await sink.write(batch([{**key, "operationType": "update", "updateDescription": described}]))

    assert await harness.stored() == [{"_id": "k", "in": {"b": 2}}]


async def test_dead_letters_arrive_as_documents(database: MongoDatabase) -> None:
    harness = MongodbSinkHarness(database)
    async with harness.open() as sink:
        await sink.write(Batch(payloads=[b'{"_id": "k", "job": "j"}'], encoding=Encoding.JSON))

    assert await harness.stored() == [{"_id": "k", "job": "j"}]


# ---------------------------------------------------------------------------------------------------------- wrong sinks
class StopsAtTheFirstRefusal(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        failures = await self.sink.write(batch)
        return await self.sink.write(batch.head(failures[0].index)) if failures else failures


class WritesTheLastFirst(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        return await super().write(batch.pick(range(len(batch))[::-1]))


class CallsReplaysRefused(Twin):
    async def write(self, batch: Batch) -> Sequence[Failure]:
        self.sink._there = _nothing
        return await super().write(batch)


class CommitsTheRecordsAlone(Twin):
    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        for each in batches:
            await self.sink.write(each)
        return await super().write_with([], checkpoint)


async def _nothing(inserts: Sequence[Any]) -> dict[int, bytes]:
    return {}


class TwinHarness(MongodbSinkHarness):
    """Opens the wrong sink instead of the right one."""

    def __init__(self, database: MongoDatabase, twin: type[Twin]) -> None:
        super().__init__(database)
        self.twin = twin

    def wrapped(self, sink: Sink) -> Sink:
        return self.twin(sink)


@pytest.mark.parametrize(
    ("check", "twin"),
    [
        (checks.check_refuses_a_whole_batch_record_by_record, StopsAtTheFirstRefusal),
        (checks.check_writes_everything_in_order, WritesTheLastFirst),
        (checks.check_takes_a_batch_again, CallsReplaysRefused),
        (checks.check_commits_nothing_over_a_checkpoint_that_was_moved, CommitsTheRecordsAlone),
    ],
    ids=lambda each: each.__name__,
)
async def test_a_wrong_sink_is_caught(
    check: Callable[[Any], Awaitable[None]], twin: type[Twin], nx_database: MongoDatabase
) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await check(TwinHarness(nx_database, twin))
