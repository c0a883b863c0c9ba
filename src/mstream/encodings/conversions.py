"""From BSON to JSON and back: whole lists fast, single records exact."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import orjson
from bson import CodecOptions
from bson.codec_options import DatetimeConversion

from mstream.domain.batch import Document, JsonMode
from mstream.encodings import json_exact
from mstream.encodings.bson import read_together, written
from mstream.encodings.bson_exact import read
from mstream.encodings.extended import extended
from mstream.encodings.flat import flat, ordinary, tree
from mstream.encodings.typed import typed
from mstream.errors import DecodeError, EncodeError
from mstream.ports.roles import Failure

#: Times without a zone are made three times as fast; they are UTC, and nobody but the encoder sees them.
_READ: Final[CodecOptions[dict[str, Any]]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
#: Everything that JSON does not have, and every subclass of what it has, is shown to us.
_SHOWN: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
#: What the encoder makes of NaN and infinities, among others.
_NULL: Final = b"null"
#: Where it may have written an exponent with its sign, which v0.47 leaves out.
_PLUS: Final = b"e+"
#: A line between two documents of one call: inside compact JSON there is none.
_LINE: Final = orjson.Fragment(b"\n")
_BETWEEN: Final = b",\n,"
#: NaN or an infinity in MessagePack, where every fraction is a mark and eight bytes.
_NOT_FINITE: Final = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
_packed = msgspec.msgpack.Encoder(enc_hook=lambda value: None).encode
_FAULTS: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)

_Converted = tuple[list[bytes | None], Sequence[Failure]]


class BsonToFlatJson:
    """BSON as plain JSON; as `ports.encoding.Conversion`."""

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        documents = read_together(payloads, _READ)
        together = _flat_together(documents) if documents else None
        return _one_by_one(payloads, _flat_payload) if together is None else (together, ())

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        together = _flat_together(documents) if documents and None not in documents else None
        return _one_by_one(documents, _flat_document) if together is None else (together, ())


class BsonToExtendedJson:
    """BSON as relaxed or canonical extended JSON; as `ports.encoding.Conversion`."""

    def __init__(self, mode: JsonMode) -> None:
        self._leaf = extended(mode)

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return _one_by_one(payloads, lambda payload: _spelled(read(payload), self._leaf))

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return _one_by_one(documents, lambda document: _spelled(document, self._leaf))


class JsonToBson:
    """JSON as BSON, with the markers of extended JSON in it; as `ports.encoding.Conversion`."""

    def __init__(self, mode: JsonMode) -> None:
        self._mode = mode

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return _one_by_one(payloads, self._of_payload)

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return _one_by_one(documents, self._of_document)

    def _of_payload(self, payload: bytes) -> bytes:
        if _SPECIAL.search(payload) is None:
            try:
                return written(_decode(payload))
            except (*_FAULTS, EncodeError):
                pass
        return self._of_document(json_exact.read(payload, whole=_whole))

    def _of_document(self, document: Document) -> bytes:
        return written(typed(document, self._mode))


#: What only the exact way makes BSON of: markers, in escapes too, negative whole numbers, and numbers of many digits.
_SPECIAL: Final = re.compile(rb'"\$|\\u|[:,\[\s]-[0-9]|[0-9]{19}')
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _whole(text: str) -> float:
    """JSON's negative zero is one in BSON too, where only doubles have it."""
    return -0.0 if text == "-0" else int(text)


def _flat_together(documents: Sequence[Document]) -> list[bytes | None] | None:
    """All payloads by one call; None: some document has something that only the exact way can write."""
    mixed: list[Any] = [_LINE] * (2 * len(documents) - 1)
    mixed[::2] = documents
    try:
        text = orjson.dumps(mixed, ordinary, _SHOWN)
    except TypeError:
        return None
    payloads: list[bytes | None] = [*text[1:-1].rsplit(_BETWEEN)]
    if text.rfind(_NULL) >= 0:
        _mend(documents, payloads, [at for at, each in enumerate(payloads) if each and _NULL in each], _has_not_finite)
    if text.rfind(_PLUS) >= 0:
        _mend(documents, payloads, [at for at, each in enumerate(payloads) if each and _PLUS in each], None)
    return payloads


def _mend(
    documents: Sequence[Document],
    payloads: list[bytes | None],
    suspects: Sequence[int],
    is_wrong: Callable[[Sequence[Document]], bool] | None,
) -> None:
    """Writes again what the fast encoder may have written otherwise than it should have."""
    if is_wrong is None or is_wrong([documents[each] for each in suspects]):
        for each in suspects:
            payloads[each] = _spelled(documents[each], flat)


def _has_not_finite(documents: Sequence[Document]) -> bool:
    """Whether NaN or an infinity is among them."""
    try:
        return _NOT_FINITE.search(_packed(documents)) is not None
    except _FAULTS:
        return True


def _flat_payload(payload: bytes) -> bytes:
    documents = read_together([payload], _READ)
    together = _flat_together(documents) if documents else None
    return _spelled(read(payload), flat) if together is None else together[0] or b""


def _flat_document(document: Document) -> bytes:
    together = _flat_together([document])
    return _spelled(document, flat) if together is None else together[0] or b""


def _spelled(document: Document, leaf: Callable[[Any], Any]) -> bytes:
    try:
        plain = tree(document, leaf)
    except RecursionError:
        raise EncodeError("the document is nested too deeply, or contains itself") from None
    return json_exact.write(plain)


def _one_by_one(records: Sequence[Any], convert: Callable[[Any], bytes]) -> _Converted:
    payloads: list[bytes | None] = [None] * len(records)
    failures: list[Failure] = []
    for index, record in enumerate(records):
        try:
            payloads[index] = None if record is None else convert(record)
        except (DecodeError, EncodeError) as error:
            failures.append(Failure(index=index, error=error))
    return payloads, failures
