"""What an owner's lease means for what its runs have written."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from mstream.control.lease import Lease, kept
from mstream.control.owner import JobOwner, Stores
from mstream.control.standby import acquire
from mstream.domain.lease import Identity
from mstream.domain.run import CheckpointMode
from mstream.errors import StaleOwner
from mstream.foundation.processes import this_process
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.control.scripted import Flaky
from tests.virtual import VirtualClock, run

SAVED = CheckpointMode.SAVED


class Place:
    """A checkpoint store with its lease."""

    def __init__(self) -> None:
        store = MemoryDocuments()
        self.documents = Flaky(store.collection("places", key="job_name"))
        self.checkpoints = CheckpointStore(self.documents, VirtualClock())
        self.system = store.collection("system")

    async def lease(self, instance: str) -> Lease:
        return await acquire(self.system, Identity(instance=instance, process=this_process()), clock=VirtualClock())

    def owner(self, run_id: str, lease: Lease) -> JobOwner:
        stores = Stores(checkpoints=self.checkpoints, authority=lease)
        return JobOwner(job="copy", run_id=run_id, stores=stores, clock=VirtualClock(), random=Random(1))

    async def stored(self) -> dict[str, int]:
        found = await self.checkpoints.load("copy")
        return {} if found is None else dict(found.positions)


def test_every_run_of_an_owner_is_in_its_epoch() -> None:
    async def story() -> None:
        place = Place()
        await (await place.lease("first")).release()
        lease = await place.lease("second")

        epochs = [(await place.owner(run_id, lease).begin(SAVED, "here")).epoch for run_id in ("1", "2")]

        assert epochs == [2, 2]

    run(story())


def test_nothing_is_saved_once_the_lease_has_run_out() -> None:
    async def story() -> None:
        place = Place()
        lease = await place.lease("first")
        owner = place.owner("1", lease)
        await owner.begin(SAVED, "here")
        await owner.save({"": 1})
        await asyncio.sleep(10)

        with pytest.raises(StaleOwner, match="not renewed"):
            await owner.save({"": 2})

        assert await place.stored() == {"": 1}
        assert lease.lost.is_set()

    run(story())


def test_a_save_that_waits_for_the_store_ends_with_the_lease() -> None:
    async def story() -> None:
        place = Place()
        owner = place.owner("1", await place.lease("first"))
        await owner.begin(SAVED, "here")
        place.documents.is_down = True

        with pytest.raises(StaleOwner):
            await owner.save({"": 1})

    run(story())


def test_a_run_that_meets_a_newer_owner_ends_them_all() -> None:
    async def story() -> None:
        place = Place()
        old = await place.lease("first")
        owner = place.owner("1", old)
        await owner.begin(SAVED, "here")
        await place.checkpoints.claim("copy", "2", 7, "here")

        with pytest.raises(StaleOwner):
            await owner.save({"": 2})

        assert old.lost.is_set()
        assert await place.stored() == {}

    run(story())


def test_a_run_that_meets_a_newer_run_of_the_same_owner_ends_alone() -> None:
    async def story() -> None:
        place = Place()
        async with kept(await place.lease("first")) as lease:
            assert isinstance(lease, Lease)
            old, new = place.owner("1", lease), place.owner("2", lease)
            await old.begin(SAVED, "here")
            await new.begin(SAVED, "here")

            with pytest.raises(StaleOwner):
                await old.save({"": 2})

            assert lease.is_valid

    run(story())
