"""What a replica set is asked, and what comes of its refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from mstream.errors import RevisionConflict, StoreError, StoreUnreachable
from mstream.ports.documents import ABSENT, DocumentStore
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from mstream.providers.mongodb.documents import MongodbDocuments
from tests.servers.replica import Answer, Replica, default_answer, refusal, replica


@asynccontextmanager
async def store_on(member: Replica) -> AsyncIterator[DocumentStore]:
    config = MongodbConfig(name="it", connection_string=member.uri, db_name="d")
    async with PROVIDER.connect(config) as live:
        yield MongodbDocuments(live)


def refusing(command: str, answer: Answer, *, when: str = "") -> Any:
    """Answers as ever, but for this command (with this read concern)."""

    def answers(asked: dict[str, Any]) -> Answer:
        level = asked.get("readConcern", {}).get("level", "")
        return answer if command in asked and when in level else default_answer(asked)

    return answers


def levels(member: Replica) -> list[str | None]:
    return [each.get("readConcern", {}).get("level") for each in member.asked_for("find")]


async def test_opening_a_service_says_nothing_to_the_server() -> None:
    async with replica() as member:
        async with store_on(member) as store:
            store.collection("jobs")

        assert member.asked == []


async def test_a_single_document_is_read_beyond_doubt_and_pages_as_the_majority_has_them() -> None:
    async with replica() as member, store_on(member) as store:
        with capture_logs() as logs:
            await store.collection("jobs").get("orders")
            await store.collection("jobs").scan()

        assert levels(member) == ["linearizable", "majority"]
        assert all(each["maxTimeMS"] > 0 for each in member.asked_for("find"))
        assert logs == []


async def test_every_write_waits_for_the_majority() -> None:
    async with replica() as member, store_on(member) as store:
        jobs = store.collection("jobs")
        await jobs.put("orders", {"name": "orders"})
        await jobs.put("orders", {"name": "orders"}, expect=ABSENT)
        await jobs.delete("orders")

        writes = [each for name in ("insert", "update", "delete") for each in member.asked_for(name)]
        assert {each["insert"] for each in writes if "insert" in each} >= {"jobs", "mstream-version"}
        assert [each["writeConcern"] for each in writes] == [{"w": "majority", "j": True}] * len(writes)


def trial(command: dict[str, Any]) -> bool:
    """The collection on which indexes are tried out is no store."""
    return str(command.get("insert", "")).startswith("mstream-trial-")


@pytest.mark.parametrize(("code", "name"), [(123, "NotAReplicaSet"), (72, "InvalidOptions"), (115, "NotSupported")])
async def test_a_server_without_linearizable_reads_is_read_all_the_same_and_that_is_said_once(
    code: int, name: str
) -> None:
    async with replica() as member, store_on(member) as store:
        member.answer = refusing("find", refusal(code, name), when="linearizable")
        with capture_logs() as logs:
            for _ in range(3):
                assert await store.collection("jobs").get("orders") is None

        assert levels(member) == ["linearizable", "majority", "majority", "majority"]
        assert [each["event"] for each in logs] == ["linearizable_reads_unavailable"]


async def test_a_server_on_its_own_is_not_asked_for_linearizable_reads() -> None:
    async with replica() as member, store_on(member) as store:
        member.set_name = None
        with capture_logs() as logs:
            for _ in range(2):
                await store.collection("jobs").get("orders")

        assert levels(member) == ["majority", "majority"]
        assert [each["event"] for each in logs] == ["linearizable_reads_unavailable"]


@pytest.mark.parametrize(
    ("code", "name", "expected", "text"),
    [
        (13, "Unauthorized", StoreError, "readWrite"),
        (18, "AuthenticationFailed", StoreError, "authSource"),
        (8000, "AtlasError", StoreError, "password"),
        (50, "MaxTimeMSExpired", StoreUnreachable, "50"),
        (11602, "InterruptedDueToReplStateChange", StoreUnreachable, "jobs"),
        (14031, "OutOfDiskSpace", StoreUnreachable, "make room"),
        (59, "CommandNotFound", StoreError, "59"),
    ],
)
async def test_a_refusal_is_told_with_its_code_and_without_values(
    code: int, name: str, expected: type[StoreError], text: str
) -> None:
    async with replica() as member, store_on(member) as store:
        member.answer = refusing("find", refusal(code, name))

        with pytest.raises(StoreError, match=text) as caught:
            await store.collection("jobs").get("orders")

        assert type(caught.value) is expected
        assert "collection 'jobs'" in str(caught.value)
        assert "planted" not in str(caught.value)


async def test_a_write_that_the_majority_has_not_confirmed_in_time_may_have_happened() -> None:
    late = {
        "ok": 1,
        "n": 1,
        "writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting timed out"},
    }
    async with replica() as member, store_on(member) as store:
        member.answer = refusing("insert", late)

        with pytest.raises(StoreUnreachable):
            await store.collection("mstream-version").put("orders", {"name": "orders"}, expect=ABSENT)


async def test_a_document_that_was_moved_between_read_and_write_is_a_conflict() -> None:
    there = {"_id": "orders", "name": "orders", "v": 1, "revision": "old"}
    async with replica() as member, store_on(member) as store:
        answers = {
            "find": {"ok": 1, "cursor": {"id": 0, "ns": "d.c", "firstBatch": [there]}},
            "update": {"ok": 1, "n": 0, "nModified": 0},
        }

        def answer(asked: dict[str, Any]) -> Answer:
            return next((answers[each] for each in answers if each in asked), default_answer(asked))

        member.answer = answer
        with pytest.raises(RevisionConflict):
            await store.collection("mstream-version").put("orders", {"name": "orders"}, expect="old")

        (update,) = member.asked_for("update")
        query = update["updates"][0]["q"]
        assert query == {"_id": "orders", "revision": "old", "name": {"$eq": "orders"}, "v": {"$eq": 1}}


async def test_a_primary_that_steps_down_is_no_refusal() -> None:
    async with replica() as member, store_on(member) as store:
        member.answer = refusing("find", refusal(10107, "NotWritablePrimary"))

        with pytest.raises(StoreUnreachable):
            await store.ping()


async def test_only_documents_with_a_revision_are_kept_apart() -> None:
    async with replica() as member, store_on(member) as store:
        for key in ("one", "two"):
            await store.collection("jobs").put(key, {"name": key})

        of_jobs = [index for each in member.asked_for("createIndexes") for index in each["indexes"]]
        (unique,) = [
            index
            for each in member.asked_for("createIndexes")
            for index in each["indexes"]
            if each["createIndexes"] == "jobs" and index.get("unique")
        ]
        assert unique["key"] == {"name": 1}
        assert unique["partialFilterExpression"] == {"revision": {"$exists": True}}
        assert len(of_jobs) == 3, "one to find by key, one that is unique, and that one on trial"
        assert [each["drop"].partition("-trial-")[0] for each in member.asked_for("drop")] == ["mstream"]


async def test_a_server_that_keeps_all_documents_apart_gets_no_such_index() -> None:
    async with replica() as member, store_on(member) as store:
        tried = iter([True, False])

        def answer(asked: dict[str, Any]) -> Answer:
            if trial(asked) and not next(tried):
                return {"ok": 1, "n": 0, "writeErrors": [{"index": 0, "code": 11000, "errmsg": "E11000"}]}
            return default_answer(asked)

        member.answer = answer
        with capture_logs() as logs:
            await store.collection("jobs").put("one", {"name": "one"})

        made = [index for each in member.asked_for("createIndexes") for index in each["indexes"]]
        assert [each["createIndexes"] for each in member.asked_for("createIndexes") if "unique" in str(each)] == [
            each["drop"] for each in member.asked_for("drop")
        ]
        assert len(made) == 2
        assert [each["event"] for each in logs] == ["partial_indexes_unavailable"]
