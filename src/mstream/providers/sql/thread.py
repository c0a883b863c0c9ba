"""One thread that makes the blocking calls of one object, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


class CallThread:
    """Runs calls one after another, away from the event loop."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, call: Callable[[], T]) -> T:
        """The call's answer; a caller that is cancelled does not stop it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def begin(self, call: Callable[[], None]) -> None:
        """The same for a call that tells whoever waits for it by itself, and does not raise."""
        self._pool.submit(call)

    def end(self) -> None:
        """Takes no more; returns at once."""
        self._pool.shutdown(wait=False)


@asynccontextmanager
async def call_thread(name: str) -> AsyncIterator[CallThread]:
    """A thread for the time of the body."""
    thread = CallThread(name)
    try:
        yield thread
    finally:
        thread.end()
