"""When the messages of a batch are done, by what their producer still holds."""

from __future__ import annotations

from typing import Any

from confluent_kafka import KafkaError, KafkaException

from mstream.providers.kafka.lots import Ledger, Lot, Report
from mstream.providers.kafka.records import Messages


class Client:
    """Holds the report for each message, as a client does."""

    def __init__(self) -> None:
        self.held: list[Report] = []
        #: Of messages whose reports it has let go of too early.
        self.more = 0

    def __len__(self) -> int:
        return len(self.held) + self.more


class Failed:
    """A message of the client."""

    def topic(self) -> str:
        return "orders"


def told(told: list[Any]) -> Lot:
    messages = Messages("orders", [b"1", b"2"], None, None, None, {})
    return Lot(messages, lambda error, topic: told.append((error.code(), topic)))


def opened() -> tuple[Client, Ledger]:
    client = Client()
    return client, Ledger(client)  # type: ignore[arg-type]  # all that is asked of it


def give(client: Client, ledger: Ledger, lot: Lot, count: int) -> None:
    report = ledger.report(lot)
    for _ in range(count):
        client.held.append(report)
    lot.given += count
    ledger.given += count


async def test_a_lot_is_done_with_its_last_message() -> None:
    client, ledger = opened()
    first, second = told([]), told([])
    give(client, ledger, first, 2)
    give(client, ledger, second, 1)

    del client.held[0]
    ledger.settle()
    assert not first.done.done()
    del client.held[0]
    ledger.settle()
    assert (first.is_delivered(), second.done.done()) == (True, False)
    client.held.clear()
    ledger.settle()
    assert second.is_delivered()


async def test_a_lot_that_was_given_up_is_not_delivered() -> None:
    late, cancelled = told([]), told([])
    late.done.set_exception(TimeoutError())
    cancelled.done.cancel()

    assert (late.is_delivered(), cancelled.is_delivered()) == (False, False)
    assert isinstance(late.done.exception(), TimeoutError)


async def test_a_later_lot_may_be_done_first() -> None:
    client, ledger = opened()
    first, second = told([]), told([])
    give(client, ledger, first, 2)
    give(client, ledger, second, 1)

    client.held.pop()
    ledger.settle()

    assert (first.done.done(), second.done.done()) == (False, True)


async def test_a_lot_without_a_message_is_done_at_once() -> None:
    client, ledger = opened()
    lot = told([])

    give(client, ledger, lot, 0)
    ledger.settle()

    assert lot.is_delivered()


async def test_a_client_that_lets_go_too_early_is_not_believed() -> None:
    client, ledger = opened()
    lot = told([])
    give(client, ledger, lot, 2)

    client.more = 2
    client.held.clear()
    ledger.settle()
    assert not lot.done.done()
    client.more = 1
    ledger.settle()
    assert not lot.done.done()
    client.more = 0
    ledger.settle()
    assert lot.is_delivered()


async def test_failures_are_told_and_kept() -> None:
    client, ledger = opened()
    heard: list[Any] = []
    lot = told(heard)
    give(client, ledger, lot, 2)

    client.held.pop()(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), Failed())  # type: ignore[arg-type]  # as the client's
    client.held.pop()(None, Failed())  # type: ignore[arg-type]  # as the client's
    ledger.settle()

    assert heard == [(KafkaError.MSG_SIZE_TOO_LARGE, "orders")]
    assert lot.done.done()
    assert not lot.is_delivered()
    assert lot.has_bad_records()


async def test_what_the_client_does_not_take_keeps_nothing_alive() -> None:
    _, ledger = opened()
    lot = told([])

    def refused(report: Report) -> None:
        assert report is not None
        raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))

    try:
        refused(ledger.report(lot))
    except KafkaException as error:
        lot.refuse(0, error)
    ledger.settle()

    assert lot.done.done()
    assert list(lot.refused) == [0]
