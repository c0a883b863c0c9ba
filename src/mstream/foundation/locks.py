"""A lock of the operating system: held by a process and by those that it hands it to, free once all are gone."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from pathlib import Path

#: Bytes of the text by which a lock is known again.
_TOKEN_BYTES = 32


class FileLock:
    """A lock on a file that stays; it cannot outlive its holders, however they end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._token = ""

    @property
    def is_held(self) -> bool:
        """We hold it."""
        return self._fd is not None

    @property
    def fd(self) -> int | None:
        """The descriptor that a child must inherit to hold the lock too; None: we do not hold it."""
        return self._fd

    @property
    def token(self) -> str:
        """Tells this lock from another one at the same path, by the file's content; "" while it is not held."""
        return self._token

    def acquire(self) -> bool:
        """Take it if it is free; returns at once. Raises OSError when the file cannot be made or opened."""
        if self._fd is not None:
            return True
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _locked(fd) or not self._is_at_its_path(fd):
                return False
            self._token = _token_of(fd)
            self._fd, fd = fd, -1
            return True
        finally:
            if fd >= 0:
                os.close(fd)

    def release(self) -> None:
        """Let go. Children that have inherited it hold it until they end, too: closed, never unlocked."""
        fd, self._fd, self._token = self._fd, None, ""
        if fd is not None:
            os.close(fd)

    def _is_at_its_path(self, fd: int) -> bool:
        """Somebody may have removed the file between our opening and our locking."""
        with contextlib.suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(fd), self.path.stat())
        return False


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _token_of(fd: int) -> str:
    """Written by the first that ever holds the lock."""
    found = os.pread(fd, _TOKEN_BYTES, 0).decode("ascii", "replace")
    if len(found) == _TOKEN_BYTES:
        return found
    token = secrets.token_hex(_TOKEN_BYTES // 2)
    os.ftruncate(fd, 0)
    os.pwrite(fd, token.encode("ascii"), 0)
    os.fsync(fd)
    return token
