"""SchemaCatalog protocol: list, get, save and delete schemas of one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mstream.domain.batch import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaText:
    """A named schema as text."""

    id: str
    name: str | None
    encoding: Encoding
    definition: str


class SchemaCatalog(Protocol):
    """The schemas that one service keeps."""

    async def entries(self) -> Sequence[SchemaText]:
        """All of them, by id."""

    async def get(self, id_or_name: str) -> SchemaText | None:
        """One of them; None: there is none."""

    async def save(self, schema: SchemaText) -> None:
        """Write one."""

    async def delete(self, schema_id: str) -> bool:
        """Remove one; False: there was none."""
