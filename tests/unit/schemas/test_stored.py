"""Schemas in a collection, as v0.47 has left them: found by id and by name, and what is none is told."""

from typing import Any

import pytest

from mstream.domain.batch import Encoding
from mstream.errors import DocumentDamaged
from mstream.ports.documents import Collection
from mstream.ports.schemas import SchemaText
from mstream.providers.memory import PROVIDER
from mstream.providers.memory.config import MemoryConfig
from mstream.schemas.stored import KEY, RESOURCE, StoredSchemas

ORDER = {"name": "orders", "encoding": "avro", "definition": '"long"', "created_at": "2026-11-23T23:35:19Z"}


async def collection(**documents: Any) -> Collection:
    assert PROVIDER.documents is not None
    async with PROVIDER.connect(MemoryConfig(name="it")) as live:
        made = PROVIDER.documents(live).collection(RESOURCE, key=KEY)
        for key, each in documents.items():
            await made.put(key, each)
        return made


async def test_an_id_goes_before_a_name() -> None:
    catalog = StoredSchemas(await collection(a=ORDER, orders={**ORDER, "name": "a", "definition": '"int"'}))

    by_id, by_name, none = [await catalog.get(each) for each in ("a", "orders", "nowhere")]

    assert by_id == SchemaText(id="a", name="orders", encoding=Encoding.AVRO, definition='"long"')
    assert by_name is not None
    assert by_name.definition == '"int"'
    assert none is None
    assert [each.id for each in await catalog.entries()] == ["a", "orders"]


async def test_a_name_is_looked_for_where_no_id_is_like_it() -> None:
    catalog = StoredSchemas(await collection(a=ORDER, b={**ORDER, "name": None}, c=ORDER))

    found = await catalog.get("orders")

    assert found is not None
    assert found.id == "a"


async def test_saving_keeps_what_else_is_there_and_deleting_says_whether_there_was_something() -> None:
    documents = await collection(a=ORDER)
    catalog = StoredSchemas(documents)

    await catalog.save(SchemaText(id="a", name="new", encoding=Encoding.JSON, definition="{}"))

    stored = await documents.get("a")
    assert stored is not None
    assert stored.document == {**ORDER, "name": "new", "encoding": "json", "definition": "{}"}
    assert await catalog.delete("a")
    assert not await catalog.delete("a")


@pytest.mark.parametrize("change", [{"encoding": "xml"}, {"encoding": None}, {"definition": 5}, {"name": 5}])
async def test_what_is_no_schema_is_damaged(change: dict[str, Any]) -> None:
    catalog = StoredSchemas(await collection(a={**ORDER, **change}))

    with pytest.raises(DocumentDamaged, match="schema 'a' is damaged"):
        await catalog.get("a")
