"""Flows out of a collection that are killed: into another collection, and into SQLite."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from abc import abstractmethod
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any, ClassVar

from pymongo import MongoClient

from tests.chaos.flows import INTERVAL_MS, Table, Target
from tests.chaos.mongodb_feed import Feed, Orders
from tests.chaos.mongodb_nx import NxWithTransactions
from tests.servers.mongo_java import MongoJavaServer
from tests.servers.mongodb import MongodbServer
from tests.servers.nx import NxServer

BATCH = 50
MAX_IN_FLIGHT = 2
#: Collections: what is read, what it becomes, and where positions may stand.
SOURCE, COPY, CHECKPOINTS = "orders", "copies", "mstream-checkpoints"

_CONFIG = """\
[system]
state = "state.db"
[system.api]
port = 0
[system.runtime]
workers = 1
[system.instance]
lease_sec = 30
{system}
[[services]]
provider = "mongodb"
name = "shop"
connection_string = "{uri}"
db_name = "{database}"

[[services]]
provider = "mongodb"
name = "copies"
connection_string = "{uri}"
db_name = "{other}"

[[services]]
provider = "udf"
name = "scripts"
script_path = "scripts"
engine = {{ kind = "python" }}

{service}
[[connectors]]
name = "flow"
delivery = "{delivery}"
source = {{ service_name = "shop", resource = "{source}", output_encoding = "bson", snapshot = "{snapshot}" }}
middlewares = [{steps}]
sinks = [{{ {sink} }}]
batch = {{ size = {batch}, max_wait_ms = 20 }}
max_in_flight = {in_flight}
checkpoint = {{ interval_ms = {interval} }}
"""
_WITHOUT_ID = '''\
"""Without its id a record that comes again is another document."""


def transform(data):
    del data["_id"]
    return data
'''


class StreamTarget(Target):
    """A flow from the changes of a collection."""

    #: The stand-in that shows what this flow is about.
    server: ClassVar[type[MongodbServer]]
    #: Further tables of `[system]`.
    system = ""
    steps = ""
    snapshot = "never"

    def __init__(self, folder: Path, server: MongodbServer) -> None:
        database, other = server.create_database(), server.create_database()
        self.folder = folder
        self.source = folder / "in"  # no file is read
        self.config = folder / "chaos.toml"
        self.client: MongoClient[dict[str, Any]] = database.client()
        self.orders = self.client[database.name][SOURCE]
        self.target = self.client[other.name]
        self.feed = Feed(self.orders)
        (folder / "out").mkdir()
        (folder / "scripts").mkdir()
        (folder / "scripts" / "without_id.py").write_text(_WITHOUT_ID)
        self.config.write_text(
            _CONFIG.format(
                system=self.system,
                uri=server.uri,
                database=database.name,
                other=other.name,
                service=self.service and f"[[services]]\n{self.service}\n",
                delivery=self.delivery,
                source=SOURCE,
                snapshot=self.snapshot,
                steps=self.steps,
                sink=self.sink,
                batch=BATCH,
                in_flight=MAX_IN_FLIGHT,
                interval=INTERVAL_MS,
            )
        )

    @property
    @abstractmethod
    def sink(self) -> str:
        """The keys of the sink."""

    def checkpoint(self) -> int:
        """How many events the stored token covers, those before the first record not counted."""
        return self.feed.before(self.token()) - self.feed.primers

    def token(self) -> str | None:
        """The stored resume token; None: none yet."""
        path = self.folder / self.state
        if not path.exists():
            return None
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as store:
            try:
                found = store.execute('SELECT document FROM "mstream-checkpoints"').fetchall()
            except sqlite3.OperationalError:
                return None
        return token_in([json.loads(each) for (each,) in found])

    def close(self) -> None:
        """Let go of the server."""
        self.feed.close()
        self.client.close()


class Copies(StreamTarget):
    """Into a collection as new documents, with the position in one transaction."""

    name = "collection to collection, effectively once"
    server = NxWithTransactions
    delivery = "effectively_once"
    system = f'[system.checkpoints]\nservice_name = "copies"\nresource = "{CHECKPOINTS}"\n'
    service = ""
    resource = COPY
    steps = '{ service_name = "scripts", resource = "without_id.py", output_encoding = "bson" }'
    sink = f'service_name = "copies", resource = "{COPY}", output_encoding = "bson"'

    def extent(self) -> int:
        return self.target[COPY].estimated_document_count()

    def count(self, extent: int) -> int:
        return max(0, extent - self.feed.primers)

    def numbers(self) -> AbstractSet[int]:
        return {each["n"] for each in self.arrived()}

    def arrived(self) -> Sequence[dict[str, Any]]:
        return [{name: each[name] for name in each if name != "_id"} for each in _records(self.target[COPY])]

    def token(self) -> str | None:
        return token_in(list(self.target[CHECKPOINTS].find()))


class Mirror(StreamTarget):
    """Into a collection by key, with updates and deletes: it becomes the same as the source."""

    name = "collection to collection, by key"
    server = NxServer  # its events name the document of an update
    service = ""
    resource = COPY
    sink = f'service_name = "copies", resource = "{COPY}", output_encoding = "bson", write_mode = "replace"'

    def extent(self) -> int:
        return self.target[COPY].estimated_document_count()

    def count(self, extent: int) -> int:
        return extent

    def numbers(self) -> AbstractSet[int]:
        return {each["n"] for each in self.arrived()}

    def arrived(self) -> Sequence[dict[str, Any]]:
        return _records(self.target[COPY])

    def original(self) -> Sequence[dict[str, Any]]:
        """What it must become."""
        return _records(self.orders)


class WholeMirror(Mirror):
    """The same of a collection that has documents already."""

    name = "collection to collection, with what was there before"
    snapshot = "initial"


class Rows(StreamTarget, Table):
    """Into a SQLite table without any key, in `insert` mode."""

    name = "collection to SQLite"
    server = MongoJavaServer
    sink = 'service_name = "out", resource = "records"'

    def count(self, extent: int) -> int:
        return max(0, extent - self.feed.primers)

    def arrived(self) -> Sequence[dict[str, Any]]:
        return [each for each in super().arrived() if each["n"] >= 0]


class OnceRows(Rows):
    """The same with records and checkpoint in one transaction of one database."""

    name = "collection to SQLite, effectively once"
    delivery = "effectively_once"
    database = "state.db"


def _records(collection: Orders) -> list[dict[str, Any]]:
    """What is there, in the order in which it was inserted, without what came before the first record."""
    return [each for each in collection.find() if each["n"] >= 0]


def token_in(checkpoints: Sequence[dict[str, Any]]) -> str | None:
    """The token of a job's only lane."""
    found = [at["_data"] for each in checkpoints for at in each.get("positions", {}).values() if at]
    return found[0] if found else None


TARGETS: tuple[type[StreamTarget], ...] = (Mirror, WholeMirror, Copies, Rows, OnceRows)
