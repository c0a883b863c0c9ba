"""What every document store must do, for each one that we ship, opened the way production opens it."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from mstream.errors import RevisionConflict, StoreError
from mstream.ports.documents import ABSENT, LARGEST, Collection, DocumentStore, Stored
from tests.contracts.stores import OUTSIDE, STORES, filled, opened

#: Starting a server takes its time.
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def jobs(documents: DocumentStore) -> Collection:
    """An empty collection, its name one that needs quoting."""
    return documents.collection(f'jobs-"%s`{secrets.token_hex(4)}')


async def everything(collection: Collection, *, limit: int) -> list[Stored]:
    """Page by page."""
    found: list[Stored] = []
    while page := await collection.scan(after=found[-1].key if found else "", limit=limit):
        assert len(page) <= limit
        found += page
    return found


async def test_ping_answers(documents: DocumentStore) -> None:
    await documents.ping()


async def test_what_was_never_written_is_not_there(jobs: Collection) -> None:
    assert await jobs.get("orders") is None
    assert await jobs.scan() == []
    assert await jobs.delete("orders") is False


async def test_a_document_comes_back_as_it_was_written(jobs: Collection) -> None:
    document = {
        "name": "orders",
        "null": None,
        "flags": [True, False],
        "whole": 2**80,
        "negative": -1,
        "fraction": 1.0,
        "nested": {"": {"deep": [{}, [], "ü\u0000\U0001f600"]}},
    }

    revision = await jobs.put("orders", document)

    stored = await jobs.get("orders")
    assert stored == Stored(key="orders", document=document, revision=revision)
    assert isinstance(stored.document["fraction"], float)
    assert list(stored.document) == list(document)


async def test_bytes_and_times_come_back_as_they_were_written(jobs: Collection) -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
    document = {"name": "x", "bytes": bytes(range(256)), "empty": b"", "at": moment, "list": [b"a", {"at": moment}]}

    first = await jobs.put("x", document)

    for expect in (first, None):
        stored = await jobs.get("x")
        assert stored is not None
        assert stored.document == document
        assert stored.document["at"].utcoffset() == timedelta(0)
        await jobs.put("x", document, expect=expect)


async def test_a_document_that_looks_like_a_tag_stays_what_it_is(jobs: Collection) -> None:
    document = {
        "a": {"$bytes": "eA=="},
        "b": {"$time": "never"},
        "c": {"$plain": [["$bytes", "eA=="]]},
        "d": {"$plain": {"$plain": b"x"}},
    }

    await jobs.put("x", document)

    stored = await jobs.get("x")
    assert stored is not None
    assert stored.document == document


STRANGE_NAMES: dict[str, dict[str, Any]] = {
    "dots": {"name": "x", "a.b": 1, "in": {"a.b": {"c.": 2, ".": 3}}},
    "dollars": {"name": "x", "$set": {"$inc": {"a": 1}}, "in": {"$or": [{"$ref": "y"}], "a$": 1}},
    "references": {"name": "x", "in": {"$ref": "#/definitions/y"}, "on": {"$ref": "c", "$id": 1, "more": 2}},
    "empty": {"name": "x", "": {"": {"": 0}}},
    "no text": {"name": "x", "a\0b": {"\0": 1}},
    "ours": {"name": "x", "_id": 7, "revision": "mine", "key": "k", "document": {}, "_digest": 1, "_document": {}},
    "tags": {"name": "x", "in": {"_time": "never"}, "on": [{"_plain": []}, {"_int": "1"}, {"_int": 2**70}]},
    "one tag": {"_plain": [["a", 1]]},
    "another key": {"name": "y", "v": 1},
    "key not first": {"v": 1, "name": "x", "w": 2},
    "key of another kind": {"name": 5},
    "no key": {"v": 1},
    "nothing": {},
}


@pytest.mark.parametrize("document", STRANGE_NAMES.values(), ids=STRANGE_NAMES)
async def test_fields_may_have_any_name(jobs: Collection, document: dict[str, Any]) -> None:
    revision = await jobs.put("x", document, expect=ABSENT)

    assert await jobs.get("x") == Stored(key="x", document=document, revision=revision)
    (scanned,) = await jobs.scan()
    assert scanned == Stored(key="x", document=document, revision=revision)
    assert list(scanned.document) == list(document)
    assert await jobs.put("x", document, expect=revision)


async def test_creating_what_exists_is_refused_and_changes_nothing(jobs: Collection) -> None:
    revision = await jobs.put("orders", {"v": 1}, expect=ABSENT)

    with pytest.raises(RevisionConflict):
        await jobs.put("orders", {"v": 2}, expect=ABSENT)

    stored = await jobs.get("orders")
    assert stored == Stored(key="orders", document={"v": 1}, revision=revision)


async def test_a_write_at_an_old_revision_is_refused_and_changes_nothing(jobs: Collection) -> None:
    old = await jobs.put("orders", {"v": 1})
    new = await jobs.put("orders", {"v": 2}, expect=old)

    with pytest.raises(RevisionConflict):
        await jobs.put("orders", {"v": 3}, expect=old)

    stored = await jobs.get("orders")
    assert stored == Stored(key="orders", document={"v": 2}, revision=new)


async def test_a_write_that_expects_what_was_never_there_is_refused(jobs: Collection) -> None:
    with pytest.raises(RevisionConflict):
        await jobs.put("orders", {"v": 1}, expect="a revision")

    assert await jobs.get("orders") is None


async def test_without_expectation_a_write_overwrites(jobs: Collection) -> None:
    first = await jobs.put("orders", {"v": 1, "gone": True})
    second = await jobs.put("orders", {"v": 2})

    stored = await jobs.get("orders")
    assert stored == Stored(key="orders", document={"v": 2}, revision=second)
    assert first != second


async def test_the_caller_may_choose_the_revision(jobs: Collection) -> None:
    created = await jobs.put("orders", {"v": 1}, expect=ABSENT, revision="mine")
    moved = await jobs.put("orders", {"v": 2}, expect="mine", revision="next")

    stored = await jobs.get("orders")
    assert (created, moved) == ("mine", "next")
    assert stored is not None
    assert stored.revision == "next"


async def test_a_revision_never_comes_back(jobs: Collection) -> None:
    """Delete, create again: an old reader's compare-and-set must still fail."""
    old = await jobs.put("orders", {"v": 1}, expect=ABSENT)
    await jobs.delete("orders")
    await jobs.put("orders", {"v": 1}, expect=ABSENT)

    with pytest.raises(RevisionConflict):
        await jobs.put("orders", {"v": 3}, expect=old)
    with pytest.raises(RevisionConflict):
        await jobs.delete("orders", expect=old)

    assert await jobs.get("orders") is not None


async def test_what_was_deleted_is_gone(jobs: Collection) -> None:
    revision = await jobs.put("orders", {"v": 1})

    assert await jobs.delete("orders", expect=revision) is True

    assert await jobs.get("orders") is None
    assert await jobs.scan() == []


async def test_a_delete_that_expects_another_revision_changes_nothing(jobs: Collection) -> None:
    await jobs.put("orders", {"v": 1})

    with pytest.raises(RevisionConflict):
        await jobs.delete("orders", expect="another")

    assert await jobs.get("orders") is not None


KEYS = [
    "a",
    "a ",
    "A",
    "ä",
    "Ä",
    "z",
    "Z",
    "é",
    "e\u0301",
    "/",
    "a/b",
    "ß",
    "ss",
    "\uffee",
    "\U0001f600",
    "日本",
    "%s",
    "'",
]


def orders_by_code_point(request: pytest.FixtureRequest) -> bool:
    """All but one: mongo-java-server compares the two halves of a code point above 0xffff with others."""
    return "mongo-java" not in request.node.callspec.params.values()


async def test_keys_differ_in_every_code_point_and_are_scanned_in_their_order(
    request: pytest.FixtureRequest, jobs: Collection
) -> None:
    keys = [each for each in KEYS if orders_by_code_point(request) or max(each) <= "\uffff"]
    for key in keys:
        await jobs.put(key, {"name": key}, expect=ABSENT)

    found = await jobs.scan()

    assert [each.key for each in found] == sorted(keys)
    assert [each.document["name"] for each in found] == sorted(keys)
    for key in keys:
        stored = await jobs.get(key)
        assert stored is not None
        assert stored.document == {"name": key}


async def test_long_keys_differ_in_their_last_character(jobs: Collection) -> None:
    keys = [f"{'ü' * 490}{each}" for each in "abc"]
    for key in keys:
        await jobs.put(key, {"name": key}, expect=ABSENT)

    assert [each.key for each in await jobs.scan()] == keys


async def test_a_scan_begins_behind_a_key_and_ends_at_its_limit(jobs: Collection) -> None:
    for key in ["a", "b", "c", "d"]:
        await jobs.put(key, {"name": key})

    found = await jobs.scan(after="a", limit=2)

    assert [each.key for each in found] == ["b", "c"]
    assert await jobs.scan(after="d") == []


async def test_pages_hold_every_document_once(jobs: Collection) -> None:
    keys = [f"{each * 7 % 50:02}" for each in range(50)]
    for key in keys:
        await jobs.put(key, {"name": key}, expect=ABSENT)

    for limit in (1, 7, 50, 51):
        found = await everything(jobs, limit=limit)
        assert [each.key for each in found] == sorted(keys)


@pytest.mark.slow
async def test_ten_thousand_documents_are_scanned_in_pages(request: pytest.FixtureRequest, jobs: Collection) -> None:
    """Of nx, which sorts all of them for each page, a fifth is asked."""
    count = 2_000 if "nx" in request.node.callspec.params.values() else 10_000
    keys = [f"{each * 7919 % count:04}" for each in range(count)]
    await filled(jobs, keys)

    found = await everything(jobs, limit=1_999)

    assert [each.key for each in found] == sorted(keys)


async def test_collections_do_not_see_each_other(documents: DocumentStore) -> None:
    one, two = (documents.collection(f"{name}-{secrets.token_hex(4)}") for name in ("one", "two"))

    await one.put("x", {"v": 1})

    assert await two.get("x") is None
    assert await two.scan() == []


async def test_two_views_of_a_collection_see_the_same(documents: DocumentStore) -> None:
    name = f"jobs-{secrets.token_hex(4)}"
    revision = await documents.collection(name).put("x", {"v": 1})

    stored = await documents.collection(name).get("x")

    assert stored == Stored(key="x", document={"v": 1}, revision=revision)


async def test_a_document_of_5_mb_comes_back(jobs: Collection) -> None:
    document = {"name": "big", "text": "ü" * 1_000_000, "bytes": secrets.token_bytes(3_000_000)}

    await jobs.put("big", document)

    stored = await jobs.get("big")
    assert stored is not None
    assert stored.document == document


@pytest.mark.slow
@pytest.mark.parametrize("documents", OUTSIDE, indirect=True)
async def test_15_mb_are_taken_and_much_more_is_refused(jobs: Collection) -> None:
    document = {"name": "big", "text": "x" * (LARGEST - 1000)}
    revision = await jobs.put("big", document)

    with pytest.raises(StoreError, match="big"):
        await jobs.put("big", {"name": "big", "text": "y" * (LARGEST * 3 // 2)})

    stored = await jobs.get("big")
    assert stored is not None
    assert stored.revision == revision
    assert stored.document == document


@pytest.mark.parametrize(
    "value",
    [object(), {1: 2}, {"a": {1, 2}}, datetime(2024, 1, 1), [1j]],  # noqa: DTZ001 - a naive time is what must be refused
    ids=["object", "key", "set", "naive", "complex"],
)
async def test_what_a_document_cannot_hold_is_refused_and_changes_nothing(jobs: Collection, value: object) -> None:
    revision = await jobs.put("x", {"v": 1})

    with pytest.raises(StoreError):
        await jobs.put("x", {"v": value})

    assert await jobs.get("x") == Stored(key="x", document={"v": 1}, revision=revision)


async def test_a_time_of_another_zone_comes_back_as_the_same_moment(jobs: Collection) -> None:
    moment = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    await jobs.put("x", {"at": moment})

    stored = await jobs.get("x")
    assert stored is not None
    assert stored.document["at"] == moment


async def test_what_is_stored_does_not_change_with_what_was_given_or_read(jobs: Collection) -> None:
    given: dict[str, Any] = {"inner": {"v": 1}}
    await jobs.put("x", given)
    given["inner"]["v"] = 2
    first = await jobs.get("x")
    assert first is not None
    first.document["inner"]["v"] = 3

    stored = await jobs.get("x")

    assert stored is not None
    assert stored.document == {"inner": {"v": 1}}


async def race(views: Iterator[Collection], *, writers: int, expect: str) -> list[str | RevisionConflict]:
    async def write(number: int) -> str | RevisionConflict:
        try:
            return await next(views).put("x", {"v": number}, expect=expect)
        except RevisionConflict as conflict:
            return conflict

    return list(await asyncio.gather(*(write(each) for each in range(writers))))


@pytest.mark.parametrize("kind", STORES)
async def test_of_50_writers_exactly_one_wins_each_round(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """On several connections, where the store can have them."""
    provider, config = opened(kind, request, tmp_path)
    assert provider.documents is not None
    name = f"race-{secrets.token_hex(4)}"
    async with provider.connect(config) as one, provider.connect(config) as two, provider.connect(config) as three:
        live = [one] if "memory" in kind else [one, two, three]
        views = itertools.cycle([provider.documents(each).collection(name) for each in live])
        expect = ABSENT
        for _ in range(5):
            answers = await race(views, writers=50, expect=expect)

            won = [each for each in answers if isinstance(each, str)]
            assert len(won) == 1
            stored = await next(views).get("x")
            assert stored is not None
            assert stored.revision == won[0]
            expect = won[0]
