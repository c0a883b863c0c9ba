"""BSON documents one behind the other, as `mongodump` writes them: each says at its head how long it is."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Final

_LENGTH: Final = struct.Struct("<i").unpack_from
_SMALLEST: Final = 5
#: Longer than any document that MongoDB takes, with room for those of other programs.
_LARGEST: Final = 64 * 1024 * 1024


def are_documents(payloads: Sequence[bytes]) -> bool:
    """Whether each is as long as it says of itself, and ends as a document does."""
    try:
        lengths = [length for (length,) in map(_LENGTH, payloads)]
        return lengths == list(map(len, payloads)) and b"\0" * len(payloads) == bytes([each[-1] for each in payloads])
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
