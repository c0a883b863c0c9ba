"""Keys of records: out of Avro into JSON, which every step can read, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mstream.domain.batch import Document, Encoding, JsonMode
from mstream.encodings.avro import AvroCodec
from mstream.encodings.avro_conversions import ToAvro
from mstream.encodings.avro_flavours import JSON
from mstream.encodings.json import JsonCodec
from mstream.errors import DecodeError, MstreamError
from mstream.ports.roles import Failure

_Keys = Sequence[bytes | None]
_Converted = tuple[list[bytes | None], Sequence[Failure]]
_Read = tuple[list[Document], Sequence[Failure]]


class Key(bytes):
    """A key as JSON, and the datum that it was read from: by the same schema it is written as that again."""

    datum: bytes
    #: The name of its schema.
    schema: str


def read_keys(codec: AvroCodec, keys: _Keys) -> _Converted:
    """Datums as keys in JSON, with the fields sorted; null is no key."""
    documents, failures = codec.read(keys, JSON)
    texts, more = JsonCodec().encode([_sorted(each) for each in documents])
    made: list[bytes | None] = [
        None if key is None or text is None else _key(text, key, codec.name)
        for key, text in zip(keys, texts, strict=True)
    ]
    found = sorted((*failures, *more), key=lambda each: each.index)
    return made, [Failure(index=each.index, error=DecodeError(f"its key is {each.error}")) for each in found]


class KeysToAvro:
    """As `ports.encoding.Conversion`: payloads are keys as records have them, documents the values of a field.

    A key is what it says as JSON, where the schema has such values, else the text that it is.
    """

    def __init__(self, codec: AvroCodec, encoding: Encoding, mode: JsonMode) -> None:
        """`encoding`, `mode`: of the records whose fields are taken. Raises SchemaInvalid."""
        codec.write((), of_json=True)  # where there is nothing to write by, that shows here
        self._codec = codec
        self._values = ToAvro(codec, encoding, mode)

    def of_payloads(self, payloads: _Keys) -> _Converted:
        """As `ports.encoding.Conversion`."""
        name = self._codec.name
        made = [each.datum if isinstance(each, Key) and each.schema == name else None for each in payloads]
        errors: dict[int, MstreamError] = {}
        for read in (JsonCodec().decode, _as_text):
            left = {index: key for index, key in enumerate(payloads) if key is not None and made[index] is None}
            documents, unread = read(list(left.values()))
            written, unwritten = self._codec.write(documents, of_json=True)
            places = list(left)
            for index, datum in zip(places, written, strict=True):
                made[index] = datum
            # What is no JSON is judged as the text that it is.
            for each in (*unwritten, *(unread if read is _as_text else ())):
                errors.setdefault(places[each.index], each.error)
        return made, [Failure(index=index, error=errors[index]) for index in sorted(errors) if made[index] is None]

    def of_documents(self, documents: Sequence[Document]) -> tuple[Sequence[bytes | None], Sequence[Failure]]:
        """As `ports.encoding.Conversion`."""
        return self._values.of_documents(documents)


def _key(spelled: bytes, datum: bytes, schema: str) -> Key:
    key = Key(spelled)
    key.datum, key.schema = datum, schema
    return key


def _as_text(keys: Sequence[bytes]) -> _Read:
    documents: list[Document] = []
    failures: list[Failure] = []
    for index, key in enumerate(keys):
        try:
            documents.append(key.decode())
        except UnicodeDecodeError:
            documents.append(None)
            failures.append(Failure(index=index, error=DecodeError("it is not UTF-8 text")))
    return documents, failures


def _sorted(value: Any) -> Any:
    match value:
        case dict():
            return {name: _sorted(value[name]) for name in sorted(value)}
        case list():
            return [_sorted(each) for each in value]
        case _:
            return value
