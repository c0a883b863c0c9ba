"""A change stream, and a snapshot: mstream against bare loops of pymongo, from the same server."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import bson
import orjson

from bench import process, records
from bench.bson import plain
from bench.mongodb_server import BOARD, DIFFERENT
from bench.process import Measured

#: Events in an answer of the server, and records in a batch, for both.
BATCH: Final = 1000
CONTENDERS: Final = ("mstream", "bare", "mstream again")
#: What the records of a stream become: lines of a file, or documents by insertion or by key.
SINKS: Final = ("file", "insert", "replace")
#: The other way: what is in the collection, into a file of BSON.
SNAPSHOT: Final = "snapshot"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    uri: str
    board: Path
    pid: int

    @property
    def written(self) -> int:
        """Documents that it was sent."""
        return int(BOARD.unpack(self.board.read_bytes())[0])

    @property
    def checksum(self) -> int:
        """The sum over all of them, in whatever order they came."""
        return int(BOARD.unpack(self.board.read_bytes())[1])


@contextlib.contextmanager
def served(folder: Path, count: int) -> Iterator[Served]:
    """A server of so many events; it ends with the block."""
    board = folder / "board"
    board.write_bytes(bytes(BOARD.size))
    command = [sys.executable, "-m", "bench.mongodb_server", str(count), str(BATCH), str(board)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None  # noqa: S101 - it was asked for
        try:
            yield Served(
                f"mongodb://127.0.0.1:{int(server.stdout.readline())}/?directConnection=true", board, server.pid
            )
        finally:
            server.kill()


class Processor:
    """What a contender takes of the processor, from its first output to its last; other work on the machine aside."""

    def __init__(self, *servers: int) -> None:
        """`servers`: processes that are no part of the contender."""
        self._servers = servers
        self._marks: list[tuple[int, float]] = []

    def seen(self, extent: int, goal: int) -> int:
        """Look at the clocks where the contender begins, and where it is through."""
        if len(self._marks) == 0 < extent or (len(self._marks) == 1 and extent >= goal):
            self._marks.append((extent, self._spent()))
        return extent

    def seconds(self, goal: int) -> float:
        """For all of it, as the part that was seen took."""
        (first, begun), (last, ended) = self._marks
        return (ended - begun) * goal / (last - first)

    def _spent(self) -> float:
        mine = [each for each in process.family(os.getpid()) if each not in {os.getpid(), *self._servers}]
        return sum(map(_ticks, mine)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


@dataclass(frozen=True, slots=True)
class Result:
    """One run of a contender."""

    measured: Measured
    #: Microseconds of the processor for each record, in all processes of the contender.
    processor: float
    digest: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one contender in a folder of its own."""

    sink: str
    contender: str
    folder: Path
    count: int
    #: Bytes of all lines.
    size: int

    def run(self) -> Result:
        """Start it and see it through."""
        self.folder.mkdir()
        is_file = self.sink in {"file", SNAPSHOT}
        goal = self.size if is_file else self.count
        with served(self.folder, self.count) as server:
            clock = Processor(server.pid)

            def progress() -> int:
                extent = process.size(self.target) if is_file else server.written
                return clock.seen(extent, goal)

            found = process.run(self._command(server.uri), progress=progress, count=goal, log=self.folder / "log")
            digest = records.digest(self.target) if is_file else f"{server.checksum:x}"
        rate = found.records_per_second * self.count / goal
        measured = Measured(records_per_second=rate, memory=found.memory)
        return Result(measured, clock.seconds(goal) / self.count * 1e6, digest)

    @property
    def target(self) -> Path:
        """The file that it writes."""
        return self.folder / ("out.bson" if self.sink == SNAPSHOT else "out.jsonl")

    def _command(self, uri: str) -> list[str]:
        if self.contender == "bare" and self.sink == SNAPSHOT:
            return [sys.executable, "-m", "bench.bare_snapshot", uri, str(self.target), str(BATCH)]
        if self.contender == "bare":
            loop = [sys.executable, "-m", "bench.bare_mongodb", self.sink, uri, str(self.target)]
            return [*loop, str(self.count), str(BATCH)]
        config = self.folder / "bench.toml"
        config.write_text(config_text(self, uri))
        return [sys.executable, "-m", "mstream", "run", "--config", str(config), "--until-idle", "2"]


def size_of(sink: str, count: int) -> int:
    """How many bytes so many documents are in a file, as lines of JSON or as BSON."""
    known = plain(min(count, DIFFERENT))
    is_bson = sink == SNAPSHOT
    sizes = [len(each) if is_bson else len(orjson.dumps(bson.decode(each))) + 1 for each in known]
    return sum(sizes) * (count // len(sizes)) + sum(sizes[: count % len(sizes)])


def config_text(trial: Trial, uri: str) -> str:
    """The configuration file of mstream: one job, the process runtime."""
    is_file = trial.sink in {"file", SNAPSHOT}
    encoding = "json" if trial.sink == "file" else "bson"
    to_file = f'service_name = "out", resource = "{trial.target.name}", output_encoding = "{encoding}"'
    to_copies = f'service_name = "shop", resource = "copies", write_mode = "{trial.sink}", output_encoding = "bson"'
    snapshot = "only" if trial.sink == SNAPSHOT else "never"
    return f"""\
[system]
state = "{trial.folder / "state.db"}"

[system.api]
port = 0

[[services]]
provider = "mongodb"
name = "shop"
connection_string = "{uri}"
db_name = "bench"

[[services]]
provider = "file"
name = "out"
path = "{trial.folder}"

[[connectors]]
name = "bench"
source = {{ service_name = "shop", resource = "orders", output_encoding = "{encoding}", snapshot = "{snapshot}" }}
sinks = [{{ {to_file if is_file else to_copies} }}]
"""
