"""The log of ended runs, over the memory provider's documents."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest

from mstream.domain.history import RunEntry
from mstream.errors import StoreUnreachable
from mstream.ports.documents import Collection, Stored
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.runs import RunLog, key_of

ENTRY = RunEntry(
    job="orders",
    run_id="r0",
    epoch=1,
    started_at="2026-01-01T00:00:00.000000Z",
    ended_at="2026-01-01T00:01:00.000000Z",
    ending="failed",
    reason="service_unreachable",
    message="nobody listens",
    records=7,
    errors=2,
)


def entry(number: int, **changes: Any) -> RunEntry:
    started = f"2026-01-01T00:{number:02}:00.000000Z"
    return replace(ENTRY, run_id=f"r{number}", started_at=started, **changes)


@pytest.fixture
def documents() -> MemoryDocuments:
    return MemoryDocuments()


@pytest.fixture
def collection(documents: MemoryDocuments) -> Collection:
    return documents.collection("runs", key="key")


class Counting:
    """A collection that counts how often it is scanned."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner
        self.scans = 0

    async def scan(self, *, after: str = "", limit: int = 1000) -> Any:
        self.scans += 1
        return await self._inner.scan(after=after, limit=limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def ids(entries: list[RunEntry]) -> list[str]:
    return [each.run_id for each in entries]


async def test_a_run_comes_back_as_it_was_appended(collection: Collection) -> None:
    runs = RunLog(collection)

    await runs.append(ENTRY)

    assert await runs.of("orders") == [ENTRY]


async def test_runs_are_listed_from_the_newest(collection: Collection) -> None:
    runs = RunLog(collection)
    for each in (entry(2), entry(0), entry(1)):
        await runs.append(each)

    assert ids(await runs.of("orders")) == ["r2", "r1", "r0"]


async def test_a_run_that_is_appended_twice_is_there_once(collection: Collection) -> None:
    runs = RunLog(collection, keep=2)
    await runs.append(entry(0))
    await runs.append(entry(1))
    await RunLog(collection, keep=2).append(entry(1, records=9))

    found = await runs.of("orders")

    assert [(each.run_id, each.records) for each in found] == [("r1", 9), ("r0", 7)]


async def test_the_oldest_are_given_up_and_no_others(collection: Collection) -> None:
    runs = RunLog(collection, keep=3)
    await runs.append(entry(0, job="other"))
    for number in range(5):
        await runs.append(entry(number))

    assert ids(await runs.of("orders")) == ["r4", "r3", "r2"]
    assert ids(await runs.of("other")) == ["r0"]


async def test_a_lower_limit_holds_from_the_next_run_on(collection: Collection) -> None:
    for number in range(5):
        await RunLog(collection).append(entry(number))

    await RunLog(collection, keep=2).append(entry(5))

    assert ids(await RunLog(collection).of("orders")) == ["r5", "r4"]


async def test_trimming_does_not_scan_for_each_run(collection: Collection) -> None:
    counting = Counting(collection)
    runs = RunLog(counting, keep=3)
    for number in range(20):
        await runs.append(entry(number))

    assert counting.scans == 1


async def test_a_new_run_is_not_given_up_for_old_ones_when_the_clock_was_set_back(collection: Collection) -> None:
    before = RunLog(collection, keep=3)
    for number in (10, 11, 12):
        await before.append(entry(number))

    after = RunLog(collection, keep=3)
    await after.append(entry(1))
    await after.append(entry(2))

    assert set(ids(await after.of("orders"))) == {"r12", "r1", "r2"}


async def test_runs_that_end_at_once_are_all_kept_and_bounded(collection: Collection) -> None:
    runs = RunLog(collection, keep=5)

    await asyncio.gather(*(runs.append(entry(number)) for number in range(12)))

    assert len(await runs.of("orders")) == 5


@pytest.mark.parametrize("name", ["orders/1", "orders", "ünï-code ✓", "a%2Fb", "..", "orders "])
async def test_no_job_sees_the_runs_of_another(collection: Collection, name: str) -> None:
    names = ["orders/1", "orders", "ünï-code ✓", "a%2Fb", "a/b", "..", "orders "]
    runs = RunLog(collection)
    for each in names:
        await runs.append(replace(ENTRY, job=each))

    assert [each.job for each in await runs.of(name)] == [name]


async def test_forgetting_a_job_leaves_the_others(collection: Collection) -> None:
    runs = RunLog(collection)
    await runs.append(entry(0))
    await runs.append(entry(0, job="orders/1"))

    await runs.forget("orders")
    await runs.append(entry(1))

    assert ids(await runs.of("orders")) == ["r1"]
    assert ids(await runs.of("orders/1")) == ["r0"]


async def test_a_store_that_does_not_answer_is_told(documents: MemoryDocuments, collection: Collection) -> None:
    documents.faults.append(StoreUnreachable("away"))

    with pytest.raises(StoreUnreachable):
        await RunLog(collection).append(ENTRY)


async def test_an_append_that_failed_half_way_can_be_repeated(
    documents: MemoryDocuments, collection: Collection
) -> None:
    runs = RunLog(collection, keep=1)
    await runs.append(entry(0))
    failing = RunLog(Refusing(collection), keep=1)
    with pytest.raises(StoreUnreachable):
        await failing.append(entry(1))

    await failing.append(entry(1))

    assert ids(await runs.of("orders")) == ["r1"]


class Refusing:
    """A collection whose first deletion fails."""

    def __init__(self, inner: Collection) -> None:
        self._inner = inner
        self._refused = False

    async def delete(self, key: str, **how: Any) -> bool:
        if not self._refused:
            self._refused = True
            message = "away"
            raise StoreUnreachable(message)
        return await self._inner.delete(key, **how)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_an_unreadable_entry_is_left_out_and_stays(
    collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    runs = RunLog(collection)
    await runs.append(entry(0))
    await runs.append(entry(1))
    await collection.put(key_of(entry(0)), {"job": "orders", "run_id": 3})

    with caplog.at_level(logging.WARNING):
        assert ids(await runs.of("orders")) == ["r1"]

    assert await collection.get(key_of(entry(0))) is not None


async def test_the_document_carries_its_key_and_what_we_do_not_know_is_passed_over(collection: Collection) -> None:
    await RunLog(collection).append(ENTRY)
    stored = await collection.get(key_of(ENTRY))
    assert isinstance(stored, Stored)

    await collection.put(stored.key, {**stored.document, "future": 1})

    assert stored.document["key"] == stored.key
    assert await RunLog(collection).of("orders") == [ENTRY]
