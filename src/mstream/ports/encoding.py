"""Codec protocol: payloads to documents and back; Conversion protocol: from one encoding into another; keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mstream.domain.batch import Document, Encoding
from mstream.ports.roles import Failure
from mstream.ports.schemas import SchemaText


class Codec(Protocol):
    """Pure and whole lists at a time; no I/O.

    Both methods answer a list as long as the one they were given, with None where an
    item has failed, and the failures beside it. None (a tombstone) stays None.
    """

    encoding: Encoding

    def decode(self, payloads: Sequence[bytes | None]) -> tuple[list[Document], Sequence[Failure]]:
        """Documents of their own, that nobody else holds."""

    def encode(self, documents: Sequence[Document]) -> tuple[list[bytes | None], Sequence[Failure]]:
        """Payloads; the documents are only read."""


@runtime_checkable
class NumberedCodec(Codec, Protocol):
    """A codec whose payloads name the schemas that they were written by; it asks for them, and does not fetch them."""

    def unknown(self, payloads: Sequence[bytes | None]) -> Sequence[int]:
        """The numbers of schemas that these name and that it has not been given."""

    def learn(self, number: int, schema: SchemaText) -> None:
        """One of them. Records of schemas that it has not been given are refused."""


class Conversion(Protocol):
    """Records of one encoding in another; pure and whole lists at a time, as a codec."""

    def of_payloads(self, payloads: Sequence[bytes | None]) -> tuple[Sequence[bytes | None], Sequence[Failure]]:
        """Payloads of the other encoding, out of payloads."""

    def of_documents(self, documents: Sequence[Document]) -> tuple[Sequence[bytes | None], Sequence[Failure]]:
        """Payloads of the other encoding, out of documents, which are only read."""


@runtime_checkable
class KeyedSink(Protocol):
    """A sink whose keys can be written by a schema."""

    def write_keys_by(self, conversion: Conversion) -> None:
        """From now on; payloads are keys as records have them, documents what it takes as keys out of records."""
