"""Moving house: nothing is lost, nothing is shown, nothing is overwritten unasked, and cut off it is done again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mstream.control.exports import _looked, exported
from mstream.control.transfer import questions
from mstream.control.withheld import with_answers, with_questions
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError, Conflict, MstreamError, UsageError
from mstream.foundation.clock import SystemClock
from mstream.foundation.tagged_json import to_text
from mstream.ports.documents import Collection, Stored
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.encryption import Key, KeyRing
from mstream.stores.jobs import JobStore
from mstream.stores.markers import MarkerStore
from tests.unit.control.houses import House, answers, fill, house, job
from tests.unit.control.vaults import ME, Faults, FaultyCollection, Killed

RING = KeyRing([Key(bytes(range(32)))])


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[House]:
    """Full to the roof."""
    async with house(MemoryDocuments(), tmp_path, "old") as found:
        await fill(found)
        yield found


@pytest.fixture
async def new(tmp_path: Path) -> AsyncIterator[House]:
    """Empty."""
    async with house(MemoryDocuments(), tmp_path, "new") as found:
        yield found


async def everything_in(house: House) -> dict[str, Any]:
    """Documents as they are, the lease and the key's check included."""
    collections = (house.jobs, house.checkpoints, house.services, house.system)
    return {f"{number}/{each.key}": each for number, one in enumerate(collections) for each in await one.scan()}


async def test_what_an_export_without_a_key_leaves_out_is_asked_for_and_nothing_of_it_is_in_it(old: House) -> None:
    bundle = await old.exported()

    assert set(questions(bundle)) == set(answers())
    text = to_text(bundle)
    assert "pl4nted" not in text
    assert "env:MONGO_URL" in text
    assert "file:/run/secrets/key" in text


class Nested(ServiceConfig):
    """Has secrets inside of something."""

    provider: str = "nested"
    auth: dict[str, str | int | list[str]]


def test_of_what_is_masked_as_a_whole_each_text_is_asked_for_and_a_reference_is_not() -> None:
    config = Nested(name="n", auth={"token": "pl4nted", "id": "env:ID", "days": 5, "scopes": ["pl4nted"]})

    left = with_questions(config)

    assert left["auth"] == {"token": "ask:n/auth/token", "id": "env:ID", "days": 5, "scopes": ["ask:n/auth/scopes/0"]}
    assert with_answers("n", left, {"n/auth/token": "a", "n/auth/scopes/0": "b"})["auth"]["scopes"] == ["b"]


async def test_every_secret_is_in_an_export_with_a_key_and_cannot_be_read_without_it(old: House, new: House) -> None:
    bundle = await old.exported(RING)
    assert questions(bundle) == []
    assert "pl4nted" not in to_text(bundle)

    for ring, error in ((None, UsageError), (KeyRing([Key.new()]), ConfigError)):
        with pytest.raises(error, match="service 'db'"):
            await new.take(bundle, ring=ring)

    assert (await new.contents())["jobs"] == {}
    await new.take(bundle, ring=RING)
    assert (await new.contents())["services"] == (await old.contents())["services"]


async def test_an_envelope_opens_under_its_own_name_alone(old: House, new: House) -> None:
    bundle = await old.exported(RING)
    first, second = bundle["services"][:2]
    first["envelope"], second["envelope"] = second["envelope"], first["envelope"]

    with pytest.raises(ConfigError, match="belong to another name"):
        await new.take(bundle, ring=RING)


@pytest.mark.parametrize("after", [False, True])
async def test_an_import_that_is_killed_at_any_write_is_done_again(old: House, tmp_path: Path, *, after: bool) -> None:
    bundle, wanted = await old.exported(RING), await old.contents()
    number, is_killed = 0, True
    while is_killed:
        number += 1
        documents, faults = MemoryDocuments(), Faults()
        name = f"n{number}{after}"
        async with house(documents, tmp_path, name, by=partial(FaultyCollection, faults=faults)) as new:
            faults.at, faults.writes, faults.after = number, 0, after
            try:
                await new.take(bundle, ring=RING)
                is_killed = False
            except Killed:
                pass
            await assert_half_moved(new, wanted)
        async with house(documents, tmp_path, name) as again:
            await again.take(bundle, ring=RING)
            assert await again.contents() == wanted
            assert sum((await again.take(bundle, ring=RING)).values()) == 0
    assert number > len(wanted["jobs"]) + len(wanted["services"]) + len(wanted["checkpoints"])


async def assert_half_moved(new: House, wanted: dict[str, Any]) -> None:
    """What has come is whole, and a job that has come finds its place and its services."""
    jobs = {each.key for each in await new.jobs.scan()}
    if jobs:
        places = {each.key for each in await new.checkpoints.scan()}
        assert places == set(wanted["checkpoints"])
        assert {each.key for each in await new.services.scan()} == set(wanted["services"])
        marker, _ = await MarkerStore(new.system).read()
        assert marker is not None, "a start must not fill this store from its file"


async def test_an_imported_job_begins_without_what_was_observed_elsewhere(old: House, new: House) -> None:
    await new.take(await old.exported(RING), ring=RING)

    stored = await JobStore(new.jobs).get("job-running")
    assert stored is not None
    assert (stored.job.phase.value, stored.job.run_id, stored.job.epoch) == ("stopped", None, 5)
    assert stored.job.intent.value == "running"
    change = stored.job.last_change
    assert change is not None
    assert (change.verb, change.by.who, change.revision) == ("import", "me", stored.revision)


@pytest.mark.parametrize("what", ["a job", "a checkpoint", "a lane", "a service"])
async def test_what_is_there_and_differs_stops_an_import_before_its_first_write(
    old: House, new: House, what: str
) -> None:
    bundle = await old.exported(RING)
    match what:
        case "a job":
            await new.jobs.put("job-paused", job("job-paused", "running"))
        case "a checkpoint":
            await new.checkpoints.put("job-paused", {"job_name": "job-paused", "positions": {"": 1}, "epoch": 1})
        case "a lane":
            await new.checkpoints.put("job-paused/in", {"job_name": "job-paused/in", "positions": {"in": 1}})
        case _:
            await new.registry.create({"provider": "http", "name": "db", "host": "http://h"}, by=ME)
    before = await everything_in(new)

    with pytest.raises(Conflict, match=r"job-paused|'db'"):
        await new.take(bundle, ring=RING)

    assert await everything_in(new) == before
    await new.take(bundle, ring=RING, overwrite=True)
    assert await new.contents() == await old.contents()


async def test_an_answer_may_be_a_reference_and_a_missing_one_is_named(old: House, new: House) -> None:
    bundle, given = await old.exported(), {**answers(), "db/url": "env:DB_URL"}
    with pytest.raises(UsageError, match="'web/host'"):
        await new.take(bundle, {key: each for key, each in given.items() if key != "web/host"})
    assert (await new.contents())["services"] == {}

    await new.take(bundle, given)

    assert new.registry.service("db").sealed()["url"] == "env:DB_URL"


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda bundle: bundle.pop("jobs"), "no export"),
        (lambda bundle: bundle.update(format="1"), "no export"),
        (lambda bundle: bundle.update(format=2), "newer version"),
        (lambda bundle: bundle["jobs"].append(bundle["jobs"][0]), "two have one name"),
        (lambda bundle: bundle["jobs"].append({"state": "running"}), "without a name"),
        (lambda bundle: bundle["jobs"].append(5), "without a name"),
        (lambda bundle: bundle["jobs"][0].pop("pipeline"), "cannot be used"),
        (lambda bundle: bundle["services"][0].update(envelope={"v": 1}), "service 'bus'"),
        (lambda bundle: bundle["services"][0].update(envelope=7), "service 'bus'"),
        (lambda bundle: bundle["services"][0].pop("envelope"), "service 'bus'"),
    ],
)
async def test_a_damaged_export_is_refused_before_the_first_write(
    old: House, new: House, damage: Callable[[Any], object], why: str
) -> None:
    bundle, before = await old.exported(RING), await everything_in(new)
    bundle["services"].sort(key=lambda each: str(each["name"]))
    bundle["jobs"].sort(key=lambda each: each["name"] == "damaged")
    damage(bundle)

    with pytest.raises(ConfigError, match=why):
        await new.take(bundle, ring=RING)

    assert await everything_in(new) == before


@dataclass
class Watched:
    """Gives one document at a time; something happens after one of the looks."""

    inner: Collection
    happens: Callable[[], Awaitable[object]]
    at: int
    looks: int = 0

    async def get(self, key: str) -> Stored | None:
        return await self.inner.get(key)

    async def scan(self, *, after: str = "", limit: int = 1000) -> Any:
        found = await self.inner.scan(after=after, limit=1)
        self.looks += 1
        if self.looks == self.at:
            await self.happens()
        return found

    put: Any = None
    delete: Any = None


async def lanes_of_their_own(house: House) -> CheckpointStore:
    places = CheckpointStore(house.checkpoints, SystemClock())
    await house.jobs.put("j", job("j"))
    await places.claim("j", "r1", 1, "f")
    await places.place_lanes("j", {"in": 7}, "r1", 1, "f")
    return places


def stood(found: Any) -> set[int]:
    """Where the exported documents say that the lane is."""
    return {at for each in found for at in each["positions"].values()}


@pytest.mark.parametrize("at", range(1, 9))
async def test_a_place_that_goes_from_one_document_to_another_is_not_lost_between_them(new: House, at: int) -> None:
    places = await lanes_of_their_own(new)

    async def moved() -> None:
        await places.claim("j", "r2", 1, "f")
        await places.save("j", {"in": 9}, "r2", 1)
        await places.drop_lanes("j")

    new.checkpoints = Watched(new.checkpoints, moved, at)

    assert stood((await new.exported())["checkpoints"]) in ({7}, {9})


async def test_one_look_would_lose_it(new: House) -> None:
    places = await lanes_of_their_own(new)

    async def moved() -> None:
        await places.claim("j", "r2", 1, "f")
        await places.save("j", {"in": 9}, "r2", 1)
        await places.drop_lanes("j")

    new.checkpoints = Watched(new.checkpoints, moved, 1)

    _, found = await _looked(new.holdings)

    assert stood(each.document for each in found) == set()


async def test_a_store_that_changes_all_the_time_is_not_exported_and_says_why(new: House) -> None:
    places = await lanes_of_their_own(new)
    runs = iter(range(2, 1000))

    @dataclass
    class Restless(Watched):
        async def scan(self, *, after: str = "", limit: int = 1000) -> Any:
            await places.claim("j", f"r{next(runs)}", 1, "f")
            return await self.inner.scan(after=after, limit=limit)

    new.checkpoints = Restless(new.checkpoints, lambda: places.load("j"), 0)

    class Quick(SystemClock):
        async def sleep(self, seconds: float) -> None:
            pass

    with pytest.raises(MstreamError, match="these change all the time: 'j'"):
        await exported(new.holdings, [], ring=None, clock=Quick())


async def test_a_value_that_only_its_database_can_hold_is_named_with_its_job(old: House) -> None:
    old.jobs = Holding(old.jobs, {"name": "odd", "made_by": complex(1, 2)})

    with pytest.raises(Conflict, match=r"job 'odd' cannot be written to a file: .*complex"):
        await old.exported()


@dataclass
class Holding:
    """Also holds a document that no other store could."""

    inner: Collection
    odd: dict[str, Any]

    async def scan(self, *, after: str = "", limit: int = 1000) -> Any:
        return [] if after == "odd" else [Stored(key="odd", document=self.odd, revision="1")]

    get: Any = None
    put: Any = None
    delete: Any = None
