"""No document store asks what time it is: what was written last is what is there, whatever the clocks say."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from mstream.errors import RevisionConflict, StaleOwner
from mstream.ports.documents import ABSENT, DocumentStore
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.stores.clocks import SteppedClock

pytestmark = pytest.mark.timeout(120)

#: One after another: an hour back, a second on, a day back, a year on, a year back.
STEPS = [timedelta(hours=-1), timedelta(seconds=1), timedelta(days=-1), timedelta(days=365), timedelta(days=-365)]


async def test_a_clock_that_is_stepped_back_takes_no_position_back(documents: DocumentStore) -> None:
    clock = SteppedClock()
    collection = documents.collection(f"checkpoints-{secrets.token_hex(4)}", key="job_name")
    store = CheckpointStore(collection, clock)
    await store.claim("orders", "one", 1, "file:x")

    for number, step in enumerate(STEPS):
        clock.wall += step
        saved = await store.save("orders", {"a": {"offset": number}}, "one", 1)

        loaded = await CheckpointStore(collection, clock).load("orders")
        assert loaded is not None
        assert loaded.positions == {"a": {"offset": number}}
        assert loaded.sequence == saved.sequence


async def test_an_owner_whose_clock_is_ahead_is_stale_all_the_same(documents: DocumentStore) -> None:
    late, early = SteppedClock(), SteppedClock()
    late.wall += timedelta(days=3650)
    collection = documents.collection(f"checkpoints-{secrets.token_hex(4)}", key="job_name")
    await CheckpointStore(collection, late).claim("orders", "one", 1, "file:x")
    await CheckpointStore(collection, early).claim("orders", "two", 2, "file:x")

    with pytest.raises(StaleOwner):
        await CheckpointStore(collection, late).save("orders", {"a": {"offset": 9}}, "one", 1)

    loaded = await CheckpointStore(collection, late).load("orders")
    assert loaded is not None
    assert (loaded.run_id, loaded.epoch, loaded.positions) == ("two", 2, {})


async def test_an_older_time_in_a_document_is_no_older_document(documents: DocumentStore) -> None:
    """`updated_at` is what v0.47 goes by; between documents with revisions it decides nothing."""
    collection = documents.collection(f"checkpoints-{secrets.token_hex(4)}", key="job_name")
    first = await collection.put("orders", {"job_name": "orders", "updated_at": 2_000}, expect=ABSENT)

    second = await collection.put("orders", {"job_name": "orders", "updated_at": 1_000}, expect=first)

    stored = await collection.get("orders")
    assert stored is not None
    assert (stored.revision, stored.document["updated_at"]) == (second, 1_000)
    with pytest.raises(RevisionConflict):
        await collection.put("orders", {"job_name": "orders", "updated_at": 3_000}, expect=first)
