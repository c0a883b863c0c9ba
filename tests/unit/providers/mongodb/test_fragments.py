"""Large events that come in fragments are whole again, and no place in the middle of one is kept."""

from __future__ import annotations

import asyncio
from typing import Any

import bson
import pytest

from mstream.domain.batch import Batch
from mstream.errors import ServiceError, Unreachable
from mstream.ports.roles import Limit
from tests.servers.replay import Replay, token
from tests.servers.replica import refusal
from tests.unit.providers.mongodb.test_source import PATIENCE, START, played, read, source_on

ID = {"_id": 1}
BEFORE = {**ID, "price": bson.Decimal128("1.50")}
AFTER = {**ID, "price": bson.Decimal128("2.50"), "n": bson.Int64(1)}
CHANGED = {"updatedFields": {"price": AFTER["price"]}, "removedFields": []}
STAGE = {"$changeStreamSplitLargeEvent": {}}


def happen(replay: Replay) -> None:
    """Small, large, small."""
    replay.happen("insert", documentKey=ID, fullDocument=BEFORE)
    replay.happen_in_fragments(
        "update",
        {"documentKey": ID, "fullDocumentBeforeChange": BEFORE},
        {"fullDocument": AFTER},
        {"updateDescription": CHANGED},
    )
    replay.happen("delete", documentKey=ID, fullDocumentBeforeChange=AFTER)


async def until(source: Any, place: Any) -> list[Batch]:
    found: list[Batch] = []
    while not found or found[-1].positions != {"": place}:
        found.append(await read(source))
    return found


def payloads(found: list[Batch]) -> list[bytes | None]:
    return [each for batch in found for each in batch.payloads or ()]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_fragments_become_one_event(size: int) -> None:
    async with played() as (member, replay):
        happen(replay)
        replay.size = size
        async with source_on(member, START) as source:
            found = await until(source, token(5))
        (asked,) = member.asked_for("aggregate")

    assert asked["pipeline"][-1] == STAGE
    assert payloads(found) == [bson.encode(each) for each in (BEFORE, AFTER, AFTER)]
    places = [source.positions(batch, count) for batch in found for count in range(1, len(batch) + 1)]
    assert places == [{"": token(each)} for each in (1, 4, 5)]
    assert {batch.positions[""]["_data"] for batch in found} <= {token(each)["_data"] for each in (1, 4, 5)}


async def test_a_whole_event_has_the_bytes_of_its_fragments() -> None:
    async with played() as (member, replay):
        happen(replay)
        async with source_on(member, START, envelope=True) as source:
            found = payloads(await until(source, token(5)))

    whole = bson.decode(found[1] or b"")
    assert list(whole) == [
        *("_id", "operationType", "clusterTime", "ns", "documentKey"),
        *("fullDocumentBeforeChange", "fullDocument", "updateDescription"),
    ]
    assert whole["_id"] == token(4)
    assert bson.encode(whole["fullDocument"]) == bson.encode(AFTER)
    assert whole["updateDescription"] == CHANGED


async def test_a_stream_that_breaks_in_an_event_begins_it_anew() -> None:
    async with played() as (member, replay):
        happen(replay)
        replay.size = 2
        async with source_on(member, START) as source:
            first = await read(source)
            replay.refusals["getMore"].append(refusal(43, "CursorNotFound"))
            with pytest.raises(Unreachable):
                await read(source)
            rest = await until(source, token(5))
        openings = [each["pipeline"][0]["$changeStream"]["startAfter"] for each in member.asked_for("aggregate")]

    assert payloads([first, *rest]) == [bson.encode(each) for each in (BEFORE, AFTER, AFTER)]
    assert openings == [token(0), token(1)]


async def test_a_stream_that_is_told_to_end_ends_behind_a_whole_event() -> None:
    async with played() as (member, replay):
        happen(replay)
        replay.size = 2
        found: list[Batch] = []
        async with source_on(member, START) as source:
            await source.finish()
            async with asyncio.timeout(PATIENCE):
                while (batch := await source.read(Limit())) is not None:
                    found.append(batch)

    assert payloads(found) == [bson.encode(each) for each in (BEFORE, AFTER, AFTER)]


async def test_a_fragment_that_is_missing_is_an_error() -> None:
    async with played() as (member, replay):
        happen(replay)
        replay.events[2] = None
        async with source_on(member, START) as source:
            with pytest.raises(ServiceError, match="fragment"):
                await read(source)


@pytest.mark.parametrize(
    ("option", "set_name", "is_asked"),
    [(None, "rs", True), (None, None, False), (False, "rs", False), (True, None, True)],
)
async def test_who_is_asked_to_split(*, option: bool | None, set_name: str | None, is_asked: bool) -> None:
    async with played() as (member, _):
        member.set_name = set_name
        async with source_on(member, START, **({} if option is None else {"split_large_events": option})):
            (asked,) = member.asked_for("aggregate")

    assert (STAGE in asked["pipeline"]) is is_asked


async def test_a_server_that_cannot_split_is_read_as_it_is() -> None:
    async with played() as (member, replay):
        replay.happen("insert", documentKey=ID, fullDocument=BEFORE)
        replay.refusals["aggregate"].append(refusal(40324, "UnrecognizedPipelineStage"))
        async with source_on(member, START) as source:
            found = await read(source)
        asked = member.asked_for("aggregate")
        replay.refusals["aggregate"].append(refusal(40324, "UnrecognizedPipelineStage"))
        with pytest.raises(ServiceError, match="split_large_events = false"):
            async with source_on(member, START, split_large_events=True):
                pass

    assert [STAGE in each["pipeline"] for each in asked] == [True, False]
    assert found.payloads == [bson.encode(BEFORE)]
