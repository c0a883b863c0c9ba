"""Deletes without content: the record's key says which row they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mstream.domain.batch import Batch, Encoding, JsonMode, Operation
from mstream.encodings import codec_for, conversion_between

from .config import SqlSinkOptions

#: The smallest document of BSON: its length and a zero.
_SMALLEST = 5


def described(
    batch: Batch, options: SqlSinkOptions, mode: JsonMode
) -> tuple[Sequence[Any], Sequence[Operation] | None]:
    """Documents and operations. A record without content is a delete, and has for content what its key says."""
    documents, operations = batch.documents or [], batch.operations
    if operations is None and None not in documents:
        return documents, None
    known = list(operations) if operations is not None else [Operation.INSERT] * len(documents)
    told = list(documents)
    for index, document in enumerate(documents):
        if document is None:
            known[index] = Operation.DELETE
        if known[index] is Operation.DELETE and not _has(document, options.keys) and batch.keys is not None:
            told[index] = fields_of_key(batch.keys[index], options.keys, mode) or document
    return told, known


def fields_of_key(key: bytes | None, names: Sequence[str], mode: JsonMode = JsonMode.FLAT) -> dict[str, Any] | None:
    """The key columns of a record's key: a document in BSON or JSON that has them, or the value of the only one.

    What is neither is a text. None: it does not say them.
    """
    if key is None or not names:
        return None
    found, failures = codec_for(Encoding.JSON).decode([_json(key, mode)])
    value: Any = _text(key) if failures else found[0]
    if _has(value, names):
        return {name: value[name] for name in names}
    if len(names) == 1 and value is not None and not isinstance(value, dict | list):
        return {names[0]: value}
    return None


def _has(document: Any, names: Sequence[str]) -> bool:
    return isinstance(document, Mapping) and all(document.get(name) is not None for name in names)


def _json(key: bytes, mode: JsonMode) -> bytes | None:
    """As JSON, spelled like the content of records."""
    if len(key) < _SMALLEST or int.from_bytes(key[:4], "little") != len(key) or key[-1]:
        return key
    conversion = conversion_between(Encoding.BSON, Encoding.JSON, mode)
    return key if conversion is None else conversion.of_payloads([key])[0][0] or key


def _text(key: bytes) -> str | None:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None
