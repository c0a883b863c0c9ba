"""From Avro to JSON and BSON and back, and through an Avro schema from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mstream.domain.batch import Document, Encoding, JsonMode
from mstream.encodings.avro import AvroCodec
from mstream.encodings.avro_flavours import JSON, JSON_VALUES, bson_flavour, bson_values, has_bson
from mstream.encodings.avro_reading import Flavour
from mstream.encodings.json import JsonCodec
from mstream.encodings.text import TextCodec
from mstream.ports.encoding import Codec
from mstream.ports.roles import Failure

_Converted = tuple[Sequence[bytes | None], Sequence[Failure]]
#: Writes documents in the encoding that is wanted.
_Encode = Callable[[Sequence[Document]], _Converted]


class FromAvro:
    """Avro in another encoding; as `ports.encoding.Conversion`."""

    def __init__(self, codec: AvroCodec, target: Encoding, mode: JsonMode) -> None:
        self._codec = codec
        self._flavour, self._values, self._encode = _target(target, mode)

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        documents, failures = self._codec.read(payloads, self._flavour)
        return _after(failures, self._encode(documents))

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return self._encode([_tree(each, self._values) for each in documents])


class ToAvro:
    """Records of another encoding in Avro; as `ports.encoding.Conversion`."""

    def __init__(self, codec: AvroCodec, source: Encoding, mode: JsonMode) -> None:
        self._codec = codec
        self._source = _codec(source)
        self._of_json = source is Encoding.JSON
        self._otherwise = _marked(mode) if source is Encoding.JSON and has_bson() else None

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        documents, failures = self._source.decode(payloads)
        return _after(failures, self.of_documents(documents))

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        return self._codec.write(documents, of_json=self._of_json, otherwise=self._otherwise)


class ThroughAvro:
    """Records of one encoding in the same or another, as an Avro schema has them; as `ports.encoding.Conversion`."""

    def __init__(self, codec: AvroCodec, source: Encoding, target: Encoding, mode: JsonMode) -> None:
        self._into = ToAvro(codec, source, mode)
        self._out = FromAvro(codec, target, mode)

    def of_payloads(self, payloads: Sequence[bytes | None]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        written, failures = self._into.of_payloads(payloads)
        return _after(failures, self._out.of_payloads(written))

    def of_documents(self, documents: Sequence[Document]) -> _Converted:
        """As `ports.encoding.Conversion`."""
        written, failures = self._into.of_documents(documents)
        return _after(failures, self._out.of_payloads(written))


def _after(failures: Sequence[Failure], converted: _Converted) -> _Converted:
    """With those that failed before, in order."""
    payloads, more = converted
    if not failures:
        return payloads, more
    return payloads, sorted((*failures, *more), key=lambda each: each.index)


def _codec(encoding: Encoding) -> Codec:
    if encoding is Encoding.BSON:
        from mstream.encodings.bson import BsonCodec  # noqa: PLC0415 - only who uses it needs its package

        return BsonCodec()
    return JsonCodec() if encoding is Encoding.JSON else TextCodec()


def _target(encoding: Encoding, mode: JsonMode) -> tuple[Flavour, Mapping[type, Callable[[Any], Any]], _Encode]:
    if encoding is Encoding.BSON:
        return bson_flavour(), bson_values(), _codec(encoding).encode
    if encoding is Encoding.JSON and mode is not JsonMode.FLAT:
        from mstream.encodings.conversions import BsonToExtendedJson  # noqa: PLC0415 - only who uses it needs it

        return bson_flavour(), bson_values(), BsonToExtendedJson(mode).of_documents
    return JSON, _json_values(), _codec(encoding).encode


def _json_values() -> Mapping[type, Callable[[Any], Any]]:
    """Of a script there may be types of BSON too."""
    if not has_bson():
        return JSON_VALUES
    from bson import Binary, Decimal128, Int64, ObjectId  # noqa: PLC0415 - where its package is

    return {**JSON_VALUES, ObjectId: str, Decimal128: str, Int64: int, Binary: JSON_VALUES[bytes]}


def _tree(value: Any, made: Mapping[type, Callable[[Any], Any]]) -> Any:
    match value:
        case dict():
            return {key: _tree(each, made) for key, each in value.items()}
        case list() | tuple():
            return [_tree(each, made) for each in value]
        case _:
            make = made.get(type(value))
            return value if make is None else make(value)


def _marked(mode: JsonMode) -> Callable[[Document], Document]:
    """What a document means where it has markers of extended JSON in it."""
    from mstream.encodings.typed import typed  # noqa: PLC0415 - needs BSON's package

    return lambda document: typed(document, mode)
