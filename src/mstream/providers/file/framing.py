"""Payloads to lines, or BSON documents one behind the other: which can be one, and which are refused."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from itertools import repeat

from mstream.domain.batch import Batch, Encoding
from mstream.domain.uncut import Lines, RawDocuments
from mstream.errors import RecordRefused
from mstream.ports.roles import Failure
from mstream.providers.file.documents import are_documents, is_document

_NO_PAYLOAD = 'a record without a payload cannot be written; set on_delete = "ignore" to leave such out'
_NO_DOCUMENT = "a record that is no BSON document would make the rest of the file unreadable"
#: As a number it is found several times as fast as as a text.
_LINE_END = ord("\n")


def framed(batch: Batch, *, refuse_deletes: bool) -> tuple[bytes, Sequence[Failure]]:
    """A batch in one piece, and the records that cannot be a part of it."""
    payloads = batch.payloads or ()
    if not payloads:
        return b"", ()
    if batch.encoding is Encoding.BSON:
        return _documents(payloads, refuse_deletes=refuse_deletes)
    if isinstance(payloads, Lines):
        return payloads.together, ()
    try:
        data = b"\n".join([*payloads, b""])  # type: ignore[list-item]  # None is the slow way below
        has_several = any(map(operator.contains, payloads, repeat(_LINE_END)))  # type: ignore[arg-type]  # the same
    except TypeError:
        return _one_by_one(batch, refuse_deletes=refuse_deletes)
    if has_several or (batch.encoding is Encoding.JSON and b"" in payloads):
        return _one_by_one(batch, refuse_deletes=refuse_deletes)
    return data, ()


def _documents(payloads: Sequence[bytes | None], *, refuse_deletes: bool) -> tuple[bytes, Sequence[Failure]]:
    if isinstance(payloads, RawDocuments):
        return payloads.together, ()
    if are_documents(payloads):  # type: ignore[arg-type]  # with None among them they are not
        return b"".join(payloads), ()  # type: ignore[arg-type]  # the same
    whole = [each for each in payloads if each is not None and is_document(each)]
    failures = [
        Failure(index=index, error=RecordRefused(_NO_PAYLOAD if each is None else _NO_DOCUMENT))
        for index, each in enumerate(payloads)
        if (refuse_deletes if each is None else not is_document(each))
    ]
    return b"".join(whole), failures


def _one_by_one(batch: Batch, *, refuse_deletes: bool) -> tuple[bytes, Sequence[Failure]]:
    lines: list[bytes] = []
    failures: list[Failure] = []
    for index, payload in enumerate(batch.payloads or ()):
        if payload is None and not refuse_deletes:
            continue
        try:
            lines.append(_line(payload, batch.encoding))
        except RecordRefused as error:
            failures.append(Failure(index=index, error=error))
    return b"\n".join([*lines, b""]) if lines else b"", failures


def _line(payload: bytes | None, encoding: Encoding) -> bytes:
    if payload is None:
        raise RecordRefused(_NO_PAYLOAD)
    if encoding is not Encoding.JSON:
        if b"\n" in payload:
            raise RecordRefused(f"a record of {encoding.value} that has several lines cannot be one line of a file")
        return payload
    if payload and b"\n" not in payload:
        return payload
    try:
        json.loads(payload)
    except ValueError:
        raise RecordRefused("a record that is empty or has several lines is not JSON and cannot be one line") from None
    # in JSON a line end can only stand between tokens: every value stays as it is written
    return payload.replace(b"\r", b" ").replace(b"\n", b" ")
