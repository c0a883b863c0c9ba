"""Orders to a run: handed to its source between two reads, answered once they cannot be forgotten any more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from mstream.domain.batch import Batch
from mstream.domain.orders import SnapshotOrder
from mstream.engine.settlement import Ticket
from mstream.errors import IllegalTransition, MstreamError
from mstream.ports.roles import Snapshotting, Source

Answer = asyncio.Future[None]


class Orders:
    """Given from outside, taken by whoever reads; lives on the run's own loop."""

    def __init__(self) -> None:
        #: Set while one is there to be taken.
        self.waiting = asyncio.Event()
        self._queue: deque[tuple[SnapshotOrder, Answer]] = deque()
        #: Of the order that the source has just taken.
        self._taken: Answer | None = None
        self._entered: asyncio.Queue[tuple[Ticket, Answer]] = asyncio.Queue()

    async def give(self, order: SnapshotOrder) -> None:
        """Returns once the run's saved place carries it, raises what its source has against it."""
        answer: Answer = asyncio.get_running_loop().create_future()
        self._queue.append((order, answer))
        self.waiting.set()
        await answer

    def pop(self) -> tuple[SnapshotOrder, Answer]:
        """The next one, and where its answer belongs."""
        first = self._queue.popleft()
        if not self._queue:
            self.waiting.clear()
        return first

    async def taken(self, source: Source) -> Batch | None:
        """Hand the next one to the source: a batch to be entered before it is read again; None: it was refused.

        Safe to cancel: the run ends then, and with it the order.
        """
        order, answer = self.pop()
        if answer.done():
            return None
        try:
            if not isinstance(source, Snapshotting):
                message = "its source cannot be read again while it goes on; stop the job, and reset its checkpoint"
                raise IllegalTransition(message)
            batch = await source.snapshot(order)
        except MstreamError as error:
            _refuse(answer, error)
            return None
        self._taken = answer
        return batch

    def entered(self, ticket: Ticket) -> None:
        """This is the batch of the order that was taken last, if none has been entered since."""
        if self._taken is not None:
            self._entered.put_nowait((ticket, self._taken))
            self._taken = None

    async def confirm(self, safe: Callable[[Ticket], Awaitable[None]], kept: Callable[[], Awaitable[None]]) -> None:
        """Without end: answer each once the place behind its batch is safe, and that is kept."""
        while True:
            ticket, answer = await self._entered.get()
            await safe(ticket)
            await kept()
            if not answer.done():
                answer.set_result(None)


def _refuse(answer: Answer, error: MstreamError) -> None:
    if not answer.done():
        answer.set_exception(error)
