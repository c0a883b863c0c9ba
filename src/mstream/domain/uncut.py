"""Payloads as they came, in one piece: cut and measured only when somebody asks."""

from __future__ import annotations

import operator
import struct
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from typing import Final, overload

_LENGTH: Final = struct.Struct("<i").unpack_from
_SMALLEST: Final = 5
#: The type of a document in an array of BSON.
_DOCUMENT: Final = 3
#: Bytes in an array before each document: its type, its index as a text, a zero.
_HEADS: Final = tuple(len(str(index)) + 2 for index in range(10_000))


class Uncut(Sequence[bytes]):
    """As a list of payloads; a slice of it is of its kind."""

    @property
    @abstractmethod
    def together(self) -> bytes:
        """All of them, as they stand one behind the other in a file."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes of all of them."""

    def __eq__(self, other: object) -> bool:
        """Also to a list of the same payloads."""
        return list(self) == (list(other) if isinstance(other, Uncut) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list's


class Lines(Uncut):
    """Lines without their ends."""

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


class RawDocuments(Uncut):
    """Documents of BSON, each as long as it says of itself."""

    def __init__(self, data: bytes, starts: Sequence[int], ends: Sequence[int]) -> None:
        """`starts` and `ends`: where they lie in the data."""
        self._data = data
        self._starts = starts
        self._ends = ends
        self._size: int | None = None

    @classmethod
    def in_array(cls, data: bytes, at: int = 0, end: int | None = None) -> RawDocuments:
        """The documents of an array of BSON that lies there. Raises ValueError where it holds anything else."""
        last = (len(data) if end is None else end) - 1
        starts: list[int] = []
        add, at = starts.append, at + 4
        try:
            for head in islice(_heads(), last // _SMALLEST):
                if at >= last:
                    break
                at += head
                add(at)
                at += _LENGTH(data, at)[0]
        except struct.error:
            at = -1
        places = list(map(operator.sub, starts, _heads()))
        ends = [*places[1:], at] if places else []
        is_sound = at == last and min(map(operator.sub, ends, starts), default=_SMALLEST) >= _SMALLEST
        if not is_sound or bytes(map(data.__getitem__, places)).count(_DOCUMENT) != len(places):
            message = "what should be documents is something else"
            raise ValueError(message)
        return cls(data, starts, ends)

    @property
    def together(self) -> bytes:
        """As `mongodump` writes them."""
        return b"".join(list(self))

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        if self._size is None:
            self._size = sum(self._ends) - sum(self._starts)
        return self._size

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[bytes]:
        data = self._data
        return iter([data[start:end] for start, end in zip(self._starts, self._ends, strict=True)])

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> RawDocuments: ...
    def __getitem__(self, index: int | slice) -> bytes | RawDocuments:
        if isinstance(index, slice):
            return RawDocuments(self._data, self._starts[index], self._ends[index])
        return self._data[self._starts[index] : self._ends[index]]


def _heads() -> Iterator[int]:
    return chain(_HEADS, (len(str(index)) + 2 for index in count(len(_HEADS))))
