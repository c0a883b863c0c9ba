"""The messages of one batch at a producer, counted down."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException, Message

from .faults import OF_A_RECORD, fault_of
from .records import Messages


class Lot:
    """The messages of one batch at a producer."""

    __slots__ = ("began", "done", "failed", "is_exact", "left", "messages", "number", "on_failure", "refused", "unsent")

    def __init__(self, messages: Messages, on_failure: Callable[[KafkaError, str | None], None]) -> None:
        loop = asyncio.get_running_loop()
        self.on_failure = on_failure
        #: Which one of its sink's it is.
        self.number = 0
        self.messages = messages
        self.began = loop.time()
        #: Done once every message has been reported.
        self.done: asyncio.Future[None] = loop.create_future()
        self.left = len(messages.values) - len(messages.refused)
        #: What was reported with an error.
        self.failed: list[tuple[KafkaError, Message]] = []
        #: Indexes that the client has refused by itself.
        self.refused: dict[int, KafkaException | TypeError | ValueError] = {}
        #: Indexes that never reached the client.
        self.unsent: list[int] = []
        #: No message has failed because of another one.
        self.is_exact = False
        if not self.left:
            self.done.set_result(None)

    def report(self, error: KafkaError | None, message: Message) -> None:
        """What the client says of one message; called in a poll."""
        if error is not None:
            self.failed.append((error, message))
            self.on_failure(error, message.topic())
        self.left -= 1
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def skip(self, count: int) -> None:
        """So many are not reported."""
        self.left -= count
        if not self.left and not self.done.done():
            self.done.set_result(None)

    def is_delivered(self) -> bool:
        """Every message is acknowledged, but for those that the client itself has refused."""
        return self.done.done() and not self.failed and not self.unsent

    def has_bad_records(self) -> bool:
        """Whether the cluster has refused one of its messages, or those that came with it."""
        return any(fault_of(error) in OF_A_RECORD for error, _ in self.failed)
