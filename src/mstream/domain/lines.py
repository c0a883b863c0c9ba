"""Payloads that were read as lines: cut and measured only when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Lines(Sequence[bytes]):
    """As a list of lines without their ends; a slice of it is of its kind."""

    def __init__(self, with_ends: Sequence[bytes], together: bytes | None = None) -> None:
        """Each has its end. `together`: all of them in one piece, if that is at hand."""
        self.with_ends = with_ends
        self._together = together

    @property
    def together(self) -> bytes:
        """All of them in one piece, each with its end."""
        if self._together is None:
            self._together = b"".join(self.with_ends)
        return self._together

    @property
    def size(self) -> int:
        """Bytes without the ends."""
        whole = len(self._together) if self._together is not None else sum(map(len, self.with_ends))
        return whole - len(self.with_ends)

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
