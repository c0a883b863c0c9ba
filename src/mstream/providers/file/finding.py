"""Find files: by name, by identity under a rotated name, and the one that follows another."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from mstream.domain.checkpoint import Lane
from mstream.errors import Unreachable
from mstream.providers.file.folder import Folder
from mstream.providers.file.identity import Stored
from mstream.providers.file.rotation import Aside, is_rotated, later_than
from mstream.providers.file.tracked import Tracked

#: A folder is listed again so often while names in it are being moved.
_LOOKS = 8


class Finder:
    """Looks at the folder; holds nothing but its names.

    Somebody else renames files while a folder is being listed, so that a listing may show
    one of them twice and another not at all. Only what two listings agree on is believed.
    """

    def __init__(self, folder: Folder, resource: str) -> None:
        self._folder = folder
        self._resource = resource

    def names(self) -> list[Lane]:
        """The files that the resource means now."""
        return self._folder.names(self._resource)

    def open(self, lane: Lane) -> int | None:
        """A descriptor; None: the file is not there."""
        return self._opened(self._folder.locate(lane))

    def number(self, lane: Lane) -> tuple[int, int] | None:
        """Device and inode of what the name means now."""
        status = self._status(lane)
        return None if status is None else (status.st_dev, status.st_ino)

    def is_there(self, lane: Lane) -> bool:
        """Whether the name means a file."""
        return self._status(lane) is not None

    def head(self, lane: Lane) -> tuple[tuple[int, int], int]:
        """Device and inode, and size, of what the name means now; zeros where it means nothing."""
        status = self._status(lane)
        return ((0, 0), 0) if status is None else ((status.st_dev, status.st_ino), status.st_size)

    def search(self, lane: Lane, stored: Stored) -> int | None:
        """The file of a stored position, under the lane's name or another one in the same folder."""
        path = self._folder.locate(lane)
        seen = None
        for _ in range(_LOOKS):
            inodes = _numbered(path.parent)
            # the lane's own name goes first, as nothing moves to it
            for each in sorted(inodes, key=lambda name: (name != path.name, name)):
                descriptor = self._opened(path.with_name(each)) if inodes[each] == stored.inode else None
                if descriptor is None:
                    continue
                if stored.belongs_to(descriptor):
                    return descriptor
                os.close(descriptor)
            if seen == inodes:
                return None
            seen = inodes
        raise self._restless(lane)

    def successor(self, tracked: Tracked, taken: Collection[int], is_known: Callable[[int], bool]) -> int | None:
        """What was written next under the lane's name, also if it was put aside again; None: nothing yet."""
        for _ in range(_LOOKS):
            # Opened before the listing: whatever was put aside before this one came is in the listing then.
            head = self.open(tracked.lane)
            chosen = None
            try:
                if later := self.put_aside_after(tracked, taken):
                    chosen = self._opened_as(tracked.lane, later[0])
                elif head is None or os.fstat(head).st_ino in taken or is_known(head):
                    return None
                else:
                    chosen = head
            finally:
                if head is not None and chosen != head:
                    os.close(head)
            if chosen is not None:
                return chosen
        raise self._restless(tracked.lane)

    def put_aside_after(self, tracked: Tracked, taken: Collection[int]) -> Sequence[Aside]:
        """Rotated files of the lane that were written later than this one, oldest first."""
        asides = self._asides(tracked.lane)
        later = later_than(tracked.identity.inode, tracked.written_at(), asides)
        return [each for each in later if each.inode not in taken]

    def has_rotated(self, lane: Lane) -> bool:
        """Whether files of this lane that were put aside are there."""
        return bool(self._asides(lane))

    def would_find(self, number: tuple[int, int]) -> bool:
        """Whether a file that was put aside is still one that the resource means."""
        return any(self.number(each) == number for each in self.names())

    def exists(self, text: str) -> bool:
        """Whether the resource still means the file with this identity."""
        stored = Stored.of({"file": text, "offset": 0})
        return self.would_find((stored.device, stored.inode))

    def _status(self, lane: Lane) -> os.stat_result | None:
        try:
            return self._folder.locate(lane).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _opened(self, path: Path) -> int | None:
        try:
            return self._folder.open_to_read(path)
        except FileNotFoundError:
            return None

    def _opened_as(self, lane: Lane, aside: Aside) -> int | None:
        descriptor = self._opened(self._folder.locate(lane).with_name(aside.name))
        if descriptor is not None and os.fstat(descriptor).st_ino != aside.inode:
            os.close(descriptor)
            return None
        return descriptor

    def _asides(self, lane: Lane) -> Sequence[Aside]:
        path = self._folder.locate(lane)
        seen = None
        for _ in range(_LOOKS):
            found = [
                Aside(name=name, inode=status.st_ino, moment=status.st_mtime_ns)
                for name in _listed(path.parent)
                if is_rotated(name, path.name) and (status := _regular(path.with_name(name))) is not None
            ]
            inodes = [(each.name, each.inode) for each in found]
            if inodes == seen:
                return found
            seen = inodes
        raise self._restless(lane)

    def _restless(self, lane: Lane) -> Unreachable:
        return Unreachable(
            f"service {self._folder.name!r}: file {lane!r}: names in its folder change faster than they can be listed;"
            " it goes on once they rest"
        )


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(each.name for each in folder.iterdir())
    except FileNotFoundError:
        return []


def _numbered(folder: Path) -> dict[str, int]:
    """Names and inodes of the files in a folder."""
    found = {}
    for name in _listed(folder):
        status = _regular(folder / name)
        if status is not None:
            found[name] = status.st_ino
    return found


def _regular(path: Path) -> os.stat_result | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None
