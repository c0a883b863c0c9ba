"""What every sink keeps to; each check runs over every implementation, and over a wrong one that it must catch."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from typing import Any, Protocol
from uuid import uuid4

import orjson
import pytest

from mstream.domain.batch import Batch, Form
from mstream.errors import MstreamError, OutcomeUnknown, StaleCheckpoint
from mstream.ports.checkpoints import CheckpointEntry, PendingCheckpoint
from mstream.ports.documents import ABSENT, DocumentStore
from mstream.ports.roles import Failure, Flushed, Sink, TransactionalSink

PLANTED = "hunter2-planted"
PLACE = "checkpoints"
KEY = "job/lane"

#: What is written: `_id` counts from 0.
Row = Mapping[str, Any]


class SinkHarness(Protocol):
    """A sink of one provider, with eyes on what it wrote."""

    #: Whether `fail_next_write` and `crash` do something here.
    can_fail: bool
    can_crash: bool

    def open(self, **options: Any) -> AbstractAsyncContextManager[Sink]:
        """The sink as production opens it."""

    async def stored(self) -> list[Any]:
        """The rows that are there, in the order in which they were written."""

    def refused(self) -> Any:
        """A row that the sink refuses; None stands for a record without a payload."""

    def fail_next_write(self) -> None:
        """The next write meets an error that is worth another try."""

    async def crash(self) -> None:
        """What was not made safe is gone."""

    def shown(self) -> str:
        """Everything that the provider prints of its configuration."""


class TransactionalHarness(SinkHarness, Protocol):
    """One whose sink commits checkpoints too."""

    def documents(self) -> AbstractAsyncContextManager[DocumentStore]:
        """The store that a transaction can write to."""

    def lose_answer(self, *, is_committed: bool) -> None:
        """The answer to the next commit is lost."""


async def check_writes_everything_in_order(harness: SinkHarness) -> None:
    """Every record once, in the order of batches and of records in them."""
    wanted = rows(50)
    async with harness.open() as sink:
        for start in range(0, 50, 20):
            assert list(await sink.write(batch(sink, wanted[start : start + 20]))) == []

    assert await harness.stored() == wanted


async def check_keeps_the_order_of_overlapping_writes(harness: SinkHarness) -> None:
    """Writes that were begun in order take effect in order, as many at once as the sink promises."""
    wanted = rows(60)
    async with harness.open() as sink:
        for start in range(0, 60, 3 * sink.overlap):
            parts = [batch(sink, wanted[at : at + 3]) for at in range(start, min(60, start + 3 * sink.overlap), 3)]
            await asyncio.gather(*(sink.write(each) for each in parts))

    assert await harness.stored() == wanted


async def check_refuses_one_record_of_many(harness: SinkHarness) -> None:
    """The refused record is named by its place, all others are written."""
    wanted = rows(10)
    given = [*wanted[:4], harness.refused(), *wanted[4:]]
    async with harness.open() as sink:
        failures = await sink.write(batch(sink, given))

    assert [each.index for each in failures] == [4]
    assert not failures[0].error.retryable
    assert await harness.stored() == wanted


async def check_refuses_a_whole_batch_record_by_record(harness: SinkHarness) -> None:
    """Refused records are answers, never an error of the whole batch."""
    async with harness.open() as sink:
        failures = await sink.write(batch(sink, [harness.refused()] * 3))

    assert [each.index for each in failures] == [0, 1, 2]
    assert await harness.stored() == []


async def check_writes_again_after_a_passing_error(harness: SinkHarness) -> None:
    """A batch whose write failed can be written again; every record is there once and in order."""
    wanted = rows(10)
    async with harness.open() as sink:
        await sink.write(batch(sink, wanted[:5]))
        harness.fail_next_write()
        with pytest.raises(MstreamError) as caught:
            await sink.write(batch(sink, wanted[5:]))
        await sink.write(batch(sink, wanted[5:]))

    assert caught.value.retryable
    assert await harness.stored() == wanted


async def check_adds_to_what_is_there(harness: SinkHarness) -> None:
    """A sink that is opened again takes nothing away."""
    wanted = rows(6)
    for part in (wanted[:4], wanted[4:]):
        async with harness.open() as sink:
            await sink.write(batch(sink, part))

    assert await harness.stored() == wanted


async def check_can_be_opened_and_closed_with_nothing_written(harness: SinkHarness) -> None:
    """Opening, an empty batch and a flush write nothing."""
    async with harness.open():
        pass
    async with harness.open() as sink:
        assert list(await sink.write(batch(sink, []))) == []
        if isinstance(sink, Flushed):
            await sink.flush()

    assert await harness.stored() == []


async def check_keeps_every_character(harness: SinkHarness) -> None:
    """Texts come back as they were given."""
    texts = ["Zoë 日本語 🦊", "line\nend\r\n and \t tab", "quote \" ' ` \\ ; -- %s :name", "\u2028\u0085\u00a0", ""]
    wanted = [{"_id": index, "text": each} for index, each in enumerate(texts)]
    async with harness.open() as sink:
        failures = await sink.write(batch(sink, wanted))

    assert list(failures) == []
    assert await harness.stored() == wanted


async def check_leaves_the_batch_as_it_is(harness: SinkHarness) -> None:
    """Other sinks read the same documents."""
    async with harness.open() as sink:
        given = batch(sink, rows(5))
        before = deepcopy(given)
        await sink.write(given)

    assert given == before


async def check_what_was_flushed_outlives_a_crash(harness: SinkHarness) -> None:
    """Once `flush` has returned, what was written stays."""
    wanted = rows(8)
    async with harness.open() as sink:
        await sink.write(batch(sink, wanted))
        if isinstance(sink, Flushed):
            await sink.flush()
        await harness.crash()

    assert await harness.stored() == wanted


async def check_prints_nothing_secret(harness: SinkHarness) -> None:
    """Neither payloads nor settings stand in errors or what is shown."""
    refused = harness.refused()
    planted = {**refused, "note": PLANTED} if isinstance(refused, dict) else refused
    async with harness.open() as sink:
        await sink.write(batch(sink, [{"_id": 0, "text": PLANTED}]))
        failures = await sink.write(batch(sink, [refused, planted]))
        texts = [harness.shown(), repr(sink), *(str(each.error) + repr(each.error) for each in failures)]

    assert failures
    assert PLANTED not in " ".join(texts)


async def check_writes_a_record_of_10_mb(harness: SinkHarness) -> None:
    """A record far beyond the usual size is written whole."""
    wanted = [{"_id": 0, "text": "small"}, {"_id": 1, "text": "z" * 10_000_000}, {"_id": 2, "text": "small"}]
    async with harness.open() as sink:
        assert list(await sink.write(batch(sink, wanted))) == []

    assert await harness.stored() == wanted


async def check_writes_100_000_records(harness: SinkHarness) -> None:
    """None of many is lost at any border between two writes."""
    wanted = rows(100_000)
    async with harness.open() as sink:
        for start in range(0, 100_000, 4000):
            assert list(await sink.write(batch(sink, wanted[start : start + 4000]))) == []

    assert await harness.stored() == wanted


async def check_commits_records_and_checkpoint_together(harness: TransactionalHarness) -> None:
    """Several batches and the checkpoint appear with one commit; the next expects its revision."""
    wanted = rows(6)
    async with harness.documents() as store, harness.open() as sink:
        await store.ping()
        first = pending({"lane": 4})
        failures = await commit(sink, [wanted[:2], wanted[2:4]], first)
        second = pending({"lane": 6}, expect=first.entries[0].revision)
        await commit(sink, [wanted[4:]], second)
        kept = await store.collection(PLACE).get(KEY)

    assert list(failures) == []
    assert await harness.stored() == wanted
    assert kept is not None
    assert kept.revision == second.entries[0].revision
    assert kept.document["position"] == 6


async def check_commits_positions_without_records(harness: TransactionalHarness) -> None:
    """A checkpoint moves alone when there are no records."""
    async with harness.documents() as store, harness.open() as sink:
        await store.ping()
        await commit(sink, [rows(1)], pending({"lane": 1}))
        kept = await store.collection(PLACE).get(KEY)
        assert kept is not None
        await commit(sink, [], pending({"lane": 9}, expect=kept.revision))
        moved = await store.collection(PLACE).get(KEY)

    assert moved is not None
    assert moved.document["position"] == 9
    assert await harness.stored() == rows(1)


async def check_commits_nothing_over_a_checkpoint_that_was_moved(harness: TransactionalHarness) -> None:
    """StaleCheckpoint, and neither records nor checkpoint are there."""
    async with harness.documents() as store, harness.open() as sink:
        await store.ping()
        first = pending({"lane": 1})
        await commit(sink, [rows(1)], first)
        with pytest.raises(StaleCheckpoint):
            await commit(sink, [rows(3)[1:]], pending({"lane": 3}))
        kept = await store.collection(PLACE).get(KEY)

    assert await harness.stored() == rows(1)
    assert kept is not None
    assert kept.revision == first.entries[0].revision


async def check_commits_nothing_with_a_refused_record(harness: TransactionalHarness) -> None:
    """The refused record is counted through all batches, and nothing is there until it is left out."""
    wanted = rows(4)
    async with harness.documents() as store, harness.open() as sink:
        await store.ping()
        checkpoint = pending({"lane": 5})
        failures = await commit(sink, [wanted[:2], [wanted[2], harness.refused(), wanted[3]]], checkpoint)
        assert [each.index for each in failures] == [3]
        assert await harness.stored() == []
        assert await store.collection(PLACE).get(KEY) is None
        again = await commit(sink, [wanted[:2], wanted[2:]], checkpoint)

    assert list(again) == []
    assert await harness.stored() == wanted


async def check_says_when_the_outcome_is_unknown(harness: TransactionalHarness) -> None:
    """The store tells what happened: both are there, or neither."""
    for is_committed in (True, False):
        number = int(is_committed)
        async with harness.documents() as store, harness.open() as sink:
            await store.ping()
            stored = await store.collection(PLACE).get(KEY)
            before = await harness.stored()
            checkpoint = pending({"lane": number}, expect=stored.revision if stored else ABSENT)
            harness.lose_answer(is_committed=is_committed)
            with pytest.raises(OutcomeUnknown):
                await commit(sink, [[{"_id": number, "text": "x"}]], checkpoint)
            kept = await store.collection(PLACE).get(KEY)
            has_happened = kept is not None and kept.revision == checkpoint.entries[0].revision
        assert has_happened is is_committed
        assert len(await harness.stored()) == len(before) + number


async def check_takes_a_batch_again(harness: SinkHarness) -> None:
    """What comes again changes nothing and counts as written: at once, in part, and after a new start."""
    wanted = rows(9)
    async with harness.open() as sink:
        for part in (wanted[:6], wanted[:6], wanted[3:]):
            assert list(await sink.write(batch(sink, part))) == []
    async with harness.open() as sink:
        assert list(await sink.write(batch(sink, wanted))) == []
        assert list(await sink.write(batch(sink, [*wanted, *wanted]))) == []

    assert sorted(await harness.stored(), key=lambda row: row["_id"]) == wanted


def rows(count: int) -> list[dict[str, Any]]:
    """Rows that tell their place."""
    return [{"_id": each, "text": f"row {each}"} for each in range(count)]


def batch(sink: Sink | TransactionalSink, content: Sequence[Any]) -> Batch:
    """The rows in the form that the sink reads; None becomes a record without a payload."""
    if sink.accepts is Form.DOCUMENTS:
        return Batch(documents=list(content), positions={"lane": len(content)})
    return Batch(
        payloads=[None if each is None else orjson.dumps(each) for each in content], positions={"lane": len(content)}
    )


def pending(positions: Mapping[str, Any], *, expect: str = ABSENT) -> PendingCheckpoint:
    """A checkpoint of one lane; the store must still be at `expect`."""
    entry = CheckpointEntry(
        resource=PLACE,
        key_field="name",
        key=KEY,
        document={"name": KEY, "position": positions["lane"]},
        expect=expect,
        revision=uuid4().hex,
    )
    return PendingCheckpoint(positions=positions, entries=[entry])


async def commit(sink: Sink, parts: Sequence[Sequence[Any]], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
    """One transaction of several batches and a checkpoint."""
    assert isinstance(sink, TransactionalSink)
    return await sink.write_with([batch(sink, each) for each in parts], checkpoint)


EVERY_SINK = (
    check_writes_everything_in_order,
    check_keeps_the_order_of_overlapping_writes,
    check_refuses_one_record_of_many,
    check_refuses_a_whole_batch_record_by_record,
    check_writes_again_after_a_passing_error,
    check_adds_to_what_is_there,
    check_can_be_opened_and_closed_with_nothing_written,
    check_keeps_every_character,
    check_leaves_the_batch_as_it_is,
    check_what_was_flushed_outlives_a_crash,
    check_prints_nothing_secret,
)
TRANSACTIONAL = (
    check_commits_records_and_checkpoint_together,
    check_commits_positions_without_records,
    check_commits_nothing_over_a_checkpoint_that_was_moved,
    check_commits_nothing_with_a_refused_record,
    check_says_when_the_outcome_is_unknown,
)
#: For those that say that writing again changes nothing.
REPEATABLE = (check_takes_a_batch_again,)
SLOW = (check_writes_a_record_of_10_mb, check_writes_100_000_records)
#: What the harness must be able to do for a check to mean something.
NEEDS = {
    check_writes_again_after_a_passing_error: "can_fail",
    check_what_was_flushed_outlives_a_crash: "can_crash",
    check_says_when_the_outcome_is_unknown: "lose_answer",
}
