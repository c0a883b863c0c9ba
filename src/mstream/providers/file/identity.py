"""Which file a position belongs to: by device, inode, generation, and bytes that were read."""

from __future__ import annotations

import fcntl
import os
import sys
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from mstream.domain.checkpoint import Position

#: So many first bytes tell a file from another one that got the same inode later.
HEAD = 256
#: So many bytes before the offset tell whether the file was cut there, and has grown again.
TAIL = 64

#: FS_IOC_GETVERSION, where a long has eight bytes: a number that an inode gets anew with each file.
_GENERATION = 0x80087601


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """A file as it is recognised again; `head` are first bytes that never change while it only grows."""

    device: int
    inode: int
    #: What an inode's next file differs in; None: the file system does not tell.
    generation: int | None = None
    head: bytes = b""
    #: Files that were read under this lane before, as far as the resource would find them anew.
    read_before: tuple[str, ...] = ()

    @classmethod
    def of(cls, descriptor: int) -> FileIdentity:
        """The identity of an open file of which nothing has been read; its whole lines vouch for it."""
        status = os.fstat(descriptor)
        head = os.pread(descriptor, HEAD, 0)
        return cls(
            device=status.st_dev,
            inode=status.st_ino,
            generation=_generation(descriptor),
            head=head[: head.rfind(b"\n") + 1],
        )

    @property
    def number(self) -> tuple[int, int]:
        """What the system knows the file by, for as long as it exists."""
        return self.device, self.inode

    def text(self, offset: int) -> str:
        """How it stands in a position: what was read vouches for the file, or what was there at its beginning."""
        head = self.head[: min(offset, HEAD)] if offset else self.head
        generation = "" if self.generation is None else f":{self.generation:x}"
        return f"{self.device:x}:{self.inode:x}:{len(head)}:{_digest(head)}{generation}"

    def position(self, offset: int, tail: bytes = b"") -> dict[str, Any]:
        """Where a source stands that has read so far; `tail` are the bytes before it, if they are at hand."""
        position: dict[str, Any] = {"file": self.text(offset), "offset": offset}
        if tail and offset > HEAD:
            position["tail"] = f"{len(tail)}:{_digest(tail)}"
        if self.read_before:
            position["read_before"] = list(self.read_before)
        return position

    def grown(self, descriptor: int, offset: int) -> FileIdentity:
        """The same, with as much of the first bytes as has been read by now."""
        known = min(offset, HEAD)
        if known <= len(self.head):
            return self
        return replace(self, head=os.pread(descriptor, known, 0))

    def still_holds(self, descriptor: int) -> bool:
        """Whether the first bytes are what they were: false after a truncation and new content."""
        return not self.head or os.pread(descriptor, len(self.head), 0) == self.head


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A position as it comes from a checkpoint."""

    device: int
    inode: int
    generation: int | None = None
    head_size: int
    digest: str
    offset: int
    tail_size: int = 0
    tail_digest: str = ""
    read_before: tuple[str, ...] = ()

    @classmethod
    def of(cls, position: Position) -> Stored:
        """Raises ValueError when it is not a position of this provider."""
        try:
            device, inode, head_size, digest, *generation = str(position["file"]).split(":")
            tail_size, _, tail_digest = str(position.get("tail", "0:")).partition(":")
            return cls(
                device=int(device, 16),
                inode=int(inode, 16),
                generation=int(generation[0], 16) if generation else None,
                head_size=int(head_size),
                digest=digest,
                offset=int(position["offset"]),
                tail_size=int(tail_size),
                tail_digest=tail_digest,
                read_before=tuple(map(str, position.get("read_before", ()))),
            )
        except (KeyError, TypeError) as error:
            raise ValueError("not a position in a file") from error

    def belongs_to(self, descriptor: int) -> bool:
        """Whether this open file is the one that the position was taken in, and still holds what was read.

        A volume that was mounted again may have another device number: where first bytes
        are known, they and the inode are enough.
        """
        status = os.fstat(descriptor)
        if status.st_ino != self.inode or status.st_size < self.offset:
            return False
        if not self.head_size and status.st_dev != self.device:
            return False
        generation = _generation(descriptor)
        if None not in {generation, self.generation} and generation != self.generation:
            return False
        if self.head_size and _digest(os.pread(descriptor, self.head_size, 0)) != self.digest:
            return False
        if not self.tail_size:
            return True
        return _digest(os.pread(descriptor, self.tail_size, self.offset - self.tail_size)) == self.tail_digest


def last_line(data: bytes) -> bytes:
    """The end of the last of whole lines: what stands right before the position after them."""
    end = data[-TAIL:]
    return end[end.rfind(b"\n", 0, -1) + 1 :]


def _digest(head: bytes) -> str:
    return blake2b(head, digest_size=8).hexdigest()


def _generation(descriptor: int) -> int | None:
    if sys.platform != "linux" or sys.maxsize < 1 << 32:
        return None
    answer = bytearray(8)
    try:
        fcntl.ioctl(descriptor, _GENERATION, answer)
    except OSError:
        # not every file system has one
        return None
    # the kernel writes an int, whatever the name of the call says
    return int.from_bytes(answer[:4], sys.byteorder)
