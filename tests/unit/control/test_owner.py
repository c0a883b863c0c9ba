"""What an owner writes for a run, and what it waits out."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from mstream.control.owner import JobOwner, MemberOwner, Stores
from mstream.domain.audit import Actor
from mstream.domain.checkpoint import lane_key
from mstream.domain.reset import ToPositions
from mstream.domain.run import CheckpointMode
from mstream.errors import PositionOfAnotherSource, StaleOwner, StoreError
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.control.scripted import Flaky
from tests.virtual import VirtualClock, run

SAVED, TRANSACTIONAL = CheckpointMode.SAVED, CheckpointMode.TRANSACTIONAL


class Place:
    """A checkpoint store that can be switched off, and owners over it."""

    def __init__(self) -> None:
        self.documents = Flaky(MemoryDocuments().collection("places", key="job_name"))
        self.checkpoints = CheckpointStore(self.documents, VirtualClock())

    def owner(self, run_id: str) -> JobOwner:
        stores = Stores(checkpoints=self.checkpoints)
        return JobOwner(job="copy", run_id=run_id, stores=stores, clock=VirtualClock(), random=Random(1))


def test_a_run_begins_where_the_last_one_saved_in_the_next_epoch() -> None:
    async def story() -> None:
        place = Place()
        first, second = place.owner("1"), place.owner("2")
        await first.begin(SAVED, "here")
        await first.save({"x": 5, "y": 1})
        await first.save({"y": None})

        checkpoint = await second.begin(SAVED, "here")

        assert (checkpoint.positions, checkpoint.epoch) == ({"x": 5}, 2)

    run(story())


def test_a_run_that_was_superseded_saves_nothing() -> None:
    async def story() -> None:
        place = Place()
        old, new = place.owner("1"), place.owner("2")
        await old.begin(SAVED, "here")
        await new.begin(SAVED, "here")

        member = MemberOwner(old)
        with pytest.raises(StaleOwner):
            await member.save({"": 5})

        assert not member.moved

    run(story())


def test_a_save_waits_until_the_store_is_back() -> None:
    async def story() -> None:
        place = Place()
        owner = place.owner("1")
        await owner.begin(SAVED, "here")
        place.documents.is_down = True
        async with asyncio.TaskGroup() as group:
            saving = group.create_task(owner.save({"": 5}))
            await asyncio.sleep(3600)
            assert not saving.done()
            place.documents.is_down = False

        stored = await place.checkpoints.load("copy")
        assert stored is not None
        assert stored.positions == {"": 5}

    run(story())


def test_positions_of_another_source_are_refused() -> None:
    async def story() -> None:
        place = Place()
        owner = place.owner("1")
        await owner.begin(SAVED, "here")
        await owner.save({"": 5})

        with pytest.raises(PositionOfAnotherSource):
            await place.owner("2").begin(SAVED, "there")

    run(story())


def test_where_a_transaction_moved_a_lane_the_next_run_goes_on() -> None:
    async def story() -> None:
        place = Place()
        owner = place.owner("1")
        await owner.begin(CheckpointMode.TRANSACTIONAL, "here")
        claim = (await owner.claim(["x"]))["x"]
        document = {"job_name": "copy/x", "positions": {"x": 7}, "fingerprint": "here", "epoch": 1, "run_id": "1"}
        await place.documents.put("copy/x", document, expect=claim.revision)

        checkpoint = await place.owner("2").begin(CheckpointMode.TRANSACTIONAL, "here")

        assert checkpoint.positions == {"x": 7}
        # The old run's transaction would expect a revision that is gone.
        assert (await owner.lookup(["x"]))["x"].revision != claim.revision

    run(story())


def test_without_a_store_nothing_is_claimed_and_nothing_buried() -> None:
    async def story() -> None:
        owner = JobOwner(job="copy", run_id="1", stores=Stores(), clock=VirtualClock(), random=Random(1))

        checkpoint = await owner.begin(CheckpointMode.OFF, "here")

        assert (checkpoint.positions, checkpoint.epoch) == ({}, 0)
        with pytest.raises(StoreError, match="dead_letters"):
            await owner.bury([])

    run(story())


def test_the_history_of_a_job_whose_sink_commits_is_made_of_its_starts() -> None:
    async def story() -> None:
        place = Place()
        owner = place.owner("1")
        await owner.begin(TRANSACTIONAL, "here")
        await committed(place, owner, {"a": 3, "b": 4})
        await place.owner("2").begin(TRANSACTIONAL, "here")
        await committed(place, place.owner("2"), {"a": 5})

        last = await place.owner("3").begin(TRANSACTIONAL, "here")

        assert last.positions == {"a": 5, "b": 4}
        history = await place.checkpoints.history("copy")
        assert [each.positions for each in history] == [{"a": 5, "b": 4}, {"a": 3, "b": 4}]

    run(story())


@pytest.mark.parametrize("mode", [SAVED, TRANSACTIONAL])
def test_a_run_begins_where_a_reset_has_put_the_job_whoever_commits(mode: CheckpointMode) -> None:
    async def story() -> None:
        place = Place()
        owner = place.owner("1")
        await owner.begin(TRANSACTIONAL, "here")
        await committed(place, owner, {"a": 3, "b": 4})
        await place.checkpoints.reset("copy", ToPositions(positions={"b": 1}), epoch=None, by=Actor(who="anna"))

        checkpoint = await place.owner("2").begin(mode, "elsewhere")

        assert (checkpoint.positions, checkpoint.fingerprint) == ({"b": 1}, "elsewhere")
        assert (await place.owner("3").begin(mode, "elsewhere")).positions == {"b": 1}

    run(story())


async def committed(place: Place, owner: JobOwner, positions: dict[str, int]) -> None:
    """As a sink leaves the lanes' documents."""
    for lane, position in positions.items():
        key = lane_key("copy", lane)
        if await place.documents.get(key) is None:
            await owner.claim([lane])
        stored = await place.documents.get(key)
        assert stored is not None
        document = {**stored.document, "positions": {lane: position}, "sequence": stored.document["sequence"] + 1}
        await place.documents.put(key, document, expect=stored.revision)
