"""BSON documents one behind the other, as `mongodump` writes them: each says at its head how long it is."""

from __future__ import annotations

import operator
import os
import struct
from collections.abc import Sequence
from typing import Final

_LAST: Final = operator.itemgetter(-1)
_LENGTH: Final = struct.Struct("<i").unpack_from
_SMALLEST: Final = 5
#: Longer than any document that MongoDB takes, with room for those of other programs.
_LARGEST: Final = 64 * 1024 * 1024


def are_documents(payloads: Sequence[bytes]) -> bool:
    """Whether each is as long as it says of itself, and ends as a document does."""
    try:
        # tuples of one, on both sides: nothing of it is done by the interpreter
        is_long = list(map(_LENGTH, payloads)) == list(zip(map(len, payloads), strict=True))
        return is_long and not any(map(_LAST, payloads))
    except (TypeError, struct.error):
        return False


def is_document(payload: bytes) -> bool:
    """The same of one."""
    return len(payload) >= _SMALLEST and _LENGTH(payload) == (len(payload),) and not payload[-1]


def whole_length(descriptor: int) -> int:
    """Up to where the documents of a file are whole. Raises ValueError when it holds something else."""
    at, end = 0, os.fstat(descriptor).st_size
    while at + 4 <= end:
        (length,) = _LENGTH(os.pread(descriptor, 4, at))
        if not _SMALLEST <= length <= _LARGEST:
            message = f"there is no BSON document at byte {at:,}"
            raise ValueError(message)
        if at + length > end:
            break
        at += length
    return at
