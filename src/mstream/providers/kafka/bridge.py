"""The consumer's thread and the loop: one gives orders and is told, the other asks."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from confluent_kafka import Consumer

from mstream.foundation.concurrency import first_of

T = TypeVar("T")


class Bridge:
    """Made on the loop.

    The client lets one call at a time in, and one that polls leaves others no turn: only its thread may call it, so
    the loop gives it orders.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._orders: queue.SimpleQueue[Callable[[Consumer], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._asked: Future[Any] | None = None
        #: The thread carries out nothing any more.
        self.ended = asyncio.Event()

    # ------------------------------------------------------------------------------------------- called from the loop
    async def call(self, order: Callable[[Consumer], T]) -> T | None:
        """What the order brings, carried out in the thread between two polls; None: the thread has ended.

        Raises what it raises.
        """
        return await self.call_back(lambda consumer, answer: answer(order(consumer)))

    async def call_back(self, order: Callable[[Consumer, Callable[[T], None]], None]) -> T | None:
        """The same for an order whose answer comes later: it is given what to call with that, in the thread."""
        done: asyncio.Future[T] = self._loop.create_future()

        def answer(found: T) -> None:
            self.tell(_set_result, done, found)

        def carried_out(consumer: Consumer) -> None:
            try:
                order(consumer, answer)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                self.tell(_set_error, done, error)

        async def waited() -> T:
            return await done

        self._orders.put(carried_out)
        self._wake.set()
        return await first_of(waited(), self.ended)

    def wake(self) -> None:
        """Let the thread look around."""
        self._wake.set()

    def close(self) -> None:
        """Let the thread come to its end: whatever it asks from now on has no answer."""
        self._closing.set()
        self._wake.set()
        if self._asked is not None:
            self._asked.cancel()

    # ------------------------------------------------------------------------------------------ called in the thread
    @property
    def is_closing(self) -> bool:
        """Whether the thread shall end."""
        return self._closing.is_set()

    def carry_out(self, consumer: Consumer) -> None:
        """What the loop has ordered."""
        while not self._orders.empty():
            self._orders.get()(consumer)

    def wait(self, seconds: float) -> None:
        """So long, unless the loop wants something."""
        self._wake.wait(seconds)
        self._wake.clear()

    def ask(self, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        """What the run says; None: the source is closing, or no answer has come in time. Raises what it raises."""
        if self._closing.is_set():
            work.close()
            return None
        try:
            self._asked = asked = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()  # the loop is closed: nobody is there to ask
            return None
        if self._closing.is_set():
            asked.cancel()
        try:
            return asked.result(seconds)
        except (CancelledError, TimeoutError):
            asked.cancel()
            return None
        finally:
            self._asked = None

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T] | None:
        """Have it done on the loop, and go on; None: there is no loop any more."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            return None

    def tell(self, call: Callable[..., Any], *args: Any) -> bool:
        """Have something called on the loop; False: it is closed, nobody waits."""
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:
            return False
        return True


def _set_result(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _set_error(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
