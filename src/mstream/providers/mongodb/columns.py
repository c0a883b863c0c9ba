"""Columns that few look at: each cell is made when somebody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")


class Made(Sequence[T], Generic[T]):
    """What comes of each of some values; a slice of it is of its kind."""

    def __init__(self, values: Sequence[Any], make: Callable[[Any], T]) -> None:
        self._values = values
        self._make = make

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[T]:
        return map(self._make, self._values)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Made[T]: ...
    def __getitem__(self, index: int | slice) -> T | Made[T]:
        if isinstance(index, slice):
            return Made(self._values[index], self._make)
        return self._make(self._values[index])

    def __eq__(self, other: object) -> bool:
        """Also to a list of the same."""
        return list(self) == (list(other) if isinstance(other, Made) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list's
