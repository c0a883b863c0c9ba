"""What document stores do about what they find and have not written, or a newer program has."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mstream.errors import DocumentDamaged, StoreTooNew
from mstream.ports.documents import (
    ABSENT,
    LAYOUT,
    LAYOUT_KEY,
    LAYOUT_RESOURCE,
    Collection,
    DocumentStore,
    Shared,
    Stray,
)
from mstream.providers.mongodb.service import MongodbService
from mstream.providers.sql.service import SqlService
from mstream.providers.sql.tables import table_of
from tests.contracts.stores import OUTSIDE, opened

pytestmark = pytest.mark.timeout(120)

Plant = Callable[[str], Awaitable[None]]


class Found:
    """A store, a collection of it, and a way to put something damaged there."""

    def __init__(self, live: SqlService | MongodbService, store: DocumentStore) -> None:
        self._live = live
        self.store = store
        self.resource = f"jobs-{secrets.token_hex(4)}"
        self.jobs: Collection = store.collection(self.resource)

    async def plant(self, key: str) -> None:
        """It looks as if we had written it."""
        live = self._live
        if isinstance(live, MongodbService):
            damaged: dict[str, Any] = {"_id": key, "name": key, "revision": "r", "at": {"_time": "never"}}
            await live.database[self.resource].insert_one(damaged)
            return
        insert = sa.insert(table_of(self.resource, live.dialect)).values(key=key, revision="r", document="{")
        await live.thread.run(lambda: live.transact(lambda connection: connection.execute(insert)))


@pytest.fixture(params=OUTSIDE)
async def found(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Found]:
    provider, config = opened(request.param, request, tmp_path)
    assert provider.documents is not None
    async with provider.connect(config) as live:
        yield Found(live, provider.documents(live))


async def test_a_damaged_document_blocks_its_own_key_and_nothing_else(found: Found) -> None:
    for key in ("a", "c", "e", "g"):
        await found.jobs.put(key, {"name": key})
    for key in ("b", "d", "f"):
        await found.plant(key)

    with pytest.raises(DocumentDamaged, match="'b'"):
        await found.jobs.get("b")
    assert [each.key for each in await found.jobs.scan()] == ["a", "c", "e", "g"]
    assert [each.key for each in await found.jobs.scan(limit=2)] == ["a", "c"]
    assert [each.key for each in await found.jobs.scan(after="c", limit=2)] == ["e", "g"]
    assert isinstance(found.jobs, Shared)
    assert await found.jobs.strays() == [Stray(key=each, reason="damaged", count=1) for each in "bdf"]


async def test_a_damaged_document_can_be_removed_and_overwritten(found: Found) -> None:
    await found.jobs.put("a", {"name": "a"})
    await found.plant("b")
    await found.plant("c")

    assert await found.jobs.delete("b") is True
    await found.jobs.put("c", {"name": "c"})

    assert [each.key for each in await found.jobs.scan()] == ["a", "c"]
    assert await found.jobs.put("b", {"name": "b"}, expect=ABSENT)


async def test_a_store_that_a_newer_version_has_laid_out_is_refused(found: Found) -> None:
    await found.store.ping()
    await found.jobs.put("a", {"name": "a"})
    layout = found.store.collection(LAYOUT_RESOURCE)
    stored = await layout.get(LAYOUT_KEY)
    assert stored is not None
    assert stored.document["version"] == LAYOUT
    await found.store.ping()

    await layout.put(LAYOUT_KEY, {**stored.document, "version": LAYOUT + 1})

    try:
        with pytest.raises(StoreTooNew, match=f"layout {LAYOUT + 1}") as caught:
            await found.store.ping()
        assert not caught.value.retryable
    finally:
        await layout.put(LAYOUT_KEY, stored.document)


async def test_no_table_is_made_in_a_store_that_a_newer_version_has_laid_out(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    provider, config = opened("sqlite", request, tmp_path)
    assert provider.documents is not None
    async with provider.connect(config) as live:
        store = provider.documents(live)
        await store.collection(LAYOUT_RESOURCE).put(LAYOUT_KEY, {"name": LAYOUT_KEY, "version": LAYOUT + 1})

        with pytest.raises(StoreTooNew):
            await store.collection("jobs").put("a", {})

        assert await store.collection("jobs").scan() == []
