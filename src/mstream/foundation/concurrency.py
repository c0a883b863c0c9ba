"""The asyncio helpers allowed beside TaskGroup."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def finish_all(*work: Awaitable[Any]) -> None:
    """Let every piece finish, whatever happens to the others; then raise what went wrong."""
    results = await asyncio.gather(*work, return_exceptions=True)
    errors = [each for each in results if isinstance(each, BaseException)]
    for each in errors:
        if isinstance(each, asyncio.CancelledError):
            raise each
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise BaseExceptionGroup("several pieces failed", errors)


async def shielded(work: Coroutine[Any, Any, T]) -> T:
    """Finish a last write even when cancelled meanwhile, however often; the cancellation is raised afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancellation:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        raise cancellation from _failure(task)


def begun(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A piece of work that outlives who first waits for it; whoever begins it sees to its end, with its error."""
    return asyncio.create_task(work)


async def first_of(work: Coroutine[Any, Any, T], *events: asyncio.Event) -> T | None:
    """The work's answer; None, with the work cancelled, once one of the events is set before that.

    An answer that is there when the event comes is returned: nothing that was read is lost.
    """
    task = asyncio.ensure_future(work)
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    given_up = False
    try:
        await asyncio.wait({task, *waits}, return_when=asyncio.FIRST_COMPLETED)
        given_up = not task.done()
    finally:
        await _end(task, *waits)
    return None if given_up and task.cancelled() else task.result()


class Interruption:
    """Cuts pieces of work short once an event is set, one after the other and without a task for each.

    To be used by one task, for work that is safe to cancel.
    """

    def __init__(self, events: Sequence[asyncio.Event], signal: asyncio.Future[None]) -> None:
        self._events = events
        self._signal = signal

    async def unless(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """The work's answer; None once one of the events is set, also when it was before."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - this runs in one
        if any(each.is_set() for each in self._events):
            return None
        is_under_way, is_cut = True, False

        def cut(_: object) -> None:
            nonlocal is_cut
            if is_under_way:
                is_cut = True
                task.cancel()

        self._signal.add_done_callback(cut)
        try:
            return await work()
        except asyncio.CancelledError:
            # A cancellation from outside may have come as well.
            if not is_cut or task.cancelling() > 1:
                raise
            return None
        finally:
            is_under_way = False
            self._signal.remove_done_callback(cut)
            if is_cut:
                task.uncancel()


@contextlib.asynccontextmanager
async def interruption(*events: asyncio.Event) -> AsyncIterator[Interruption]:
    """Once one of the events is set, work is cut short."""
    async with background(any_set(*events)) as signal:
        yield Interruption(events, signal)


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Run beside the body; cancelled and awaited at its end.

    Its failure is raised there: in a group with the body's, if that has failed too; not when the body was cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        yield task
    except asyncio.CancelledError:
        await _end(task)
        raise
    except BaseException as raised:
        await _end(task)
        error = _failure(task)
        if error is None or error is raised:
            raise
        raise BaseExceptionGroup("several pieces failed", [raised, error]) from None
    await _end(task)
    if (failure := _failure(task)) is not None:
        raise failure


async def within(deadline: asyncio.Task[Any], *work: Awaitable[Any]) -> bool:
    """Let every piece finish, as `finish_all`; False, with all of them cancelled, when the deadline ends first."""
    # Tasks from the beginning: what is cancelled before its first step must have been somebody's, too.
    pieces = [asyncio.ensure_future(each) for each in work]
    everything = asyncio.ensure_future(finish_all(*pieces))
    try:
        await asyncio.wait({everything, deadline}, return_when=asyncio.FIRST_COMPLETED)
        if not everything.done():
            return False
        await everything
        return True
    finally:
        await _end(everything, *pieces)


async def any_set(*events: asyncio.Event) -> None:
    """Returns once one of the events is set."""
    if any(each.is_set() for each in events):
        return
    waits = [asyncio.ensure_future(each.wait()) for each in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(*waits)


@contextlib.asynccontextmanager
async def settling() -> AsyncIterator[Callable[[Coroutine[Any, Any, None]], None]]:
    """Pieces begun in the body finish whatever happens to each other; their errors are raised at its end."""
    running: set[asyncio.Task[None]] = set()
    errors: list[BaseException] = []

    def begin(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        running.add(task)
        task.add_done_callback(ended)

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            errors.append(error)

    try:
        yield begin
        while running:
            await asyncio.wait(set(running))
    finally:
        await _end(*running)
    if errors:
        raise BaseExceptionGroup("several pieces failed", errors)


async def _end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel them and let them end; a cancellation that comes meanwhile is raised afterwards."""
    cancellation: asyncio.CancelledError | None = None
    for each in tasks:
        each.cancel()
    while pending := [each for each in tasks if not each.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancellation = error
    for each in tasks:
        _failure(each)  # looked at, or the loop complains that nobody did
    if cancellation is not None:
        raise cancellation


def _failure(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task that has ended died of."""
    return None if task.cancelled() else task.exception()
