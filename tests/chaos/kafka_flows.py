"""Flows out of a topic that are killed: into another topic, into SQLite, and into a collection."""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

from tests.chaos.flows import INTERVAL_MS, Table, Target
from tests.chaos.kafka_feed import PARTITIONS, Log, Offsets, Row
from tests.chaos.mongodb_nx import NxWithTransactions
from tests.servers.kafka import KafkaServer

BATCH = 200
MAX_IN_FLIGHT = 4
MEMBERS = 2

_CONFIG = """\
[system]
state = "state.db"
[system.api]
port = 0
[system.runtime]
workers = 2
[system.instance]
lease_sec = 30
{system}
[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "{bootstrap}"
"session.timeout.ms" = "{session}"
"heartbeat.interval.ms" = "{heartbeat}"

{service}
[[connectors]]
name = "{job}"
parallelism = {members}
delivery = "{delivery}"
batch = {{ size = {batch}, max_wait_ms = 20 }}
max_in_flight = {in_flight}
checkpoint = {{ interval_ms = {interval} }}
[connectors.source]
service_name = "bus"
resource = "{source}"
input_encoding = "json"
static_membership = {static}
[[connectors.sinks]]
{sink}
"""


class TopicTarget(Target):
    """A flow from the messages of a topic, by several members."""

    members = MEMBERS
    is_static = False
    #: It is judged by more than it can keep: something must be found.
    must_fail = False
    service = ""
    #: Further tables of `[system]`.
    system = ""

    def __init__(self, folder: Path, brokers: Sequence[KafkaServer], *, session_ms: int) -> None:
        self.folder = folder
        self.brokers = brokers
        self.session_ms = session_ms
        self.bootstrap = ",".join(each.bootstrap for each in brokers)
        self.job = f"flow-{secrets.token_hex(4)}"
        #: The group that the job makes for itself.
        self.group = f"mstream-{self.job}"
        self.topic, self.copy = f"{self.job}-in", f"{self.job}-out"
        for each in (self.topic, self.copy):
            brokers[0].create_topic(each, PARTITIONS)
        self.source = folder / "in"  # no file is read
        self.config = folder / "chaos.toml"
        (folder / "out").mkdir()
        self.config.write_text(
            _CONFIG.format(
                system=self.system,
                bootstrap=self.bootstrap,
                session=session_ms,
                heartbeat=session_ms // 4,
                service=self.service and f"[[services]]\n{self.service}\n",
                job=self.job,
                members=self.members,
                delivery=self.delivery,
                batch=BATCH,
                in_flight=MAX_IN_FLIGHT,
                interval=INTERVAL_MS,
                source=self.topic,
                static=str(self.is_static).lower(),
                sink=self.sink,
            )
        )
        self.input = Log(self.bootstrap, self.topic)

    @property
    @abstractmethod
    def sink(self) -> str:
        """The keys of the sink."""

    def await_all(self) -> None:
        """Once it returns, everything is seen that was there before."""

    def rows(self) -> Sequence[Row]:
        """Messages of the target, where it has them."""
        return ()

    def checkpoint(self) -> int:
        """Positions are by lane: see `stored`."""
        raise NotImplementedError

    def stored(self) -> Offsets:
        """Where the program's own checkpoints are, by partition."""
        path = self.folder / self.state
        if not path.exists():
            return {}
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as store:
            try:
                found = store.execute('SELECT document FROM "mstream-checkpoints"').fetchall()
            except sqlite3.OperationalError:
                return {}
        return offsets_in([json.loads(each) for (each,) in found])

    def close(self) -> None:
        """Let go of the brokers."""
        self.input.close()


class Messages(TopicTarget):
    """Into a topic of as many partitions."""

    name = "topic to topic"
    resource = ""

    def __init__(self, folder: Path, brokers: Sequence[KafkaServer], *, session_ms: int) -> None:
        super().__init__(folder, brokers, session_ms=session_ms)
        self._log = Log(self.bootstrap, self.copy)

    @property
    def sink(self) -> str:
        return f'service_name = "bus"\nresource = "{self.copy}"'

    def await_all(self) -> None:
        self._log.up_to_now()

    def rows(self) -> Sequence[Row]:
        return list(self._log.rows)

    def extent(self) -> int:
        return len(self._log.rows)

    def count(self, extent: int) -> int:
        return extent

    def numbers(self) -> AbstractSet[int]:
        return set(numbers_of(self.rows()))

    def arrived(self) -> Sequence[dict[str, Any]]:
        return [json.loads(each.value) for each in self.rows()]

    def close(self) -> None:
        self._log.close()
        super().close()


class OnceMessages(Messages):
    """The same with the offsets of the group in the transactions of the records."""

    name = "topic to topic, effectively once"
    delivery = "effectively_once"


class StaticMessages(OnceMessages):
    """The same with members that the group remembers while they are away."""

    name = "topic to topic, effectively once, static members"
    is_static = True


class OnceRows(TopicTarget, Table):
    """Into a SQLite table without any key, with records and positions in one transaction."""

    name = "topic to SQLite, effectively once"
    delivery = "effectively_once"
    database = "state.db"
    service = 'provider = "sql"\nname = "out"\nurl = "sqlite:///state.db"'
    sink = 'service_name = "out"\nresource = "records"'


class OnceDocuments(TopicTarget):
    """Into a collection as new documents, with the positions in the same transactions."""

    name = "topic to collection, effectively once"
    delivery = "effectively_once"
    resource = "records"
    system = '[system.checkpoints]\nservice_name = "out"\nresource = "mstream-checkpoints"\n'
    sink = 'service_name = "out"\nresource = "records"\noutput_encoding = "bson"'

    def __init__(self, folder: Path, brokers: Sequence[KafkaServer], *, session_ms: int) -> None:
        self._server = NxWithTransactions()
        self._server.start()
        database = self._server.create_database()
        self._client = database.client()
        self._database = self._client[database.name]
        super().__init__(folder, brokers, session_ms=session_ms)

    @property
    def service(self) -> str:
        uri, name = self._server.uri, self._database.name
        return f'provider = "mongodb"\nname = "out"\nconnection_string = "{uri}"\ndb_name = "{name}"'

    def extent(self) -> int:
        return self._database["records"].estimated_document_count()

    def count(self, extent: int) -> int:
        return extent

    def numbers(self) -> AbstractSet[int]:
        return {each["n"] for each in self.arrived()}

    def arrived(self) -> Sequence[dict[str, Any]]:
        return list(self._database["records"].find({}, {"_id": 0}))

    def stored(self) -> Offsets:
        return offsets_in(list(self._database["mstream-checkpoints"].find()))

    def close(self) -> None:
        self._client.close()
        self._server.remove()
        super().close()


class Twin(Messages):
    """Delivers at least once, and is judged as if it delivered effectively once."""

    name = "twin: topic to topic, judged by more than it promises"
    must_fail = True


def numbers_of(rows: Sequence[Row]) -> list[int]:
    """The numbers of records, as they stand."""
    return [int(each.value[5 : each.value.index(b",")]) for each in rows]


def offsets_in(checkpoints: Sequence[dict[str, Any]]) -> Offsets:
    """By partition, the furthest that any checkpoint says."""
    found: dict[int, int] = defaultdict(int)
    for document in checkpoints:
        for lane, position in document["positions"].items():
            partition = int(lane.rpartition("/")[2])
            found[partition] = max(found[partition], position["next_offset"])
    return dict(found)


TARGETS: tuple[type[TopicTarget], ...] = (Messages, OnceMessages, StaticMessages, OnceRows, OnceDocuments, Twin)
