"""Schemas in a collection of a document store, as v0.47 keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from mstream.domain.batch import Encoding
from mstream.errors import DocumentDamaged
from mstream.ports.documents import Collection, Stored
from mstream.ports.schemas import SchemaText

#: The field that carries the key, and the collection where nothing says otherwise.
KEY: Final = "id"
RESOURCE: Final = "schemas"
_PAGE: Final = 1000


class StoredSchemas:
    """A catalog, as `ports.schemas` has them, of documents `{id, name, encoding, definition}`."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def entries(self) -> Sequence[SchemaText]:
        """As `ports.schemas.SchemaCatalog`."""
        return [_schema(each) async for each in self._all()]

    async def get(self, id_or_name: str) -> SchemaText | None:
        """As `ports.schemas.SchemaCatalog`; an id goes before a name, of several of one name the first by id."""
        found = await self._collection.get(id_or_name)
        if found is not None:
            return _schema(found)
        async for each in self._all():
            if each.document.get("name") == id_or_name:
                return _schema(each)
        return None

    async def save(self, schema: SchemaText) -> None:
        """As `ports.schemas.SchemaCatalog`; what else stands in the document stays."""
        found = await self._collection.get(schema.id)
        document = {**(found.document if found else {}), "name": schema.name, "encoding": schema.encoding.value}
        await self._collection.put(schema.id, {**document, "definition": schema.definition})

    async def delete(self, schema_id: str) -> bool:
        """As `ports.schemas.SchemaCatalog`."""
        return await self._collection.delete(schema_id)

    async def _all(self) -> AsyncIterator[Stored]:
        after = ""
        while page := await self._collection.scan(after=after, limit=_PAGE):
            for each in page:
                yield each
            after = page[-1].key


def _schema(stored: Stored) -> SchemaText:
    """Raises DocumentDamaged."""
    document = stored.document
    name, definition = document.get("name"), document.get("definition")
    try:
        encoding = Encoding(document.get("encoding"))  # type: ignore[arg-type]  # whatever stands there
    except ValueError:
        encoding = None
    if encoding is None or not isinstance(definition, str) or not isinstance(name, str | None):
        message = f"schema {stored.key!r} is damaged: it needs an encoding and a definition; save it again"
        raise DocumentDamaged(message)
    return SchemaText(id=stored.key, name=name, encoding=encoding, definition=definition)
