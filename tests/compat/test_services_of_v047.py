"""Services that v0.47 has stored, with the key that it made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mstream.config.definition import stored_definitions
from mstream.providers import CATALOG
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores import key_file
from mstream.stores.encryption import Key, KeyRing
from mstream.stores.services import ServiceStore

SAMPLES = Path(__file__).parent / "samples" / "store-v047"
EXPECTED = json.loads((SAMPLES / "mstream-services.decrypted.json").read_text())


class Ring:
    """The keys of the sample."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    async def renew(self) -> None:
        pass


def plain(value: Any) -> Any:
    """Extended JSON as a document holds it."""
    match value:
        case {"$numberInt": number}:
            return int(number)
        case Mapping():
            return {key: plain(each) for key, each in value.items()}
        case list():
            return [plain(each) for each in value]
        case _:
            return value


def ring() -> KeyRing:
    return key_file.ring_of((SAMPLES / "test-only.key").read_bytes(), where="the sample")


async def opened(keys: KeyRing, *, as_bytes: bool) -> ServiceStore:
    documents = MemoryDocuments().collection("mstream-services")
    for each in json.loads((SAMPLES / "mstream-services.json").read_text()):
        document = plain(each)
        if as_bytes:
            document |= {"data": bytes(document["data"]), "nonce": bytes(document["nonce"])}
        await documents.put(document["name"], document)
    return ServiceStore(documents, resource="mstream-services", keys=Ring(keys), parse=stored_definitions(CATALOG))


@pytest.mark.parametrize("as_bytes", [False, True])
async def test_every_stored_service_is_read(as_bytes: bool) -> None:
    definitions, damaged = await (await opened(ring(), as_bytes=as_bytes)).everything()

    assert damaged == []
    found = {each.name: each.config.sealed() for each in definitions}
    for each in EXPECTED:
        wanted = json.loads(each["plaintext"])
        assert wanted.items() <= found.pop(wanted["name"]).items()
    assert found == {}


async def test_with_another_key_every_document_is_damaged_and_stays() -> None:
    store = await opened(KeyRing([Key.new()]), as_bytes=False)

    definitions, damaged = await store.everything()

    assert definitions == []
    assert len(damaged) == len(EXPECTED)
    assert not await store.opens()


async def test_a_service_of_v047_that_is_resealed_holds_the_same_bytes() -> None:
    old = ring()
    store = await opened(KeyRing([Key.new(), *old.keys]), as_bytes=False)
    async for page in store.pages():
        for each in page:
            assert await store.reseal(each, epoch=1)

    async for page in store.pages():
        for each in page:
            assert set(each.document) == {"_id", "name", "updated_at", "envelope", "epoch"}
    definitions, _ = await store.everything()
    assert len(definitions) == len(EXPECTED)
