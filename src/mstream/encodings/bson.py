"""BSON: fast where a record is ordinary, exact where it is not.

A document that nobody has changed is written byte for byte as it came: every type and its width, the order of the
fields, deprecated types (see `encodings.bson_values`), times out of Python's range (`DatetimeMS`). What is decoded is
therefore proven by encoding it again; the exact way reads what does not come out the same. Of a field that comes
twice the last one counts, and the elements of an array are numbered anew.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

import bson
from bson.errors import BSONError

from mstream.domain.batch import Document, Encoding
from mstream.encodings.bson_exact import READ, WRITE, read, write
from mstream.errors import DecodeError, EncodeError
from mstream.ports.roles import Failure

_FAULTS: Final = (BSONError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)
_SIZE = struct.Struct("<i")
#: Documents of a batch go through the package together up to this many bytes; larger ones one by one.
_TOGETHER: Final = 16 << 20
_HEAD = itemgetter(slice(4))
#: A document as a field without a name, and the bytes before and after it: the package moves `_id` of an outermost
#: document to its front.
_BEFORE: Final = 6
_PLAIN: Final = {dict}
#: The package makes an object of its own of a document with this field, which scripts could not read as one.
_DBREF: Final = b"\x02$ref\x00"


class BsonCodec:
    """One BSON document per payload."""

    encoding = Encoding.BSON

    def decode(self, payloads: Sequence[bytes | None]) -> tuple[list[Document], Sequence[Failure]]:
        """As `ports.encoding.Codec`."""
        together = read_together(payloads, READ)
        if together is not None and _written_together(together) == list(payloads):
            return together, ()
        documents: list[Document] = [None] * len(payloads)
        failures: list[Failure] = []
        for index, payload in enumerate(payloads):
            try:
                documents[index] = None if payload is None else _read(payload)
            except DecodeError as error:
                failures.append(Failure(index=index, error=error))
        return documents, failures

    def encode(self, documents: Sequence[Document]) -> tuple[list[bytes | None], Sequence[Failure]]:
        """As `ports.encoding.Codec`; a naive time counts as UTC, and times lose what is below a millisecond."""
        together = _written_together(documents)
        if together is not None:
            return together, ()
        payloads: list[bytes | None] = [None] * len(documents)
        failures: list[Failure] = []
        for index, document in enumerate(documents):
            try:
                payloads[index] = None if document is None else written(document)
            except EncodeError as error:
                failures.append(Failure(index=index, error=error))
        return payloads, failures


def read_together(
    payloads: Sequence[bytes | None], options: bson.CodecOptions[dict[str, Any]]
) -> list[Document] | None:
    """All documents by one call, as the package reads them; None: they need to be looked at one by one."""
    given = [each for each in payloads if each is not None]
    sizes = list(map(len, given))
    if len(given) < len(payloads) or sum(sizes) > _TOGETHER:
        return None
    try:
        # Each says itself how long it is: of several in one payload, or halves, nothing would be seen else.
        if b"".join(map(_HEAD, given)) != struct.pack(f"<{len(sizes)}i", *sizes):
            return None
        joined = b"".join(given)
        return None if _DBREF in joined else list(bson.decode_all(joined, options))
    except _FAULTS:
        return None


def written(document: Document) -> bytes:
    """The payload of one document; raises EncodeError, which names the field."""
    if isinstance(document, dict):
        try:
            return bson.encode({"": document}, codec_options=WRITE)[_BEFORE:-1]
        except _FAULTS:
            pass
    return write(document)


def _read(payload: bytes) -> Document:
    try:
        document = bson.decode(payload, READ)
        if _DBREF not in payload and bson.encode({"": document}, codec_options=WRITE)[_BEFORE:-1] == payload:
            return document
    except _FAULTS:
        pass
    return read(payload)


def _written_together(documents: Sequence[Document]) -> list[bytes | None] | None:
    """All payloads by one call; None: some document is none, or needs the exact writer."""
    if set(map(type, documents)) != _PLAIN:
        return None
    try:
        array = bson.encode({"": documents}, codec_options=WRITE)
    except _FAULTS:
        return None
    payloads: list[bytes | None] = []
    place = _BEFORE + _SIZE.size
    for index in range(len(documents)):
        place += 2 + len(str(index))
        (size,) = _SIZE.unpack_from(array, place)
        payloads.append(array[place : place + size])
        place += size
    return payloads
