"""A group without a server: lanes are files, and who holds a file's lock reads it; importable by worker processes."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any, Literal

from mstream import providers
from mstream.domain.batch import Batch, Form
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SinkRef, SourceRef
from mstream.domain.service import ServiceConfig
from mstream.foundation.concurrency import background
from mstream.ports.provider import Provider, SinkRole, SourceRole
from mstream.ports.roles import Failure, Lanes, Limit, Resume

#: Seconds between two looks at the group, and records of a batch.
_LOOK, _MOST = 0.02, 50


class LockedConfig(ServiceConfig):
    """A folder with `in`, `out` and `members`."""

    provider: Literal["locked"] = "locked"
    folder: str


class LockedSource:
    """Takes its share of the lanes that nobody holds, gives up what is more than that, and some at random."""

    def __init__(self, folder: Path, resume: Resume, lanes: Lanes) -> None:
        self._folder = folder
        self._lanes = lanes
        self._dice = Random(f"{os.getpid()} {resume.member}")
        #: The open files whose locks it holds, by lane.
        self._held: dict[Lane, int] = {}
        #: How far each lane was read, in bytes.
        self._offsets: dict[Lane, int] = {}
        self._seat = folder / "members" / str(resume.member)
        # The member before it may not be gone yet.
        self._seated: int | None = None

    async def attend(self) -> None:
        """Take part in the group, without end."""
        while True:
            if self._seated is None and (taken := _locked(self._seat)) is not None:
                self._seated = taken
                os.ftruncate(taken, 0)
                os.write(taken, b"%d" % os.getpid())
            await self._balance()
            await asyncio.sleep(_LOOK)

    async def _balance(self) -> None:
        names = sorted(each.name for each in (self._folder / "in").iterdir())
        members = sum(_is_locked(each) for each in (self._folder / "members").iterdir())
        share = -(-len(names) // max(1, members))
        if self._held and (len(self._held) > share or self._dice.random() < 0.02):
            lane = self._dice.choice(sorted(self._held))
            self._offsets.pop(lane, None)
            await self._lanes.revoked([lane], 2.0)
            os.close(self._held.pop(lane))
        elif len(self._held) < share:
            await self._take(self._dice.choice(names))

    async def _take(self, lane: Lane) -> None:
        if lane in self._held or (held := _locked(self._folder / "in" / lane)) is None:
            return
        self._held[lane] = held
        stored = await self._lanes.assigned([lane])
        self._offsets[lane] = stored.get(lane, 0)

    async def read(self, limit: Limit) -> Batch | None:
        while True:
            for lane in self._dice.sample(sorted(self._offsets), len(self._offsets)):
                data = os.pread(self._held[lane], 1 << 16, self._offsets[lane])
                lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)[:_MOST]
                if lines:
                    first, marks = self._offsets[lane], []
                    for each in lines:
                        first += len(each)
                        marks.append(first)
                    self._offsets[lane] = first
                    return Batch(payloads=lines, lanes=[lane] * len(lines), marks=marks, positions={lane: first})
            await asyncio.sleep(_LOOK)

    def positions(self, batch: Batch, count: int) -> Mapping[Lane, Position | None]:
        assert batch.marks is not None
        return {batch.lane_of(count - 1): batch.marks[count - 1]} if count else {}

    async def ack(self, positions: Mapping[Lane, Position | None]) -> None:
        return

    def leave(self) -> None:
        """Everything that it holds is free."""
        for each in [*self._held.values(), *([] if self._seated is None else [self._seated])]:
            os.close(each)


class LockedSink:
    """Appends each record to the file of its lane, in one piece."""

    accepts = Form.PAYLOADS
    overlap = 1

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, batch: Batch) -> Sequence[Failure]:
        by_lane: dict[Lane, list[bytes]] = {}
        for index, payload in enumerate(batch.payloads or ()):
            by_lane.setdefault(batch.lane_of(index), []).append(payload or b"")
        for lane, lines in by_lane.items():
            with (self._folder / "out" / lane).open("ab", buffering=0) as file:
                file.write(b"".join(lines))
        await asyncio.sleep(0.005)
        return ()


def _locked(path: Path) -> int | None:
    """The file, open and ours; None: it is another's."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened


def _is_locked(path: Path) -> bool:
    opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        return True
    finally:
        os.close(opened)


@asynccontextmanager
async def _connect(config: LockedConfig) -> AsyncIterator[Path]:
    yield Path(config.folder)


@asynccontextmanager
async def _source(
    folder: Path, ref: SourceRef, options: Any, resume: Resume, lanes: Lanes
) -> AsyncIterator[LockedSource]:
    source = LockedSource(folder, resume, lanes)
    try:
        async with background(source.attend()):
            yield source
    finally:
        source.leave()


@asynccontextmanager
async def _sink(folder: Path, ref: SinkRef, options: Any) -> AsyncIterator[LockedSink]:
    yield LockedSink(folder)


def seats(folder: Path) -> dict[int, int]:
    """The process of each member that is there."""
    there = [each for each in (folder / "members").iterdir() if _is_locked(each)]
    return {int(each.name): int(each.read_text() or 0) for each in there}


def laid_out(folder: Path, lanes: Collection[Lane]) -> LockedConfig:
    """A folder with these lanes, and the service on it."""
    for each in ("in", "out", "members"):
        (folder / each).mkdir()
    for lane in lanes:
        (folder / "in" / lane).touch()
        (folder / "out" / lane).touch()
    return LockedConfig(name="lanes", folder=str(folder))


PROVIDER: Provider[LockedConfig, Path] = Provider(
    name="locked",
    config=LockedConfig,
    connect=_connect,
    source=SourceRole(
        open=_source,
        fingerprint=lambda config, ref, options: "locked",
        members=lambda ref, options: True,
    ),
    sink=SinkRole(open=_sink),
)
CATALOG = (*providers.CATALOG, PROVIDER)
