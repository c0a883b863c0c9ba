"""Lines cut from a file: payloads, and where each of them ends, worked out only when asked."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from typing import overload

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.uncut import Lines
from mstream.providers.file.identity import FileIdentity, last_line

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: Lines that sort below this begin with white space, or are empty.
_VISIBLE = b"!"
_PIECE = 1 << 20


class Marks(Sequence[Position]):
    """The position after each record of a batch; costs nothing until one is asked for."""

    def __init__(self, identity: FileIdentity, start: int, payloads: Sequence[bytes], ends: list[int] | None) -> None:
        self._identity = identity
        self._start = start
        self._payloads = payloads
        self._ends = ends
        self._ends_are_plain = ends is None

    def __len__(self) -> int:
        return len(self._payloads)

    @overload
    def __getitem__(self, index: int) -> Position: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Position]: ...
    def __getitem__(self, index: int | slice) -> Position | Sequence[Position]:
        ends = self.ends
        if isinstance(index, slice):
            return Marks(self._identity, self._start, self._payloads[index], ends[index])
        # where lines were left out or changed, the bytes before the mark are not at hand
        tail = last_line(self._payloads[index] + b"\n") if self._ends_are_plain else b""
        return self._identity.position(ends[index], tail)

    @property
    def ends(self) -> list[int]:
        """The offset after each record's line."""
        if self._ends is None:
            self._ends = list(accumulate((len(each) + 1 for each in self._payloads), initial=self._start))[1:]
        return self._ends


@dataclass(slots=True, kw_only=True)
class Chunk:
    """Whole lines of one file that were read at once."""

    lane: Lane
    identity: FileIdentity
    #: Offset of the first line, and after the last, blank ones included.
    start: int
    end: int
    payloads: Sequence[bytes]
    #: Offset after each line; None: lines follow each other without anything left out.
    ends: list[int] | None = None
    #: The lane has ended with this.
    last: bool = False
    #: The end of the last line, if it is at hand.
    tail: bytes = b""

    @property
    def position(self) -> Position | None:
        """Where the lane stands after it."""
        return None if self.last else self.identity.position(self.end, self.tail)

    def marks(self) -> Marks:
        """The note of each record."""
        return Marks(self.identity, self.start, self.payloads, self.ends)

    def split(self, records: int, size: int) -> tuple[Chunk, Chunk | None]:
        """What fits into a limit, at least one record, and the rest."""
        if self.end - self.start > size:
            records = min(records, max(1, bisect_right(self.marks().ends, self.start + size)))
        if len(self.payloads) <= records:
            return self, None
        head, rest = self.payloads[:records], self.payloads[records:]
        ends = self.ends
        middle = self.start + sum(map(len, head)) + records if ends is None else ends[records - 1]
        return (
            Chunk(
                lane=self.lane,
                identity=self.identity,
                start=self.start,
                end=middle,
                payloads=head,
                ends=None if ends is None else ends[:records],
                tail=last_line(head[-1] + b"\n") if ends is None else b"",
            ),
            Chunk(
                lane=self.lane,
                identity=self.identity,
                start=middle,
                end=self.end,
                payloads=rest,
                ends=None if ends is None else ends[records:],
                last=self.last,
                tail=self.tail,
            ),
        )


def whole_lines(descriptor: int, offset: int, scanned: int, size: int) -> tuple[bytes, int]:
    """Whole lines from `offset` on, of about `size` bytes or a single longer one.

    Also answers up to where no line end was found, which the next call need not look at again.
    """
    data = os.pread(descriptor, size, offset) if scanned < offset + size else b""
    if cut := data.rfind(b"\n") + 1:
        return data[:cut], offset
    place = max(scanned, offset + len(data))
    while piece := os.pread(descriptor, _PIECE, place):
        found = piece.find(b"\n")
        if found >= 0:
            data = b"".join(_pieces(descriptor, offset, place + found + 1))
            # shorter only if the file was cut meanwhile, which the caller finds out by itself
            return (data, offset) if data.endswith(b"\n") else (b"", offset)
        place += len(piece)
    return b"", place


def _pieces(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        piece = os.pread(descriptor, min(_PIECE, end - start), start)
        if not piece:
            return
        start += len(piece)
        yield piece


def cut_lines(data: bytes, offset: int) -> tuple[Sequence[bytes], list[int] | None]:
    """The lines without their ends, blank ones left out; where each ends, if that is not plain."""
    # Several times as fast as `split`, which looks at every byte by itself.
    lines = Lines(BytesIO(data).readlines(), data)
    marked = offset == 0 and data.startswith(_BYTE_ORDER_MARK)
    if not marked and min(lines.with_ends) >= _VISIBLE and b"\r" not in data:
        return lines, None
    payloads: list[bytes] = []
    ends: list[int] = []
    place = offset
    for each in lines:
        place += len(each) + 1
        line = each.removesuffix(b"\r")
        if marked and place == len(each) + 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if line.strip():
            payloads.append(line)
            ends.append(place)
    return payloads, ends
