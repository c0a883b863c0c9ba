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
from mstream.encodings.together import NULL, apart, has_not_finite, text_of
from mstream.encodings.typed import typed
from mstream.errors import DecodeError, EncodeError
from mstream.ports.roles import Failure

#: Times without a zone are made three times as fast; they are UTC, and nobody but the encoder sees them.
_READ: Final[CodecOptions[dict[str, Any]]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
#: Everything that JSON does not have, and every subclass of what it has, is shown to us.
_SHOWN: Final = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
#: What it writes before a positive exponent; v0.47 leaves the sign out.
_PLUS: Final = b"e+"
_EXPONENT: Final = re.compile(rb"[0-9]e\+[0-9]")
#: What may be one in BSON: a type, a name, eight bytes; and what may be one with a very long name. Names have no NUL.
_DOUBLE_NOT_FINITE: Final = re.compile(rb"\x01(?:[^\x00]{0,255}+\x00.{6}[\xf0-\xff][\x7f\xff]|[^\x00]{256})", re.DOTALL)
_packed = msgspec.msgpack.Encoder(enc_hook=lambda value: None).encode
_FAULTS: Final = (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError)

#: Records that go through the codecs together.
_SLICE: Final = 50

_Converted = tuple[Sequence[bytes | None], Sequence[Failure]]


class BsonToFlatJson:
    """BSON as plain JSON; as `ports.encoding.Conversion`."""

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return _in_slices(payloads, _flat_payloads)

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return _in_slices(documents, _flat_documents)


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
        if not _is_special(payload):
            try:
                return written(_decode(payload))
            except (*_FAULTS, EncodeError):
                pass
        return self._of_document(json_exact.read(payload, whole=_whole))

    def _of_document(self, document: Document) -> bytes:
        return written(typed(document, self._mode))


#: The sign of a number, by what stands before it; beginning with the sign itself it is found several times as fast.
_SIGN: Final = re.compile(rb"-(?<=[:,\[\s]-)[0-9]")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def _is_special(payload: bytes) -> bool:
    """Whether only the exact way makes BSON of it: of markers, in escapes too, and of negative whole numbers.

    Single bytes are looked for first: that costs next to nothing.
    """
    if (b"$" in payload and b'"$' in payload) or (b"\\" in payload and b"\\u" in payload):
        return True
    return _SIGN.search(payload) is not None


def _whole(text: str) -> float:
    """JSON's negative zero is one in BSON too, where only doubles have it."""
    return -0.0 if text == "-0" else int(text)


def _flat_together(documents: Sequence[Document], read_from: Sequence[bytes | None] = ()) -> list[bytes] | None:
    """All payloads by one call; None: some document has something that only the exact way can write.

    `read_from`: the BSON of the documents, where there is some.
    """
    try:
        text = text_of(documents, ordinary, _SHOWN)
    except TypeError:
        return None
    payloads = apart(text, len(documents))
    wrong: list[int] = []
    if text.rfind(NULL) >= 0:
        suspects = [at for at, each in enumerate(payloads) if NULL in each]
        if read_from:
            suspects = [at for at in suspects if _DOUBLE_NOT_FINITE.search(read_from[at] or b"")]
        if suspects and _has_not_finite([documents[each] for each in suspects]):
            wrong += suspects
    if text.rfind(_PLUS) >= 0:
        wrong += [at for at, each in enumerate(payloads) if _EXPONENT.search(each)]
    for each in wrong:
        payloads[each] = _spelled(documents[each], flat)
    return payloads


def _has_not_finite(documents: Sequence[Document]) -> bool:
    """Whether NaN or an infinity is among them."""
    try:
        return has_not_finite(_packed(documents), len(documents))
    except _FAULTS:
        return True


def _flat_payloads(payloads: Sequence[bytes | None]) -> _Converted:
    documents = read_together(payloads, _READ)
    together = _flat_together(documents, payloads) if documents else None
    return _one_by_one(payloads, _flat_payload) if together is None else (together, ())


def _flat_payload(payload: bytes) -> bytes:
    documents = read_together([payload], _READ)
    together = _flat_together(documents, [payload]) if documents else None
    return _spelled(read(payload), flat) if together is None else together[0]


def _flat_documents(documents: Sequence[Document]) -> _Converted:
    together = _flat_together(documents) if None not in documents else None
    return _one_by_one(documents, _flat_document) if together is None else (together, ())


def _flat_document(document: Document) -> bytes:
    together = _flat_together([document])
    return _spelled(document, flat) if together is None else together[0]


def _spelled(document: Document, leaf: Callable[[Any], Any]) -> bytes:
    try:
        plain = tree(document, leaf)
    except RecursionError:
        raise EncodeError("the document is nested too deeply, or contains itself") from None
    return json_exact.write(plain)


def _in_slices(records: Sequence[Any], convert: Callable[[Any], _Converted]) -> _Converted:
    """So few at a time that what was decoded is still in the processor's cache when it is encoded."""
    payloads: list[bytes | None] = []
    failures: list[Failure] = []
    for start in range(0, len(records), _SLICE):
        made, refused = convert(records[start : start + _SLICE])
        payloads += made
        failures += [Failure(index=start + each.index, error=each.error) for each in refused]
    return payloads, failures


def _one_by_one(records: Sequence[Any], convert: Callable[[Any], bytes]) -> _Converted:
    payloads: list[bytes | None] = [None] * len(records)
    failures: list[Failure] = []
    for index, record in enumerate(records):
        try:
            payloads[index] = None if record is None else convert(record)
        except (DecodeError, EncodeError) as error:
            failures.append(Failure(index=index, error=error))
    return payloads, failures
