"""JSON: fast where a record is ordinary, exact where it is not.

A document that nobody has changed keeps every type, value and the order of its fields:

- whole numbers of any size, up to 4,300 digits (a longer one is a DecodeError);
- NaN, Infinity and -Infinity, read and written as the standard library does;
- fractions that a double cannot hold, see `encodings.numbers`;
- halves of surrogate pairs, written as escapes.

Of a field that comes twice the last one counts, a byte order mark is passed over, `-0` is the whole number 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from mstream.domain.batch import Document, Encoding
from mstream.domain.uncut import Lines
from mstream.encodings.json_exact import read, write
from mstream.encodings.numbers import number
from mstream.encodings.together import GROUP, NULL, all_finite, apart, has_not_finite, is_long, may_hold_null, text_of
from mstream.errors import DecodeError, EncodeError
from mstream.ports.roles import Failure

_decode = msgspec.json.Decoder(float_hook=number).decode
_encode = orjson.dumps
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

#: What JSON does not have is refused; the exact writer then names its place.
_STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


class JsonCodec:
    """One JSON value per payload."""

    encoding = Encoding.JSON

    def decode(self, payloads: Sequence[bytes | None]) -> tuple[list[Document], Sequence[Failure]]:
        """As `ports.encoding.Codec`."""
        # The end of a line is white space after its value: nobody needs to cut it off.
        readable = payloads.with_ends if isinstance(payloads, Lines) else payloads
        try:
            return list(map(_decode, readable)), ()  # type: ignore[arg-type]  # None is refused here
        except (*_UNREADABLE, TypeError):
            pass
        documents: list[Document] = [None] * len(payloads)
        failures: list[Failure] = []
        for index, payload in enumerate(payloads):
            try:
                if payload is not None:
                    documents[index] = _read(payload)
            except DecodeError as error:
                failures.append(Failure(index=index, error=error))
        return documents, failures

    def encode(self, documents: Sequence[Document]) -> tuple[list[bytes | None], Sequence[Failure]]:
        """As `ports.encoding.Codec`."""
        if documents and None not in documents:
            together = _written_together(documents)
            if together is not None:
                return together, ()
        payloads: list[bytes | None] = [None] * len(documents)
        failures: list[Failure] = []
        for index, document in enumerate(documents):
            try:
                payloads[index] = None if document is None else _written(document)
            except EncodeError as error:
                failures.append(Failure(index=index, error=error))
        return payloads, failures


def _read(payload: bytes) -> Document:
    try:
        return _decode(payload)
    except _UNREADABLE:
        return read(payload)


def _written_together(documents: Sequence[Document]) -> list[bytes | None] | None:
    """All payloads by one call, or a call for each group of long ones; None: some document needs the exact writer."""
    payloads: list[bytes | None] = []
    most = GROUP
    while len(payloads) < len(documents):
        group = documents[len(payloads) : len(payloads) + most]
        try:
            text = text_of(group, None, _STRICT)
        except TypeError:
            return None
        if may_hold_null(text, len(group)) and _has_not_finite(group):
            return None
        payloads += apart(text, len(group))
        most = GROUP if is_long(text, len(group)) else len(documents)
    return payloads


def _written(document: Document) -> bytes:
    try:
        payload = _encode(document, None, _STRICT)
    except TypeError:
        return write(document)
    return write(document) if NULL in payload and _has_not_finite([document]) else payload


def _has_not_finite(documents: Sequence[Document]) -> bool:
    """Whether NaN or an infinity is among them, which the fast encoder writes as null."""
    if all_finite(documents):
        return False
    try:
        return has_not_finite(msgspec.msgpack.encode(documents), len(documents))
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        return True
