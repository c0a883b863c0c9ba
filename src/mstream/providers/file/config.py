"""Fields of a file service, and the options of its roles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar, Literal

from pydantic import Field

from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.foundation.secrets import is_reference


def leads_out(resource: str) -> str | None:
    """Why a resource, by its mere text, is no place inside a folder; None: it is one."""
    parts = PurePosixPath(resource)
    if parts.is_absolute() or ".." in parts.parts or "\0" in resource or parts == PurePosixPath():
        return "is not a path inside the service's folder; write it relative to that folder, without '..'"
    return None


class FileConfig(ServiceConfig):
    """A folder; nothing outside it is read or written."""

    public: ClassVar[frozenset[str]] = frozenset({"provider", "name", "path"})

    provider: Literal["file"] = "file"
    #: The folder; a relative one is relative to the working directory.
    path: str = Field(min_length=1)

    def paths(self) -> Iterator[tuple[str, str]]:
        """The folder."""
        if not is_reference(self.path):
            yield "path", self.path


class FileSourceOptions(RoleOptions):
    """How files are read."""

    #: Where a file without a stored position begins; one that appears later always begins at its beginning.
    start: Literal["beginning", "end"] = "beginning"


class FileSinkOptions(RoleOptions):
    """How a file is written."""

    #: When what was written is made safe against a power cut.
    fsync: Literal["checkpoint", "batch", "never"] = "checkpoint"
    #: The file is put aside before it grows beyond this; None: it grows without end.
    rotate_bytes: int | None = Field(default=None, ge=1)
    #: What happens to a record without a payload: it is refused, or nothing is written for it.
    on_delete: Literal["error", "ignore"] = "error"
