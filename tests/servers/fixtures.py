"""Fixtures around the private servers: one of each per session, a fresh database per module or on demand.

`postgres_url`, `mysql_url`                      a database of the test module
`new_postgres_database`, `new_mysql_database`    call it for a database of your own
`postgres_server`, `mysql_server`                the server itself, to stop, crash and restart; runs again afterwards
`mongo_java_database`, `nx_database`             an empty database of a stand-in for MongoDB
`mongodb_deployment`                             an empty database of the deployment that the environment names
`mongo_java_server`, `nx_server`                 the stand-in itself
`kafka_topics`                                   names for topics on the session's Apache Kafka
`kafka_server`                                   the broker itself, to stop, crash and restart; runs again afterwards
`apicurio`                                       the session's Apicurio Registry; a test has subjects of its own
`schema_registry`                                a stand-in for a schema registry, that may be broken
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.servers import apicurio as apicurio_registry
from tests.servers import kafka, mariadb, mongo_java, mongodb, nx, postgresql, tansu
from tests.servers.apicurio import ApicurioServer
from tests.servers.kafka import KafkaBroker, KafkaServer, KafkaTopics
from tests.servers.mariadb import MariadbServer
from tests.servers.mongo_java import MongoJavaServer
from tests.servers.mongodb import MongoDatabase
from tests.servers.nx import NxServer
from tests.servers.postgresql import PostgresServer
from tests.servers.process import ServerFailed
from tests.servers.schema_registry import SchemaRegistryServer
from tests.servers.tansu import TansuServer


@pytest.fixture(scope="session")
def running_postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL."""
    if not postgresql.is_installed():
        pytest.skip(f"PostgreSQL is not installed; {postgresql.ADVICE}")
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def running_mysql() -> Iterator[MariadbServer]:
    """The session's MariaDB."""
    if not mariadb.is_installed():
        pytest.skip(f"MariaDB is not installed; {mariadb.ADVICE}")
    server = MariadbServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgres_server(running_postgres: PostgresServer) -> Iterator[PostgresServer]:
    """For tests that take the server away."""
    yield running_postgres
    running_postgres.start()


@pytest.fixture
def mysql_server(running_mysql: MariadbServer) -> Iterator[MariadbServer]:
    """For tests that take the server away."""
    yield running_mysql
    running_mysql.start()


@pytest.fixture(scope="session")
def new_postgres_database(running_postgres: PostgresServer) -> Callable[[], str]:
    """Make a fresh database and get its URL."""
    return running_postgres.create_database


@pytest.fixture(scope="session")
def new_mysql_database(running_mysql: MariadbServer) -> Callable[[], str]:
    """Make a fresh database and get its URL."""
    return running_mysql.create_database


@pytest.fixture(scope="module")
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    """The URL of a fresh PostgreSQL database, one per test module."""
    return new_postgres_database()


@pytest.fixture(scope="module")
def mysql_url(new_mysql_database: Callable[[], str]) -> str:
    """The URL of a fresh MariaDB database, one per test module."""
    return new_mysql_database()


@pytest.fixture(scope="session")
def running_mongo_java() -> Iterator[MongoJavaServer]:
    """The session's mongo-java-server."""
    if not mongo_java.is_installed():
        pytest.skip(f"Java and Maven are not installed; {mongo_java.ADVICE}")
    server = MongoJavaServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def running_nx() -> Iterator[NxServer]:
    """The session's nx-27017."""
    if not nx.is_installed():
        pytest.skip(f"nx-27017 is not installed; {nx.ADVICE}")
    server = NxServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def mongo_java_server(running_mongo_java: MongoJavaServer) -> Iterator[MongoJavaServer]:
    """For tests that take the server away, and with it all that it holds."""
    yield running_mongo_java
    running_mongo_java.start()


@pytest.fixture
def nx_server(running_nx: NxServer) -> Iterator[NxServer]:
    """For tests that take the server away."""
    yield running_nx
    running_nx.start()


@pytest.fixture
def mongo_java_database(running_mongo_java: MongoJavaServer) -> MongoDatabase:
    """An empty database of mongo-java-server."""
    return running_mongo_java.create_database()


@pytest.fixture
def nx_database(running_nx: NxServer) -> MongoDatabase:
    """An empty database of nx-27017."""
    return running_nx.create_database()


@pytest.fixture
def mongodb_deployment() -> Iterator[MongoDatabase]:
    """An empty database of the deployment that the environment names; dropped afterwards."""
    uri = mongodb.deployment()
    if uri is None:
        pytest.skip(f"no deployment is named by {mongodb.VARIABLE}")
    database = MongoDatabase(uri, mongodb.fresh_name())
    yield database
    with database.client() as client:
        client.drop_database(database.name)


@pytest.fixture(scope="session")
def running_kafka() -> Iterator[KafkaBroker]:
    """The session's Apache Kafka; Tansu where there is none."""
    server = _kafka_broker()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _kafka_broker() -> KafkaBroker:
    if kafka.is_installed():
        try:
            return KafkaServer()
        except ServerFailed as error:
            missing = f"Apache Kafka's jars could not be had ({error})"
    else:
        missing = f"Java and Maven are not installed; {kafka.ADVICE}"
    if not tansu.is_installed():
        pytest.skip(missing)
    return TansuServer(instead_because=missing)


@pytest.fixture
def suitable_kafka(running_kafka: KafkaBroker, request: pytest.FixtureRequest) -> KafkaBroker:
    """The session's broker, if it will do for the test."""
    if not running_kafka.is_apache and request.node.get_closest_marker("any_kafka") is None:
        pytest.skip(f"Tansu cannot do this; {running_kafka.instead_because}")
    return running_kafka


@pytest.fixture
def kafka_server(suitable_kafka: KafkaBroker) -> Iterator[KafkaBroker]:
    """For tests that take the broker away."""
    yield suitable_kafka
    suitable_kafka.start()


@pytest.fixture
def kafka_topics(suitable_kafka: KafkaBroker) -> KafkaTopics:
    """Topics of a test."""
    return KafkaTopics(suitable_kafka)


@pytest.fixture(scope="session")
def apicurio() -> Iterator[ApicurioServer]:
    """The session's Apicurio Registry."""
    if not apicurio_registry.is_installed():
        pytest.skip(f"Java and Maven are not installed; {apicurio_registry.ADVICE}")
    server = ApicurioServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def schema_registry() -> Iterator[SchemaRegistryServer]:
    """One of the test's own."""
    server = SchemaRegistryServer()
    server.start()
    yield server
    server.stop()
