"""A store that release 0.1 has written opens, reads as it was written, and can be written to.

The sample is frozen: a change of the layout brings a sample of its own, and leaves this one as it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mstream.errors import RevisionConflict
from mstream.ports.documents import LAYOUT_KEY, LAYOUT_RESOURCE, DocumentStore, Stored
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig

SAMPLE = Path(__file__).parent / "samples" / "store-0.1" / "state.sql"
#: Collection -> the field that carries the key, and how many documents there are.
COLLECTIONS = {"jobs": ("name", 2), "checkpoints": ("job_name", 1), "services": ("name", 1), "odd": ("name", 1)}
SERVICE: dict[str, Any] = {
    "name": "shop",
    "data": bytes(range(48)),
    "nonce": bytes(range(12)),
    "updated_at": datetime(2026, 11, 25, 8, 0, 0, 123456, tzinfo=UTC),
    "kid": "k1",
}
ODD: dict[str, Any] = {
    "name": "tags",
    "a": {"$bytes": "eA=="},
    "b": {"$time": "never"},
    "c": {"$plain": [["$bytes", "eA=="]]},
    "": {"a.b": {"\0": []}},
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[DocumentStore]:
    path = tmp_path / "mstream.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SAMPLE.read_text())
    async with PROVIDER.connect(SqlConfig(name="it", url=f"sqlite:///{path}")) as live:
        assert PROVIDER.documents is not None
        yield PROVIDER.documents(live)


async def test_it_opens_and_says_how_it_is_laid_out(store: DocumentStore) -> None:
    await store.ping()

    layout = await store.collection(LAYOUT_RESOURCE).get(LAYOUT_KEY)
    assert layout is not None
    assert layout.document["version"] == 1


@pytest.mark.parametrize("resource", COLLECTIONS)
async def test_every_document_has_its_key_and_its_revision(store: DocumentStore, resource: str) -> None:
    key, count = COLLECTIONS[resource]

    found = await store.collection(resource, key=key).scan()

    assert len(found) == count
    for each in found:
        assert each.key == each.document[key]
        assert each.revision == f"revision-of-{each.key}"


async def test_every_kind_of_value_reads_as_it_was_written(store: DocumentStore) -> None:
    service = await store.collection("services").get("shop")
    odd = await store.collection("odd").get("tags")
    checkpoint = await store.collection("checkpoints", key="job_name").get("orders")

    assert service == Stored(key="shop", document=SERVICE, revision="revision-of-shop")
    assert odd == Stored(key="tags", document=ODD, revision="revision-of-tags")
    assert checkpoint is not None
    assert checkpoint.document["positions"]["orders.jsonl"] == {
        "offset": 4096,
        "inode": 77,
        "fraction": 0.5,
        "beyond": 2**80,
    }


async def test_it_can_be_written_to(store: DocumentStore) -> None:
    jobs = store.collection("jobs")
    stored = await jobs.get("größen")
    assert stored is not None

    revision = await jobs.put("größen", {**stored.document, "intent": "running"}, expect=stored.revision)

    with pytest.raises(RevisionConflict):
        await jobs.put("größen", stored.document, expect=stored.revision)
    assert await jobs.delete("größen", expect=revision)
    assert await store.collection("new").put("x", {"name": "x"})
