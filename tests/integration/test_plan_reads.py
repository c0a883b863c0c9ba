"""On a server, too, a plan makes nothing: no table, no collection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mstream.bootstrap.stores import connected
from mstream.bootstrap.survey import Lookout
from mstream.config.document import ConfigFile
from mstream.config.system import System
from mstream.domain.service import ServiceConfig
from mstream.foundation.concurrency import finish_all
from mstream.providers import CATALOG
from mstream.stores.jobs import JobStore
from tests.contracts.stores import OUTSIDE, opened
from tests.unit.control.situations import connector, decided, job

STORES = [each for each in OUTSIDE if "memory" not in each]
PLACED = {
    table: {"service_name": "it", "resource": f"plan_{table}"}
    for table in ("job_lifecycle", "service_lifecycle", "checkpoints")
}


@pytest.fixture
def postgres_url(new_postgres_database: Callable[[], str]) -> str:
    """A database for each test: one that is empty is asked for."""
    return new_postgres_database()


@pytest.fixture
def mysql_url(new_mysql_database: Callable[[], str]) -> str:
    """The same on MariaDB."""
    return new_mysql_database()


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ServiceConfig:
    """The service that hosts every store."""
    return opened(request.param, request, tmp_path)[1]


def file_with(store: ServiceConfig) -> ConfigFile:
    files = next(each for each in CATALOG if each.name == "file").config(name="files", path=".")
    return ConfigFile(
        system=System.model_validate(PLACED), services=(store, files), connectors=(connector("a"), connector("b"))
    )


def names(store: Any) -> Sequence[str]:
    """What there is in the database now."""
    if store.provider == "mongodb":
        from pymongo import MongoClient

        with MongoClient[dict[str, Any]](store.connection_string.reveal()) as client:
            return client[store.db_name].list_collection_names()
    url = sa.make_url(store.url.reveal())
    drivers = {"postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql"}
    engine = sa.create_engine(url.set(drivername=drivers.get(url.get_backend_name(), "sqlite")))
    try:
        return sa.inspect(engine).get_table_names()
    finally:
        engine.dispose()


async def test_reading_an_empty_database_makes_nothing_in_it(store: ServiceConfig) -> None:
    before = [] if not store.is_made() else list(names(store))
    lookout = Lookout(file_with(store), CATALOG, {})

    plan = await lookout.planned()

    assert decided(plan) == {"a": ("start", "running"), "b": ("start", "running")}
    assert await lookout.last_report() is None
    assert ([] if not store.is_made() else list(names(store))) == before


async def test_what_is_stored_is_read_by_several_at_once(store: ServiceConfig) -> None:
    async with AsyncExitStack() as stack:
        database = await connected(stack, store, CATALOG, {})
        await JobStore(database.collection("plan_job_lifecycle")).create(job("a", "paused"))
    before = sorted(names(store))
    lookout = Lookout(file_with(store), CATALOG, {})
    hashes: list[str] = []

    async def look() -> None:
        plan = await lookout.planned()
        assert decided(plan) == {"a": ("leave", "paused"), "b": ("leave", None)}
        hashes.append(plan.hash)

    await finish_all(*(look() for _ in range(4)))

    assert len(set(hashes)) == 1
    assert "plan_job_lifecycle" in before
    assert sorted(names(store)) == before
