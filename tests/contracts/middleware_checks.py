"""What every middleware keeps to; each check runs over every one that we have, and over a wrong one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol

from mstream.domain.batch import Batch, Encoding, Form, Operation
from mstream.encodings import codec_for
from mstream.errors import RecordError
from mstream.ports.roles import Middleware, Transformed

PLANTED = "hunter2-planted"

#: What a harness must be able to open: what the middleware does with `{"n": …}`.
MARK = "mark"  # sets `seen` to true, and touches nothing else
REPEAT = "repeat"  # gives `times` copies of a record, none for 0
REFUSE = "refuse"  # refuses a record whose `refuse` is true, and gives every other one as it is


class MiddlewareHarness(Protocol):
    """A middleware of one provider."""

    #: Whether it blocks the loop while it works, and says how long it may (`deadline_ms`).
    can_block: bool

    def open(self, behaviour: str, **options: Any) -> AbstractAsyncContextManager[Middleware]:
        """The middleware as production opens it, doing one of the above."""

    def shown(self) -> str:
        """Everything that the provider prints of its configuration."""


async def check_keeps_the_order(harness: MiddlewareHarness) -> None:
    """Outputs come in the order of their inputs."""
    given = batch([{"n": each} for each in range(50)])
    async with harness.open(MARK) as middleware:
        made = await apply(middleware, given)

    assert documents(made) == [{"n": each, "seen": True} for each in range(50)]
    assert origins(made) == list(range(50))
    assert list(made.failures) == []


async def check_makes_several_of_one_and_tells_which(harness: MiddlewareHarness) -> None:
    """Each output names its input; keys, headers, operations, times and lanes are those of the input."""
    given = batch([{"n": each, "times": times} for each, times in enumerate([2, 0, 1, 3])])
    async with harness.open(REPEAT) as middleware:
        made = await apply(middleware, given)

    assert origins(made) == [0, 0, 2, 3, 3, 3]
    assert [each["n"] for each in documents(made)] == [0, 0, 2, 3, 3, 3]
    assert columns(made.batch) == columns(given.pick([0, 0, 2, 3, 3, 3]))
    assert made.batch.positions == given.positions


async def check_drops_records_and_keeps_their_progress(harness: MiddlewareHarness) -> None:
    """A batch of which nothing is left is empty, and still says where its lanes stand."""
    given = batch([{"n": each, "times": 0} for each in range(3)])
    async with harness.open(REPEAT) as middleware:
        made = await apply(middleware, given)

    assert documents(made) == []
    assert origins(made) == []
    assert list(made.failures) == []
    assert made.batch.positions == given.positions


async def check_refuses_one_record_of_many(harness: MiddlewareHarness) -> None:
    """The refused record is named by its place and has no output; all others have theirs."""
    given = batch([{"n": each, "refuse": each == 4} for each in range(9)])
    async with harness.open(REFUSE) as middleware:
        made = await apply(middleware, given)

    assert [each.index for each in made.failures] == [4]
    assert isinstance(made.failures[0].error, RecordError)
    assert not made.failures[0].error.retryable
    assert [each["n"] for each in documents(made)] == [0, 1, 2, 3, 5, 6, 7, 8]
    assert origins(made) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert columns(made.batch) == columns(given.without([4]))


async def check_refuses_a_whole_batch_record_by_record(harness: MiddlewareHarness) -> None:
    """Refused records are answers, never an error of the whole batch; the next batch is as good as the first."""
    async with harness.open(REFUSE) as middleware:
        made = await apply(middleware, batch([{"n": each, "refuse": True} for each in range(3)]))
        later = await apply(middleware, batch([{"n": 3, "refuse": False}]))

    assert [each.index for each in made.failures] == [0, 1, 2]
    assert documents(made) == []
    assert list(later.failures) == []
    assert documents(later) == [{"n": 3, "refuse": False}]


async def check_answers_alike_wherever_batches_are_cut(harness: MiddlewareHarness) -> None:
    """Which records travel together makes no difference."""
    given = batch([{"n": each, "times": each % 3} for each in range(12)])
    async with harness.open(REPEAT) as middleware:
        whole = documents(await apply(middleware, given))
        pieces = [documents(await apply(middleware, each)) for each in given.slices(5)]

    assert [document for piece in pieces for document in piece] == whole


async def check_leaves_every_other_field_as_it_is(harness: MiddlewareHarness) -> None:
    """Type, value and order of what it does not touch, whatever JSON can say."""
    document = {"z": 1.0, "n": 1, "a": 2**70, "list": [1, 1.0, None, {"b": -0.0, "a": True}], "nan": math.nan, "": []}
    given = batch([document])
    before = repr(document)
    async with harness.open(MARK) as middleware:
        (made,) = documents(await apply(middleware, given))

    assert made.pop("seen") is True
    assert repr(made) == before


async def check_leaves_every_other_column_as_it_is(harness: MiddlewareHarness) -> None:
    """Keys, headers, operations, times, lanes and positions."""
    given = batch([{"n": each} for each in range(7)])
    async with harness.open(MARK) as middleware:
        made = await apply(middleware, given)

    assert columns(made.batch) == columns(given)
    assert made.batch.positions == given.positions


async def check_lets_a_record_without_content_pass(harness: MiddlewareHarness) -> None:
    """A tombstone has a key and nothing that could be changed."""
    given = batch([{"n": 0}, None, {"n": 2}])
    async with harness.open(MARK) as middleware:
        made = await apply(middleware, given)

    assert documents(made) == [{"n": 0, "seen": True}, None, {"n": 2, "seen": True}]
    assert columns(made.batch) == columns(given)


async def check_keeps_every_character(harness: MiddlewareHarness) -> None:
    """Texts and names come out as they went in."""
    texts = ["Zoë 日本語 🦊", "line\nend\r\n and \t tab", "quote \" ' ` \\ ; -- %s {name}", "\u2028\u0085\u00a0", ""]
    given = [{"n": index, "text": each, f"név {each}": index} for index, each in enumerate(texts)]
    async with harness.open(MARK) as middleware:
        made = await apply(middleware, batch(deepcopy(given)))

    assert documents(made) == [{**each, "seen": True} for each in given]


async def check_passes_an_empty_batch_on(harness: MiddlewareHarness) -> None:
    """Progress without records stays that."""
    given = batch([])
    async with harness.open(MARK) as middleware:
        made = await apply(middleware, given)

    assert documents(made) == []
    assert list(made.failures) == []
    assert made.batch.positions == given.positions


async def check_says_how_long_it_may_block(harness: MiddlewareHarness) -> None:
    """The owner ends a worker whose step is busy for longer."""
    async with harness.open(MARK, deadline_ms=1500) as middleware:
        assert getattr(middleware, "deadline_sec", None) == 1.5


async def check_prints_nothing_secret(harness: MiddlewareHarness) -> None:
    """Neither payloads nor settings stand in errors or what is shown."""
    given = batch([{"n": each, "refuse": True, "note": PLANTED, PLANTED: each} for each in range(2)])
    async with harness.open(REFUSE) as middleware:
        made = await apply(middleware, given)
        texts = [harness.shown(), repr(middleware), *(str(each.error) + repr(each.error) for each in made.failures)]

    assert made.failures
    assert PLANTED not in " ".join(texts)


async def check_changes_a_record_of_10_mb(harness: MiddlewareHarness) -> None:
    """A record far beyond the usual size comes out whole."""
    given: list[dict[str, Any]] = [{"n": 0}, {"n": 1, "text": "z" * 10_000_000}, {"n": 2}]
    async with harness.open(MARK) as middleware:
        made = await apply(middleware, batch(deepcopy(given)))

    assert documents(made) == [{**each, "seen": True} for each in given]


def batch(content: Sequence[Any]) -> Batch:
    """Records of two lanes, with something in every column; None: a record without content."""
    places = range(len(content))
    return Batch(
        documents=list(content),
        keys=[b"key %d" % each for each in places],
        headers=[{"number": str(each)} for each in places],
        operations=[list(Operation)[each % 4] for each in places],
        times=[1_700_000_000_000 + each for each in places],
        lanes=["ab"[each % 2] for each in places],
        positions={"a": 7, "b": len(content)},
    )


async def apply(middleware: Middleware, given: Batch) -> Transformed:
    """As the engine calls it: in the form that it reads."""
    if middleware.accepts is Form.PAYLOADS:
        payloads, failures = codec_for(Encoding.JSON).encode(given.documents or [])
        assert not failures
        given = replace(given, payloads=payloads, documents=None)
    return await middleware.apply(given)


def documents(made: Transformed) -> list[Any]:
    """What came out."""
    if made.batch.documents is not None:
        return list(made.batch.documents)
    found, failures = codec_for(Encoding.JSON).decode(made.batch.payloads or [])
    assert not failures
    return list(found)


def origins(made: Transformed) -> list[int]:
    """The input of each output."""
    return list(range(len(made.batch)) if made.origins is None else made.origins)


def columns(of: Batch) -> list[list[Any]]:
    """Everything but the content."""
    return [list(each or ()) for each in (of.keys, of.headers, of.operations, of.times, of.lanes)]


EVERY_MIDDLEWARE = (
    check_keeps_the_order,
    check_makes_several_of_one_and_tells_which,
    check_drops_records_and_keeps_their_progress,
    check_refuses_one_record_of_many,
    check_refuses_a_whole_batch_record_by_record,
    check_answers_alike_wherever_batches_are_cut,
    check_leaves_every_other_field_as_it_is,
    check_leaves_every_other_column_as_it_is,
    check_lets_a_record_without_content_pass,
    check_keeps_every_character,
    check_passes_an_empty_batch_on,
    check_says_how_long_it_may_block,
    check_prints_nothing_secret,
)
SLOW = (check_changes_a_record_of_10_mb,)
#: What the harness must be able to do for a check to mean something.
NEEDS = {check_says_how_long_it_may_block: "can_block"}
