"""The dead-letter store, over the memory provider's documents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from mstream.domain.dead_letter import DeadLetter
from mstream.errors import DeadLettersFull
from mstream.ports.documents import Collection
from mstream.providers.memory import PROVIDER
from mstream.stores.dead_letters import DeadLetterStore

LETTER = DeadLetter(
    job="orders",
    run_id="one",
    lane="a.jsonl",
    position={"offset": 7},
    index=0,
    sink=1,
    stage="sink table",
    error_code="record_refused",
    error_message="does not fit",
    attempts=2,
    payload=b"\xff\x00{",
    encoding="json",
    record_key=b"k",
    headers={"h": "v"},
    operation="insert",
    at="2024-01-01T00:00:00.000000Z",
)


@pytest.fixture
async def collection() -> AsyncIterator[Collection]:
    assert PROVIDER.documents is not None
    async with PROVIDER.connect(PROVIDER.config(name="it")) as live:
        yield PROVIDER.documents(live).collection("dead-letters", key="key")


async def test_a_letter_comes_back_with_its_bytes(collection: Collection) -> None:
    store = DeadLetterStore(collection)

    await store.bury([LETTER])

    assert await store.entries("orders") == [LETTER]


async def test_a_tombstone_comes_back_as_one(collection: Collection) -> None:
    letter = replace(LETTER, payload=None, record_key=None, sink=None)
    store = DeadLetterStore(collection)

    await store.bury([letter])

    assert await store.entries("orders") == [letter]


async def test_a_repeat_overwrites(collection: Collection) -> None:
    store = DeadLetterStore(collection)
    again = replace(LETTER, run_id="two", attempts=9, at="2025-01-01T00:00:00.000000Z")

    await store.bury([LETTER])
    await store.bury([again])

    assert await store.entries("orders") == [again]


@pytest.mark.parametrize(
    "other",
    [
        replace(LETTER, lane="b.jsonl"),
        replace(LETTER, position={"offset": 8}),
        replace(LETTER, index=1),
        replace(LETTER, sink=0),
        replace(LETTER, sink=None),
    ],
    ids=["lane", "position", "output", "sink", "step"],
)
async def test_another_record_output_or_sink_is_another_letter(collection: Collection, other: DeadLetter) -> None:
    store = DeadLetterStore(collection)

    await store.bury([LETTER, other])

    found = await store.entries("orders")
    assert len(found) == 2
    assert other in found


async def test_letters_are_those_of_the_job_alone_oldest_first(collection: Collection) -> None:
    store = DeadLetterStore(collection)
    letters = [replace(LETTER, position=each, at=f"2024-01-{31 - each:02}") for each in range(5)]

    await store.bury([*letters, replace(LETTER, job="orders2"), replace(LETTER, job="orders/x")])

    assert await store.entries("orders") == letters[::-1]


async def test_a_full_collection_takes_no_more_and_drops_nothing(collection: Collection) -> None:
    store = DeadLetterStore(collection, max_documents=3)
    letters = [replace(LETTER, position=each, at=f"2024-01-{each + 1:02}") for each in range(5)]

    with pytest.raises(DeadLettersFull, match="limit"):
        await store.bury(letters)

    assert await store.entries("orders") == letters[:3]


async def test_a_repeat_finds_room_in_a_full_collection(collection: Collection) -> None:
    store = DeadLetterStore(collection, max_documents=1)
    await store.bury([LETTER])

    await store.bury([replace(LETTER, attempts=3)])

    assert [each.attempts for each in await store.entries("orders")] == [3]


async def test_what_another_process_has_left_counts(collection: Collection) -> None:
    await DeadLetterStore(collection).bury([replace(LETTER, position=each) for each in range(3)])

    with pytest.raises(DeadLettersFull):
        await DeadLetterStore(collection, max_documents=3).bury([replace(LETTER, position=9)])


async def test_an_error_tells_nothing_of_the_record(collection: Collection) -> None:
    with pytest.raises(DeadLettersFull) as caught:
        await DeadLetterStore(collection, max_documents=0).bury([replace(LETTER, payload=b"planted")])

    assert "planted" not in str(caught.value)
