"""Payloads that were read as lines: cut and measured only when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from typing import overload


class Lines(Sequence[bytes]):
    """As a list of lines without their ends; a slice of it is of its kind."""

    def __init__(self, with_ends: Sequence[bytes]) -> None:
        """Each has its end."""
        self.with_ends = with_ends

    @classmethod
    def of(cls, together: bytes) -> Lines:
        """Several lines in one piece; several times as fast as `split`, which looks at every byte by itself."""
        lines = cls(BytesIO(together).readlines())
        lines.together = together
        return lines

    @cached_property
    def together(self) -> bytes:
        """All of them in one piece, each with its end."""
        return b"".join(self.with_ends)

    @property
    def size(self) -> int:
        """Bytes without the ends."""
        return len(self.together) - len(self.with_ends)

    def __len__(self) -> int:
        return len(self.with_ends)

    def __iter__(self) -> Iterator[bytes]:
        return (each[:-1] for each in self.with_ends)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Lines: ...
    def __getitem__(self, index: int | slice) -> bytes | Lines:
        return Lines(self.with_ends[index]) if isinstance(index, slice) else self.with_ends[index][:-1]

    def __eq__(self, other: object) -> bool:
        """Also to a list of the same lines."""
        return list(self) == (list(other) if isinstance(other, Lines) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list's
