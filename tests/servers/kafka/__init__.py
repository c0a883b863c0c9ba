"""A private Apache Kafka: one broker that is its own controller, or several that form a cluster.

Its jars come through Maven from the pom beside this file, once; they are kept in the user's cache.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.servers import maven
from tests.servers.maven import ADVICE, SMALL_JAVA, copy_jars, prepared, program
from tests.servers.process import ServerProcess, free_port

__all__ = ["ADVICE", "KafkaBroker", "KafkaCluster", "KafkaServer", "KafkaTopics", "is_installed"]

#: With "tansu" in it everything is as where Apache Kafka is not installed.
VARIABLE = "MSTREAM_TEST_KAFKA"
USER, PASSWORD = "clerk", "clerks-password"
_POM = Path(__file__).parent / "pom.xml"
#: Small coordinators start sooner.
_SMALL: Mapping[str, str | int] = {
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 4,
    "group.initial.rebalance.delay.ms": 0,
    "group.min.session.timeout.ms": 1000,
    # A broker that comes back after a crash waits until its old session has ended.
    "broker.session.timeout.ms": 3000,
    "broker.heartbeat.interval.ms": 500,
    "num.network.threads": 2,
    "num.io.threads": 2,
    "log.cleaner.dedupe.buffer.size": 8 << 20,
    "auto.create.topics.enable": "false",
    # A user who must say who it is, and for whom rules hold.
    "sasl.enabled.mechanisms": "PLAIN",
    "listener.name.sasl.plain.sasl.jaas.config": (
        f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
}


def is_installed() -> bool:
    return os.environ.get(VARIABLE) != "tansu" and maven.is_installed()


class KafkaBroker(ServerProcess):
    """Whatever speaks the protocol."""

    #: Whether it has all that Apache Kafka has: transactions, rights, topics that outlive a crash.
    is_apache = True
    #: Copies of each topic that is made.
    copies = 1

    def __init__(self, name: str, folder: Path | None = None) -> None:
        super().__init__(name, folder)
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def greet(self) -> None:
        # Where there are others, one of them may give the answer.
        socket.create_connection(("127.0.0.1", self.port), 1).close()
        self.admin().list_topics(timeout=1)

    def admin(self) -> AdminClient:
        """Kept: one that is let go takes its answers along."""
        if self._admin is None:
            quiet = {"logger": _silent, "log_level": 0}
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, **quiet})
        return self._admin

    def create_topic(self, name: str, partitions: int = 1, **settings: str) -> None:
        """A topic, once it is there."""
        give_up = time.monotonic() + 30
        while True:
            (made,) = self.admin().create_topics([NewTopic(name, partitions, self.copies, config=settings)]).values()
            try:
                made.result(30)
            except KafkaException as error:
                # The first question after a restart may meet what is left of an old connection.
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return
                if error.args[0].code() != KafkaError._TRANSPORT or time.monotonic() > give_up:
                    raise
                continue
            return


class KafkaServer(KafkaBroker):
    """Topics outlive a crash."""

    accounts = None  # the jars lie in our own cache

    def __init__(
        self,
        *,
        node: int = 1,
        controllers: Mapping[int, int] | None = None,
        cluster: str = "",
        folder: Path | None = None,
    ) -> None:
        """`controllers`: the port of each node's; `cluster`: the id that they share. Alone without them.

        `folder`: where the topics of an earlier one are, or those of this one will be.
        """
        super().__init__("kafka", folder)
        controllers = controllers or {node: free_port()}
        self.copies = len(controllers)
        self._home = prepared("kafka", [_POM], lambda target: copy_jars(_POM, target / "lib"))
        self._sasl_port = free_port()
        properties = {
            "process.roles": "broker,controller",
            "node.id": node,
            "log.dirs": self.folder / "data",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listeners": (
                f"PLAIN://127.0.0.1:{self.port},SASL://127.0.0.1:{self._sasl_port},"
                f"CONTROLLER://127.0.0.1:{controllers[node]}"
            ),
            "advertised.listeners": f"PLAIN://127.0.0.1:{self.port},SASL://127.0.0.1:{self._sasl_port}",
            "controller.quorum.voters": ",".join(f"{each}@127.0.0.1:{port}" for each, port in controllers.items()),
            **_SMALL,
            **_replicated(self.copies),
        }
        self._properties = self.folder / "server.properties"
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        if not (self.folder / "data/meta.properties").exists():
            settings = ("-t", cluster or fresh_cluster_id(), "-c", str(self._properties))
            self.run([*self._java(), "kafka.tools.StorageTool", "format", *settings])

    @property
    def sasl(self) -> dict[str, str]:
        """How a user is known that may do nothing but what it is allowed; everybody else may do everything."""
        return {
            "bootstrap.servers": f"127.0.0.1:{self._sasl_port}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }

    def allow(self, topic: str, *operations: AclOperation) -> None:
        """The user may do this with the topic."""
        rules = [
            AclBinding(
                ResourceType.TOPIC,
                topic,
                ResourcePatternType.LITERAL,
                f"User:{USER}",
                "*",
                each,
                AclPermissionType.ALLOW,
            )
            for each in operations
        ]
        for each in self.admin().create_acls(rules).values():
            each.result(30)

    def command(self) -> list[str]:
        return [*self._java(), "kafka.Kafka", str(self._properties)]

    def _java(self) -> list[str]:
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        return [program("java"), "-Xmx256m", *SMALL_JAVA, quiet, "-cp", f"{self._home}/lib/*"]


class KafkaCluster:
    """Several brokers, each with a copy of everything; all are there while one is away."""

    def __init__(self, brokers: int) -> None:
        controllers = {each: free_port() for each in range(1, brokers + 1)}
        cluster = fresh_cluster_id()
        self.brokers: Sequence[KafkaServer] = [
            KafkaServer(node=each, controllers=controllers, cluster=cluster) for each in controllers
        ]

    @property
    def bootstrap(self) -> str:
        """All of them."""
        return ",".join(each.bootstrap for each in self.brokers)

    def start(self) -> None:
        """At once: none answers before most are there."""
        for each in self.brokers:
            each.launch()
        for each in self.brokers:
            each.await_answer()

    def create_topic(self, name: str, partitions: int = 1, **settings: str) -> None:
        """A topic, once it is there, with a copy on every broker."""
        self.brokers[0].create_topic(name, partitions, **settings)

    def remove(self) -> None:
        """At once: in good order they would wait for each other."""
        for each in self.brokers:
            each.crash()
            each.remove()


class KafkaTopics:
    """Names of one test on a broker that others use, too."""

    def __init__(self, server: KafkaServer) -> None:
        self.server = server
        self.prefix = f"test-{secrets.token_hex(4)}-"

    @property
    def bootstrap(self) -> str:
        return self.server.bootstrap

    def create(self, name: str, partitions: int = 1, **settings: str) -> str:
        """A new topic; gives its whole name."""
        self.server.create_topic(self.prefix + name, partitions, **settings)
        return self.prefix + name


def fresh_cluster_id() -> str:
    """One that cannot be taken for an option."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")


def _replicated(copies: int) -> dict[str, str | int | float]:
    """Most of the copies are there before anything counts as written."""
    most = copies // 2 + 1
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": most,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": most,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": most,
    }


def _silent(*_: Any) -> None:
    """While the broker is not there the client says so in any case."""
