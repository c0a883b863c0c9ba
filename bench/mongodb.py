"""A change stream to a file and to a collection: mstream against bare loops of pymongo, from the same server."""

from __future__ import annotations

import contextlib
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


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    uri: str
    board: Path

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
            yield Served(f"mongodb://127.0.0.1:{int(server.stdout.readline())}/?directConnection=true", board)
        finally:
            server.kill()


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one contender in a folder of its own."""

    sink: str
    contender: str
    folder: Path
    count: int
    #: Bytes of all lines.
    size: int

    def run(self) -> tuple[Measured, str]:
        """Start it and see it through; what it did, and a digest of what it wrote."""
        self.folder.mkdir()
        log, is_file = self.folder / "log", self.sink == "file"
        with served(self.folder, self.count) as server:
            command = self._command(server.uri)
            if is_file:
                found = process.run(command, progress=lambda: process.size(self.target), count=self.size, log=log)
                rate = found.records_per_second * self.count / self.size
                return Measured(records_per_second=rate, memory=found.memory), records.digest(self.target)
            found = process.run(command, progress=lambda: server.written, count=self.count, log=log)
            return found, f"{server.checksum:x}"

    @property
    def target(self) -> Path:
        """The file that it writes."""
        return self.folder / "out.jsonl"

    def _command(self, uri: str) -> list[str]:
        if self.contender == "bare":
            loop = [sys.executable, "-m", "bench.bare_mongodb", self.sink, uri, str(self.target)]
            return [*loop, str(self.count), str(BATCH)]
        config = self.folder / "bench.toml"
        config.write_text(config_text(self, uri))
        return [sys.executable, "-m", "mstream", "run", "--config", str(config), "--until-idle", "2"]


def size_of_lines(count: int) -> int:
    """How many bytes the documents of so many events are as JSON."""
    sizes = [len(orjson.dumps(bson.decode(each))) + 1 for each in plain(min(count, DIFFERENT))]
    return sum(sizes) * (count // len(sizes)) + sum(sizes[: count % len(sizes)])


def config_text(trial: Trial, uri: str) -> str:
    """The configuration file of mstream: one job, the process runtime."""
    is_file = trial.sink == "file"
    encoding = "json" if is_file else "bson"
    to_file = 'service_name = "out", resource = "out.jsonl"'
    to_copies = f'service_name = "shop", resource = "copies", write_mode = "{trial.sink}", output_encoding = "bson"'
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
source = {{ service_name = "shop", resource = "orders", output_encoding = "{encoding}" }}
sinks = [{{ {to_file if is_file else to_copies} }}]
"""
