"""SchemaCatalog protocol: list, get, save and delete schemas of one service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mstream.domain.batch import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaText:
    """A named schema as text."""

    id: str
    name: str | None
    encoding: Encoding
    definition: str
    #: The texts of named types that the definition refers to, each before who refers to it.
    parts: tuple[str, ...] = ()
    #: It was asked for as one version, and not as the newest: whatever records were written by, they are read by it.
    is_fixed: bool = False


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


@runtime_checkable
class NumberedSchemas(Protocol):
    """A catalog whose schemas have numbers, which stand before the records that were written by them."""

    async def numbered(self, number: int) -> SchemaText | None:
        """The schema of that number; None: there is none."""

    async def registered(self, name: str, schema: SchemaText) -> SchemaText:
        """A schema under a name, with its number as `id`; it is there afterwards, if it was not before.

        Raises SchemaInvalid where it does not go with those that are there.
        """
