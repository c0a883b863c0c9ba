"""The marker of a store that was filled from a file."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.domain.connector import ConnectorSpec
from mstream.domain.plan import MarkerPhase, SeedMarker
from mstream.errors import DocumentDamaged, RevisionConflict
from mstream.ports.documents import ABSENT, Collection
from mstream.providers.memory.documents import MemoryDocuments
from mstream.stores.markers import KEY, MarkerStore


@pytest.fixture
def documents() -> Collection:
    return MemoryDocuments().collection("system")


def connector(name: str, **fields: Any) -> ConnectorSpec:
    ref = {"service_name": "files", "resource": f"{name}.jsonl"}
    return ConnectorSpec.model_validate({"name": name, "source": ref, "sinks": [ref], **fields})


BEGUN = SeedMarker(phase=MarkerPhase.BEGUN, file_hash="abc", connectors=(connector("a"), connector("b", enabled=False)))


async def test_an_empty_store_has_no_marker(documents: Collection) -> None:
    assert await MarkerStore(documents).read() == (None, ABSENT)


async def test_a_marker_comes_back_with_every_definition(documents: Collection) -> None:
    markers = MarkerStore(documents)

    revision = await markers.write(BEGUN, expect=ABSENT)

    assert await markers.read() == (BEGUN, revision)


async def test_two_beginners_make_one_marker(documents: Collection) -> None:
    markers = MarkerStore(documents)
    await markers.write(BEGUN, expect=ABSENT)

    with pytest.raises(RevisionConflict):
        await markers.write(SeedMarker(phase=MarkerPhase.BEGUN), expect=ABSENT)

    assert (await markers.read())[0] == BEGUN


async def test_a_marker_is_written_over_the_one_that_was_read_alone(documents: Collection) -> None:
    markers = MarkerStore(documents)
    first = await markers.write(BEGUN, expect=ABSENT)
    second = await markers.write(BEGUN.finished(), expect=first)

    with pytest.raises(RevisionConflict):
        await markers.write(BEGUN, expect=first)

    assert await markers.read() == (SeedMarker(phase=MarkerPhase.DONE, file_hash="abc"), second)


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"phase": "half", "file_hash": "", "connectors": [], "origin": "seeded"},
        {"phase": "begun", "file_hash": "", "connectors": 7, "origin": "seeded"},
        {"phase": "begun", "file_hash": "", "connectors": [{"name": "a", "secret": "s3cr3t"}], "origin": "seeded"},
        {"phase": "begun", "file_hash": "", "connectors": ["s3cr3t"], "origin": "seeded"},
    ],
)
async def test_a_damaged_marker_is_told_and_stays_as_it_is(documents: Collection, damaged: dict[str, Any]) -> None:
    revision = await documents.put(KEY, damaged)

    with pytest.raises(DocumentDamaged, match="'seed'") as caught:
        await MarkerStore(documents).read()

    assert "s3cr3t" not in str(caught.value)
    stored = await documents.get(KEY)
    assert stored is not None
    assert (stored.document, stored.revision) == (damaged, revision)
