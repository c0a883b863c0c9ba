"""What was brought and is not read yet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Batch, Encoding
from mstream.ports.roles import Limit
from mstream.providers.kafka.backlog import Backlog
from tests.unit.providers.kafka.made import message, messages

AMPLE = Limit()


def backlog() -> Backlog:
    return Backlog(Encoding.JSON)


def offsets(batch: Batch | None) -> list[int]:
    assert batch is not None
    return list(batch.marks or ())


def places(batch: Batch | None) -> dict[str, int]:
    assert batch is not None
    return {lane: at["next_offset"] for lane, at in batch.positions.items() if at is not None}


def test_an_empty_one_gives_nothing() -> None:
    assert backlog().take(AMPLE) is None


def test_messages_come_in_their_order_within_the_limit() -> None:
    it = backlog()
    it.put(messages(7, value=b"12345"))

    assert offsets(it.take(Limit(records=2))) == [0, 1]
    assert offsets(it.take(Limit(bytes=11))) == [2, 3]
    assert offsets(it.take(Limit(bytes=1))) == [4]
    assert offsets(it.take(AMPLE)) == [5, 6]
    assert it.take(AMPLE) is None


@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 60))
def test_no_limit_is_passed_and_nothing_is_lost(sizes: list[int], records: int, size: int) -> None:
    it, limit = backlog(), Limit(records=records, bytes=size)
    it.put([message(number, b"x" * each) for number, each in enumerate(sizes)])

    found: list[int] = []
    while (batch := it.take(limit)) is not None:
        assert len(batch) <= records
        assert len(batch) == 1 or batch.size() <= size
        found += offsets(batch)

    assert found == list(range(len(sizes)))


def test_there_is_room_for_what_the_reader_takes() -> None:
    it = backlog()
    it.take(Limit(records=10, bytes=100))

    assert it.room() == 1
    it.put([message(0, b"x" * 20)])
    assert it.room() == 4
    it.put(messages(4, 1, value=b"x" * 20))
    assert it.room() == 0
    assert it.full_for() >= 0
    it.take(Limit(records=10, bytes=100))
    assert it.room() == 5
    assert it.full_for() == 0


def test_there_is_no_room_for_more_records_than_the_reader_takes() -> None:
    it = backlog()
    it.take(Limit(records=5))
    it.put(messages(2))

    assert it.room() == 3
    it.put(messages(3, 2))
    assert it.room() == 0


@pytest.mark.parametrize("limit", [Limit(records=4), Limit(records=100, bytes=80)], ids=["records", "bytes"])
def test_what_is_half_full_is_not_filled_up_message_by_message(limit: Limit) -> None:
    it = backlog()
    it.take(limit)
    it.put(messages(2, value=b"x" * 20))

    assert it.room() == 0


def test_a_beginning_is_told_before_the_first_message() -> None:
    it = backlog()
    it.begin({"t/0": 5, "t/1": 6}, told=["t/1"])
    it.put(messages(1, 5))

    first, second = it.take(AMPLE), it.take(AMPLE)

    assert places(first) == {"t/0": 5}
    assert offsets(second) == [5]
    assert it.read_up_to() == {"t/0": 6, "t/1": 6}


def test_an_end_is_told_after_the_last_message() -> None:
    """Behind messages that are nobody's, as those of a transaction that was given up."""
    it = backlog()
    it.begin({"t/0": 0}, told=["t/0"])
    it.put(messages(2))
    it.end("t/0", 5)

    first, second = it.take(AMPLE), it.take(AMPLE)

    assert places(first) == {"t/0": 2}
    assert places(second) == {"t/0": 5}
    assert it.take(AMPLE) is None


def test_an_end_that_is_known_or_overtaken_is_not_told() -> None:
    it = backlog()
    it.begin({"t/0": 0, "t/1": 0}, told=["t/0", "t/1"])
    it.end("t/0", 0)
    assert it.take(AMPLE) is None

    it.end("t/0", 3)
    it.put(messages(1, 3))
    assert places(it.take(AMPLE)) == {"t/0": 4}
    assert it.take(AMPLE) is None


def test_an_end_that_messages_have_passed_takes_nobody_back() -> None:
    """Also where it is heard of after them."""
    it = backlog()
    it.begin({"t/0": 0}, told=["t/0"])
    it.put(messages(7))
    it.end("t/0", 5)

    assert places(it.take(AMPLE)) == {"t/0": 7}
    assert it.take(AMPLE) is None


def test_the_end_of_a_lane_that_is_another_members_is_not_told() -> None:
    it = backlog()
    it.end("t/0", 3)

    assert it.take(AMPLE) is None


def test_a_lane_that_goes_on_elsewhere_says_so_behind_what_was_fetched_before() -> None:
    it = backlog()
    it.begin({"t/0": 90}, told=["t/0"])
    it.put(messages(2, 90))
    it.go_on("t/0", 7)

    first, second = it.take(AMPLE), it.take(AMPLE)

    assert places(first) == {"t/0": 92}
    assert places(second) == {"t/0": 7}
    it.put(messages(1, 7))
    assert places(it.take(AMPLE)) == {"t/0": 8}


def test_progress_names_the_topic_too() -> None:
    it = backlog()
    it.topic_ids = {"t": "x"}
    it.begin({"t/0": 5}, told=())

    batch = it.take(AMPLE)

    assert batch is not None
    assert batch.positions == {"t/0": {"next_offset": 5, "topic_id": "x"}}


def test_what_is_dropped_is_gone_with_all_that_is_known_of_it() -> None:
    it = backlog()
    it.begin({"t/0": 0, "t/1": 0, "t/2": 0}, told=["t/1"])
    it.put([*messages(3), *messages(2, partition=1), *messages(1, partition=2)])
    it.end("t/0", 9)

    it.drop(["t/0", "t/2"])

    assert it.read_up_to() == {"t/1": 0}
    assert places(it.take(AMPLE)) == {"t/1": 2}
    assert it.take(AMPLE) is None
    assert set(it.times()) == {"t/1"}


def test_dropping_makes_room() -> None:
    it = backlog()
    it.take(Limit(records=4, bytes=100))
    it.put(messages(4, value=b"x" * 25))
    assert it.room() == 0

    it.drop(["t/0"])

    assert it.room() == 4


def test_lanes_that_were_set_aside_wait_and_others_go_on() -> None:
    it = backlog()
    it.begin({"t/0": 0, "t/1": 0}, told=["t/0", "t/1"])
    it.take(Limit(records=5, bytes=100))
    it.put([message(0), message(0, partition=1), message(1), message(1, partition=1), message(2)])
    it.end("t/0", 9)
    it.set_aside(["t/0"])
    assert it.room() == 3

    assert places(it.take(AMPLE)) == {"t/1": 2}
    assert it.take(AMPLE) is None
    assert it.read_up_to()["t/0"] == 0

    it.put_back(["t/0"])
    assert offsets(it.take(AMPLE)) == [0, 1, 2]
    assert places(it.take(AMPLE)) == {"t/0": 9}


def test_what_waits_aside_can_be_dropped_and_put_back_twice() -> None:
    it = backlog()
    it.put(messages(2))
    it.set_aside(["t/0"])
    it.set_aside(["t/0"])
    it.drop(["t/0"])
    it.put_back(["t/0"])
    it.put_back(["t/0"])

    assert it.take(AMPLE) is None


def test_the_time_of_the_last_message_of_each_lane_is_known() -> None:
    it = backlog()
    it.put(
        [
            message(0, timestamp=(1, 10)),
            message(0, partition=1, timestamp=(1, 20)),
            message(1, timestamp=(2, 30)),
            message(0, partition=2, timestamp=(0, 0)),
        ]
    )
    assert it.times() == {}

    it.take(AMPLE)

    assert it.times() == {"t/0": 30, "t/1": 20}
