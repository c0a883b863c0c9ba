"""A round trip from and to each kind of store changes nothing but what was observed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.encryption import Key, KeyRing
from tests.contracts.stores import STORES, opened
from tests.unit.control.houses import answers, fill, house

RING = KeyRing([Key(bytes(range(32)))])


@pytest.mark.parametrize("ring", [None, RING], ids=["with answers", "with a key"])
@pytest.mark.parametrize("kind", STORES)
async def test_a_move_out_of_a_store_and_into_it_loses_nothing(
    kind: str, ring: KeyRing | None, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    provider, config = opened(kind, request, tmp_path)
    assert provider.documents is not None
    mark = "k" if ring else "a"
    async with provider.connect(config) as live, house(MemoryDocuments(), tmp_path, "between") as between:
        documents = provider.documents(live)
        async with house(documents, tmp_path, f"{mark}1") as first, house(documents, tmp_path, f"{mark}2") as second:
            await fill(first)
            wanted, given = await first.contents(), {} if ring else answers()

            out = await between.take(await first.exported(ring), given, ring)
            back = await second.take(await between.exported(ring), given, ring)

            assert out == back == {key: len(each) for key, each in wanted.items()}
            assert await between.contents() == wanted
            assert await second.contents() == wanted
            again = await second.take(await first.exported(ring), given, ring)
            assert again == dict.fromkeys(again, 0)
