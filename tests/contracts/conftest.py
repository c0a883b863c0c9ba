"""The table of implementations: whatever we ship has its line here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mstream.ports.documents import DocumentStore
from tests.contracts.file_harness import FileSinkHarness, FileSourceHarness
from tests.contracts.kafka_harness import KAFKA_SINKS
from tests.contracts.memory_harness import MemorySinkHarness, MemorySourceHarness
from tests.contracts.middleware_harnesses import BatchScriptHarness, PlainHarness, ScriptHarness
from tests.contracts.mongodb_harness import MongodbSinkHarness
from tests.contracts.sql_harness import Place, SqlSinkHarness, on_mariadb, on_postgres, sqlite_in
from tests.contracts.stores import MONGODB_DATABASES, STORES, opened

#: Each takes an empty folder of its own.
SOURCES: dict[str, Callable[[Path], Any]] = {
    "file": FileSourceHarness,
    "memory": MemorySourceHarness,
}
SINKS: dict[str, Callable[[Path], Any]] = {
    "file": FileSinkHarness,
    "memory": MemorySinkHarness,
}
#: Where sinks of the sql provider write.
DATABASES: dict[str, Place] = {"sqlite": sqlite_in, "postgres": on_postgres, "mariadb": on_mariadb}
#: Tables of theirs: the settings of each kind.
TABLES: dict[str, dict[str, Any]] = {"typed": {}, "json": {"columns": "json"}}
SQL_SINKS = [f"sql {table} on {database}" for database in DATABASES for table in TABLES]
#: Where sinks of the mongodb provider write, and where they can do so in transactions.
MONGODB_SINKS = [f"mongodb on {each}" for each in MONGODB_DATABASES]
MONGODB_TRANSACTIONS = [each for each in MONGODB_SINKS if "mongo-java" not in each]
#: Ways of writing a row again without changing anything.
BY_KEY: dict[str, dict[str, Any]] = {
    "upsert": {"write_mode": "upsert"},
    "replace": {"write_mode": "replace"},
    "insert": {"write_mode": "insert", "key_columns": ["_id"]},
}
BY_ID: dict[str, dict[str, Any]] = {each: {"write_mode": each} for each in ("insert", "replace", "upsert")}
#: Of every provider with middlewares, and the one that the checks are made by.
MIDDLEWARES: dict[str, Callable[[Path], Any]] = {
    "plain": PlainHarness,
    "udf, transform": ScriptHarness,
    "udf, transform_batch": BatchScriptHarness,
}
#: Those whose sink commits a checkpoint with its records.
TRANSACTIONAL = ["memory", *(each for each in SQL_SINKS if "typed" in each), *MONGODB_TRANSACTIONS]


def sink_of(kind: str, folder: Path, request: pytest.FixtureRequest, **settings: Any) -> Any:
    """The harness of that name."""
    if kind in SINKS:
        return SINKS[kind](folder)
    if kind in MONGODB_SINKS:
        database = request.getfixturevalue(MONGODB_DATABASES[kind.removeprefix("mongodb on ")])
        return MongodbSinkHarness(database, **settings)
    if kind in KAFKA_SINKS:
        return KAFKA_SINKS[kind](request.getfixturevalue("kafka_topics"), request.getfixturevalue("kafka_server"))
    _, table, _, database = kind.split()
    return SqlSinkHarness(DATABASES[database](folder, request), **TABLES[table], **settings)


@pytest.fixture(params=SOURCES)
def source_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each source that we ship."""
    return SOURCES[request.param](tmp_path)


@pytest.fixture(params=[*SINKS, *SQL_SINKS, *MONGODB_SINKS, *KAFKA_SINKS])
def sink_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each sink that we ship."""
    return sink_of(request.param, tmp_path, request)


@pytest.fixture(params=[*SINKS, *SQL_SINKS, *(each for each in MONGODB_SINKS if each != "mongodb on nx"), "kafka"])
def capable_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """The same without nx-27017, which takes most of a minute for 100,000 documents, and without a small topic."""
    return sink_of(request.param, tmp_path, request)


@pytest.fixture(
    params=[
        *((kind, mode) for kind in SQL_SINKS for mode in BY_KEY),
        *((kind, mode) for kind in MONGODB_SINKS for mode in BY_ID),
    ],
    ids=": ".join,
)
def keyed_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each sink that can write by key, each way."""
    kind, mode = request.param
    return sink_of(kind, tmp_path, request, **(BY_ID if kind in MONGODB_SINKS else BY_KEY)[mode])


@pytest.fixture(params=MIDDLEWARES)
def middleware_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each middleware that we ship."""
    return MIDDLEWARES[request.param](tmp_path)


@pytest.fixture(params=TRANSACTIONAL)
def transactional_harness(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each sink that commits checkpoints."""
    return sink_of(request.param, tmp_path, request)


@pytest.fixture(params=STORES)
async def documents(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[DocumentStore]:
    """Each store that we ship."""
    provider, config = opened(request.param, request, tmp_path)
    assert provider.documents is not None
    async with provider.connect(config) as live:
        yield provider.documents(live)
