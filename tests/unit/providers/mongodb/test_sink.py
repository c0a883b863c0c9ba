"""What a replica set is asked by a sink, and what comes of its refusals.

The server here is scripted: no stand-in is a replica set with transactions, write concerns and stepping down. The
same sink runs over mongo-java-server and nx-27017 in tests/contracts, and over a real deployment where one is named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest
from bson import ObjectId

from mstream.domain.batch import Batch, Encoding
from mstream.domain.connector import SinkRef
from mstream.errors import (
    AccessDenied,
    GuaranteeUnavailable,
    OutcomeUnknown,
    ServiceError,
    StaleCheckpoint,
    StorageFull,
    Throttled,
    Unreachable,
)
from mstream.ports.checkpoints import CheckpointEntry, PendingCheckpoint
from mstream.ports.documents import ABSENT
from mstream.ports.provider import role_options
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from tests.servers.replica import Answer, Replica, default_answer, refusal, replica

#: What no error may tell.
PLANTED = "planted-value"
Answering = Callable[[dict[str, Any]], Answer]


@asynccontextmanager
async def sink_on(member: Replica, *, uri: str = "", within_ms: int = 3000, **options: Any) -> AsyncIterator[Any]:
    url = f"mongodb://127.0.0.1:{member.port}/?directConnection=true&timeoutMS={within_ms}{uri}"
    config = MongodbConfig.model_validate({"name": "it", "connection_string": url, "db_name": "d"})
    assert PROVIDER.sink is not None
    ref = SinkRef.model_validate({"service_name": "it", "resource": "orders", "output_encoding": "bson", **options})
    role = role_options(PROVIDER.sink.options, config, ref)
    async with PROVIDER.connect(config) as live, PROVIDER.sink.open(live, ref, role) as sink:
        yield sink


def batch(*documents: Any) -> Batch:
    return Batch(payloads=[bson.encode(each) for each in documents], encoding=Encoding.BSON)


def refusing(command: str, answer: Answer) -> Answering:
    return lambda asked: answer if command in asked else default_answer(asked)


def write_error(index: int, code: int) -> Answer:
    return {"ok": 1, "n": 0, "nModified": 0, "writeErrors": [{"index": index, "code": code, "errmsg": PLANTED}]}


@pytest.mark.parametrize(
    ("options", "uri", "wanted"),
    [
        ({}, "", {"w": "majority", "j": True}),
        ({}, "&w=1", {"w": 1}),
        ({"write_concern": 2}, "&w=1", {"w": 2}),
        ({"write_concern": "backed-up", "journal": False}, "", {"w": "backed-up", "j": False}),
    ],
)
async def test_writes_ask_for_what_makes_them_safe(options: Any, uri: str, wanted: Any) -> None:
    async with replica() as member, sink_on(member, uri=uri, **options) as sink:
        await sink.write(batch({"_id": 1}))

        assert [each["writeConcern"] for each in member.asked_for("insert")] == [wanted]


async def test_writes_that_nobody_confirms_are_refused() -> None:
    async with replica() as member:
        with pytest.raises(ServiceError, match="w=0"):
            async with sink_on(member, uri="&w=0"):
                pass


@pytest.mark.parametrize(
    ("answer", "kind", "advice"),
    [
        (refusal(10107, "NotWritablePrimary"), Unreachable, ""),
        (refusal(11600, "InterruptedAtShutdown"), Unreachable, ""),
        (refusal(112, "WriteConflict"), Throttled, ""),
        (refusal(14031, "OutOfDiskSpace"), StorageFull, "room"),
        (refusal(13, "Unauthorized"), AccessDenied, "readWrite"),
        (refusal(18, "AuthenticationFailed"), AccessDenied, "password"),
        (write_error(0, 13), AccessDenied, "readWrite"),
        (write_error(0, 10107), Unreachable, ""),
        ({"ok": 1, "n": 1, "writeConcernError": {"code": 64, "errmsg": PLANTED}}, Unreachable, ""),
        ({"ok": 1, "n": 1, "writeConcernError": {"code": 100, "errmsg": PLANTED}}, ServiceError, "write_concern"),
    ],
)
async def test_what_is_no_records_fault_fails_the_batch(answer: Answer, kind: type[ServiceError], advice: str) -> None:
    async with replica() as member, sink_on(member) as sink:
        member.answer = refusing("insert", answer)
        with pytest.raises(ServiceError) as caught:
            await sink.write(batch({"_id": 1, "a": PLANTED}))

        assert type(caught.value) is kind
        assert advice in str(caught.value)
        assert PLANTED not in str(caught.value)


async def test_a_server_that_is_gone_is_worth_another_try() -> None:
    async with replica() as member:
        pass
    async with sink_on(member, within_ms=200) as sink:
        with pytest.raises(Unreachable):
            await sink.write(batch({"_id": 1}))


@pytest.mark.parametrize("code", [121, 2, 11000, 4711])
async def test_what_is_a_records_fault_is_that_records_outcome(code: int) -> None:
    async with replica() as member, sink_on(member) as sink:
        member.answer = refusing("insert", write_error(1, code))
        failures = await sink.write(batch({"_id": 1}, {"_id": 2, "a": PLANTED}, {"_id": 3}))

    assert [each.index for each in failures] == [1]
    assert not failures[0].error.retryable
    assert PLANTED not in str(failures[0].error)


async def test_a_duplicate_with_the_same_content_is_written_already() -> None:
    kept, other = {"_id": ObjectId(), "a": 1}, {"_id": ObjectId(), "a": 1}

    def answer(asked: dict[str, Any]) -> Answer:
        if "insert" in asked:
            errors = [{"index": each, "code": 11000, "errmsg": PLANTED} for each in (0, 1)]
            return {"ok": 1, "n": 1, "writeErrors": errors}
        if "find" in asked:
            return {"ok": 1, "cursor": {"id": 0, "ns": "d.orders", "firstBatch": [kept, {**other, "a": 2}]}}
        return default_answer(asked)

    async with replica() as member, sink_on(member) as sink:
        member.answer = answer
        failures = await sink.write(batch(kept, other, {"_id": 3}))

    assert [(each.index, "other content" in str(each.error)) for each in failures] == [(1, True)]


async def test_the_order_of_one_id_is_kept_and_the_rest_needs_none() -> None:
    async with replica() as member, sink_on(member, write_mode="replace") as sink:
        await sink.write(batch({"_id": 1, "n": 0}, {"_id": 2, "n": 1}, {"_id": 1, "n": 2}, {"_id": 1, "n": 3}))

        told = [(each["ordered"], [one["u"]["n"] for one in each["updates"]]) for each in member.asked_for("update")]
    assert told == [(False, [0, 1]), (True, [2, 3])]


async def test_what_comes_after_a_refused_one_of_its_id_is_still_written() -> None:
    tries: list[list[int]] = []

    def answer(asked: dict[str, Any]) -> Answer:
        if "update" not in asked:
            return default_answer(asked)
        tries.append([each["u"]["n"] for each in asked["updates"]])
        return write_error(1, 121) if tries[-1][:2] == [1, 2] else default_answer(asked)

    async with replica() as member, sink_on(member, write_mode="replace") as sink:
        member.answer = answer
        failures = await sink.write(batch(*({"_id": 1, "n": each} for each in range(5))))

    assert [each.index for each in failures] == [2]
    assert tries == [[0], [1, 2, 3, 4], [3, 4]]


# -------------------------------------------------------------------------------------------------------- transactions
def pending(*, expect: str = ABSENT, database: str = "") -> PendingCheckpoint:
    entry = CheckpointEntry(
        resource="places",
        database=database,
        key_field="name",
        key="job",
        document={"name": "job"},
        expect=expect,
        revision="next",
    )
    return PendingCheckpoint(positions={"": 1}, entries=[entry])


async def test_records_and_checkpoint_go_with_one_transaction_the_checkpoint_last() -> None:
    async with replica() as member, sink_on(member) as sink:
        await sink.write_with([batch({"_id": 1}), batch({"_id": 2})], pending())

        within = [each for each in member.asked if each.get("autocommit") is False]
    assert [next(iter(each)) for each in within] == ["insert", "find", "insert", "commitTransaction"]
    assert [each["insert"] for each in within if "insert" in each] == ["orders", "places"]
    assert [each.get("startTransaction") for each in within] == [True, None, None, None]
    assert len({each["txnNumber"] for each in within}) == 1
    assert within[-1]["writeConcern"] == {"w": "majority", "j": True}
    assert all("writeConcern" not in each for each in within[:-1])


async def test_the_checkpoint_may_lie_in_another_database() -> None:
    async with replica() as member, sink_on(member) as sink:
        await sink.write_with([batch({"_id": 1})], pending(database="elsewhere"))

        within = [each for each in member.asked if each.get("autocommit") is False]
    places = {each["insert"]: each["$db"] for each in within if "insert" in each}
    assert places["places"] == "elsewhere"
    assert places["orders"] != "elsewhere"
    assert all(each["$db"] == "elsewhere" for each in member.asked_for("createIndexes"))


async def test_a_lost_answer_to_a_commit_leaves_the_outcome_open() -> None:
    async with replica() as member, sink_on(member) as sink:
        lost = {**refusal(50, "MaxTimeMSExpired"), "errorLabels": ["UnknownTransactionCommitResult"]}
        member.answer = refusing("commitTransaction", lost)
        with pytest.raises(OutcomeUnknown) as caught:
            await sink.write_with([batch({"_id": 1})], pending())

    assert PLANTED not in str(caught.value)


@pytest.mark.parametrize("command", ["insert", "commitTransaction"])
async def test_a_transaction_that_somebody_disturbs_is_worth_another_try(command: str) -> None:
    async with replica() as member, sink_on(member) as sink:
        answer = {**refusal(112, "WriteConflict"), "errorLabels": ["TransientTransactionError"]}
        member.answer = lambda asked: answer if command in asked and "autocommit" in asked else default_answer(asked)
        with pytest.raises(Throttled):
            await sink.write_with([batch({"_id": 1})], pending())

        assert member.asked_for("abortTransaction") or command == "commitTransaction"


async def test_a_checkpoint_that_was_moved_ends_the_transaction() -> None:
    async with replica() as member, sink_on(member) as sink:
        with pytest.raises(StaleCheckpoint):
            await sink.write_with([batch({"_id": 1})], pending(expect="former"))

        assert member.asked_for("abortTransaction")
        assert not member.asked_for("commitTransaction")


@pytest.mark.parametrize("code", [20, 263])
async def test_a_server_without_transactions_is_told_with_advice(code: int) -> None:
    async with replica() as member, sink_on(member) as sink:
        answer = refusal(code, "IllegalOperation")
        member.answer = lambda asked: answer if "autocommit" in asked else default_answer(asked)
        with pytest.raises(GuaranteeUnavailable, match="replica set"):
            await sink.write_with([batch({"_id": 1})], pending())


async def test_a_refused_record_ends_the_transaction_and_is_named() -> None:
    async with replica() as member, sink_on(member) as sink:
        member.answer = lambda asked: write_error(2, 121) if asked.get("insert") == "orders" else default_answer(asked)
        failures = await sink.write_with([batch({"_id": 1}), batch({"_id": 2}, {"_id": 3})], pending())

        assert [each.index for each in failures] == [2]
        assert not member.asked_for("commitTransaction")


async def test_what_was_written_before_is_left_out_of_the_next_try() -> None:
    kept = {"_id": ObjectId(), "a": 1}

    def answer(asked: dict[str, Any]) -> Answer:
        if asked.get("insert") == "orders" and len(asked["documents"]) == 2:
            return write_error(0, 11000)
        if asked.get("find") == "orders":
            return {"ok": 1, "cursor": {"id": 0, "ns": "d.orders", "firstBatch": [kept]}}
        return default_answer(asked)

    async with replica() as member, sink_on(member) as sink:
        member.answer = answer
        failures = await sink.write_with([batch(kept, {"_id": 2})], pending())

        assert list(failures) == []
        assert [len(each["documents"]) for each in member.asked_for("insert") if each["insert"] == "orders"] == [2, 1]
        assert member.asked_for("commitTransaction")
