"""The file provider in the hands of the conformance suites."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SinkRef, SourceRef
from mstream.ports.provider import role_options
from mstream.ports.roles import Resume, Sink, Source
from mstream.providers.file import PROVIDER
from mstream.providers.file.config import FileConfig
from mstream.providers.file.folder import Folder
from tests.contracts.lanes import NoLanes

NAME = "records.jsonl"


class FailingFolder(Folder):
    """A folder on a disk that fails when it is told to."""

    fails = False
    #: Bytes that still fit; None: as many as are wanted.
    room: int | None = None

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.room is None:
            return super().write(descriptor, data)
        if not self.room:
            self.room = None
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(descriptor, data[: self.room])
        self.room -= written
        return written

    def names(self, resource: str) -> list[str]:
        if self.fails:
            self.fails = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().names(resource)


class FileSourceHarness:
    """Follows one file in a folder of its own."""

    can_progress = False
    can_end = True
    can_fail = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.config = FileConfig(name="files", path=str(folder))
        self._folder = FailingFolder("files", folder)

    def open(self, positions: Mapping[Lane, Position] | None = None) -> AbstractAsyncContextManager[Source]:
        assert PROVIDER.source is not None
        ref = SourceRef(service_name="files", resource=NAME)
        options = role_options(PROVIDER.source.options, self.config, ref)
        return PROVIDER.source.open(self._folder, ref, options, Resume(positions=positions or {}), NoLanes())

    async def append(self, *payloads: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(b"".join(each + b"\n" for each in payloads))

    async def progress(self) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        self.path.unlink()

    def fail_next_read(self) -> None:
        self._folder.fails = True

    def acked(self) -> Sequence[Mapping[Lane, Position | None]] | None:
        return None

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"

    def lost_positions(self, positions: Mapping[Lane, Position]) -> Mapping[Lane, Position]:
        return {lane: {**position, "file": "1:2:9:0123456789abcdef"} for lane, position in positions.items()}


class FileSinkHarness:
    """Appends to one file in a folder of its own."""

    can_fail = True
    can_crash = True

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.config = FileConfig(name="files", path=str(folder))
        self.folder = FailingFolder("files", folder)

    @asynccontextmanager
    async def open(self, **options: Any) -> AsyncIterator[Sink]:
        assert PROVIDER.sink is not None
        ref = SinkRef(service_name="files", resource=NAME, **options)
        role = role_options(PROVIDER.sink.options, self.config, ref)
        async with PROVIDER.sink.open(self.folder, ref, role) as sink:
            yield sink

    async def stored(self) -> list[Any]:
        return [orjson.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []

    def refused(self) -> Any:
        return None

    def fail_next_write(self) -> None:
        self.folder.room = 5

    async def crash(self) -> None:
        """What reached the file is there; only a power cut could take what was not synced."""

    def shown(self) -> str:
        return f"{self.config!r} {self.config.shown()}"
