"""Documents as JSON text: bytes and times are tagged, so that they come back as they were."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mstream.errors import StoreError

_BYTES, _TIME, _PLAIN = "$bytes", "$time", "$plain"
_TAGS = frozenset({_BYTES, _TIME, _PLAIN})
#: Of these types as good as every value is.
_AS_THEY_ARE = frozenset({str, int, bool, float, type(None)})


def to_text(document: Mapping[str, Any]) -> str:
    """Raises StoreError for a value that a document cannot hold."""
    return json.dumps(_tagged(document), separators=(",", ":"))


def from_text(text: str) -> dict[str, Any]:
    """What `to_text` was given. Raises ValueError or TypeError for any other text."""
    document = json.loads(text, object_hook=_untagged if '"$' in text else None)
    if not isinstance(document, dict):
        message = "not a document"
        raise TypeError(message)
    return document


def _tagged(value: Any) -> Any:  # noqa: ANN401 - any value of a document
    if type(value) in _AS_THEY_ARE:
        return value
    match value:
        case bool() | int() | float() | str():
            return value
        case bytes():
            return {_BYTES: base64.b64encode(value).decode("ascii")}
        case datetime() if value.tzinfo is not None:
            return {_TIME: value.astimezone(UTC).isoformat()}
        case dict() | Mapping():
            if not all(isinstance(each, str) for each in value):
                message = "a document's field names are texts"
                raise StoreError(message)
            inner = {key: _tagged(each) for key, each in value.items()}
            # A document that looks like a tag is wrapped; its inside must not be taken for one on the way back.
            is_tag = len(inner) == 1 and not _TAGS.isdisjoint(inner)
            return {_PLAIN: [[key, each] for key, each in inner.items()]} if is_tag else inner
        case list() | Sequence():
            return [_tagged(each) for each in value]
        case _:
            message = f"a document holds JSON values, bytes and UTC times, no {type(value).__name__}"
            raise StoreError(message)


def _untagged(found: dict[str, Any]) -> Any:  # noqa: ANN401 - any value of a document
    if len(found) != 1:
        return found
    [(tag, value)] = found.items()
    match tag:
        case "$bytes":
            return base64.b64decode(value)
        case "$time":
            return datetime.fromisoformat(value)
        case "$plain":
            return dict(value)
        case _:
            return found
