"""Partitions that are given and taken while the group changes, with a client that says what it is told to say."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Mapping
from typing import Any, TypeVar, cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from mstream.domain.batch import Encoding
from mstream.domain.checkpoint import Lane, Position
from mstream.errors import Unreachable
from mstream.ports.roles import Limit, Resume
from mstream.providers.kafka.backlog import Backlog
from mstream.providers.kafka.membership import Membership
from mstream.providers.kafka.places import Places
from mstream.providers.kafka.reading import KafkaSourceOptions
from mstream.providers.kafka.topic_ids import TopicIds

T = TypeVar("T")


class Client:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.refusals: list[Exception] = []
        self.assigned: list[tuple[str, int]] = []
        self.paused: list[str] = []

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.callbacks = callbacks

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        return partitions

    def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
        return 3, 9

    def commit(self, *, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        if self.refusals:
            raise self.refusals.pop(0)
        return offsets

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned += [(f"{each.topic}/{each.partition}", each.offset) for each in partitions]

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        gone = {f"{each.topic}/{each.partition}" for each in partitions}
        self.assigned = [each for each in self.assigned if each[0] not in gone]

    def pause(self, partitions: list[TopicPartition]) -> None:
        self.paused += [f"{each.topic}/{each.partition}" for each in partitions]

    def resume(self, partitions: list[TopicPartition]) -> None:
        gone = {f"{each.topic}/{each.partition}" for each in partitions}
        self.paused = [each for each in self.paused if each not in gone]


class Run:
    """The run's lanes; answers at once."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[Lane]]] = []

    async def assigned(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        self.told.append(("assigned", sorted(lanes)))
        return {}

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Position]:
        self.told.append(("revoked", sorted(lanes)))
        return {}

    async def lost(self, lanes: Collection[Lane]) -> None:
        self.told.append(("lost", sorted(lanes)))

    def ask(self, work: Coroutine[Any, Any, T], seconds: float) -> T | None:
        return asyncio.run(work)


class NoIds:
    def of(self, topics: Collection[str]) -> dict[str, str]:
        return {}


class Seat:
    """A member, its client and its run."""

    def __init__(self) -> None:
        self.client, self.run, self.backlog = Client(), Run(), Backlog(Encoding.JSON)
        resume = Resume(job="orders")
        self.member = Membership(
            lanes=self.run,
            resume=resume,
            places=Places(resume, KafkaSourceOptions(), ["t"]),
            topic_ids=cast("TopicIds", NoIds()),
            backlog=self.backlog,
            loop=self.run,
            is_eager=False,
            patience=300,
        )
        self.member.subscribe(self.consumer, ["t"])

    @property
    def consumer(self) -> Consumer:
        return cast("Consumer", self.client)

    def happens(self, what: str, *numbers: int) -> None:
        self.client.callbacks[f"on_{what}"](self.client, [TopicPartition("t", each) for each in numbers])


@pytest.fixture
def seat() -> Seat:
    return Seat()


def test_a_beginning_that_is_refused_is_tried_again(seat: Seat) -> None:
    seat.client.refusals = [
        KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS)),
        Unreachable("the store is away"),
    ]
    seat.happens("assign", 0, 1)

    for _ in range(2):
        with pytest.raises((KafkaException, Unreachable)):
            seat.member.begin(seat.consumer)
        assert seat.client.assigned == []
        assert not seat.member.has_begun()
    assert seat.member.begin(seat.consumer)

    assert seat.member.has_begun()
    assert seat.client.assigned == [("t/0", 3), ("t/1", 3)]
    assert not seat.member.begin(seat.consumer)


def test_partitions_that_go_before_they_have_begun_are_given_back(seat: Seat) -> None:
    """The run has claimed them for them by then."""
    seat.client.refusals = [KafkaException(KafkaError(KafkaError.REBALANCE_IN_PROGRESS))]
    seat.happens("assign", 0, 1)
    with pytest.raises(KafkaException):
        seat.member.begin(seat.consumer)

    seat.happens("revoke", 1)
    seat.member.begin(seat.consumer)

    assert seat.run.told == [("assigned", ["t/0", "t/1"]), ("revoked", ["t/1"]), ("assigned", ["t/0"])]
    assert seat.client.assigned == [("t/0", 3)]


def test_nothing_is_asked_of_the_run_for_partitions_that_it_has_never_heard_of(seat: Seat) -> None:
    seat.happens("assign", 0)
    seat.happens("lost", 0)

    assert not seat.member.begin(seat.consumer)
    assert seat.run.told == []


def test_a_partition_that_comes_back_while_nobody_reads_brings_nothing(seat: Seat) -> None:
    seat.happens("assign", 0, 1)
    seat.member.begin(seat.consumer)
    seat.member.hold(seat.consumer)
    seat.happens("revoke", 0)
    seat.client.paused.remove("t/0")

    seat.happens("assign", 0)
    seat.member.begin(seat.consumer)

    assert sorted(seat.client.paused) == ["t/0", "t/1"]
    seat.member.release(seat.consumer)
    assert seat.client.paused == []


def test_a_paused_partition_stays_so_while_others_are_held_and_released(seat: Seat) -> None:
    seat.happens("assign", 0, 1)
    seat.member.begin(seat.consumer)
    seat.member.pause(seat.consumer, ["t/0"])
    seat.member.hold(seat.consumer)
    seat.member.release(seat.consumer)
    assert seat.client.paused == ["t/0"]

    seat.member.hold(seat.consumer)
    seat.member.resume(seat.consumer, ["t/0"])
    assert sorted(seat.client.paused) == ["t/0", "t/1"]
    seat.member.release(seat.consumer)
    assert seat.client.paused == []


def test_what_is_taken_is_not_read_any_more(seat: Seat) -> None:
    seat.happens("assign", 0, 1)
    seat.member.begin(seat.consumer)

    seat.happens("revoke", 0)

    batch = seat.backlog.take(Limit())
    assert batch is not None
    assert set(batch.positions) == {"t/1"}
    assert seat.run.told[-1] == ("revoked", ["t/0"])
