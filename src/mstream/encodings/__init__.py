"""codec_for(encoding): the encoding registry."""

from __future__ import annotations

from mstream.domain.batch import Encoding
from mstream.encodings.json import JsonCodec
from mstream.encodings.text import TextCodec
from mstream.errors import ProviderUnavailable
from mstream.ports.encoding import Codec


def codec_for(encoding: Encoding) -> Codec:
    """The codec of an encoding; raises ProviderUnavailable for one that is not there yet."""
    match encoding:
        case Encoding.JSON:
            return JsonCodec()
        case Encoding.TEXT:
            return TextCodec()
        case Encoding.BSON | Encoding.AVRO:
            message = f"encoding {encoding.value!r} is not available in this version; use 'json' or 'text'"
            raise ProviderUnavailable(message)
