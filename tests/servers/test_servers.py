"""The private servers keep what they promise to the tests that use them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy
from confluent_kafka import Consumer, Producer
from sqlalchemy import text

from tests.servers import kafka, mariadb, mongo_java, nx, postgresql, tansu
from tests.servers.kafka import KafkaServer, KafkaTopics
from tests.servers.mariadb import MariadbServer
from tests.servers.postgresql import PostgresServer
from tests.servers.tansu import TansuServer

#: Starts a server, says where it is, and never comes to its end.
KILLED_SESSION = """
import time
from {module} import {name} as Server
server = Server()
server.start()
print(server.port, server.folder, flush=True)
time.sleep(300)
"""


@pytest.fixture(params=["postgres", "mysql"])
def server(request: pytest.FixtureRequest) -> PostgresServer | MariadbServer:
    running: PostgresServer | MariadbServer = request.getfixturevalue(f"{request.param}_server")
    return running


@pytest.fixture
def new_database(server: PostgresServer | MariadbServer) -> Callable[[], str]:
    return server.create_database


def count(url: str) -> int:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return int(connection.execute(text("SELECT count(*) FROM orders")).scalar_one())
    finally:
        engine.dispose()


def fill(url: str, rows: int) -> None:
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id INTEGER)"))
            connection.execute(text("INSERT INTO orders VALUES (:id)"), [{"id": each} for each in range(rows)])
    finally:
        engine.dispose()


def test_each_database_is_empty_and_apart(new_database: Callable[[], str]) -> None:
    first, second = new_database(), new_database()

    fill(first, 3)
    fill(second, 5)

    assert (count(first), count(second)) == (3, 5)


@pytest.mark.parametrize("end", ["stop", "crash"])
def test_data_survives_the_end_of_the_server(server: PostgresServer | MariadbServer, end: str) -> None:
    url = server.create_database()
    fill(url, 7)

    getattr(server, end)()
    with pytest.raises(sqlalchemy.exc.OperationalError):
        count(url)
    server.start()

    assert count(url) == 7


def test_a_restart_cuts_connections(server: PostgresServer | MariadbServer) -> None:
    engine = sqlalchemy.create_engine(server.create_database())

    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        server.restart()
        with pytest.raises(sqlalchemy.exc.DBAPIError) as caught:
            connection.execute(text("SELECT 1"))
        connection.invalidate()
    engine.dispose()

    assert caught.value.connection_invalidated


def test_a_wrong_password_is_refused(server: PostgresServer | MariadbServer) -> None:
    url = sqlalchemy.make_url(server.create_database()).set(password="another")
    engine = sqlalchemy.create_engine(url)

    with pytest.raises(sqlalchemy.exc.OperationalError):
        engine.connect()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (postgresql, "PostgresServer"),
        (mariadb, "MariadbServer"),
        (mongo_java, "MongoJavaServer"),
        (nx, "NxServer"),
        (kafka, "KafkaServer"),
    ],
)
@pytest.mark.timeout(120)
def test_a_server_ends_with_a_session_that_is_killed(module: ModuleType, name: str) -> None:
    if not module.is_installed():
        pytest.skip(f"not installed; {module.ADVICE}")
    session = subprocess.Popen(
        [sys.executable, "-c", KILLED_SESSION.format(module=module.__name__, name=name)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert session.stdout is not None
    port, _, folder = session.stdout.readline().strip().partition(" ")
    is_up = is_listening(int(port))

    session.kill()
    session.communicate()

    try:
        assert is_up
        assert ends(int(port), seconds=60)
    finally:
        shutil.rmtree(folder)


def test_what_kafka_has_taken_is_there_after_a_crash(kafka_server: KafkaServer, kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("numbers", partitions=3)
    produce(kafka_topics.bootstrap, topic)

    kafka_server.crash()
    kafka_server.start()

    assert sorted(consumed(kafka_topics.bootstrap, topic)) == list(range(100))


@pytest.mark.timeout(120)
def test_tansu_keeps_topics_and_groups() -> None:
    if not tansu.is_installed():
        pytest.skip(f"not installed; {tansu.ADVICE}")
    server = TansuServer()
    try:
        server.start()
        server.create_topic("numbers", 3)
        produce(server.bootstrap, "numbers")

        assert sorted(consumed(server.bootstrap, "numbers")) == list(range(100))
    finally:
        server.remove()


def produce(bootstrap: str, topic: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "log_level": 0})
    for number in range(100):
        producer.produce(topic, str(number), key=str(number % 7))
    assert producer.flush(30) == 0


def consumed(bootstrap: str, topic: str) -> list[int]:
    settings = {"group.id": topic, "auto.offset.reset": "earliest", "session.timeout.ms": "6000", "log_level": 0}
    consumer = Consumer({"bootstrap.servers": bootstrap, **settings})
    consumer.subscribe([topic])
    found: list[int] = []
    give_up = time.monotonic() + 60
    while len(found) < 100 and time.monotonic() < give_up:
        found += [int(each.value()) for each in consumer.consume(100, 1.0) if each.error() is None]
    consumer.close()
    return found


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def ends(port: int, *, seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while is_listening(port):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True
