"""What `effectively_once` costs: a change stream into a collection, each batch with its position, or without.

Into a server that plays, which keeps nothing, and into a stand-in that has transactions over SQLite.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pymongo import MongoClient

from bench import process
from bench.mongodb import Processor, served
from bench.process import Measured
from tests.chaos.mongodb_nx import NxWithTransactions

CONTENDERS: Final = ("effectively_once", "at_least_once", "effectively_once again")
#: Records for the stand-in, which commits each by itself where there is no transaction.
COUNT: Final = 5000
#: Seconds between two looks: each is a query.
_LOOK: Final = 0.1
_CONFIG: Final = """\
[system]
state = "{folder}/state.db"

[system.api]
port = 0

[system.checkpoints]
service_name = "copies"
resource = "checkpoints"

[[services]]
provider = "mongodb"
name = "shop"
connection_string = "{source}"
db_name = "bench"

[[services]]
provider = "mongodb"
name = "copies"
connection_string = "{target}"
db_name = "{name}"

[[connectors]]
name = "bench"
delivery = "{delivery}"
source = {{ service_name = "shop", resource = "orders", output_encoding = "bson" }}
sinks = [{{ service_name = "copies", resource = "copies", write_mode = "insert", output_encoding = "bson" }}]
"""


@dataclass(frozen=True, slots=True)
class Target:
    """A database of the stand-in, and how many documents have come."""

    client: MongoClient[dict[str, object]]
    name: str

    def counting(self) -> Iterator[int]:
        """The newest count, looked up now and then."""
        looked, count = 0.0, 0
        while True:
            if time.monotonic() - looked >= _LOOK:
                count, looked = self.client[self.name]["copies"].estimated_document_count(), time.monotonic()
            yield count


@contextlib.contextmanager
def target() -> Iterator[NxWithTransactions]:
    """The stand-in; it ends with the block."""
    server = NxWithTransactions()
    server.start()
    try:
        yield server
    finally:
        server.remove()


def run(server: NxWithTransactions, contender: str, folder: Path, turn: int) -> Measured:
    """One run of one contender, into a database of its own."""
    folder.mkdir()
    name = f"bench_{turn}_{CONTENDERS.index(contender)}"
    with served(folder, COUNT) as source, MongoClient[dict[str, object]](server.uri) as client:
        counts = Target(client, name).counting()
        return _run(folder, contender, source.uri, server.uri, name, lambda: next(counts), COUNT)


def run_played(contender: str, folder: Path, count: int) -> tuple[Measured, float]:
    """The same into the server that the events come from, and microseconds of the processor for each record."""
    folder.mkdir()
    with served(folder, count) as server:
        clock = Processor(server.pid)
        progress = lambda: clock.seen(server.written, count)  # noqa: E731 - as above
        found = _run(folder, contender, server.uri, server.uri, "bench", progress, count)
    return found, clock.seconds(count) / count * 1e6


def _run(
    folder: Path, contender: str, source: str, target: str, name: str, progress: Callable[[], int], count: int
) -> Measured:
    config = folder / "bench.toml"
    delivery = contender.removesuffix(" again")
    config.write_text(_CONFIG.format(folder=folder, source=source, target=target, name=name, delivery=delivery))
    command = [sys.executable, "-m", "mstream", "run", "--config", str(config), "--until-idle", "2"]
    return process.run(command, progress=progress, count=count, log=folder / "log")
