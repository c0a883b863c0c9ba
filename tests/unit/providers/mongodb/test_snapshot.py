"""Snapshots: what is asked of the server, where they go on, and when another one is made, or refused."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest
from structlog.testing import capture_logs

from mstream.domain.batch import Batch, Operation
from mstream.domain.run import Lag
from mstream.errors import GuaranteeUnavailable, PositionLost, Unreachable
from mstream.ports.roles import Limit
from tests.servers.replay import Replay, token
from tests.servers.replica import refusal
from tests.unit.providers.mongodb.test_source import PATIENCE, played, source_on

IDS: list[Any] = [None, 1, 2.5, 7, "1", "b", {"x": 1}, b"z", bson.ObjectId("6b09f6cb9c2eff5e40342f96")]
DOCUMENTS = [{"_id": each, "n": bson.Int64(0)} for each in IDS]


async def batches(source: Any, records: int, limit: Limit | None = None) -> list[Batch]:
    """Until so many records have come; with the place behind the last."""
    found: list[Batch] = []
    async with asyncio.timeout(PATIENCE):
        while sum(map(len, found)) < records:
            batch = await source.read(limit or Limit())
            assert batch is not None, "it has ended too early"
            found.append(batch)
    return found


async def until_end(source: Any) -> list[Batch]:
    found: list[Batch] = []
    async with asyncio.timeout(PATIENCE):
        while (batch := await source.read(Limit())) is not None:
            found.append(batch)
    return found


def documents(found: list[Batch]) -> list[Any]:
    return [bson.decode(each) for batch in found for each in batch.payloads or () if each]


def happened(replay: Replay, number: int) -> None:
    key = {"_id": number}
    replay.happen("insert", documentKey=key, fullDocument=key)


async def test_documents_come_first_and_then_what_happened_since_their_place() -> None:
    async with played() as (member, replay):
        replay.pass_by()
        replay.documents["orders"] = list(DOCUMENTS)
        replay.meanwhile = lambda: happened(replay, len(replay.events))
        async with source_on(member, snapshot="initial") as source:
            found = await batches(source, len(IDS))
            replay.meanwhile = lambda: None
            behind = await batches(source, 1)

    assert documents(found) == DOCUMENTS
    record = found[-1]
    assert record.keys == [bson.encode({"_id": each}) for each in IDS]
    assert record.headers == [{"operation_type": "read", "database": "d", "collection": "orders"}] * len(IDS)
    assert record.operations == [Operation.INSERT] * len(IDS)
    assert documents(behind)[0] == {"_id": 1}
    assert behind[-1].positions == {"": token(len(replay.events))}
    (asked,) = member.asked_for("find")
    assert asked["readConcern"] == {"level": "majority", "afterClusterTime": bson.Timestamp(1_700_000_000, 1)}
    assert [each["pipeline"][0]["$changeStream"].get("startAfter") for each in member.asked_for("aggregate")] == [
        None,
        token(1),
    ]


@pytest.mark.parametrize("ranges", [1, 3])
@pytest.mark.parametrize("size", [1, 4, 1000])
async def test_it_goes_on_behind_each_record(ranges: int, size: int) -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        replay.size = size
        options = {"snapshot": "initial", "snapshot_ranges": ranges}
        found: list[Any] = []
        positions: Any = {}
        happened(replay, 100)
        while len(found) < len(IDS):
            async with source_on(member, positions, **options) as source:
                *_, batch = await batches(source, 1, Limit(records=2))
                count = min(1, len(batch))
                found += documents([batch.head(count)])
                positions = {**positions, **source.positions(batch, count)}
            happened(replay, 200)
        async with source_on(member, positions, **options) as source:
            behind = await batches(source, len(IDS))

    assert sorted(map(str, found)) == sorted(map(str, DOCUMENTS))
    assert documents(behind) == [{"_id": 200}] * len(IDS)


async def test_several_ranges_are_read_at_once() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = [{"_id": each} for each in range(30)]
        replay.size = 5
        replay.documents["orders"].reverse()
        async with source_on(member, snapshot="only", snapshot_ranges=3) as source:
            found = await until_end(source)

    finds = [each["filter"] for each in member.asked_for("find") if "limit" not in each]
    assert [*finds[0]["$expr"]] == ["$lte"]
    assert sorted(each["_id"] for each in documents(found)) == list(range(30))
    assert len(finds) == 3
    assert any("$and" in each.get("$expr", {}) for each in finds)


async def test_only_a_snapshot_ends_behind_it_and_stays_ended() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, snapshot="only") as source:
            found = await until_end(source)
        happened(replay, 1)
        async with source_on(member, found[-1].positions, snapshot="only") as source:
            again = await until_end(source)
        async with source_on(member, found[-1].positions, snapshot="initial") as source:
            behind = await batches(source, 1)

    assert documents(found) == DOCUMENTS
    assert found[-1].positions == {"": token(0)}
    assert again == []
    assert documents(behind) == [{"_id": 1}]


async def test_a_job_that_has_a_place_makes_no_snapshot() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        happened(replay, 1)
        async with source_on(member, {"": token(0)}, snapshot="initial") as source:
            assert documents(await batches(source, 1)) == [{"_id": 1}]

    assert not member.asked_for("find")


async def test_it_ends_at_the_head_when_told_in_the_middle() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, snapshot="initial") as source:
            await source.finish()
            happened(replay, 1)
            found = await until_end(source)

    assert documents(found) == [*DOCUMENTS, {"_id": 1}]


@pytest.mark.parametrize("place", ["find", "getMore"])
async def test_after_a_passing_error_it_goes_on_in_the_range(place: str) -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        replay.size = 2
        replay.refusals.setdefault(place, []).append(refusal(43, "CursorNotFound"))
        async with source_on(member, snapshot="only") as source:
            found = await batches(source, 2 if place == "getMore" else 0)
            with pytest.raises(Unreachable, match="snapshot of 'orders'"):
                await source.read(Limit())
            found += await until_end(source)

    assert documents(found) == DOCUMENTS


async def test_whole_events_are_made_of_documents() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, snapshot="only", envelope=True) as source:
            found = await until_end(source)

    assert documents(found) == [
        {
            "_id": {"_id": each["_id"], "copyingData": True},
            "operationType": "insert",
            "ns": {"db": "d", "coll": "orders"},
            "documentKey": {"_id": each["_id"]},
            "fullDocument": each,
        }
        for each in DOCUMENTS
    ]


async def test_a_filter_is_asked_of_the_server_over_events() -> None:
    match = {"$match": {"fullDocument.state": "paid"}}
    async with played() as (member, _), source_on(member, snapshot="only", pipeline=[match]) as source:
        await until_end(source)

    asked = member.asked_for("aggregate")[-1]
    assert [next(iter(each)) for each in asked["pipeline"]] == ["$match", "$sort", "$project", "$match"]
    assert asked["pipeline"][-1] == match
    assert asked["readConcern"]["level"] == "majority"


async def test_how_far_it_has_come_is_told() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        with capture_logs() as logs:
            async with source_on(member, snapshot="initial") as source:
                before = await source.lag()
                *_, batch = await batches(source, 3, Limit(records=3))
                during = await source.lag()

    assert (before, during) == ({"": Lag(records=9)}, {"": Lag(records=6)})
    assert batch.positions[""]["snapshot"]["read"] == 3
    assert [each["event"] for each in logs] == ["snapshot_started"]


async def test_a_server_that_tells_no_place_is_refused() -> None:
    async with played() as (member, replay):
        replay.has_tokens = replay.has_times = False
        with pytest.raises(GuaranteeUnavailable, match="snapshot = 'never'"):
            async with source_on(member, snapshot="initial"):
                pass

    assert not member.asked_for("find")


async def test_a_time_stands_for_a_token_that_is_not_told() -> None:
    async with played() as (member, replay):
        replay.has_tokens = False
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, snapshot="only") as source:
            positions = (await until_end(source))[-1].positions
        async with source_on(member, positions):
            asked = member.asked_for("aggregate")[-1]

    assert positions == {"": {"time": {"t": 1_700_000_000, "i": 1}}}
    assert asked["pipeline"][0]["$changeStream"]["startAtOperationTime"] == bson.Timestamp(1_700_000_000, 1)


async def test_a_place_that_is_lost_in_the_middle_is_told_before_anything_is_read() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, snapshot="initial") as source:
            *_, batch = await batches(source, 2, Limit(records=2))
        replay.pass_by()
        replay.kept_from = 1
        with pytest.raises(PositionLost, match="resnapshot"):
            async with source_on(member, batch.positions, snapshot="initial"):
                pass

    assert len(member.asked_for("find")) == 1


async def test_history_that_is_let_go_in_the_middle_takes_no_document_with_it() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        options = {"snapshot": "initial", "on_history_lost": "restart_from_now"}
        async with source_on(member, **options) as source:
            *_, first = await batches(source, 2, Limit(records=2))
        happened(replay, 1)
        replay.kept_from = 1
        async with source_on(member, first.positions, **options) as source:
            rest = await batches(source, len(IDS) - 2)
            happened(replay, 2)
            behind = await batches(source, 1)

    assert documents([first, *rest, *behind]) == [*DOCUMENTS, {"_id": 2}]


@pytest.mark.parametrize("then", ["fail", "restart_from_now", "resnapshot"])
async def test_a_place_that_is_lost_meanwhile_is_noticed_before_all_is_read(then: str) -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        replay.size = 2
        async with source_on(member, snapshot="initial", on_history_lost=then) as source:
            first = await batches(source, 2)
            replay.pass_by()
            replay.kept_from = 1
            source._looked_at -= 60.0
            if then == "fail":
                with pytest.raises(PositionLost, match="no longer reaches back"):
                    await source.read(Limit())
                return
            rest = await batches(source, len(IDS) if then == "resnapshot" else len(IDS) - 2)

    wanted = [*DOCUMENTS[:2], *DOCUMENTS] if then == "resnapshot" else DOCUMENTS
    assert documents([*first, *rest]) == wanted
    assert rest[-1].positions[""]["snapshot"]["stream"] == token(1)


# -------------------------------------------------------------------------------------------------------- another one
async def test_lost_history_is_made_good_by_another_snapshot() -> None:
    async with played() as (member, replay):
        happened(replay, 1)
        replay.documents["orders"] = list(DOCUMENTS)
        replay.kept_from = 1
        with capture_logs() as logs:
            async with source_on(member, {"": token(0)}, on_history_lost="resnapshot") as source:
                found = await batches(source, len(IDS))
                happened(replay, 2)
                behind = await batches(source, 1)

    assert found[0].positions[""]["snapshot"]["lost"] == [token(0)]
    assert documents(found + behind) == [*DOCUMENTS, {"_id": 2}]
    assert behind[-1].positions == {"": token(2)}
    assert "change_stream_read_anew" in {each["event"] for each in logs}


@pytest.mark.parametrize("is_stopped_between", [False, True])
async def test_after_two_snapshots_in_vain_another_is_refused(*, is_stopped_between: bool) -> None:
    positions: Any = {"": token(0)}
    refused = None
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        replay.pass_by()
        replay.kept_from = 1

        def forget() -> None:
            replay.pass_by()
            replay.kept_from = len(replay.events)

        replay.meanwhile = forget
        for _ in range(10):
            try:
                async with source_on(member, positions, on_history_lost="resnapshot") as source:
                    while refused is None:
                        async with asyncio.timeout(PATIENCE):
                            batch = await source.read(Limit())
                        positions = {**positions, **batch.positions}
                        if is_stopped_between and len(batch):
                            break
            except PositionLost as error:
                refused = error
                break

    assert "after 2 snapshots" in str(refused)
    assert positions[""]["snapshot"]["lost"] == [token(0), token(1)]
    assert len(member.asked_for("find")) == 2


async def test_a_stream_that_has_moved_on_may_lose_its_place_again() -> None:
    async with played() as (member, replay):
        replay.documents["orders"] = list(DOCUMENTS)
        async with source_on(member, {"": token(0)}, on_history_lost="resnapshot") as source:
            for number in range(4):
                replay.pass_by()
                replay.kept_from = len(replay.events)
                await batches(source, len(IDS))
                happened(replay, number)
                assert documents(await batches(source, 1)) == [{"_id": number}]

    assert len(member.asked_for("find")) == 4
