"""codec_for(encoding), conversion_between(two encodings), and the same by an Avro schema: the encoding registry."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings.json import JsonCodec
from mstream.encodings.text import TextCodec
from mstream.errors import ProviderUnavailable, SchemaInvalid
from mstream.ports.encoding import Codec, Conversion
from mstream.ports.roles import Failure
from mstream.ports.schemas import SchemaText


def codec_for(encoding: Encoding) -> Codec:
    """The codec of an encoding; raises ProviderUnavailable for one that is not here, or that needs a schema."""
    if reason := reason_unavailable(encoding):
        raise ProviderUnavailable(reason)
    match encoding:
        case Encoding.AVRO:
            message = "records in Avro are read and written by a schema; name one by 'schema_id'"
            raise ProviderUnavailable(message)
        case Encoding.TEXT:
            return TextCodec()
        case Encoding.BSON:
            from mstream.encodings.bson import BsonCodec  # noqa: PLC0415 - only who uses it needs its package

            return BsonCodec()
        case _:
            return JsonCodec()


def conversion_between(source: Encoding, target: Encoding, mode: JsonMode) -> Conversion | None:
    """How payloads of one encoding become those of the other; None: their documents are the same.

    Raises ProviderUnavailable as `codec_for`.
    """
    if {source, target} != {Encoding.BSON, Encoding.JSON}:
        return None
    codec_for(Encoding.BSON)
    from mstream.encodings.conversions import (  # noqa: PLC0415 - as above
        BsonToExtendedJson,
        BsonToFlatJson,
        JsonToBson,
    )

    if target is Encoding.BSON:
        return JsonToBson(mode)
    return BsonToFlatJson() if mode is JsonMode.FLAT else BsonToExtendedJson(mode)


def avro_codec(
    name: str,
    schema: SchemaText | None,
    *,
    reads_as: SchemaText | None = None,
    is_numbered: bool = False,
    text_decimals: bool = False,
) -> Codec:
    """The codec of an Avro schema, as `encodings.avro.AvroCodec` has it; its number is the schema's `id`.

    Raises SchemaInvalid, or ProviderUnavailable as `codec_for`.
    """
    if reason := reason_unavailable(Encoding.AVRO):
        raise ProviderUnavailable(reason)
    from mstream.encodings.avro import AvroCodec  # noqa: PLC0415 - only who uses it needs its package
    from mstream.encodings.avro_schema import AvroSchema, parsed  # noqa: PLC0415 - as above

    def understood(each: SchemaText | None) -> AvroSchema | None:
        if each is None:
            return None
        if each.encoding is not Encoding.AVRO:
            message = f"it is a schema of {each.encoding}, not of Avro"
            raise SchemaInvalid(message)
        return parsed(each.definition, each.parts)

    try:
        return AvroCodec(
            name,
            understood(schema),
            reads_as=understood(reads_as),
            number=int(schema.id) if schema and is_numbered else None,
            is_numbered=is_numbered,
            text_decimals=text_decimals,
        )
    except SchemaInvalid as error:
        message = f"schema {name!r}: {error}"
        raise SchemaInvalid(message) from None


def conversion_by(codec: Codec, source: Encoding, target: Encoding, mode: JsonMode) -> Conversion | None:
    """How payloads of one encoding become those of the other by the schema of an Avro codec, which both may be.

    None: their documents are the same. Raises ProviderUnavailable as `codec_for`.
    """
    for each in {source, target} - {Encoding.AVRO}:
        codec_for(each)
    if target is Encoding.JSON and mode is not JsonMode.FLAT:
        codec_for(Encoding.BSON)  # extended JSON has BSON's types
    from mstream.encodings.avro import AvroCodec  # noqa: PLC0415 - only who uses it needs its package
    from mstream.encodings.avro_conversions import FromAvro, ThroughAvro, ToAvro  # noqa: PLC0415 - as above

    assert isinstance(codec, AvroCodec)  # noqa: S101 - as `avro_codec` gave it
    if source is target is Encoding.AVRO:
        return None
    if target is Encoding.AVRO:
        return ToAvro(codec, source, mode)
    return FromAvro(codec, target, mode) if source is Encoding.AVRO else ThroughAvro(codec, source, target, mode)


def read_keys(codec: Codec, keys: Sequence[bytes | None]) -> tuple[Sequence[bytes | None], Sequence[Failure]]:
    """Keys in Avro as JSON, by the schema of an Avro codec; each remembers the datum that it was."""
    from mstream.encodings import avro, avro_keys  # noqa: PLC0415 - only who uses it needs its package

    assert isinstance(codec, avro.AvroCodec)  # noqa: S101 - as `avro_codec` gave it
    return avro_keys.read_keys(codec, keys)


def keys_by(codec: Codec, encoding: Encoding, mode: JsonMode) -> Conversion:
    """How keys become Avro by the schema of an Avro codec, as `encodings.avro_keys.KeysToAvro` has it.

    Raises SchemaInvalid.
    """
    from mstream.encodings import avro, avro_keys  # noqa: PLC0415 - as above

    assert isinstance(codec, avro.AvroCodec)  # noqa: S101 - as `avro_codec` gave it
    return avro_keys.KeysToAvro(codec, encoding, mode)


def fault_of_schema(text: str) -> str | None:
    """Why records cannot be read and written by a text as Avro schema; None: they can, or nobody here can tell."""
    if reason_unavailable(Encoding.AVRO):
        return None
    try:
        avro_codec("", SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=text))
    except SchemaInvalid as error:
        return str(error).removeprefix("schema '': ")
    return None


def reason_unavailable(encoding: Encoding) -> str | None:
    """Why records in an encoding cannot be read or written here; None: they can."""
    if encoding is Encoding.AVRO and find_spec("fastavro") is None:
        return f"encoding {encoding.value!r} needs a package that is not installed: pip install 'mstream[avro]'"
    if encoding is Encoding.BSON and find_spec("bson") is None:
        return f"encoding {encoding.value!r} needs a package that is not installed: pip install 'mstream[mongodb]'"
    return None
