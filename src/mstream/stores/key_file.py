"""The key file: a hexadecimal key a line, the first is current; nobody but its owner may read it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mstream.errors import KeyUnusable
from mstream.stores.encryption import KEY_BYTES, Key, KeyRing

_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_HEX_DIGITS: Final = frozenset(b"0123456789abcdefABCDEF")
#: Far above any ring; a path that names something else entirely is not read to its end.
_LARGEST: Final = 1 << 20
_MODE: Final = 0o600
_OTHERS: Final = 0o077

BACKUP: Final = "back this file up: losing it loses the stored services"


def ring_of(data: bytes, *, where: str) -> KeyRing:
    """The keys of a file's or a command's bytes: 32 raw ones, or hexadecimal lines. Raises KeyUnusable."""
    if len(data) == KEY_BYTES:
        if _HEX_DIGITS.issuperset(data):
            raise KeyUnusable(f"{where} holds half a key: {KEY_BYTES} hexadecimal digits, where 64 make one")
        return KeyRing([Key(data)])
    return _ring([each for each in data.split(b"\n") if each.strip()], where=where, part="line")


def ring_of_text(text: str, *, where: str) -> KeyRing:
    """The keys of a variable: hexadecimal, separated by commas. Raises KeyUnusable."""
    if not text.strip():
        raise KeyUnusable(f"{where} is set, but empty; set it to a key, or unset it")
    return _ring(text.encode("utf-8", "surrogateescape").split(b","), where=where, part="key")


def read(path: Path) -> KeyRing | None:
    """The keys of a file; None: there is no file. Raises KeyUnusable."""
    try:
        # Not waiting for a writer, should the path name a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123 - from a descriptor
            _require_private(os.fstat(file.fileno()), path)
            data = file.read(_LARGEST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyUnusable(f"the key file {str(path)!r} cannot be read: {error.strerror}") from None
    return ring_of(data, where=f"the key file {str(path)!r}")


def create(path: Path) -> KeyRing:
    """Make a file with a new key, complete from the moment in which it is there.

    Raises KeyUnusable; a file that is there already stays as it is.
    """
    ring = KeyRing([Key.new()])
    with _told(path, "made"), _written(path, ring.keys) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            raise KeyUnusable(f"the key file {str(path)!r} is there already and stays as it is") from None
        except OSError:
            # Not every file system has links; then a crash can leave a file that is cut off, and is told as such.
            _write(path, ring.keys)
    return ring


def replace(path: Path, keys: Sequence[Key]) -> KeyRing:
    """Put a file with these keys in the place of the one that is there, as one step. Raises KeyUnusable."""
    real = Path(os.path.realpath(path))
    with _told(path, "replaced"), _written(real, keys, like=real.stat()) as temporary:
        temporary.rename(real)
    return KeyRing(keys)


def _ring(texts: Sequence[bytes], *, where: str, part: str) -> KeyRing:
    keys: list[Key] = []
    for number, each in enumerate(texts, start=1):
        if not _HEX.fullmatch(each.strip()):
            raise KeyUnusable(f"{where}: {part} {number} is not a key, which has 64 hexadecimal digits")
        keys.append(Key(bytes.fromhex(each.decode("ascii"))))
    if not keys:
        raise KeyUnusable(f"{where} is empty; put the key back from your backup")
    return KeyRing(keys)


def _require_private(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyUnusable(f"the key file {str(path)!r} is no file")
    if status.st_mode & _OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        raise KeyUnusable(
            f"the key file {str(path)!r} can be used by others (mode {mode:04o}); chmod 600 {str(path)!r}, "
            "and make a new key with `mstream key rotate` if somebody may have read it"
        )


@contextmanager
def _written(path: Path, keys: Sequence[Key], *, like: os.stat_result | None = None) -> Iterator[Path]:
    """A finished file beside the path, gone afterwards; what a crash has left there is swept away."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        _write(temporary, keys, like=like)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
    _sync_directory(path.parent)


def _write(path: Path, keys: Sequence[Key], *, like: os.stat_result | None = None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - from a descriptor
        if like is not None and (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
            os.fchown(descriptor, like.st_uid, like.st_gid)
        file.write("".join(f"{each.text()}\n" for each in keys).encode())
        file.flush()
        os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KeyUnusable(f"the key file {str(path)!r} cannot be {done}: {error.strerror}") from None
