"""codec_for(encoding), conversion_between(two encodings): the encoding registry."""

from __future__ import annotations

from importlib.util import find_spec

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings.json import JsonCodec
from mstream.encodings.text import TextCodec
from mstream.errors import ProviderUnavailable
from mstream.ports.encoding import Codec, Conversion


def codec_for(encoding: Encoding) -> Codec:
    """The codec of an encoding; raises ProviderUnavailable for one that is not here."""
    if reason := reason_unavailable(encoding):
        raise ProviderUnavailable(reason)
    match encoding:
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


def reason_unavailable(encoding: Encoding) -> str | None:
    """Why records in an encoding cannot be read or written here; None: they can."""
    if encoding is Encoding.AVRO:
        return f"encoding {encoding.value!r} is not available in this version; use 'bson', 'json' or 'text'"
    if encoding is Encoding.BSON and find_spec("bson") is None:
        return f"encoding {encoding.value!r} needs a package that is not installed: pip install 'mstream[mongodb]'"
    return None
