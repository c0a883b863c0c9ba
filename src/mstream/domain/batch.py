"""Records travelling together, column by column."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Any, TypeVar

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.uncut import Uncut

T = TypeVar("T")

#: A decoded record: JSON values (and, with BSON, its types).
Document = Any

Headers = Mapping[str, str]


class Encoding(StrEnum):
    """What a payload's bytes mean."""

    JSON = "json"
    BSON = "bson"
    AVRO = "avro"
    TEXT = "text"


class JsonMode(StrEnum):
    """How types that JSON does not have are spelled in it."""

    #: As plain values, which do not tell their type any more.
    FLAT = "flat"
    #: MongoDB's extended JSON, with plain numbers.
    RELAXED = "relaxed"
    #: MongoDB's extended JSON, with the type of every number.
    CANONICAL = "canonical"


class Form(StrEnum):
    """Which of the two columns a step reads."""

    PAYLOADS = "payloads"
    DOCUMENTS = "documents"


class Operation(StrEnum):
    """What happened to the thing that a record describes."""

    INSERT = "insert"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records in read order, as columns of equal length.

    A column that is None holds nothing for any record. `payloads` and `documents`
    are two forms of the same records: at least one of them is there, and where both
    are, they mean the same. A batch may be empty: progress without records.
    """

    #: The encoded records; None for a record is a tombstone.
    payloads: Sequence[bytes | None] | None = None
    #: The decoded records. They are shared: nobody changes one that it did not make.
    documents: Sequence[Document] | None = None
    #: The encoding of the payloads, and of what they will be encoded to.
    encoding: Encoding = Encoding.JSON
    keys: Sequence[bytes | None] | None = None
    #: Attributes as text.
    headers: Sequence[Headers | None] | None = None
    #: None: nothing is known, every record counts as an insert.
    operations: Sequence[Operation] | None = None
    #: Source times in milliseconds since the epoch, UTC.
    times: Sequence[int | None] | None = None
    #: The lane of each record; None: all of the one lane in `positions`.
    lanes: Sequence[Lane] | None = None
    #: The source's own note per record; nobody else reads it.
    marks: Sequence[Any] | None = None
    #: Where each lane stands after this batch; None: the lane has ended.
    positions: Mapping[Lane, Position | None] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many records there are."""
        column = self.payloads if self.payloads is not None else self.documents
        return 0 if column is None else len(column)

    @property
    def lane(self) -> Lane:
        """The one lane of a batch whose `lanes` are None."""
        return next(iter(self.positions), "")

    def lane_of(self, index: int) -> Lane:
        """The lane of one record."""
        return self.lane if self.lanes is None else self.lanes[index]

    def slices(self, count: int) -> Iterator[Batch]:
        """Cut into pieces of at most `count` records; every piece has the positions of the whole."""
        if len(self) <= count:
            yield self
            return
        for start in range(0, len(self), count):
            part = slice(start, start + count)
            yield self._columns(operator.itemgetter(part))

    def head(self, count: int) -> Batch:
        """The first `count` records, with the positions of the whole."""
        return self._columns(lambda column: column[:count])

    def pick(self, indexes: Sequence[int]) -> Batch:
        """These records, in this order, with the positions of the whole."""
        return self._columns(lambda column: [column[each] for each in indexes])

    def without(self, indexes: Collection[int]) -> Batch:
        """All but these records."""
        if not indexes:
            return self
        gone = frozenset(indexes)
        return self.pick([each for each in range(len(self)) if each not in gone])

    def size(self) -> int:
        """Bytes of the payloads; 0 where there are none."""
        if self.payloads is None:
            return 0
        if isinstance(self.payloads, Uncut):
            return self.payloads.size
        try:
            return sum(map(len, self.payloads))  # type: ignore[arg-type]  # tombstones are the slow way
        except TypeError:
            return sum(map(len, filter(None, self.payloads)))

    def _columns(self, change: Callable[[Sequence[Any]], Sequence[Any]]) -> Batch:
        def column(values: Sequence[T] | None) -> Sequence[T] | None:
            return None if values is None else change(values)

        return replace(
            self,
            payloads=column(self.payloads),
            documents=column(self.documents),
            keys=column(self.keys),
            headers=column(self.headers),
            operations=column(self.operations),
            times=column(self.times),
            lanes=column(self.lanes),
            marks=column(self.marks),
        )


def concat(batches: Sequence[Batch]) -> Batch:
    """One batch of several that have the same form and encoding, in order; later positions win."""
    return _concat(batches, {})


def rejoined(whole: Batch, pieces: Sequence[Batch], changed: Sequence[Batch]) -> Batch:
    """One batch of what became of the pieces of a whole; a column that nobody has changed is the whole's own."""
    kept = {
        name: getattr(whole, name)
        for name in ("keys", "headers", "operations", "times", "lanes", "marks")
        if all(getattr(each, name) is getattr(piece, name) for each, piece in zip(changed, pieces, strict=True))
    }
    return _concat(changed, kept)


#: What a record has where its batch has no such column; else None.
_ABSENT = {"operations": Operation.INSERT}


def _concat(batches: Sequence[Batch], kept: Mapping[str, Any]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    full = [each for each in batches if len(each)]
    positions = {lane: position for each in batches for lane, position in each.positions.items()}
    if not full:
        return replace(batches[-1], positions=positions)
    one_lane = len(positions) == 1 and all(each.lanes is None for each in full)

    def column(name: str) -> Any:
        if name in kept:
            return kept[name]
        parts = [getattr(each, name) for each in full]
        if all(part is None for part in parts):
            return None
        if all(part is not None for part in parts):
            return list(chain.from_iterable(parts))
        return [
            value
            for each, part in zip(full, parts, strict=True)
            for value in (part if part is not None else [_ABSENT.get(name)] * len(each))
        ]

    def lanes() -> Sequence[Lane] | None:
        if "lanes" in kept or one_lane:
            return kept.get("lanes")
        return [each.lane_of(index) for each in full for index in range(len(each))]

    return replace(
        full[0],
        payloads=column("payloads"),
        documents=column("documents"),
        keys=column("keys"),
        headers=column("headers"),
        operations=column("operations"),
        times=column("times"),
        lanes=lanes(),
        marks=column("marks"),
        positions=positions,
    )
