"""Writes that wait at the same time share a transaction, and each has its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mstream.errors import RevisionConflict, StoreError
from mstream.ports.documents import ABSENT
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from mstream.providers.sql.documents import SqlDocuments
from mstream.providers.sql.service import SqlService

COUNT = 40


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[SqlService]:
    async with PROVIDER.connect(SqlConfig(name="it", url=f"sqlite:///{tmp_path}/it.db")) as live:
        assert isinstance(live, SqlService)
        yield live


class Commits:
    """Counts them."""

    def __init__(self, service: SqlService) -> None:
        self.count = 0
        sa.event.listen(service.engine, "commit", self._one_more)

    def _one_more(self, _: Any) -> None:
        self.count += 1


async def test_writes_at_the_same_time_take_few_commits(service: SqlService) -> None:
    jobs = SqlDocuments(service).collection("jobs")
    await jobs.put("first", {})
    commits = Commits(service)

    revisions = await asyncio.gather(*(jobs.put(f"job-{each}", {"n": each}) for each in range(COUNT)))

    assert commits.count < COUNT / 2
    stored = {each.key: (each.document, each.revision) for each in await jobs.scan() if each.key != "first"}
    assert stored == {f"job-{each}": ({"n": each}, revisions[each]) for each in range(COUNT)}


async def test_one_that_is_refused_leaves_the_others_alone(service: SqlService) -> None:
    jobs = SqlDocuments(service).collection("jobs")
    await jobs.put("there", {"n": 0}, revision="r")

    outcomes = await asyncio.gather(
        jobs.put("a", {"n": 1}, expect=ABSENT),
        jobs.put("there", {"n": 2}, expect=ABSENT),
        jobs.put("there", {"n": 3}, expect="another"),
        jobs.put("b", {"n": 4}, expect=ABSENT),
        return_exceptions=True,
    )

    assert [type(each) for each in outcomes] == [str, RevisionConflict, RevisionConflict, str]
    assert {each.key: each.document["n"] for each in await jobs.scan()} == {"a": 1, "b": 4, "there": 0}


async def test_tables_that_are_missing_are_made_for_all(service: SqlService) -> None:
    documents = SqlDocuments(service)

    await asyncio.gather(*(documents.collection(f"table-{each}").put("a", {"n": each}) for each in range(5)))

    assert [(await documents.collection(f"table-{each}").get("a")).document for each in range(5)] == [  # type: ignore[union-attr]
        {"n": each} for each in range(5)
    ]


async def test_a_caller_that_is_cancelled_does_not_stop_its_write_nor_the_others(service: SqlService) -> None:
    jobs = SqlDocuments(service).collection("jobs")
    await jobs.put("first", {})
    writes = [asyncio.create_task(jobs.put(f"job-{each}", {})) for each in range(3)]
    await asyncio.sleep(0)
    writes[1].cancel()

    outcomes = await asyncio.gather(*writes, return_exceptions=True)

    assert [type(each) for each in outcomes] == [str, asyncio.CancelledError, str]
    assert [each.key for each in await jobs.scan()] == ["first", "job-0", "job-1", "job-2"]


async def test_what_makes_the_database_refuse_all_is_told_to_all(service: SqlService) -> None:
    jobs = SqlDocuments(service).collection("jobs")
    await jobs.put("first", {})

    def read_only(connection: Any, *_: Any) -> None:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    sa.event.listen(service.engine, "begin", read_only)
    outcomes = await asyncio.gather(*(jobs.put(f"job-{each}", {}) for each in range(3)), return_exceptions=True)

    assert [isinstance(each, StoreError) for each in outcomes] == [True, True, True]
    assert [each.key for each in await jobs.scan()] == ["first"]
