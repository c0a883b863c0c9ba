"""Work is cut short by an event, and by nothing that the event leaves behind."""

from __future__ import annotations

import asyncio

import pytest

from mstream.foundation.concurrency import interruption


def test_work_that_ends_by_itself_gives_its_answer() -> None:
    async def scenario() -> tuple[int | None, int | None]:
        async with interruption(asyncio.Event()) as interrupted:
            return await interrupted.unless(_answer), await interrupted.unless(_answer)

    assert asyncio.run(scenario()) == (7, 7)


@pytest.mark.parametrize("which", [0, 1])
def test_each_of_the_events_cuts_work_short(which: int) -> None:
    async def scenario() -> int | None:
        events = [asyncio.Event(), asyncio.Event()]
        async with interruption(*events) as interrupted:
            asyncio.get_running_loop().call_later(0.01, events[which].set)
            return await interrupted.unless(_endless)

    assert asyncio.run(scenario()) is None


def test_nothing_is_begun_after_the_event() -> None:
    begun: list[int] = []

    async def work() -> int:
        begun.append(1)
        return 1

    async def scenario() -> int | None:
        event = asyncio.Event()
        async with interruption(event) as interrupted:
            event.set()
            return await interrupted.unless(work)

    assert asyncio.run(scenario()) is None
    assert begun == []


def test_an_answer_that_comes_with_the_event_leaves_no_cancellation_behind() -> None:
    async def scenario() -> tuple[int | None, int]:
        event = asyncio.Event()

        async def work() -> int:
            event.set()
            for _ in range(3):  # the event is told while this runs
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    return 2
            return 1

        async with interruption(event) as interrupted:
            answer = await interrupted.unless(work)
            await asyncio.sleep(0.01)
        task = asyncio.current_task()
        assert task is not None
        return answer, task.cancelling()

    assert asyncio.run(scenario()) == (2, 0)


def test_an_event_that_comes_as_the_work_ends_does_not_harm_what_comes_after_it() -> None:
    """A cut that was on its way when the work ended does not hit what the task does next."""

    async def scenario() -> str:
        event = asyncio.Event()

        async def work() -> int:
            event.set()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return 1

        async with interruption(event) as interrupted:
            await interrupted.unless(work)
            await asyncio.sleep(0.01)
            return "went on"

    assert asyncio.run(scenario()) == "went on"


def test_a_cancellation_from_outside_is_raised_also_together_with_the_event() -> None:
    async def scenario() -> bool:
        event = asyncio.Event()

        async def reader() -> None:
            async with interruption(event) as interrupted:
                await interrupted.unless(_endless)

        task = asyncio.ensure_future(reader())
        await asyncio.sleep(0.01)
        event.set()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        return task.cancelled()

    assert asyncio.run(scenario())


def test_the_works_own_error_is_raised() -> None:
    async def work() -> None:
        raise ValueError("no")

    async def scenario() -> None:
        async with interruption(asyncio.Event()) as interrupted:
            await interrupted.unless(work)

    with pytest.raises(ValueError, match="no"):
        asyncio.run(scenario())


async def _answer() -> int:
    await asyncio.sleep(0)
    return 7


async def _endless() -> int:
    await asyncio.Event().wait()
    return 0
