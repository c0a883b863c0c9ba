"""What document stores do when the database answers, and refuses to write."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
import sqlalchemy as sa

from mstream.errors import StoreError, StoreUnreachable
from mstream.ports.documents import ABSENT, LAYOUT_RESOURCE, Collection, DocumentStore, Stored
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from mstream.providers.sql.documents import SqlDocuments
from tests.servers.mariadb import MariadbServer

pytestmark = pytest.mark.timeout(120)


async def written(url: str, resource: str) -> Stored:
    """A document, in a database that takes it."""
    async with PROVIDER.connect(SqlConfig(name="it", url=url)) as live:
        await SqlDocuments(live).collection(resource).put("orders", {"v": 1}, revision="first")
    return Stored(key="orders", document={"v": 1}, revision="first")


async def refuses_every_write(jobs: Collection) -> None:
    for expect in (None, "first", ABSENT):
        key = "new" if expect == ABSENT else "orders"
        with pytest.raises(StoreError, match="writable") as caught:
            await jobs.put(key, {"v": 2}, expect=expect)
        assert not caught.value.retryable
        assert "planted" not in str(caught.value)
    with pytest.raises(StoreError, match="writable"):
        await jobs.delete("orders")


async def only_reads(url: str, resource: str, stored: Stored) -> None:
    async with PROVIDER.connect(SqlConfig(name="it", url=url)) as live:
        store = SqlDocuments(live)
        jobs = store.collection(resource)

        await refuses_every_write(jobs)
        with pytest.raises(StoreError, match="writable"):
            await store.collection("never-made").put("x", {})

        await store.ping()
        assert await jobs.get("orders") == stored
        assert await jobs.scan() == [stored]
        assert await store.collection("never-made").scan() == []


async def test_a_sqlite_file_that_is_full_says_so_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    async with PROVIDER.connect(SqlConfig(name="it", url=f"sqlite:///{tmp_path / 'full.db'}")) as live:
        jobs = SqlDocuments(live).collection("jobs")
        first = await jobs.put("orders", {"v": 1})
        pages = 20

        def limit(connection: sa.Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

        sa.event.listen(live.engine, "begin", limit)
        with pytest.raises(StoreUnreachable, match="make room") as caught:
            await jobs.put("orders", {"v": "x" * 200_000}, expect=first)

        assert caught.value.retryable
        assert await jobs.get("orders") == Stored(key="orders", document={"v": 1}, revision=first)
        pages = 10_000
        assert await jobs.put("orders", {"v": "x" * 200_000}, expect=first)


async def test_a_sqlite_file_that_is_opened_for_reading_is_read(tmp_path: Path) -> None:
    stored = await written(f"sqlite:///{tmp_path / 'kept.db'}", "jobs")

    await only_reads(f"sqlite:///file:{tmp_path / 'kept.db'}?mode=ro&uri=true", "jobs", stored)


async def test_a_postgresql_whose_transactions_only_read_is_read(postgres_url: str) -> None:
    resource = f"jobs-{secrets.token_hex(4)}"
    stored = await written(postgres_url, resource)

    await only_reads(f"{postgres_url}?options=-cdefault_transaction_read_only%3Don", resource, stored)


@pytest.fixture
def clerk(mysql_server: MariadbServer, mysql_url: str) -> Iterator[str]:
    """The URL of an account that a read-only MariaDB refuses; an administrator may still write."""
    place = sa.make_url(mysql_url)
    options: dict[str, Any] = {"host": place.host, "port": place.port, "user": place.username}
    with closing(pymysql.connect(**options, password=place.password, autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE OR REPLACE USER clerk IDENTIFIED BY 'planted-clerk'")
        cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE ON `{place.database}`.* TO clerk")
        cursor.execute("SET GLOBAL read_only = 1")
        try:
            yield place.set(username="clerk", password="planted-clerk").render_as_string(hide_password=False)
        finally:
            cursor.execute("SET GLOBAL read_only = 0")


async def test_a_mariadb_that_is_read_only_is_read(mysql_url: str, clerk: str) -> None:
    resource = f"jobs-{secrets.token_hex(4)}"
    stored = await written(mysql_url, resource)

    await only_reads(clerk, resource, stored)


async def test_a_document_that_is_larger_than_mariadb_takes_is_no_outage(
    mysql_server: MariadbServer, mysql_url: str
) -> None:
    """Its packets may be smaller than what every store promises to take."""
    place = sa.make_url(mysql_url)
    options: dict[str, Any] = {"host": place.host, "port": place.port, "user": place.username}
    with closing(pymysql.connect(**options, password=place.password, autocommit=True)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT @@GLOBAL.max_allowed_packet")
        (before,) = cursor.fetchone() or (0,)
        cursor.execute("SET GLOBAL max_allowed_packet = 1048576")
        try:
            async with PROVIDER.connect(SqlConfig(name="it", url=mysql_url)) as live:
                jobs = SqlDocuments(live).collection(f"jobs-{secrets.token_hex(4)}")
                revision = await jobs.put("x", {"v": 1})
                with pytest.raises(StoreError, match="max_allowed_packet") as caught:
                    await jobs.put("x", {"v": "x" * 3_000_000})
                assert not caught.value.retryable
                assert await jobs.get("x") == Stored(key="x", document={"v": 1}, revision=revision)
        finally:
            cursor.execute(f"SET GLOBAL max_allowed_packet = {before}")


def tables_of(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


async def test_reading_makes_no_table(tmp_path: Path) -> None:
    path = tmp_path / "looked-at.db"
    async with PROVIDER.connect(SqlConfig(name="it", url=f"sqlite:///{path}")) as live:
        store: DocumentStore = SqlDocuments(live)
        await store.ping()
        assert await store.collection("jobs").get("x") is None
        assert await store.collection("jobs").scan() == []

        assert await asyncio.to_thread(tables_of, path) == set()
        await store.collection("jobs").put("x", {})
        assert await asyncio.to_thread(tables_of, path) == {"jobs", LAYOUT_RESOURCE}
