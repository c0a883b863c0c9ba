"""One file that is being read: where it stands, and what has happened to it."""

from __future__ import annotations

import os
from dataclasses import replace

from mstream.domain.checkpoint import Lane
from mstream.observability.logs import get_logger
from mstream.providers.file.identity import HEAD, TAIL, FileIdentity, last_line
from mstream.providers.file.lines import Chunk, cut_lines, whole_lines

log = get_logger(__name__)


class Tracked:
    """An open file and the offset up to which it was read."""

    def __init__(self, lane: Lane, descriptor: int, identity: FileIdentity, offset: int = 0) -> None:
        self.lane = lane
        self.identity = identity
        self.offset = offset
        #: When the lane's name was first seen to mean another file, or none; None: it still means this one.
        self.left_at: float | None = None
        self._descriptor = descriptor
        #: Up to where there is no line end after the offset, and the bytes before that.
        self._scanned = offset
        self._half = b""
        #: The bytes before the offset, beyond those that the identity holds.
        self._tail = self._before(offset)
        self._was_cut = False

    def read(self, size: int) -> Chunk | None:
        """The next whole lines; None: there are none now, or the file was cut."""
        if self._half and self._before(self._scanned, len(self._half)) != self._half:
            # half a line that was looked at is another one now: the file was cut somewhere behind the offset
            self._scanned, self._half = self.offset, b""
        while True:
            data, self._scanned = whole_lines(self._descriptor, self.offset, self._scanned, size)
            if not self._still_holds():
                self._was_cut = True
                return None
            if not data:
                self._was_cut = self.size() < self.offset
                self._half = self._before(self._scanned, min(TAIL, self._scanned - self.offset))
                return None
            # before anything moves: a disk that fails here must not cost these lines
            self.identity = self.identity.grown(self._descriptor, self.offset + len(data))
            start, self.offset = self.offset, self.offset + len(data)
            self._scanned, self._half = self.offset, b""
            self._tail = data[-TAIL:]
            payloads, ends = cut_lines(data, start)
            if payloads:
                return Chunk(
                    lane=self.lane,
                    identity=self.identity,
                    start=start,
                    end=self.offset,
                    payloads=payloads,
                    ends=ends,
                    tail=last_line(self._tail),
                )

    def was_cut(self) -> bool:
        """Whether the last read found the file shorter than it was, or with other content."""
        return self._was_cut

    def restart(self) -> None:
        """Begin with the new content."""
        log.warning("file_truncated", resource=self.lane, read_bytes=self.offset)
        self._begin(replace(FileIdentity.of(self._descriptor), read_before=self.identity.read_before))

    def skip_to_end(self) -> None:
        """Begin after the last whole line."""
        end = self.size()
        while end > self.offset:
            start = max(self.offset, end - (1 << 16))
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        self.offset = self._scanned = end
        self.identity = self.identity.grown(self._descriptor, end)
        self._tail = self._before(end)

    def here(self) -> Chunk:
        """The position alone."""
        return Chunk(
            lane=self.lane,
            identity=self.identity,
            start=self.offset,
            end=self.offset,
            payloads=[],
            tail=last_line(self._tail),
        )

    def compare(self, number: tuple[int, int] | None, seconds: float) -> None:
        """Note whether the lane's name still means this file."""
        if number == self.identity.number:
            self.left_at = None
        elif self.left_at is None:
            self.left_at = seconds

    @property
    def is_deleted(self) -> bool:
        """Whether no name is left for the file."""
        return os.fstat(self._descriptor).st_nlink == 0

    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._descriptor).st_size

    def written_at(self) -> int:
        """When it was last written to, in the file system's own time."""
        return os.fstat(self._descriptor).st_mtime_ns

    def go_on_in(self, descriptor: int, identity: FileIdentity) -> None:
        """Read the file that follows."""
        self.close()
        self._descriptor = descriptor
        self._begin(identity)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._descriptor)

    def _still_holds(self) -> bool:
        """Whether what was read is still there; a file that was cut may have grown beyond the offset again."""
        if not self.identity.still_holds(self._descriptor):
            return False
        return self.offset <= HEAD or self._before(self.offset, len(self._tail)) == self._tail

    def _before(self, offset: int, size: int = TAIL) -> bytes:
        return os.pread(self._descriptor, min(size, offset), max(0, offset - size))

    def _begin(self, identity: FileIdentity) -> None:
        self.identity = identity
        self.offset = self._scanned = 0
        self._tail = self._half = b""
        self.left_at = None
        self._was_cut = False
