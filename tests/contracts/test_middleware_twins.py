"""Each check of the middlewares catches a middleware that is wrong in just that way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mstream.domain.batch import Batch
from mstream.errors import DecodeError, RecordRefused, Unreachable
from mstream.ports.roles import Failure, Middleware, Transformed
from tests.contracts import middleware_checks as checks
from tests.contracts.middleware_checks import PLANTED
from tests.contracts.middleware_harnesses import Plain, PlainHarness


class Twin:
    """A middleware like the plain one; what is wrong stands in the classes below."""

    def __init__(self, plain: Plain) -> None:
        self.plain = plain
        self.accepts = plain.accepts
        self.deadline_sec: float | None = plain.deadline_sec

    async def apply(self, batch: Batch) -> Transformed:
        return await self.plain.apply(batch)


def _with(made: Transformed, documents: Sequence[Any]) -> Transformed:
    return replace(made, batch=replace(made.batch, documents=documents))


class Backwards(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return _with(made, list(made.batch.documents or ())[::-1])


class TellsNoOrigins(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        return replace(await super().apply(batch), origins=None)


class KeepsColumns(Twin):
    """The other columns stay as they were, whatever became of the records."""

    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return replace(made, batch=replace(batch, documents=made.batch.documents))


class ForgetsPositions(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return made if len(made.batch) else replace(made, batch=replace(made.batch, positions={}))


class RefusesTheNext(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return replace(made, failures=[replace(each, index=each.index + 1) for each in made.failures])


class KeepsWhatItRefuses(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return replace(made, batch=batch, origins=None) if made.failures else made


class RefusesForNow(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return replace(made, failures=[Failure(index=each.index, error=Unreachable("no")) for each in made.failures])


class AllOrNothing(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        for each in made.failures:
            raise each.error
        return made


class StaysOffended(Twin):
    """Once it has refused something it refuses everything."""

    is_offended = False

    async def apply(self, batch: Batch) -> Transformed:
        if self.is_offended:
            refused = [Failure(index=each, error=RecordRefused("no")) for each in range(len(batch))]
            return Transformed(batch=batch.head(0), origins=[], failures=refused)
        made = await super().apply(batch)
        self.is_offended = bool(made.failures)
        return made


class SkipsTheFirst(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return _with(made, [None, *list(made.batch.documents or ())[1:]] if len(made.batch) else [])


class Sorts(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return _with(made, [dict(sorted(each.items())) for each in made.batch.documents or ()])


class Rounds(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return _with(made, [_rounded(each) for each in made.batch.documents or ()])


def _rounded(document: Any) -> Any:
    return {name: float(value) if type(value) is int else value for name, value in document.items()}


class DropsHeaders(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return replace(made, batch=replace(made.batch, headers=None))


class ChokesOnTombstones(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        full = [each for each, document in enumerate(batch.documents or ()) if document is not None]
        made = await super().apply(batch.pick(full))
        gone = [each for each in range(len(batch)) if each not in full]
        return replace(made, failures=[Failure(index=each, error=DecodeError("nothing there")) for each in gone])


class AsciiOnly(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return _with(made, [_ascii(each) for each in made.batch.documents or ()])


def _ascii(document: Any) -> Any:
    return {
        name: value.encode("ascii", "replace").decode() if isinstance(value, str) else value
        for name, value in document.items()
    }


class MakesSomethingOfNothing(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return made if len(batch) else _with(made, [{}])


class HasNoDeadline(Twin):
    def __init__(self, plain: Plain) -> None:
        super().__init__(plain)
        self.deadline_sec = None


class Talkative(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        said = RecordRefused(f"refused {PLANTED}")
        return replace(made, failures=[replace(each, error=said) for each in made.failures])


class CutsLargeRecords(Twin):
    async def apply(self, batch: Batch) -> Transformed:
        made = await super().apply(batch)
        return _with(made, [{**each, "text": each.get("text", "")[: 1 << 20]} for each in made.batch.documents or ()])


Check = Callable[[Any], Awaitable[None]]

TWINS: list[tuple[Check, type[Twin]]] = [
    (checks.check_keeps_the_order, Backwards),
    (checks.check_makes_several_of_one_and_tells_which, TellsNoOrigins),
    (checks.check_makes_several_of_one_and_tells_which, KeepsColumns),
    (checks.check_drops_records_and_keeps_their_progress, ForgetsPositions),
    (checks.check_refuses_one_record_of_many, RefusesTheNext),
    (checks.check_refuses_one_record_of_many, KeepsWhatItRefuses),
    (checks.check_refuses_one_record_of_many, RefusesForNow),
    (checks.check_refuses_a_whole_batch_record_by_record, AllOrNothing),
    (checks.check_refuses_a_whole_batch_record_by_record, StaysOffended),
    (checks.check_answers_alike_wherever_batches_are_cut, SkipsTheFirst),
    (checks.check_leaves_every_other_field_as_it_is, Sorts),
    (checks.check_leaves_every_other_field_as_it_is, Rounds),
    (checks.check_leaves_every_other_column_as_it_is, DropsHeaders),
    (checks.check_lets_a_record_without_content_pass, ChokesOnTombstones),
    (checks.check_keeps_every_character, AsciiOnly),
    (checks.check_passes_an_empty_batch_on, MakesSomethingOfNothing),
    (checks.check_passes_an_empty_batch_on, ForgetsPositions),
    (checks.check_says_how_long_it_may_block, HasNoDeadline),
    (checks.check_prints_nothing_secret, Talkative),
]
SLOW_TWINS: list[tuple[Check, type[Twin]]] = [(checks.check_changes_a_record_of_10_mb, CutsLargeRecords)]


class TwinHarness(PlainHarness):
    """Opens the wrong middleware instead of the right one."""

    def __init__(self, twin: type[Twin]) -> None:
        super().__init__()
        self.twin = twin

    def wrapped(self, middleware: Plain) -> Middleware:
        return self.twin(middleware)


@pytest.mark.parametrize(("check", "twin"), TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_middleware_is_caught(check: Check, twin: type[Twin]) -> None:
    with pytest.raises((AssertionError, RecordRefused)):
        await check(TwinHarness(twin))


@pytest.mark.slow
@pytest.mark.parametrize(("check", "twin"), SLOW_TWINS, ids=lambda each: each.__name__)
async def test_a_wrong_middleware_with_much_to_carry_is_caught(check: Check, twin: type[Twin]) -> None:
    with pytest.raises(AssertionError):
        await check(TwinHarness(twin))


def test_no_check_is_without_a_twin() -> None:
    assert {check for check, _ in TWINS} == set(checks.EVERY_MIDDLEWARE)
    assert {check for check, _ in SLOW_TWINS} == set(checks.SLOW)
