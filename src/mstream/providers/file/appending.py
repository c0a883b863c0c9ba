"""Append to one file: whole batches or nothing, put aside by size; blocking, for one thread."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from mstream.errors import ServiceError, StorageFull, Unreachable
from mstream.observability.logs import get_logger
from mstream.providers.file.folder import Folder

log = get_logger(__name__)

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_MODE = 0o644
_BLOCK = 1 << 16


class AppendedFile:
    """The one writer of a file; a lock on it keeps others away.

    Raises Unreachable when somebody else writes it, StorageFull when there is no room.
    """

    def __init__(
        self,
        folder: Folder,
        resource: str,
        *,
        rotate_bytes: int | None,
        is_synced: bool,
        whole: Callable[[int], int] | None = None,
    ) -> None:
        """`whole`: up to where an open file is; ValueError when it is of another kind. None: it has lines."""
        self._folder = folder
        self._resource = resource
        self._rotate_bytes = rotate_bytes
        self._is_synced = is_synced
        self._whole = whole or _whole_lines
        self._path = folder.locate(resource)
        self._descriptor = -1
        #: Length up to which every batch is whole; what lies beyond was not finished.
        self._length = 0
        self._has_rest = False
        self._broken: ServiceError | None = None

    def open(self) -> None:
        """Make the file if it is missing; cut off half a record that a crash has left."""
        with self._folder.translating(self._resource):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._locked()
            self._length = self._whole_length()
            size = os.fstat(self._descriptor).st_size
            if self._length < size:
                log.warning(
                    "file_rest_cut", service=self._folder.name, resource=self._resource, bytes=size - self._length
                )
                os.ftruncate(self._descriptor, self._length)
            self._sync_folder()

    def append(self, data: bytes) -> None:
        """Write all of it; when that fails the file is as it was before."""
        self._raise_if_broken()
        with self._folder.translating(self._resource):
            self._cut_rest()
            if self._rotate_bytes and self._length and self._length + len(data) > self._rotate_bytes:
                self._rotate()
            self._has_rest = True
            try:
                self._write(data)
            except OSError:
                self._cut_rest()
                raise
            self._length += len(data)
            self._has_rest = False

    def sync(self) -> None:
        """What was appended is on the disk after it.

        The system reports a failed write-back once and forgets the data: after that nothing
        that was appended can be vouched for, and only a new run from the checkpoint helps.
        """
        self._raise_if_broken()
        try:
            self._folder.sync(self._descriptor)
        except OSError as error:
            self._broken = ServiceError(
                f"service {self._folder.name!r}: file {self._resource!r} could not be made safe on the disk"
                f" ({error.strerror}); start the job again, it goes on from its checkpoint"
            )
            raise self._broken from error

    def close(self) -> None:
        """Let the file and its lock go."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            count = self._folder.write(self._descriptor, rest)
            if not count:
                raise StorageFull(f"service {self._folder.name!r}: file {self._resource!r}: no room left")
            rest = rest[count:]

    def _cut_rest(self) -> None:
        if self._has_rest:
            os.ftruncate(self._descriptor, self._length)
            self._has_rest = False

    def _locked(self) -> int:
        """The file that the name means, locked; it may be put aside between opening and locking."""
        while True:
            descriptor = os.open(self._path, _FLAGS, _MODE)
            try:
                self._lock(descriptor)
                if os.path.samestat(os.fstat(descriptor), self._path.stat()):
                    return self._after_rotation(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unreachable(
                f"service {self._folder.name!r}: file {self._resource!r} is being written by somebody else;"
                " one file has one writer"
            ) from None

    def _after_rotation(self, descriptor: int) -> int:
        """Finish a rotation that a crash has interrupted between its two steps."""
        status = os.fstat(descriptor)
        if status.st_nlink == 1:
            return descriptor
        aside = self._newest_aside()
        is_put_aside = aside is not None and os.path.samestat(aside.stat(), status)
        return self._replaced(descriptor) if is_put_aside else descriptor

    def _rotate(self) -> None:
        """At every moment the name means a whole file."""
        if self._is_synced:
            self.sync()
        newest = self._newest_aside()
        number = 1 if newest is None else int(newest.name[-6:]) + 1
        os.link(self._path, self._path.with_name(f"{self._path.name}-{number:06d}"))
        self._descriptor = self._replaced(self._descriptor)
        self._length = 0
        self._sync_folder()
        log.info("file_rotated", service=self._folder.name, resource=self._resource)

    def _replaced(self, descriptor: int) -> int:
        """A new empty file under the name, locked before anybody can see it."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        successor = os.open(fresh, _FLAGS | os.O_EXCL, _MODE)
        try:
            fcntl.flock(successor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fresh.replace(self._path)
        except BaseException:
            os.close(successor)
            raise
        os.close(descriptor)
        return successor

    def _newest_aside(self) -> Path | None:
        start = f"{self._path.name}-"
        numbered = [
            each
            for each in self._path.parent.iterdir()
            if each.name.startswith(start) and len(each.name) == len(start) + 6 and each.name[-6:].isdecimal()
        ]
        return max(numbered, default=None)

    def _whole_length(self) -> int:
        try:
            return self._whole(self._descriptor)
        except ValueError as error:
            raise ServiceError(
                f"service {self._folder.name!r}: file {self._resource!r} cannot be written on ({error});"
                " name another one, or put it aside"
            ) from None

    def _sync_folder(self) -> None:
        if not self._is_synced:
            return
        descriptor = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _whole_lines(descriptor: int) -> int:
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - _BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
