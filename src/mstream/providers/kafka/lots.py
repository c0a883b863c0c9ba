"""The messages of one batch at a producer, and when the producer is done with them."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from .faults import OF_A_RECORD, fault_of
from .records import Messages


class Lot:
    """The messages of one batch at a producer."""

    __slots__ = (
        "began",
        "done",
        "failed",
        "given",
        "is_exact",
        "left_out",
        "messages",
        "number",
        "refused",
        "tell",
        "unsent",
    )

    def __init__(self, messages: Messages, on_failure: Callable[[KafkaError, str | None], None]) -> None:
        loop = asyncio.get_running_loop()
        #: Hears of each failure.
        self.tell = on_failure
        #: Which one of its sink's it is.
        self.number = 0
        self.messages = messages
        self.began = loop.time()
        #: Done once the producer is done with every message.
        self.done: asyncio.Future[None] = loop.create_future()
        #: How many the producer has taken; not counted of messages that are sent alone.
        self.given = 0
        #: What was reported with an error.
        self.failed: list[tuple[KafkaError, Message]] = []
        #: Indexes that the client has refused by itself.
        self.refused: dict[int, KafkaException | TypeError | ValueError] = {}
        #: Indexes that never reached the client.
        self.unsent: list[int] = []
        #: Indexes that are none of its business.
        self.left_out: frozenset[int] = frozenset()
        #: No message has failed because of another one.
        self.is_exact = False

    def refuse(self, index: int, error: KafkaException | TypeError | ValueError) -> None:
        """The client does not take this one; what the error has come through would keep the lot's report."""
        self.refused[index] = error.with_traceback(None)

    def is_delivered(self) -> bool:
        """Every message is acknowledged, but for those that the client itself has refused."""
        is_done = self.done.done() and not self.done.cancelled() and self.done.exception() is None
        return is_done and not self.failed and not self.unsent

    def never_sent(self) -> frozenset[int]:
        """Indexes of which nothing can be reported."""
        return self.left_out.union(self.refused, self.unsent)

    def has_bad_records(self) -> bool:
        """Whether the cluster has refused one of its messages, or those that came with it."""
        return any(fault_of(error) in OF_A_RECORD for error, _ in self.failed)


class Report:
    """Called in a poll for each message that was not delivered.

    The client holds it for every message until it is done with that, delivered or not: with the last one it goes.
    """

    __slots__ = ("__weakref__", "_lot")

    def __init__(self, lot: Lot) -> None:
        self._lot = lot

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        """As the client calls it."""
        if error is not None:
            self._lot.failed.append((error, message))
            self._lot.tell(error, message.topic())


class Ledger:
    """What one producer owes: it tells of failures alone, as telling of every message costs more than sending it.

    A lot is done when its report is gone, and when the producer has also done with as many messages as were given to
    it in all lots that are done. The second is a check of the first: a client that lets go of reports too early makes
    no lot done at once, though messages of other lots that it has done with count for it.
    """

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        #: Messages that it has taken, and those of lots that are done.
        self.given = 0
        self._done = 0
        #: Lots whose reports are gone.
        self._silent: deque[Lot] = deque()
        self._watches: dict[Lot, weakref.ref[Report]] = {}

    def report(self, lot: Lot) -> Report:
        """What the producer is given with the messages of the lot; whoever has it lets go of it after the last one."""
        found, silent = Report(lot), self._silent
        self._watches[lot] = weakref.ref(found, lambda _: silent.append(lot))
        return found

    def settle(self) -> None:
        """Lots that are done are told so; called after polls."""
        while self._silent and self._done + self._silent[0].given <= self.given - len(self.producer):
            lot = self._silent.popleft()
            del self._watches[lot]
            self._done += lot.given
            if not lot.done.done():
                lot.done.set_result(None)
