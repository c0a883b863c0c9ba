"""A folder that nothing leaves: names to paths, and the errors of the operating system to ours."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from mstream.errors import AccessDenied, ResourceMissing, ServiceError, StorageFull, Unreachable
from mstream.providers.file.config import leads_out

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP})
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR})
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


class Folder:
    """The live object of a file service: a name for errors, and the folder itself."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path

    def check(self, resource: str) -> None:
        """Raises AccessDenied when the resource points out of the folder by its mere text."""
        if reason := leads_out(resource):
            message = f"service {self.name!r}: resource {resource!r} {reason}"
            raise AccessDenied(message)

    def require(self) -> None:
        """Raises ResourceMissing when the folder is not there."""
        if not self.path.is_dir():
            raise ResourceMissing(
                f"service {self.name!r}: there is no folder {str(self.path)!r}; make it, or change the service's path"
            )

    def locate(self, resource: str) -> Path:
        """The real path of a file, there already or not; raises AccessDenied when it lies outside."""
        self.check(resource)
        root = os.path.realpath(self.path)
        real = os.path.realpath(self.path / resource)
        if os.path.commonpath([root, real]) != root:
            raise AccessDenied(
                f"service {self.name!r}: {resource!r} leads out of the service's folder; only files inside it are used"
            )
        return Path(real)

    def names(self, resource: str) -> list[str]:
        """The files that a path or pattern means now, relative to the folder, sorted."""
        if not is_pattern(resource):
            return [resource] if self.locate(resource).is_file() else []
        hidden_too = PurePosixPath(resource).name.startswith(".")
        found = (each for each in self.path.glob(resource) if hidden_too or not each.name.startswith("."))
        return sorted(each.relative_to(self.path).as_posix() for each in found if self._is_inside(each))

    def open_to_read(self, path: Path) -> int:
        """A descriptor of a regular file; never waits for the other end of a pipe."""
        descriptor = os.open(path, os.O_RDONLY | _OPEN)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise AccessDenied(f"service {self.name!r}: {path.name!r} is not a regular file")
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        """As much as the disk takes at once; answers how much that was."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """What was written is on the disk after it."""
        os.fdatasync(descriptor)

    def _is_inside(self, path: Path) -> bool:
        try:
            self.locate(path.relative_to(self.path).as_posix())
        except AccessDenied:
            return False
        return path.is_file()

    @contextmanager
    def translating(self, resource: str) -> Iterator[None]:
        """Errors of the operating system leave as errors of this service."""
        try:
            yield
        except OSError as error:
            raise self.translated(error, resource) from error

    def translated(self, error: OSError, resource: str) -> ServiceError:
        """What an error of the operating system means for whoever uses this service."""
        reason = error.strerror or type(error).__name__
        where = f"service {self.name!r}: file {resource!r}"
        match error.errno:
            case number if number in _FULL:
                return StorageFull(f"{where}: no room left ({reason}); free some space and it goes on")
            case number if number in _DENIED:
                return AccessDenied(f"{where}: not allowed ({reason}); check owner and mode of file and folder")
            case number if number in _MISSING:
                return ResourceMissing(f"{where}: not there ({reason}); check the service's path and the resource")
            case _:
                return Unreachable(f"{where}: {reason}")


def is_pattern(resource: str) -> bool:
    """Whether the resource may mean several files."""
    return any(each in resource for each in "*?[")
