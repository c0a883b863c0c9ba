"""Documents that are read once more beside a stream: what is asked of the server, when, and where it goes on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import bson
import pytest
from structlog.testing import capture_logs

from mstream.domain.batch import Batch
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Lag
from mstream.errors import AccessDenied, Conflict, PositionLost, Unreachable, UsageError
from mstream.ports.roles import Limit, Snapshotting
from mstream.providers.mongodb.places import Place, Range, Snapshot, query_of, stand_of
from mstream.providers.mongodb.ranges import among, both, named
from tests.servers.replay import Replay, token
from tests.servers.replica import refusal
from tests.unit.providers.mongodb.test_snapshot import DOCUMENTS, IDS, batches, documents, happened, until_end
from tests.unit.providers.mongodb.test_source import PATIENCE, START, played, source_on

ALL = SnapshotOrder()
BESIDE = {"snapshot": {"stream": token(0), "collections": ["d.orders"], "read": 0, "about": 9, "beside": True}}


def orders(replay: Replay, count: int) -> None:
    replay.documents["orders"] = [{"_id": each, "n": each % 2} for each in range(count)]


async def until(source: Any, holds: Any) -> list[Batch]:
    """Batches until one is as wanted."""
    found: list[Batch] = []
    async with asyncio.timeout(PATIENCE):
        while not found or not holds(found[-1]):
            batch = await source.read(Limit())
            assert batch is not None
            found.append(batch)
    return found


def is_over(batch: Batch) -> bool:
    return "snapshot" not in batch.positions[""]


def kinds(found: list[Batch]) -> list[str]:
    return [each["operation_type"] for batch in found for each in batch.headers or () if each]


async def test_documents_come_between_what_happens() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, START) as source:
            assert isinstance(source, Snapshotting)
            first = await source.snapshot(ALL)
            happened(replay, 100)
            found = await until(source, is_over)
            happened(replay, 101)
            behind = await batches(source, 1)

    assert (len(first), first.positions) == (0, {"": BESIDE})
    assert sorted(kinds(found)) == ["insert", *["read"] * len(IDS)]
    read = [each for each in found if kinds([each])[:1] == ["read"]]
    assert documents(read) == DOCUMENTS
    assert read[0].keys == [bson.encode({"_id": each}) for each in IDS]
    assert read[0].headers == [{"operation_type": "read", "database": "d", "collection": "orders"}] * len(IDS)
    assert found[-1].positions == {"": token(1)}
    assert documents(behind) == [{"_id": 101}]
    assert behind[-1].positions == {"": token(2)}


async def test_documents_are_read_after_the_stream_has_answered_and_see_what_it_has_told() -> None:
    async with played() as (member, replay):
        orders(replay, 7)
        replay.size = 2
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            member.asked.clear()
            await until(source, is_over)

    asked = ["stream" if each.get("getMore") == 77 else "read" * _is_of_documents(each) for each in member.asked]
    assert [each for each in asked if each][:8] == ["stream", "read"] * 4
    reads = [each for each in member.asked if _is_of_documents(each)]
    concern = {"level": "majority", "afterClusterTime": bson.Timestamp(1_700_000_000, 1)}
    assert [each["readConcern"] for each in reads] == [concern] * 4


async def test_what_there_is_no_room_for_is_read_behind_the_next_answer() -> None:
    async with played() as (member, replay):
        orders(replay, 9)
        replay.room = 4
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            found = await until(source, is_over)

    assert [each["_id"] for each in documents(found)] == [*range(9)]
    reads = [each["filter"]["_id"]["$in"] for each in member.asked_for("find") if _is_of_documents(each)]
    assert [each[0] for each in reads] == [0, 4, 8]


def _is_of_documents(command: dict[str, Any]) -> bool:
    return "find" in command and "projection" not in command


async def test_what_cannot_be_named_is_read_by_its_range() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = [{"_id": each} for each in (1, 2, {"$x": 1})]
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            found = await until(source, is_over)

    assert [each["_id"] for each in documents(found)] == [1, 2, {"$x": 1}]
    assert [[*each["filter"]] for each in member.asked_for("find") if _is_of_documents(each)] == [["$expr"]]


@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_it_goes_on_behind_each_record(size: int) -> None:
    async with played() as (member, replay):
        orders(replay, 9)
        replay.size = size
        async with source_on(member, START) as source:
            positions: Any = (await source.snapshot(ALL)).positions
        found: list[Any] = []
        told: list[Any] = []
        number = 100
        while not {*range(9)} <= {each["_id"] for each in found}:
            if len(told) <= len(found):
                happened(replay, number)
                number += 1
            async with source_on(member, positions) as source:
                *_, batch = await batches(source, 1, Limit(records=2))
                kind = kinds([batch])[0]
                (found if kind == "read" else told).extend(documents([batch.head(1)]))
                positions = {**positions, **source.positions(batch, 1)}

    assert [each["_id"] for each in found] == [*range(9)]
    assert [each["_id"] for each in told] == [*range(100, 100 + len(told))]
    assert len(told) > 1


async def test_a_batch_of_the_stream_stands_at_each_of_its_records() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        for each in range(4):
            happened(replay, each)
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            *_, batch = await batches(source, 1)
            places = [source.positions(batch, each)[""]["snapshot"]["stream"] for each in (1, 3, 4)]

    assert kinds([batch]) == ["insert"] * 4
    assert places == [token(1), token(3), token(4)]


async def test_a_filter_chooses_documents() -> None:
    async with played() as (member, replay):
        orders(replay, 9)
        async with source_on(member, START) as source:
            first = await source.snapshot(SnapshotOrder(filter='{"n": 1}'))
            lag = await source.lag()
            async with source_on(member, first.positions) as again:
                found = await until(again, is_over)

    assert [each["_id"] for each in documents(found)] == [1, 3, 5, 7]
    assert first.positions[""]["snapshot"]["filter"] == '{"n": 1}'
    assert lag == {"": Lag(records=9)}
    assert [each["query"] for each in member.asked_for("count")] == [{"n": 1}]
    search, read = member.asked_for("find")[-2:]
    assert (search["allowDiskUse"], read["hint"]) == (True, {"_id": 1})


async def test_a_collection_is_chosen_among_those_that_are_read() -> None:
    options = {"watch": "database", "collections": ["/^o/"]}
    async with played() as (member, replay):
        replay.documents = {"orders": [{"_id": 1}], "others": [{"_id": 2}], "people": [{"_id": 3}]}
        async with source_on(member, START, **options) as source:
            one = await source.snapshot(SnapshotOrder(collection="others"))
            assert documents(await until(source, is_over)) == [{"_id": 2}]
            other = await source.snapshot(SnapshotOrder(collection="d.orders"))
            assert documents(await until(source, is_over)) == [{"_id": 1}]
            every = await source.snapshot(ALL)
            assert documents(await until(source, is_over)) == [{"_id": 1}, {"_id": 2}]
            with pytest.raises(UsageError, match="no collection 'people' among"):
                await source.snapshot(SnapshotOrder(collection="people"))

    collections = [each.positions[""]["snapshot"]["collections"] for each in (one, other, every)]
    assert collections == [["d.others"], ["d.orders"], ["d.orders", "d.others"]]


async def test_a_second_one_is_refused_until_the_first_has_ended() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        async with source_on(member, START) as source:
            with pytest.raises(Conflict, match="no snapshot is under way"):
                await source.snapshot(SnapshotOrder(cancels=True))
            await source.snapshot(ALL)
            with pytest.raises(Conflict, match="still under way"):
                await source.snapshot(ALL)
            await until(source, is_over)
            with capture_logs() as logs:
                await source.snapshot(ALL)
            assert len(documents(await until(source, is_over))) == 3

    assert [each["event"] for each in logs] == ["snapshot_finished", "snapshot_started"]


async def test_beside_an_initial_snapshot_none_is_taken() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        async with source_on(member, snapshot="initial") as source:
            with pytest.raises(Conflict, match="not read yet"):
                await source.snapshot(ALL)
            assert len(documents(await batches(source, 3))) == 3


@pytest.mark.parametrize("read", [0, 1, 3])
async def test_one_that_is_cancelled_leaves_the_stream_where_it_is(read: int) -> None:
    async with played() as (member, replay):
        orders(replay, 6)
        replay.size = 2
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            found = await batches(source, read, Limit(records=1))
            last = await source.snapshot(SnapshotOrder(cancels=True))
            happened(replay, 100)
            behind = await batches(source, 1)

    assert len(documents(found)) == read
    assert last.positions == {"": token(0)}
    assert documents(behind) == [{"_id": 100}]
    assert behind[-1].positions == {"": token(1)}


@pytest.mark.parametrize(
    ("order", "what"),
    [
        (SnapshotOrder(filter="[1]"), "no query in MongoDB's extended JSON"),
        (SnapshotOrder(filter='{"a": {"$date": []}}'), "no query in MongoDB's extended JSON"),
        (SnapshotOrder(collection="none"), "no collection 'none'"),
    ],
)
async def test_what_cannot_be_read_is_refused(order: SnapshotOrder, what: str) -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        async with source_on(member, START) as source:
            with pytest.raises(UsageError, match=what):
                await source.snapshot(order)
            happened(replay, 1)
            assert (await batches(source, 1))[-1].positions == {"": token(1)}


async def test_a_filter_that_the_server_refuses_is_refused() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        replay.refusals["find"] = [
            refusal(2, "BadValue"),
            refusal(13, "Unauthorized"),
            refusal(91, "ShutdownInProgress"),
        ]
        async with source_on(member, START) as source:
            order = SnapshotOrder(filter='{"n": {"$nonsense": 1}}')
            with pytest.raises(UsageError, match="the server refuses the filter") as refused:
                await source.snapshot(order)
            with pytest.raises(AccessDenied):
                await source.snapshot(order)
            with pytest.raises(Unreachable):
                await source.snapshot(order)

    assert "planted" not in str(refused.value)


async def test_a_collection_that_is_dropped_meanwhile_ends_there() -> None:
    async with played() as (member, replay):
        orders(replay, 9)
        replay.size = 2
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            found = await batches(source, 2)
            replay.documents["orders"] = []
            replay.refusals["getMore"] = [refusal(175, "QueryPlanKilled")]
            with pytest.raises(Unreachable):
                await until(source, is_over)
            found += await until(source, is_over)

    assert len(documents(found)) < 9


@pytest.mark.parametrize("is_search", [True, False])
async def test_after_a_passing_error_it_goes_on(is_search: bool) -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            replay.refusals["find"] = [refusal(91, "ShutdownInProgress")]
            if not is_search:
                replay.refusals["find"].insert(
                    0, replay._of_documents({"find": "orders", "filter": {}, "projection": 1})
                )
            with pytest.raises(Unreachable, match="snapshot of 'orders'"):
                await until(source, is_over)
            found = await until(source, is_over)

    assert documents(found) == [{"_id": each, "n": each % 2} for each in range(3)]


async def test_what_does_not_pass_ends_it_and_not_the_stream() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        with capture_logs() as logs:
            async with source_on(member, START) as source:
                await source.snapshot(ALL)
                replay.refusals["find"] = [refusal(13, "Unauthorized")]
                found = await until(source, is_over)
                happened(replay, 1)
                behind = await batches(source, 1)

    assert documents(found) == []
    assert documents(behind) == [{"_id": 1}]
    assert [each["error_code"] for each in logs if each["event"] == "snapshot_abandoned"] == ["access_denied"]


async def test_it_comes_to_its_end_before_the_job_does() -> None:
    async with played() as (member, replay):
        orders(replay, 9)
        replay.size = 2
        async with source_on(member, START) as source:
            await source.snapshot(ALL)
            await source.finish()
            happened(replay, 100)
            found = await until_end(source)

    assert sorted(each["_id"] for each in documents(found)) == [*range(9), 100]
    assert found[-1].positions == {"": token(1)}


async def test_what_was_not_handed_out_is_told_as_lag() -> None:
    async with played() as (member, replay):
        orders(replay, 9)
        async with source_on(member, START) as source:
            before = await source.lag()
            await source.snapshot(ALL)
            during = await source.lag()
            await batches(source, 4, Limit(records=4))
            later = await source.lag()
            await until(source, is_over)
            await until_quiet(source)
            after = await source.lag()

    assert (before, during, later, after) == tuple({"": Lag(records=each)} for each in (None, 9, 5, None))


async def until_quiet(source: Any) -> None:
    """The end is noticed with the next look."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            await until(source, lambda batch: False)


async def test_it_outlives_a_lost_history_where_the_job_goes_on_from_now() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        async with source_on(member, START) as source:
            positions = (await source.snapshot(ALL)).positions
        for each in range(5):
            happened(replay, each)
        replay.kept_from = 4
        async with source_on(member, positions, on_history_lost="restart_from_now") as source:
            found = await until(source, is_over)
        with pytest.raises(PositionLost):
            async with source_on(member, positions):
                pass

    assert len([each for each in kinds(found) if each == "read"]) == 3
    assert found[-1].positions == {"": token(5)}


async def test_a_new_snapshot_takes_its_place() -> None:
    async with played() as (member, replay):
        orders(replay, 3)
        positions = {"": {"snapshot": {"stream": token(1), "collections": ["d.orders"], "read": 0, "beside": True}}}
        for each in range(5):
            happened(replay, each)
        replay.kept_from = 4
        async with source_on(member, positions, on_history_lost="resnapshot") as source:
            found = await batches(source, 3)
            happened(replay, 100)
            behind = await batches(source, 1)

    assert kinds(found) == ["read"] * 3
    assert "beside" not in found[-1].positions[""]["snapshot"]
    assert documents(behind) == [{"_id": 100}]


def test_positions_say_what_is_read_beside_the_stream() -> None:
    stand = Snapshot(
        start=Place(bson.encode(token(7))),
        ranges=(Range(collection="d.orders", after='{"_id": 3}'),),
        read=4,
        is_beside=True,
        filter='{"n": 1}',
    )

    assert stand_of(stand.position()) == stand
    assert stand_of({"snapshot": {"stream": token(7)}}) == Snapshot(start=Place(bson.encode(token(7))))
    with pytest.raises(ValueError, match="no position"):
        stand_of({"snapshot": {"stream": token(7), "beside": True, "filter": "[1]"}})


def test_queries_are_put_together() -> None:
    assert both({}, {}) == {}
    assert both({"a": 1}, {}) == both({}, {"a": 1}) == {"a": 1}
    assert both({"a": 1}, {"a": 2}) == {"$and": [{"a": 1}, {"a": 2}]}
    assert query_of(None) == query_of("") == {}
    assert query_of('{"_id": {"$oid": "6b09f6cb9c2eff5e40342f96"}}') == {
        "_id": bson.ObjectId("6b09f6cb9c2eff5e40342f96")
    }


def test_keys_are_named_where_the_server_takes_them_for_values() -> None:
    keys = [bson.encode({"_id": each}) for each in IDS]

    query = named(keys)
    assert query is not None
    assert bson.encode(query) == bson.encode({"_id": {"$in": IDS}})
    assert named([bson.encode({"_id": {"$x": 1}})]) is None
    assert named([bson.encode({"_id": bson.Regex("a")})]) is None
    assert named([b"\x0a\0\0\0\x06_id\0\0"]) is None


def test_a_collection_is_found_with_and_without_its_database() -> None:
    there = ("d.orders", "d.e.orders", "e.orders")

    assert among(there, "d", "") == there
    assert among(there, "d", "orders") == ("d.orders",)
    assert among(there, "d", "d.orders") == ("d.orders",)
    assert among(there, "d", "e.orders") == ("e.orders",)
    assert among(there[:2], "d", "e.orders") == ("d.e.orders",)
    assert among(there, "d", "none") == ()
