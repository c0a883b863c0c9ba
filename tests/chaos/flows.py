"""The flows that are killed: their configuration, how far they are, and what has arrived."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

INTERVAL_MS = 200
BATCH = 200
MAX_IN_FLIGHT = 4

_CONFIG = """\
[system]
state = "{state}"
[system.api]
port = 0
[system.runtime]
workers = 1
[system.instance]
lease_sec = 30

[[services]]
provider = "file"
name = "in"
path = "in"

[[services]]
{service}

[[connectors]]
name = "flow"
delivery = "{delivery}"
source = {{ service_name = "in", resource = "records.jsonl" }}
sinks = [{{ service_name = "out", resource = "{resource}" }}]
batch = {{ size = {batch}, max_wait_ms = 20 }}
max_in_flight = {in_flight}
checkpoint = {{ interval_ms = {interval} }}
"""


class Target(ABC):
    """A flow from the file of records to one kind of sink."""

    name: str
    delivery = "at_least_once"
    state = "state.db"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        self.source = folder / "in" / "records.jsonl"
        self.config = folder / "chaos.toml"
        self.config.write_text(
            _CONFIG.format(
                state=self.state,
                service=self.service,
                resource=self.resource,
                delivery=self.delivery,
                batch=BATCH,
                in_flight=MAX_IN_FLIGHT,
                interval=INTERVAL_MS,
            )
        )

    @property
    @abstractmethod
    def service(self) -> str:
        """The keys of the sink's service."""

    @property
    @abstractmethod
    def resource(self) -> str:
        """Its table or file."""

    @abstractmethod
    def extent(self) -> int:
        """How much is there, in whatever grows with each record."""

    @abstractmethod
    def count(self, extent: int) -> int:
        """How many records that is."""

    @abstractmethod
    def numbers(self) -> AbstractSet[int]:
        """The numbers of the records that are there."""

    @abstractmethod
    def arrived(self) -> Sequence[dict[str, Any]]:
        """What is there, in the order in which it was written."""

    def checkpoint(self) -> int:
        """The byte offset that the stored checkpoint holds; 0: none yet."""
        database = self.folder / self.state
        if not database.exists():
            return 0
        with contextlib.closing(sqlite3.connect(database, timeout=30)) as store:
            try:
                found = store.execute('SELECT document FROM "mstream-checkpoints"').fetchall()
            except sqlite3.OperationalError:
                return 0
        documents = [json.loads(each) for (each,) in found]
        return max((at["offset"] for each in documents for at in each["positions"].values()), default=0)


class Table(Target):
    """Into a SQLite table without any key, in `insert` mode."""

    name = "file to SQLite"
    database = "out/out.db"

    @property
    def service(self) -> str:
        return f'provider = "sql"\nname = "out"\nurl = "sqlite:///{self.database}"'

    @property
    def resource(self) -> str:
        return "records"

    def extent(self) -> int:
        return int(self._query("SELECT coalesce(max(rowid), 0) FROM records", ((0,),))[0][0])

    def count(self, extent: int) -> int:
        return extent

    def numbers(self) -> AbstractSet[int]:
        return {number for (number,) in self._query("SELECT n FROM records", ())}

    def arrived(self) -> Sequence[dict[str, Any]]:
        rows = self._query("SELECT n, mark, text, amount FROM records ORDER BY rowid", ())
        return [dict(zip(("n", "mark", "text", "amount"), row, strict=True)) for row in rows]

    def _query(self, statement: str, otherwise: Sequence[Any]) -> Sequence[Any]:
        path = self.folder / self.database
        if not path.exists():
            return otherwise
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as database:
            try:
                return database.execute(statement).fetchall()
            except sqlite3.OperationalError as error:
                if "no such table" in str(error):
                    return otherwise
                raise


class OnceTable(Table):
    """The same with records and checkpoint in one transaction of one database."""

    name = "file to SQLite, effectively once"
    delivery = "effectively_once"
    database = "state.db"


class Lines(Target):
    """Into a file of JSON Lines."""

    name = "file to file"

    @property
    def service(self) -> str:
        return 'provider = "file"\nname = "out"\npath = "out"'

    @property
    def resource(self) -> str:
        return "records.jsonl"

    def extent(self) -> int:
        path = self.folder / "out" / "records.jsonl"
        return path.stat().st_size if path.exists() else 0

    def count(self, extent: int) -> int:
        return self._content()[:extent].count(b"\n")

    def numbers(self) -> AbstractSet[int]:
        return set(map(int, re.findall(rb'^{"n":(\d+),.*\n', self._content(), re.MULTILINE)))

    def arrived(self) -> Sequence[dict[str, Any]]:
        *lines, _ = self._content().split(b"\n")
        return [json.loads(each) for each in lines]

    def _content(self) -> bytes:
        path = self.folder / "out" / "records.jsonl"
        return path.read_bytes() if path.exists() else b""


TARGETS: tuple[type[Target], ...] = (Table, OnceTable, Lines)
