"""What every source keeps to; each check runs over every implementation, and over a wrong one that it must catch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from mstream.domain.batch import Batch
from mstream.domain.checkpoint import Lane, Position, merged
from mstream.errors import MstreamError, PositionLost
from mstream.ports.roles import Finite, Lagging, Limit, Source

#: Far more than any source needs, far less than a test may take.
PATIENCE = 10.0
#: So long a source must keep still to be called quiet.
QUIET = 0.4
PLANTED = "hunter2-planted"
AMPLE = Limit()

Positions = Mapping[Lane, Position]


class SourceHarness(Protocol):
    """A source of one provider, with hands on what it reads."""

    #: Whether `progress`, `end` and `fail_next_read` do something here.
    can_progress: bool
    can_end: bool
    can_fail: bool

    def open(self, positions: Positions | None = None) -> AbstractAsyncContextManager[Source]:
        """The source as production opens it, at stored positions."""

    async def append(self, *payloads: bytes) -> None:
        """More records for it, all in one lane."""

    async def progress(self) -> None:
        """The outside moves on without a record for this source."""

    async def end(self) -> None:
        """The lane ends after what is there."""

    def fail_next_read(self) -> None:
        """The next attempt to read meets an error that is worth another try."""

    def acked(self) -> Sequence[Mapping[Lane, Position | None]] | None:
        """What was acknowledged, in order; None: the outside keeps no record of it."""

    def shown(self) -> str:
        """Everything that the provider prints of its configuration."""

    def lost_positions(self, positions: Positions) -> Positions:
        """The positions changed so that they lead nowhere."""


async def check_brings_everything_in_order(harness: SourceHarness) -> None:
    """Every record once, in the order in which it was made."""
    wanted = numbered(50)
    await harness.append(*wanted)

    async with harness.open() as source:
        assert await take(source, 50) == wanted


async def check_goes_on_from_a_position(harness: SourceHarness) -> None:
    """A batch's positions are where the next source begins: nothing twice, nothing left out."""
    wanted = numbered(40)
    await harness.append(*wanted)
    async with harness.open() as source:
        first = await read_records(source, Limit(records=15))
        positions = stored(first.positions)

    async with harness.open(positions) as source:
        assert await take(source, 25) == wanted[15:]


async def check_can_stop_in_mid_batch(harness: SourceHarness) -> None:
    """`positions` is exact for every count of records, none and all included."""
    wanted = [b'"%s"' % (b"x" * size) for size in range(12)]
    await harness.append(*wanted)
    async with harness.open() as source:
        batch = await read_records(source, Limit())
        assert len(batch) == 12
        by_count = {count: stored(source.positions(batch, count)) for count in range(13)}

    for count in (0, 1, 7, 11):
        async with harness.open(by_count[count]) as source:
            assert await take(source, 12 - count) == wanted[count:], f"after {count} of 12 records"
    assert by_count[12] == stored(batch.positions)


async def check_tells_where_a_rest_begins_after_a_cut(harness: SourceHarness) -> None:
    """The engine cuts batches into slices; the notes of their records stay right."""
    wanted = numbered(10)
    await harness.append(*wanted)
    async with harness.open() as source:
        batch = await read_records(source, Limit())
        third = list(batch.slices(4))[1]
        picked = batch.without([0, 5])
        after_six = stored(source.positions(third, 2))
        after_five = stored(source.positions(picked, 4))

    async with harness.open(after_six) as source:
        assert await take(source, 4) == wanted[6:]
    async with harness.open(after_five) as source:
        assert await take(source, 5) == wanted[5:]


async def check_keeps_to_the_limit(harness: SourceHarness) -> None:
    """Neither more records nor more bytes than asked for, but always one record."""
    wanted = [b'"%s"' % (b"y" * 98)] * 30
    await harness.append(*wanted)

    async with harness.open() as source:
        by_count = await read_records(source, Limit(records=3))
        by_size = await read_records(source, Limit(bytes=450))
        at_least_one = await read_records(source, Limit(bytes=1))
        rest = await take(source, 30 - 3 - len(by_size) - 1)

    assert len(by_count) == 3
    assert 1 <= len(by_size) <= 4
    assert len(at_least_one) == 1
    assert len(rest) == 30 - 4 - len(by_size)


async def check_brings_no_more_than_is_asked_for(harness: SourceHarness) -> None:
    """Back-pressure: what nobody reads stays outside, and is there later."""
    await harness.append(*numbered(3))
    async with harness.open() as source:
        first = await read_records(source, Limit(records=1))
        await harness.append(b'"later"')
        await asyncio.sleep(QUIET)
        rest = await take(source, 3)

    found = payloads([first]) + rest
    assert found == [*numbered(3), b'"later"']


async def check_waits_while_there_is_nothing(harness: SourceHarness) -> None:
    """`read` returns when something comes, and not before."""
    await harness.append(b"1")
    async with harness.open() as source:
        await take(source, 1)
        waiting = asyncio.create_task(take(source, 1))
        await asyncio.sleep(QUIET)
        is_quiet = not waiting.done()
        await harness.append(b"2")
        brought = await waiting

    assert is_quiet
    assert brought == [b"2"]


async def check_loses_nothing_when_a_read_is_given_up(harness: SourceHarness) -> None:
    """However often a reader is cancelled, the next one goes on where records were last handed out."""
    wanted = numbered(60)
    got: list[bytes | None] = []
    async with harness.open() as source:
        for start in range(0, 60, 3):
            reader = asyncio.create_task(source.read(Limit(records=2)))
            await asyncio.sleep(0 if start % 2 else 0.001 * (start % 7))
            await harness.append(*wanted[start : start + 3])
            await asyncio.sleep(0.001 * (start % 5))
            reader.cancel()
            try:
                batch = await reader
            except asyncio.CancelledError:
                continue
            assert batch is not None
            got += batch.payloads or []
        got += await take(source, 60 - len(got))

    assert got == wanted


async def check_keeps_every_character(harness: SourceHarness) -> None:
    """Payloads come as the bytes that they are."""
    wanted = [
        '"Zoë 日本語 🦊 \\u0000 \\\\n"'.encode(),
        b'{"n":123456789012345678901234567890,"x":1.0,"y":1}',
        '"\u2028 \u0085 \u00a0"'.encode(),
    ]
    await harness.append(*wanted)

    async with harness.open() as source:
        assert await take(source, 3) == wanted


async def check_can_be_opened_and_closed_with_nothing_there(harness: SourceHarness) -> None:
    """An empty source opens, closes, and ends at once when it is told to finish."""
    async with harness.open():
        pass
    async with harness.open() as source:
        assert isinstance(source, Finite)
        await source.finish()
        assert await nothing_more(source)


async def check_closes_while_a_reader_waits(harness: SourceHarness) -> None:
    """Closing does not wait for records."""
    async with asyncio.timeout(PATIENCE):
        async with harness.open() as source:
            reader = asyncio.create_task(source.read(Limit()))
            await asyncio.sleep(0.02)
            reader.cancel()
            await asyncio.wait({reader})


async def check_ends_at_the_head_of_the_moment(harness: SourceHarness) -> None:
    """After `finish` everything that is there comes, then None."""
    await harness.append(*numbered(9))
    async with harness.open() as source:
        assert isinstance(source, Finite)
        first = await take(source, 4, Limit(records=4))
        await source.finish()
        rest = await until_end(source)

    assert first + rest == numbered(9)


async def check_knows_how_far_behind_it_is(harness: SourceHarness) -> None:
    """Lag counts what was not handed out, and is zero at the head."""
    await harness.append(*numbered(9))
    async with harness.open() as source:
        assert isinstance(source, Lagging)
        await take(source, 2, Limit(records=2))
        behind = await source.lag()
        await take(source, 7)
        level = await source.lag()

    figures = [each.records if each.records is not None else each.bytes for each in behind.values()]
    assert sum(filter(None, figures)) >= 7
    assert all(not each.records and not each.bytes for each in level.values())


async def check_goes_on_after_a_passing_error(harness: SourceHarness) -> None:
    """The same source is read again after a retryable error, and nothing is missing."""
    wanted = numbered(20)
    await harness.append(*wanted[:10])
    async with harness.open() as source:
        first = await take(source, 5, Limit(records=5))
        rest = await take(source, 5)
        harness.fail_next_read()
        await harness.append(*wanted[10:])
        error, before = await failure(source)
        after = await take(source, 10 - len(before))

    assert error.retryable
    assert first + rest + before + after == wanted


async def check_tells_of_progress_without_records(harness: SourceHarness) -> None:
    """A quiet source gives newer positions in an empty batch."""
    await harness.append(b"1")
    async with harness.open() as source:
        before = await read_records(source, Limit())
        await harness.progress()
        quiet = await read(source, Limit())
        positions = stored({**before.positions, **quiet.positions})

    assert len(quiet) == 0
    assert quiet.positions
    assert quiet.positions != before.positions
    await harness.append(b"2")
    async with harness.open(positions) as source:
        assert await take(source, 1) == [b"2"]


async def check_says_when_a_lane_has_ended(harness: SourceHarness) -> None:
    """The last of a lane is None as its position, after all its records."""
    await harness.append(*numbered(3))
    async with harness.open() as source:
        batches = [await read(source, Limit(records=2))]
        await harness.end()
        while None not in batches[-1].positions.values():
            batches.append(await read(source, Limit()))

    assert payloads(batches) == numbered(3)
    lane = next(iter(batches[0].positions))
    assert batches[-1].positions == {lane: None}


async def check_is_not_moved_by_acknowledgements(harness: SourceHarness) -> None:
    """An early batch is acknowledged after later ones were read: reading goes on where it was."""
    wanted = numbered(9)
    await harness.append(*wanted)
    async with harness.open() as source:
        batches = [await read_records(source, Limit(records=3)) for _ in range(2)]
        await source.ack(batches[0].positions)
        rest = await take(source, 3)
        await source.ack(batches[1].positions)

    assert rest == wanted[6:]
    acked = harness.acked()
    assert acked is None or list(acked) == [dict(each.positions) for each in batches]
    async with harness.open(stored(batches[0].positions)) as source:
        assert await take(source, 6) == wanted[3:]


async def check_prints_nothing_secret(harness: SourceHarness) -> None:
    """Neither payloads nor settings stand in errors, positions or what is shown."""
    await harness.append(f'"{PLANTED}"'.encode())
    async with harness.open() as source:
        batch = await read(source, Limit())
        texts = [harness.shown(), repr(source), json.dumps(stored(batch.positions))]
    async with harness.open(harness.lost_positions(stored(batch.positions))) as source:
        error, _ = await failure(source)

    assert isinstance(error, PositionLost)
    assert PLANTED not in " ".join([*texts, str(error), repr(error)])


async def check_brings_a_record_of_10_mb(harness: SourceHarness) -> None:
    """A record far beyond the limit comes whole."""
    large = b'"%s"' % (b"z" * 10_000_000)
    await harness.append(b"1", large, b"2")

    async with harness.open() as source:
        assert await take(source, 3) == [b"1", large, b"2"]


async def check_brings_100_000_records(harness: SourceHarness) -> None:
    """None of many is lost at any border between two reads."""
    wanted = numbered(100_000)
    await harness.append(*wanted)

    async with harness.open() as source:
        assert await take(source, 100_000) == wanted


def numbered(count: int) -> list[bytes]:
    """Payloads that tell their place."""
    return [b'{"number":%d}' % each for each in range(count)]


def stored(positions: Mapping[Lane, Position | None]) -> Positions:
    """What comes back from a checkpoint: JSON, and lanes that have ended are gone."""
    kept: dict[str, Any] = json.loads(json.dumps(merged({}, positions)))
    return kept


def payloads(batches: Sequence[Batch]) -> list[bytes | None]:
    """Of all the batches, in order."""
    return [payload for batch in batches for payload in batch.payloads or ()]


async def read(source: Source, limit: Limit) -> Batch:
    """One batch, soon."""
    try:
        async with asyncio.timeout(PATIENCE):
            batch = await source.read(limit)
    except TimeoutError:
        raise AssertionError("nothing came") from None
    assert batch is not None, "the source has ended"
    return batch


async def read_records(source: Source, limit: Limit) -> Batch:
    """The next batch with records; before the first one a source may say where its lanes begin."""
    while not len(batch := await read(source, limit)):
        pass
    return batch


async def take(source: Source, count: int, limit: Limit = AMPLE) -> list[bytes | None]:
    """At least so many payloads; more are an error of the source, and come out too."""
    got: list[bytes | None] = []
    while len(got) < count:
        got += payloads([await read(source, limit)])
    return got


async def until_end(source: Source) -> list[bytes | None]:
    """Everything up to the end of the source."""
    got: list[bytes | None] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while (batch := await source.read(Limit())) is not None:
                got += payloads([batch])
    except TimeoutError:
        raise AssertionError("the source does not end") from None
    return got


async def nothing_more(source: Source) -> bool:
    """Whether the source ends without another record."""
    return await until_end(source) == []


async def failure(source: Source) -> tuple[MstreamError, list[bytes | None]]:
    """The error that reading meets, and what came before it."""
    got: list[bytes | None] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while (batch := await source.read(Limit())) is not None:
                got += payloads([batch])
    except MstreamError as error:
        return error, got
    except TimeoutError:
        raise AssertionError("no error, and nothing more came") from None
    raise AssertionError("the source has ended without the error")


EVERY_SOURCE = (
    check_brings_everything_in_order,
    check_goes_on_from_a_position,
    check_can_stop_in_mid_batch,
    check_tells_where_a_rest_begins_after_a_cut,
    check_keeps_to_the_limit,
    check_brings_no_more_than_is_asked_for,
    check_waits_while_there_is_nothing,
    check_loses_nothing_when_a_read_is_given_up,
    check_keeps_every_character,
    check_can_be_opened_and_closed_with_nothing_there,
    check_closes_while_a_reader_waits,
    check_ends_at_the_head_of_the_moment,
    check_knows_how_far_behind_it_is,
    check_goes_on_after_a_passing_error,
    check_tells_of_progress_without_records,
    check_says_when_a_lane_has_ended,
    check_is_not_moved_by_acknowledgements,
    check_prints_nothing_secret,
)
SLOW = (check_brings_a_record_of_10_mb, check_brings_100_000_records)
#: What the harness must be able to do for a check to mean something.
NEEDS = {
    check_goes_on_after_a_passing_error: "can_fail",
    check_tells_of_progress_without_records: "can_progress",
    check_says_when_a_lane_has_ended: "can_end",
}
