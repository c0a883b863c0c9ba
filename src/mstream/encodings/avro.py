"""Avro: one datum per payload, bare, or behind the number of its schema in a registry."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from mstream.domain.batch import Document, Encoding
from mstream.encodings.avro_flavours import PLAIN, TEXT_DECIMAL
from mstream.encodings.avro_leaves import Misfit, Put
from mstream.encodings.avro_parts import FAULTS, Broken, Get
from mstream.encodings.avro_reading import Flavour, Reading
from mstream.encodings.avro_schema import AvroSchema, parsed
from mstream.encodings.avro_writing import Writing
from mstream.errors import DecodeError, EncodeError, SchemaInvalid
from mstream.ports.roles import Failure
from mstream.ports.schemas import SchemaText

#: A zero and a number of 31 bits, as Confluent's registry has it: before every datum.
_HEAD: Final = struct.Struct(">bi")
_head_of: Final = itemgetter(slice(_HEAD.size))
#: A path in an error text is no longer than this.
_PATH_LIMIT: Final = 200
_NO_HEAD: Final = "not Avro from a registry: it does not begin with a zero byte and the number of a schema"


class AvroCodec:
    """Datums of one schema; a record that refers to another schema by number is of that one.

    `name`: what the schema is called in errors. `reads_as`: every record is read by this schema, whatever it was
    written by. `number`: that of the schema, where records carry one; `is_numbered`: they do. `text_decimals`: decimals
    are read as v0.47 wrote them.
    """

    encoding = Encoding.AVRO

    def __init__(
        self,
        name: str,
        schema: AvroSchema | None,
        *,
        reads_as: AvroSchema | None = None,
        number: int | None = None,
        is_numbered: bool = False,
        text_decimals: bool = False,
    ) -> None:
        """Raises SchemaInvalid."""
        self._text_decimals = text_decimals
        self._name = name
        self._schema = schema
        self._reads_as = reads_as
        self._is_numbered = is_numbered
        self._start = b"" if number is None else _HEAD.pack(0, number)
        #: By what stands before the datum; a text: why there is none.
        self._schemas: dict[bytes, AvroSchema | str] = {}
        if schema is not None and (not is_numbered or number is not None):
            self._schemas[self._start] = schema
            Writing(schema, of_json=False).put(schema.root)  # what is wrong with it shows here
        self._gets: dict[int, dict[bytes, Get]] = {}
        self._puts: dict[bool, Put] = {}

    @property
    def name(self) -> str:
        """What the schema is called."""
        return self._name

    # --------------------------------------------------------------------------------------------------- numbers
    def unknown(self, payloads: Sequence[bytes | None]) -> Sequence[int]:
        """As `ports.encoding.NumberedCodec`."""
        if not self._is_numbered:
            return ()
        heads = set(map(_head_of, filter(None, payloads))) - self._schemas.keys()
        found = [_HEAD.unpack(each) for each in heads if len(each) == _HEAD.size]
        return sorted(number for magic, number in found if magic == 0 and number > 0)

    def learn(self, number: int, schema: SchemaText) -> None:
        """As `ports.encoding.NumberedCodec`."""
        head = _HEAD.pack(0, number)
        self._schemas[head] = _understood(schema)

    # -------------------------------------------------------------------------------------------------- decoding
    def decode(self, payloads: Sequence[bytes | None]) -> tuple[list[Document], Sequence[Failure]]:
        """As `ports.encoding.Codec`."""
        return self.read(payloads, PLAIN)

    def read(self, payloads: Sequence[bytes | None], flavour: Flavour) -> tuple[list[Document], Sequence[Failure]]:
        """As `decode`, with the types that the next step has."""
        gets = self._gets.setdefault(id(flavour), {})
        start = _HEAD.size if self._is_numbered else 0
        documents: list[Document] = []
        failures: list[Failure] = []
        last, get = b"none", _refusing("")
        for index, payload in enumerate(payloads):
            document = None
            if payload is not None:
                try:
                    if (head := payload[:start]) != last:
                        get = gets.get(head) or self._get(head, flavour, gets)
                        last = head
                    document, end = get(payload, start)
                except (*FAULTS, RecursionError, DecodeError) as error:
                    failures.append(Failure(index=index, error=self._fault(error)))
                else:
                    if end != len(payload):
                        document = None
                        failures.append(Failure(index=index, error=self._fault(Broken("there are bytes behind it"))))
            documents.append(document)
        return documents, failures

    def _get(self, head: bytes, flavour: Flavour, gets: dict[bytes, Get]) -> Get:
        """The reader of records that begin so; raises DecodeError."""
        written = self._schemas.get(head) or _not_known(head)
        if isinstance(written, str):
            raise DecodeError(written)
        read = self._reads_as or written
        if self._text_decimals:
            flavour = {**flavour, "decimal": flavour[TEXT_DECIMAL]}
        try:
            gets[head] = get = Reading(written, read, flavour).get(written.root, read.root)
        except (SchemaInvalid, RecursionError) as error:
            told = f"records by schema {_number(head)} cannot be read as {self._name!r}: {error}"
            gets[head] = get = _refusing(told)
        return get

    def _fault(self, error: Exception) -> DecodeError:
        match error:
            case DecodeError():
                return error
            case RecursionError():
                what = "it is nested too deeply"
            case Broken():
                path = _shown("".join(("$", *reversed(error.path))))
                what = f"{path}: {error}" if error.path else str(error)
            case _:
                what = "it ends too early"
        return DecodeError(f"not valid Avro by schema {self._name!r}: {what}")

    # -------------------------------------------------------------------------------------------------- encoding
    def encode(self, documents: Sequence[Document]) -> tuple[list[bytes | None], Sequence[Failure]]:
        """As `ports.encoding.Codec`."""
        return self.write(documents, of_json=False)

    def write(
        self,
        documents: Sequence[Document],
        *,
        of_json: bool,
        otherwise: Callable[[Document], Document] | None = None,
    ) -> tuple[list[bytes | None], Sequence[Failure]]:
        """As `encode`; `of_json`: text may stand for bytes. `otherwise`: how a document that does not fit may be meant.

        Raises SchemaInvalid where there is no schema to write by.
        """
        put, start = self._put(of_json=of_json), self._start
        payloads: list[bytes | None] = []
        failures: list[Failure] = []
        for index, document in enumerate(documents):
            payload = None
            if document is not None:
                try:
                    payload = _written(put, document, start)
                except (Misfit, RecursionError) as error:
                    payload = otherwise and _second(put, otherwise, document, start)
                    if payload is None:
                        failures.append(Failure(index=index, error=_unencodable(error)))
            payloads.append(payload)
        return payloads, failures

    def _put(self, *, of_json: bool) -> Put:
        put = self._puts.get(of_json)
        if put is None:
            if self._schema is None:
                message = f"schema {self._name!r}: the registry has none of that name that could be written by"
                raise SchemaInvalid(message)
            put = self._puts[of_json] = Writing(self._schema, of_json=of_json).put(self._schema.root)
        return put


def _not_known(head: bytes) -> str:
    magic, number = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
    return f"the registry has no schema {_number(head)}" if not magic and number > 0 else _NO_HEAD


def _understood(schema: SchemaText) -> AvroSchema | str:
    """The schema; a text: why records by it cannot be read."""
    if schema.encoding is not Encoding.AVRO:
        return f"schema number {schema.id} of the registry is one of {schema.encoding}, not of Avro"
    try:
        return parsed(schema.definition, schema.parts)
    except SchemaInvalid as error:
        return f"schema number {schema.id} of the registry cannot be understood: {error}"


def _written(put: Put, document: Document, start: bytes) -> bytes:
    parts = [start]
    put(document, parts.append)
    return b"".join(parts)


def _second(put: Put, otherwise: Callable[[Document], Document], document: Document, start: bytes) -> bytes | None:
    try:
        return _written(put, otherwise(document), start)
    except (Misfit, EncodeError, RecursionError):
        return None


def _unencodable(error: Misfit | RecursionError) -> EncodeError:
    if isinstance(error, Misfit):
        return error.error()
    return EncodeError("the document is nested too deeply, or contains itself")


def _refusing(message: str) -> Get:
    def get(data: bytes, place: int) -> tuple[Any, int]:
        raise DecodeError(message)

    return get


def _number(head: bytes) -> str:
    return f"number {_HEAD.unpack(head)[1]}" if head else "that they were written by"


def _shown(path: str) -> str:
    text = path.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= _PATH_LIMIT else f"{text[:_PATH_LIMIT]}…"
