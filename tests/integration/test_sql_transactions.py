"""Records and checkpoint in one transaction, and what happens when the database goes away, is busy or full."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from mstream.errors import OutcomeUnknown, StaleCheckpoint, StorageFull, StoreUnreachable, Unreachable
from mstream.ports.checkpoints import CheckpointEntry, PendingCheckpoint
from mstream.ports.documents import ABSENT
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from tests.integration.sql_tables import DATABASES, Desk, batch, desk_on, url_of

pytestmark = pytest.mark.timeout(120)

CHECKPOINTS = "checkpoints"


@pytest.fixture(params=DATABASES)
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk_on(url_of(request.param, request, tmp_path)) as opened:
        yield opened


def documents_of(desk: Desk) -> Any:
    assert PROVIDER.documents is not None
    return PROVIDER.documents(desk.live).collection(CHECKPOINTS, key="job_name")


def pending(*entries: tuple[str, int, str, str]) -> PendingCheckpoint:
    """Key, position, what is expected, what comes instead."""
    return PendingCheckpoint(
        positions={key: position for key, position, _, _ in entries},
        entries=[
            CheckpointEntry(
                resource=CHECKPOINTS,
                key_field="job_name",
                key=key,
                document={"job_name": key, "positions": {"": position}},
                expect=expect,
                revision=revision,
            )
            for key, position, expect, revision in entries
        ],
    )


@pytest.fixture
async def claimed(desk: Desk) -> tuple[str, str]:
    """A lane's key, and the revision at which it was claimed."""
    key = f"job/{secrets.token_hex(4)}"
    return key, await documents_of(desk).put(key, {"job_name": key}, expect=ABSENT)


async def test_records_and_checkpoint_are_committed_together(desk: Desk, claimed: tuple[str, str]) -> None:
    key, revision = claimed

    async with desk.sink() as sink:
        failures = await sink.write_with([batch({"id": 1}), batch({"id": 2})], pending((key, 7, revision, "next")))

    assert failures == []
    assert await desk.rows('"id"') == [(1,), (2,)]
    stored = await documents_of(desk).get(key)
    assert (stored.revision, stored.document["positions"]) == ("next", {"": 7})


async def test_a_checkpoint_that_moved_rolls_the_records_back(desk: Desk, claimed: tuple[str, str]) -> None:
    key, _ = claimed
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1})) == []

        with pytest.raises(StaleCheckpoint):
            await sink.write_with([batch({"id": 2})], pending((key, 7, "old", "next")))
        assert await sink.write(batch({"id": 3})) == []

    assert await desk.rows('"id"') == [(1,), (3,)]
    assert (await documents_of(desk).get(key)).document == {"job_name": key}


async def test_one_stale_lane_of_two_rolls_everything_back(desk: Desk, claimed: tuple[str, str]) -> None:
    key, revision = claimed
    other = f"{key}-other"
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 1})) == []

        with pytest.raises(StaleCheckpoint):
            await sink.write_with([batch({"id": 2})], pending((key, 7, revision, "next"), (other, 1, "old", "new")))

    assert await desk.rows('"id"') == [(1,)]
    assert (await documents_of(desk).get(key)).revision == revision


async def test_a_checkpoint_that_is_not_there_yet_is_created(desk: Desk, claimed: tuple[str, str]) -> None:
    key = f"{claimed[0]}-new"

    async with desk.sink() as sink:
        assert await sink.write_with([batch({"id": 1})], pending((key, 7, ABSENT, "first"))) == []
        with pytest.raises(StaleCheckpoint):
            await sink.write_with([batch({"id": 2})], pending((key, 8, ABSENT, "second")))

    assert (await documents_of(desk).get(key)).revision == "first"
    assert await desk.rows('"id"') == [(1,)]


async def test_positions_without_records_are_committed(desk: Desk, claimed: tuple[str, str]) -> None:
    key, revision = claimed

    async with desk.sink() as sink:
        assert await sink.write_with([], pending((key, 7, revision, "next"))) == []
        assert await sink.write_with([batch()], pending((key, 8, "next", "after"))) == []

    assert (await documents_of(desk).get(key)).revision == "after"


async def test_if_a_record_is_refused_nothing_is_committed(desk: Desk, claimed: tuple[str, str]) -> None:
    """Failures are counted through all the batches; refused by us or by the database makes no difference."""
    key, revision = claimed
    checkpoint = pending((key, 7, revision, "next"))
    async with desk.sink() as sink:
        assert await sink.write(batch({"id": 0, "x": "a"})) == []

        by_us = await sink.write_with([batch({"id": 1}), batch({"id": 2}, {"id": "bad"})], checkpoint)
        by_it = await sink.write_with([batch({"id": 1}), batch({"id": 2}, {"id": 2**64}, {"id": 3})], checkpoint)
        assert await desk.rows('"id"') == [(0,)]
        assert (await documents_of(desk).get(key)).revision == revision
        again = await sink.write_with([batch({"id": 1}), batch({"id": 2}, {"id": 3})], checkpoint)

    assert [each.index for each in by_us] == [2]
    assert [each.index for each in by_it] == [2]
    assert again == []
    assert await desk.rows('"id"') == [(0,), (1,), (2,), (3,)]


async def test_a_commit_whose_answer_is_lost_is_an_unknown_outcome(
    postgres_server: Any, new_postgres_database: Any
) -> None:
    """The connection is cut after the commit was prepared: whether it happened, the sink cannot know."""
    async with desk_on(new_postgres_database()) as desk:
        revision = await documents_of(desk).put("job/", {"job_name": "job/"}, expect=ABSENT)
        async with desk.sink() as sink:
            assert await sink.write(batch({"id": 1})) == []
            cut_before_commit(desk)

            with pytest.raises(OutcomeUnknown):
                await sink.write_with([batch({"id": 2})], pending(("job/", 7, revision, "next")))

        stored = await documents_of(desk).get("job/")
        assert stored.revision == revision


def cut_before_commit(desk: Desk) -> None:
    """The server ends the session just before its next commit, once."""

    done: list[int] = []

    def cut(connection: sa.Connection) -> None:
        if done:
            return
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        done.append(pid)
        with desk.live.engine.connect() as other:
            other.exec_driver_sql(f"SELECT pg_terminate_backend({pid})")

    sa.event.listen(desk.live.engine, "commit", cut)


@pytest.mark.parametrize("kind", ["postgres", "mysql"])
async def test_an_outage_is_retryable_and_over_when_the_server_is_back(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    url = request.getfixturevalue(f"new_{kind}_database")()
    async with desk_on(url) as desk, desk.sink(write_mode="upsert") as sink:
        assert await sink.write(batch({"_id": 1})) == []
        await documents_of(desk).put("x", {"v": 1})
        server.crash()

        with pytest.raises(Unreachable) as sinks:
            await sink.write(batch({"_id": 2}))
        with pytest.raises(StoreUnreachable) as stores:
            await documents_of(desk).get("x")
        server.start()
        assert await sink.write(batch({"_id": 2})) == []

        assert await desk.rows('"_id"') == [(1,), (2,)]
        assert (await documents_of(desk).get("x")).document == {"v": 1}
        assert "planted" not in f"{sinks.value}{stores.value}"


async def test_a_service_that_does_not_answer_is_unreachable_and_tells_no_secret() -> None:
    config = SqlConfig(name="shop", url="postgresql://someone:planted-password@127.0.0.1:9/shop")

    with pytest.raises(Unreachable, match="'shop'") as caught:
        async with PROVIDER.connect(config):
            pass

    assert "planted" not in str(caught.value)


async def test_a_full_disk_is_retryable_and_loses_nothing(tmp_path: Path) -> None:
    async with desk_on(f"sqlite:///{tmp_path / 'full.db'}") as desk:
        async with desk.sink(key_columns=["id"]) as sink:
            assert await sink.write(batch({"id": 0, "x": ""})) == []
        limit_pages(desk, 12)
        async with desk.sink(key_columns=["id"]) as sink:
            records = [{"id": each, "x": "y" * 10_000} for each in range(20)]

            with pytest.raises(StorageFull) as caught:
                await sink.write(batch(*records[1:]))
            assert await desk.rows('"id"') == [(0,)]
            limit_pages(desk, 1_000_000)
            assert await sink.write(batch(*records[1:])) == []

        assert caught.value.retryable
        assert len(await desk.rows('"id"')) == 20


def limit_pages(desk: Desk, pages: int) -> None:
    """As if the disk had no more: SQLite answers with the same error."""
    desk.live.engine.dispose()

    @sa.event.listens_for(desk.live.engine, "connect")
    def limit(connection: Any, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def test_a_lock_that_somebody_holds_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "locked.db"
    async with desk_on(f"sqlite:///{path}") as desk, desk.sink() as sink:
        assert await sink.write(batch({"id": 1})) == []
        await documents_of(desk).put("x", {"v": 1})
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            writes = [
                asyncio.ensure_future(sink.write(batch({"id": 2}))),
                asyncio.ensure_future(documents_of(desk).put("x", {"v": 2})),
            ]
            await asyncio.sleep(0.2)
            assert not any(each.done() for each in writes)
            reading = await asyncio.wait_for(desk_of_another(path), 10)
            holder.execute("COMMIT")
        await asyncio.gather(*writes)

        assert reading == {"v": 1}
        assert await desk.rows('"id"') == [(1,), (2,)]


async def desk_of_another(path: Path) -> Any:
    """Readers wait for nobody."""
    async with desk_on(f"sqlite:///{path}") as other:
        return (await documents_of(other).get("x")).document


async def test_a_sink_does_not_starve_the_store_beside_it(tmp_path: Path) -> None:
    """The owner's writes go through while a sink writes without pause."""
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    async with desk_on(url) as desk, desk_on(url) as owner, desk.sink() as sink:
        stop = asyncio.Event()

        async def flood() -> None:
            while not stop.is_set():
                assert await sink.write(batch(*({"id": each, "x": "y" * 100} for each in range(500)))) == []

        flooding = asyncio.ensure_future(flood())
        collection = documents_of(owner)
        for each in range(20):
            await asyncio.wait_for(collection.put("lease", {"n": each}), 10)
        stop.set()
        await flooding

        assert (await collection.get("lease")).document == {"n": 19}


async def test_two_sinks_make_and_extend_one_table_together(desk: Desk) -> None:
    async with desk.sink() as one, desk.sink() as two:
        await asyncio.gather(one.write(batch({"id": 1, "a": 1})), two.write(batch({"id": 2, "b": 1})))
        await asyncio.gather(one.write(batch({"id": 3, "c": 1})), two.write(batch({"id": 4, "d": 1, "a": 2})))

    assert await desk.rows('"id"') == [(1,), (2,), (3,), (4,)]
    assert set(await desk.columns()) == {"id", "a", "b", "c", "d"}


async def test_sqlite_is_opened_safe(tmp_path: Path) -> None:
    async with desk_on(f"sqlite:///{tmp_path / 'safe.db'}") as desk:
        found = [(await desk.execute(f"PRAGMA {each}"))[0][0] for each in ("journal_mode", "synchronous")]

    assert found == ["wal", 2]


async def test_the_server_ends_what_a_frozen_process_holds(postgres_url: str, mysql_url: str) -> None:
    async with desk_on(postgres_url) as desk:
        assert await desk.execute("SHOW idle_in_transaction_session_timeout") == [("6s",)]
        assert await desk.execute("SHOW statement_timeout") == [("8s",)]
    async with desk_on(mysql_url) as desk:
        assert await desk.execute("SELECT @@idle_transaction_timeout, @@max_statement_time") == [(6, 8.0)]
