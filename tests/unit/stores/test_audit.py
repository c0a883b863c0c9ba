"""The audit trail, over the memory provider's documents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mstream.domain.audit import Actor, Change, Subject
from mstream.ports.documents import Collection
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.audit import AuditLog, key_of

CHANGE = Change(
    at="2026-01-01T00:00:00.000000Z",
    by=Actor(who="anna", where="127.0.0.1"),
    verb="stop",
    revision="b",
    revision_before="a",
    intent="stopped",
    intent_before="running",
    reason="maintenance",
)


def change(number: int) -> Change:
    return replace(CHANGE, at=f"2026-01-01T00:{number:02}:00.000000Z", revision=f"r{number}")


@pytest.fixture
def collection() -> Collection:
    return MemoryDocuments().collection("audit", key="key")


async def test_a_change_comes_back_as_it_was_recorded(collection: Collection) -> None:
    audit = AuditLog(collection)

    await audit.record(Subject.JOB, "orders", CHANGE)

    (entry,) = await audit.of(Subject.JOB, "orders")
    assert (entry.kind, entry.name, entry.change, entry.definition) == (Subject.JOB, "orders", CHANGE, None)


async def test_changes_are_listed_from_the_newest(collection: Collection) -> None:
    audit = AuditLog(collection)
    for number in (1, 2, 0):
        await audit.record(Subject.JOB, "orders", change(number))

    assert [each.change.revision for each in await audit.of(Subject.JOB, "orders")] == ["r2", "r1", "r0"]


async def test_recording_twice_is_harmless(collection: Collection) -> None:
    await AuditLog(collection).record(Subject.JOB, "orders", CHANGE)
    await AuditLog(collection).record(Subject.JOB, "orders", CHANGE)

    assert len(await AuditLog(collection).of(Subject.JOB, "orders")) == 1


async def test_what_is_recorded_is_known(collection: Collection) -> None:
    audit = AuditLog(collection)
    await audit.record(Subject.JOB, "orders", CHANGE)

    assert await audit.has(Subject.JOB, "orders", CHANGE)
    assert not await audit.has(Subject.SERVICE, "orders", CHANGE)
    assert not await audit.has(Subject.JOB, "orders", replace(CHANGE, revision="c"))
    assert not await audit.has(Subject.JOB, "orders2", CHANGE)


async def test_two_changes_of_one_moment_are_two_entries(collection: Collection) -> None:
    audit = AuditLog(collection)
    await audit.record(Subject.JOB, "orders", CHANGE)
    await audit.record(Subject.JOB, "orders", replace(CHANGE, revision="c"))

    assert len(await audit.of(Subject.JOB, "orders")) == 2


async def test_a_job_and_a_service_of_one_name_are_kept_apart(collection: Collection) -> None:
    audit = AuditLog(collection)
    await audit.record(Subject.JOB, "x", change(0))
    await audit.record(Subject.SERVICE, "x", change(1))

    assert [each.change.revision for each in await audit.of(Subject.JOB, "x")] == ["r0"]
    assert [each.change.revision for each in await audit.of(Subject.SERVICE, "x")] == ["r1"]


async def test_the_oldest_changes_of_one_name_are_given_up(collection: Collection) -> None:
    audit = AuditLog(collection, keep=2)
    await audit.record(Subject.SERVICE, "orders", change(0))
    for number in range(5):
        await audit.record(Subject.JOB, "orders", change(number))

    assert [each.change.revision for each in await audit.of(Subject.JOB, "orders")] == ["r4", "r3"]
    assert len(await audit.of(Subject.SERVICE, "orders")) == 1


async def test_a_deleted_job_leaves_its_last_definition(collection: Collection) -> None:
    audit = AuditLog(collection)
    pipeline = {"name": "orders", "source": {"service_name": "db", "resource": "orders"}}

    await audit.record(Subject.JOB, "orders", replace(CHANGE, verb="delete"), definition=pipeline)

    (entry,) = await audit.of(Subject.JOB, "orders")
    assert entry.definition == pipeline


async def test_a_deleted_service_leaves_nothing_secret(collection: Collection) -> None:
    audit = AuditLog(collection)
    definition = {"name": "db", "origin": "api", "url": "postgresql://app:hunter2@db/x", "password": "hunter2"}

    await audit.record(Subject.SERVICE, "db", replace(CHANGE, verb="delete"), definition=definition)

    (entry,) = await audit.of(Subject.SERVICE, "db")
    assert entry.definition == {"name": "db", "origin": "api"}
    assert "hunter2" not in str(await collection.scan())


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "cow"},
        {"change": None},
        {"change": {"at": "now"}},
        {"change": {"by": 3, "at": "x", "verb": "y", "revision": "z"}},
        {"change": {"by": {"who": "x", "future": 1}, "at": "x", "verb": "y", "revision": "z"}},
    ],
)
async def test_an_unreadable_entry_is_left_out_and_stays(collection: Collection, damage: dict[str, object]) -> None:
    audit = AuditLog(collection)
    await audit.record(Subject.JOB, "orders", change(0))
    await audit.record(Subject.JOB, "orders", change(1))
    key = key_of(Subject.JOB, "orders", change(0))
    stored = await collection.get(key)
    assert stored is not None
    await collection.put(key, {**stored.document, **damage})

    assert [each.change.revision for each in await audit.of(Subject.JOB, "orders")] == ["r1"]
    assert await collection.get(key) is not None
