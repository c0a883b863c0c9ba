"""The service store, over the memory provider's documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mstream.config.definition import stored_definitions
from mstream.domain.audit import Actor, Change
from mstream.domain.service import ServiceConfig
from mstream.errors import DocumentDamaged, RevisionConflict, StaleOwner
from mstream.ports.documents import Collection
from mstream.providers import CATALOG
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.encryption import Key, KeyRing
from mstream.stores.services import ServiceStore

RAW, OTHER, FOREIGN = bytes(range(32)), bytes(range(32, 64)), bytes(range(64, 96))
PARSE = stored_definitions(CATALOG)
SECRET = "pl4nted"


class Ring:
    """Keys that never change, unless a test says what comes next."""

    def __init__(self, *raws: bytes, after: KeyRing | None = None) -> None:
        self.ring = KeyRing([Key(each) for each in raws])
        self._after = after
        self.renewals = 0

    async def renew(self) -> None:
        self.renewals += 1
        self.ring = self._after or self.ring


def service(name: str = "db", password: str = SECRET) -> ServiceConfig:
    url = f"mongodb://u:{password}@host/"
    return PARSE({"provider": "mongodb", "name": name, "connection_string": url, "db_name": "app"})


def change(revision: str, verb: str = "create") -> Change:
    return Change(at="2024-01-01T00:00:00.000000Z", by=Actor(who="me"), verb=verb, revision=revision)


@pytest.fixture
def documents() -> Collection:
    return MemoryDocuments().collection("services")


def store(documents: Collection, *raws: bytes, keys: Ring | None = None) -> ServiceStore:
    return ServiceStore(documents, resource="services", keys=keys or Ring(*(raws or (RAW,))), parse=PARSE)


async def put(documents: Collection, name: str, plain: object, raw: bytes = RAW, **fields: object) -> None:
    text = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
    envelope = KeyRing([Key(raw)]).seal(text, collection="services", name=name)
    await documents.put(name, {"name": name, "envelope": envelope, **fields})


def legacy(config: Mapping[str, Any], raw: bytes = RAW) -> dict[str, Any]:
    body = AESGCM(raw).encrypt(b"n" * 12, json.dumps(config).encode(), None)
    return {"name": config["name"], "data": list(body), "nonce": list(b"n" * 12)}


async def test_a_service_comes_back_with_its_secrets_and_its_history(documents: Collection) -> None:
    made = await store(documents).create(service(), origin="api", change=change("r1"), epoch=3)

    [found], damaged = await store(documents).everything()

    assert found == made
    assert found.config.sealed() == service().sealed()
    assert (found.origin, found.revision, found.epoch, found.last_change) == ("api", "r1", 3, change("r1"))
    assert damaged == []
    assert await store(documents).get("db") == made
    assert await store(documents).get("other") is None


async def test_nothing_of_a_secret_stands_in_the_collection(documents: Collection) -> None:
    await store(documents).create(service(), origin="api", change=change("r1"), epoch=0)

    [stored] = await documents.scan()

    assert SECRET not in str(stored.document)
    assert SECRET.encode() not in stored.document["envelope"]["ct"]
    assert set(stored.document) == {"name", "origin", "updated_at", "last_change", "epoch", "envelope"}


async def test_a_name_is_taken_once(documents: Collection) -> None:
    first = await store(documents).create(service(), origin="api", change=change("r1"), epoch=0)

    with pytest.raises(RevisionConflict):
        await store(documents).create(service(password="x"), origin="api", change=change("r2"), epoch=0)

    assert await store(documents).get("db") == first


async def test_what_somebody_else_has_changed_is_not_replaced_or_removed(documents: Collection) -> None:
    some = store(documents)
    first = await some.create(service(), origin="api", change=change("r1"), epoch=0)
    second = await some.replace(first, service(password="x"), origin="file", change=change("r2"), epoch=0)

    with pytest.raises(RevisionConflict):
        await some.replace(first, service(password="y"), origin="api", change=change("r3"), epoch=0)
    with pytest.raises(RevisionConflict):
        await some.begin_removal(first, change=change("r4", "delete"), epoch=0)

    assert await some.get("db") == second


async def test_what_a_newer_owner_has_written_is_not_touched(documents: Collection) -> None:
    some = store(documents)
    first = await some.create(service(), origin="api", change=change("r1"), epoch=5)
    [stored] = await documents.scan()

    with pytest.raises(StaleOwner, match="epoch 5, ours is 4"):
        await some.replace(first, service(password="x"), origin="api", change=change("r2"), epoch=4)
    with pytest.raises(StaleOwner):
        await some.begin_removal(first, change=change("r2"), epoch=4)
    with pytest.raises(StaleOwner):
        await store(documents, OTHER, RAW).reseal(stored, epoch=4)

    assert await documents.scan() == [stored]


async def test_a_removal_leaves_name_and_change_until_it_is_completed(documents: Collection) -> None:
    some = store(documents)
    made = await some.create(service(), origin="api", change=change("r1"), epoch=1)

    removal = await some.begin_removal(made, change=change("r2", "delete"), epoch=2)

    contents = await some.contents()
    assert (contents.definitions, contents.damaged, contents.removals) == ([], [], [removal])
    assert await some.get("db") is None
    assert "envelope" not in (await documents.scan())[0].document
    assert await some.delete("db", expect=removal.revision)
    assert await documents.scan() == []


async def test_what_we_do_not_know_of_a_document_is_kept(documents: Collection) -> None:
    await put(documents, "db", service().sealed(), colour="red")
    some = store(documents, OTHER, RAW)
    [stored] = await documents.scan()
    await some.reseal(stored, epoch=0)
    found = await some.get("db")
    assert found is not None

    await some.replace(found, service(password="x"), origin="api", change=change("r2"), epoch=0)

    assert (await documents.scan())[0].document["colour"] == "red"


DAMAGED: dict[str, dict[str, Any]] = {
    "nothing": {"name": "bad"},
    "no envelope": {"name": "bad", "envelope": "text"},
    "short nonce": {"name": "bad", "envelope": {"v": 1, "kid": Key(RAW).id, "nonce": b"x", "ct": b"y" * 20}},
    "bad tag": {"name": "bad", "envelope": {"v": 1, "kid": Key(RAW).id, "nonce": b"x" * 12, "ct": b"y" * 20}},
    "foreign key": {"name": "bad", "envelope": KeyRing([Key(FOREIGN)]).seal(b"{}", collection="services", name="bad")},
    "other name": {"name": "bad", "envelope": KeyRing([Key(RAW)]).seal(b"{}", collection="services", name="db")},
    "other collection": {"name": "bad", "envelope": KeyRing([Key(RAW)]).seal(b"{}", collection="jobs", name="bad")},
    "legacy, short nonce": {"name": "bad", "data": [1] * 20, "nonce": [1] * 11},
    "legacy, bad tag": {"name": "bad", "data": [1] * 20, "nonce": [1] * 12},
    "removal without a change": {"name": "bad", "removing": True},
}
INVALID: dict[str, object] = {
    "not JSON": b"{",
    "not UTF-8": b"\xff",
    "a list": [],
    "no provider": {"name": "bad"},
    "unknown provider": {"provider": "carrier-pigeon", "name": "bad", "password": SECRET},
    "missing field": {"provider": "mongodb", "name": "bad", "connection_string": SECRET},
    "unknown field": {**service("bad").sealed(), "colour": SECRET},
    "wrong type": {**service("bad").sealed(), "db_name": {"a": SECRET}},
    "another name": service("good").sealed(),
    "blank": {**service("bad").sealed(), "name": ""},
}


@pytest.mark.parametrize("case", [*DAMAGED, *INVALID])
async def test_a_damaged_document_is_listed_and_stays_while_all_others_are_read(
    documents: Collection, case: str
) -> None:
    some = store(documents)
    good = await some.create(service(), origin="api", change=change("r1"), epoch=0)
    if case in DAMAGED:
        await documents.put("bad", DAMAGED[case])
    else:
        await put(documents, "bad", INVALID[case])
    before = await documents.get("bad")

    definitions, [damaged] = await some.everything()

    assert definitions == [good]
    assert damaged.name == "bad"
    assert damaged.reason
    assert SECRET not in damaged.reason
    assert await documents.get("bad") == before
    if case != "removal without a change":
        with pytest.raises(DocumentDamaged):
            await some.get("bad")


async def test_a_change_that_cannot_be_read_does_not_cost_the_definition(documents: Collection) -> None:
    await put(documents, "db", service().sealed(), last_change={"at": 1}, epoch="x", updated_at=7)

    [found], damaged = await store(documents).everything()

    assert (found.last_change, found.epoch, found.updated_at, found.origin) == (None, 0, None, "api")
    assert damaged == []


async def test_documents_of_v047_are_read_and_written_anew_only_on_change(documents: Collection) -> None:
    await documents.put("db", legacy(service().sealed()))
    some = store(documents)

    [found], _ = await some.everything()
    assert found.config == service()
    assert "data" in (await documents.scan())[0].document
    await some.replace(found, service(password="x"), origin="api", change=change("r2"), epoch=0)

    [stored] = await documents.scan()
    assert {"data", "nonce"} & set(stored.document) == set()
    assert (await some.everything())[0][0].config == service(password="x")


async def test_an_unknown_key_is_looked_for_once(documents: Collection) -> None:
    for name in ("a", "b"):
        await put(documents, name, service(name).sealed(), FOREIGN)
    keys = Ring(RAW, after=KeyRing([Key(FOREIGN), Key(RAW)]))

    definitions, damaged = await store(documents, keys=keys).everything()

    assert [each.name for each in definitions] == ["a", "b"]
    assert damaged == []
    assert keys.renewals == 1


async def test_a_key_that_stays_unknown_is_not_looked_for_again_and_again(documents: Collection) -> None:
    for number in range(450):
        await put(documents, f"s{number:04}", service(f"s{number:04}").sealed(), FOREIGN)
    keys = Ring(RAW)

    definitions, damaged = await store(documents, keys=keys).everything()

    assert (len(definitions), len(damaged), keys.renewals) == (0, 450, 1)


async def test_a_single_service_under_an_unknown_key_is_looked_for_too(documents: Collection) -> None:
    await put(documents, "a", service("a").sealed(), FOREIGN)
    keys = Ring(RAW, after=KeyRing([Key(FOREIGN)]))

    assert await store(documents, keys=keys).get("a") is not None


async def test_the_census_counts_documents_by_key(documents: Collection) -> None:
    await put(documents, "a", service("a").sealed(), RAW)
    await put(documents, "b", service("b").sealed(), OTHER)
    await documents.put("c", legacy(service("c").sealed(), OTHER))
    await documents.put("d", legacy(service("d").sealed(), FOREIGN))
    await put(documents, "e", service("e").sealed(), FOREIGN)
    await documents.put("f", {"name": "f", "removing": True})

    census = await store(documents, RAW, OTHER).census()

    assert census.under == {Key(RAW).id: 1, Key(OTHER).id: 2}
    assert census.damaged == {"d": None, "e": Key(FOREIGN).id}


async def test_resealing_changes_the_envelope_and_nothing_else(documents: Collection) -> None:
    made = await store(documents).create(service(), origin="file", change=change("r1"), epoch=1)
    some = store(documents, OTHER, RAW)
    [stored] = await documents.scan()

    assert await some.reseal(stored, epoch=2)

    [again] = await documents.scan()
    assert again.document["envelope"]["kid"] == Key(OTHER).id
    found = await some.get("db")
    assert found is not None
    assert (found.config, found.updated_at, found.last_change) == (made.config, made.updated_at, made.last_change)
    assert not await some.reseal(again, epoch=2)
    assert await documents.scan() == [again]


async def test_a_ring_opens_a_store_when_it_opens_any_of_its_documents(documents: Collection) -> None:
    assert await store(documents).opens()
    await documents.put("x", DAMAGED["legacy, short nonce"])
    assert await store(documents).opens()
    await documents.put("db", legacy(service().sealed(), OTHER))
    assert not await store(documents).opens()
    assert await store(documents, RAW, OTHER).opens()


async def test_pages_do_not_lose_anything(documents: Collection) -> None:
    names = [f"s{number:04}" for number in range(450)]
    for name in names:
        await put(documents, name, service(name).sealed())

    definitions, _ = await store(documents).everything()

    assert [each.name for each in definitions] == names
