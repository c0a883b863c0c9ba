"""What holds for every test: servers, time limits, and a header that says what is left out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.servers import apicurio, kafka, mariadb, mongo_java, mongodb, nx, postgresql, tansu

# An example takes as long as the machine lets it; the limit per test holds all the same.
hypothesis.settings.register_profile("project", deadline=None, print_blob=True)
hypothesis.settings.load_profile("project")

TESTS = Path(__file__).parent

pytest_plugins = ["tests.servers.fixtures"]

#: Tests that use one of these fixtures, directly or not, need a server.
CONNECTED = frozenset(
    {
        "running_postgres",
        "running_mysql",
        "running_mongo_java",
        "running_nx",
        "mongodb_deployment",
        "running_kafka",
        "apicurio",
    }
)
#: pymongo forgets a socket, now and then, when it is given up while it connects; asyncio forgets a handshake that is
#: under way when its loop ends.
LITTER = "ignore:(unclosed|loop is closed):ResourceWarning"
#: Seconds; the general limit stands in pyproject.toml.
SLOW_LIMIT = 300
#: The first test that uses a server waits for its start.
CONNECTED_LIMIT = 120


@pytest.fixture(autouse=True)
def logs_as_at_the_start() -> Iterator[None]:
    """Every event is seen, whatever another test has set."""
    structlog.reset_defaults()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="module")
def litter_stays_where_it_fell(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a driver forgets is found here, where that is allowed, and not during whichever test comes next."""
    yield
    if any(LITTER in mark.args for mark in request.node.iter_markers("filterwarnings")):
        gc.collect()


def pytest_report_header() -> list[str]:
    """Which servers take part."""
    servers = [
        ("PostgreSQL", postgresql.is_installed(), postgresql.ADVICE),
        ("MariaDB", mariadb.is_installed(), mariadb.ADVICE),
        ("mongo-java-server", mongo_java.is_installed(), mongo_java.ADVICE),
        ("nx-27017", nx.is_installed(), nx.ADVICE),
        ("Apache Kafka", kafka.is_installed(), kafka.ADVICE),
        ("Apicurio Registry", apicurio.is_installed(), apicurio.ADVICE),
    ]
    found = [name for name, is_installed, _ in servers if is_installed]
    lines = [f"servers: {', '.join(found) or 'none'}"]
    for name, is_installed, advice in servers:
        if not is_installed:
            lines.append(f"LEFT OUT: every test that needs {name}; to run them: {advice}")
    if not kafka.is_installed() and tansu.is_installed():
        lines.append("Tansu takes the place of Apache Kafka in tests that are marked any_kafka")
    if mongodb.deployment() is None:
        lines.append(
            f"LEFT OUT: {mongodb.NOT_SHOWN}; to show them, name a deployment: {mongodb.VARIABLE}=mongodb://..."
        )
    return lines


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server; slow tests and those have more time."""
    for module in {item.getparent(pytest.Module) for item in items}:
        place = "" if module is None else str(module.path.relative_to(TESTS))
        if module is not None and ("mongo" in place or "tls" in place):
            module.add_marker(pytest.mark.filterwarnings(LITTER))
    for item in items:
        needs_server = not CONNECTED.isdisjoint(getattr(item, "fixturenames", ()))
        if needs_server:
            item.add_marker("connected")
        if item.get_closest_marker("timeout"):
            continue
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT))
        elif needs_server:
            item.add_marker(pytest.mark.timeout(CONNECTED_LIMIT))
