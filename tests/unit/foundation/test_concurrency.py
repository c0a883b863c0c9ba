"""The few asyncio helpers: nothing that was finished is lost, nothing keeps running."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

import pytest

from mstream.foundation.backoff import delays
from mstream.foundation.concurrency import background, finish_all, first_of, settling, shielded, within
from tests.virtual import run


def test_siblings_finish_before_an_error_is_raised() -> None:
    done: list[str] = []

    async def fail() -> None:
        message = "no"
        raise ValueError(message)

    async def slow() -> None:
        await asyncio.sleep(5)
        done.append("slow")

    with pytest.raises(ValueError, match="no"):
        run(finish_all(fail(), slow()))

    assert done == ["slow"]


def test_the_answer_is_taken_when_it_is_there_before_the_event() -> None:
    async def story() -> tuple[str | None, str | None]:
        event = asyncio.Event()
        early = await first_of(asyncio.sleep(1, "answer"), event)
        event.set()
        return early, await first_of(asyncio.sleep(1, "too late"), event)

    assert run(story()) == ("answer", None)


def test_work_that_was_given_up_has_ended() -> None:
    ended: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(True)

    async def story() -> None:
        event = asyncio.Event()
        event.set()
        await first_of(work(), event)
        assert ended == [True]

    run(story())


def test_a_last_write_is_finished_although_it_is_cancelled() -> None:
    written: list[int] = []

    async def write() -> None:
        await asyncio.sleep(1)
        written.append(1)

    async def story() -> None:
        task = asyncio.ensure_future(shielded(write()))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert written == [1]

    run(story())


def test_what_runs_beside_the_body_ends_with_it() -> None:
    async def story() -> bool:
        async with background(asyncio.sleep(100)) as task:
            pass
        return task.cancelled()

    assert run(story())


async def _reluctant(ended: list[str]) -> None:
    """Takes three seconds to end once it is cancelled."""
    try:
        await asyncio.sleep(100)
    finally:
        await asyncio.sleep(3)
        ended.append("work")


async def _fails_when_cancelled() -> None:
    try:
        await asyncio.sleep(100)
    finally:
        message = "no"
        raise ValueError(message)


async def _beside(work: Coroutine[Any, Any, Any]) -> str:
    async with background(work):
        await asyncio.sleep(0.5)
    return "went on"


async def _given_up(work: Coroutine[Any, Any, Any]) -> str:
    event = asyncio.Event()
    event.set()
    await first_of(work, event)
    return "went on"


@pytest.mark.parametrize("helper", [_beside, _given_up], ids=["background", "first_of"])
def test_a_cancellation_that_comes_while_cancelled_work_ends_is_not_swallowed(
    helper: Callable[[Coroutine[Any, Any, Any]], Coroutine[Any, Any, str]],
) -> None:
    ended: list[str] = []

    async def story() -> None:
        task = asyncio.ensure_future(helper(_reluctant(ended)))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["work"]

    run(story())


def test_a_body_that_is_cancelled_stays_cancelled_when_what_ran_beside_it_fails() -> None:
    async def body() -> None:
        async with background(_fails_when_cancelled()):
            await asyncio.sleep(100)

    async def story() -> None:
        task = asyncio.ensure_future(body())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(story())


def test_the_failure_of_what_ran_beside_the_body_is_raised_at_its_end() -> None:
    async def body() -> None:
        async with background(_fails_when_cancelled()):
            await asyncio.sleep(1)

    with pytest.raises(ValueError, match="no"):
        run(body())


def test_the_failures_of_a_body_and_of_what_ran_beside_it_are_both_told() -> None:
    async def body() -> None:
        async with background(_fails_when_cancelled()):
            await asyncio.sleep(1)
            message = "yes"
            raise LookupError(message)

    with pytest.raises(BaseExceptionGroup) as caught:
        run(body())

    assert [str(each) for each in caught.value.exceptions] == ["yes", "no"]


def test_a_body_that_awaits_what_runs_beside_it_raises_its_failure_once() -> None:
    async def fails() -> None:
        message = "no"
        raise ValueError(message)

    async def body() -> None:
        async with background(fails()) as task:
            await task

    with pytest.raises(ValueError, match="no"):
        run(body())


def test_a_cancelled_last_write_raises_the_cancellation_and_names_its_failure_as_the_cause() -> None:
    async def write() -> None:
        await asyncio.sleep(1)
        message = "no"
        raise ValueError(message)

    async def story() -> None:
        task = asyncio.ensure_future(shielded(write()))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert isinstance(caught.value.__cause__, ValueError)

    run(story())


def test_a_last_write_is_not_cut_by_a_second_cancellation() -> None:
    written: list[int] = []

    async def write() -> None:
        await asyncio.sleep(10)
        written.append(1)

    async def story() -> None:
        task = asyncio.ensure_future(shielded(write()))
        for _ in range(3):
            await asyncio.sleep(0.5)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert written == [1]

    run(story())


async def _within(work: Coroutine[Any, Any, None]) -> None:
    deadline = asyncio.ensure_future(asyncio.sleep(1))
    await within(deadline, work)


async def _settling(work: Coroutine[Any, Any, None]) -> None:
    async with settling() as begin:
        begin(work)


@pytest.mark.parametrize("helper", [_within, _settling, _beside, _given_up])
def test_nothing_keeps_running_although_it_is_cancelled_twice(
    helper: Callable[[Coroutine[Any, Any, None]], Coroutine[Any, Any, Any]],
) -> None:
    ended: list[str] = []

    async def story() -> None:
        task = asyncio.ensure_future(helper(_reluctant(ended)))
        for _ in range(2):
            await asyncio.sleep(1.5)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["work"]

    run(story())


def test_delays_double_up_to_the_most_and_are_never_alike() -> None:
    waits = delays(base_ms=200, max_ms=30_000, random=Random(1))
    first = [next(waits) for _ in range(12)]

    for number, each in enumerate(first):
        ceiling = min(0.2 * 2**number, 30.0)
        assert ceiling / 2 <= each <= ceiling
    assert len(set(first)) == len(first)
