"""Collection and DocumentStore protocols: the whole persistence contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from mstream.errors import StoreTooNew

#: JSON values, bytes and UTC datetimes, nothing else.
Document = Mapping[str, Any]

#: A random token; two writes never make the same one.
Revision = str

#: As `expect`: there must be no such document.
ABSENT: Final[Revision] = ""

#: Bytes that every store takes in one document; what is much larger is refused with a StoreError.
LARGEST: Final = 15_000_000

#: How collections are laid out. It stands in every store that outlives the process, in the collection and
#: under the key below, as `{"version": 1}`; a store without it was made before there was a second layout.
LAYOUT: Final = 1
LAYOUT_RESOURCE: Final = "mstream-version"
LAYOUT_KEY: Final = "layout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A document as it stands in a collection."""

    key: str
    document: Document
    revision: Revision


class Collection(Protocol):
    """Documents by key, with compare-and-set; four methods, no query language.

    Every method raises StoreUnreachable when the store does not answer (after which a
    write may or may not have happened), StoreError when it refuses.
    """

    async def get(self, key: str) -> Stored | None:
        """The document as last written by anybody; None: there is none. Raises DocumentDamaged for what is none."""

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        """Up to `limit` documents with keys above `after`, by key in code-point order; damaged ones are left out."""

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        """Write, and answer the new revision.

        With `expect` only if that is still the revision (ABSENT: if there is no such document), else
        RevisionConflict and nothing has changed. `revision`: the new token, chosen beforehand by the caller.
        """

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """Remove; False: there was none. With `expect` as in `put`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stray:
    """Something in a collection that is none of its documents; it stays untouched until its key is deleted."""

    #: The key that it bears; empty when it bears none.
    key: str
    #: `older` or `newer` than the document of its key, `damaged`, or `keyless`.
    reason: str
    #: How many there are of the kind.
    count: int


@runtime_checkable
class Shared(Protocol):
    """A collection into which other programs may have written as well; optional."""

    async def strays(self) -> Sequence[Stray]:
        """By key: what `scan` has left out. A damaged document blocks its key: `get` of it raises DocumentDamaged."""


class DocumentStore(Protocol):
    """Where collections live."""

    def collection(self, resource: str, *, key: str = "name") -> Collection:
        """The collection called `resource`; `key`: the field of its documents that carries the key."""

    async def ping(self) -> None:
        """Answers when the store does.

        Raises StoreUnreachable or StoreError; StoreTooNew when a newer version of the program has laid it out.
        """


def check_layout(document: Document | None, what: str) -> None:
    """Raises StoreTooNew when the store says that a newer version of the program has laid it out."""
    version = (document or {}).get("version", LAYOUT)
    if isinstance(version, int) and version > LAYOUT:
        message = f"{what} has layout {version}, this program knows {LAYOUT}: use the version that has written it"
        raise StoreTooNew(message)
