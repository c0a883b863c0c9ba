"""What a service holds, and what its documents look like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

#: Documents that are looked at, where nothing is said, and at most.
SAMPLE: Final = 100
LARGEST_SAMPLE: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Something that a connector can name as its `resource`."""

    name: str
    #: A word of the provider's: `collection`, `view`, …
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One form of a resource's documents."""

    #: How many of the documents that were looked at have it.
    count: int
    #: A JSON Schema.
    schema: Mapping[str, Any]


class Inspection(Protocol):
    """Looks at what a service holds; writes nothing."""

    async def resources(self) -> Sequence[Resource]:
        """By name; those that the outside system keeps for itself are left out."""

    async def variants(self, resource: str, *, sample: int, shows_values: bool) -> Sequence[Variant]:
        """The forms of so many documents, the most frequent first.

        Values show in no schema, unless they are asked for. Raises ResourceMissing where there is no document.
        """
