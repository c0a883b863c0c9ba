"""A consumer's messages as columns."""

from __future__ import annotations

import pytest

from mstream.domain.batch import Encoding
from mstream.providers.kafka.messages import batch_of, headers_of, positions_after
from tests.unit.providers.kafka.made import message, messages


def test_messages_of_one_partition_become_the_columns_of_one_lane() -> None:
    batch = batch_of(
        [
            message(4, b"a", key=b"k", timestamp=(1, 7)),
            message(9, None, timestamp=(2, 8)),
            message(10, b"", timestamp=(0, 0)),
        ],
        Encoding.BSON,
    )

    assert batch.payloads == [b"a", None, b""]
    assert batch.keys == [b"k", None, None]
    assert batch.encoding is Encoding.BSON
    assert batch.lanes is None
    assert batch.lane == "t/0"
    assert list(batch.times or ()) == [7, 8, None]
    assert list(batch.marks or ()) == [4, 9, 10]
    assert batch.positions == {"t/0": {"next_offset": 11}}


def test_where_no_message_has_a_key_there_is_no_column() -> None:
    assert batch_of(messages(3), Encoding.JSON).keys is None
    assert batch_of([message(key=b"")], Encoding.JSON).keys == [b""]


def test_messages_of_several_partitions_keep_their_lanes() -> None:
    batch = batch_of(
        [message(3), message(8, partition=1), message(4), message(0, topic="u", partition=1), message(9, partition=1)],
        Encoding.JSON,
    )

    assert list(batch.lanes or ()) == ["t/0", "t/1", "t/0", "u/1", "t/1"]
    assert batch.positions == {"t/0": {"next_offset": 5}, "t/1": {"next_offset": 10}, "u/1": {"next_offset": 1}}


def test_partitions_of_one_number_in_two_topics_are_two_lanes() -> None:
    batch = batch_of([message(0), message(0, topic="u")], Encoding.JSON)

    assert batch.positions == {"t/0": {"next_offset": 1}, "u/0": {"next_offset": 1}}


@pytest.mark.parametrize(
    ("count", "positions"),
    [
        (0, {}),
        (1, {"t/0": 4}),
        (2, {"t/0": 4, "t/1": 9}),
        (3, {"t/0": 8, "t/1": 9}),
        (4, {"t/0": 8, "t/1": 10}),
        (9, {"t/0": 8, "t/1": 10}),
    ],
)
def test_positions_after_some_of_the_records(count: int, positions: dict[str, int]) -> None:
    batch = batch_of([message(3), message(8, partition=1), message(7), message(9, partition=1)], Encoding.JSON)

    assert positions_after(batch, count) == {lane: {"next_offset": at} for lane, at in positions.items()}


def test_positions_after_some_of_the_records_of_one_lane_and_of_a_piece_of_it() -> None:
    batch = batch_of([message(each) for each in (2, 5, 6, 11, 12)], Encoding.JSON)
    piece = batch.without([0, 2])

    assert positions_after(batch, 0) == {}
    assert positions_after(batch, 2) == {"t/0": {"next_offset": 6}}
    assert positions_after(piece, 1) == {"t/0": {"next_offset": 6}}
    assert positions_after(piece, 2) == {"t/0": {"next_offset": 12}}


def test_positions_name_the_topic_by_its_id_where_it_is_known() -> None:
    batch = batch_of([message(3), message(4, topic="u"), message(5)], Encoding.JSON, topic_ids={"t": "x"})

    assert batch.positions == {"t/0": {"next_offset": 6, "topic_id": "x"}, "u/0": {"next_offset": 5}}
    assert positions_after(batch, 2) == {"t/0": {"next_offset": 4, "topic_id": "x"}, "u/0": {"next_offset": 5}}


def test_a_batch_is_cut_like_any_other() -> None:
    batch = batch_of(messages(5, headers=[("n", b"1")]), Encoding.JSON)
    first, second = batch.slices(3)

    assert [(each or {})["offset"] for each in second.headers or ()] == ["3", "4"]
    assert list(first.times or ()) == [1000] * 3
    assert (batch.pick([4, 0]).headers or [])[0]["offset"] == "4"  # type: ignore[index]  # every message has some


def test_headers_as_text_and_where_the_message_came_from() -> None:
    raw: list[tuple[str, bytes | None]] = [("a", b"1"), ("b", "Zoë".encode()), ("topic", b"mine")]
    found = headers_of(message(5, headers=raw, partition=2))

    assert dict(found) == {
        "a": "1",
        "b": "Zoë",
        "origin": "kafka",
        "topic": "t",
        "partition": "2",
        "offset": "5",
    }
    assert len(found) == 6
    assert repr(found) == repr(dict(found))
    assert list(found.raw) == raw


def test_headers_that_are_no_text_lose_nothing_as_they_came() -> None:
    raw: list[tuple[str, bytes | None]] = [("a", b"first"), ("a", b"last"), ("b", b"\xff\x00x"), ("c", None), ("", b"")]
    found = headers_of(message(headers=raw))

    assert (found["a"], found["b"], found["c"], found[""]) == ("last", "\\xff\x00x", "", "")
    assert list(found.raw) == raw


def test_a_message_without_headers() -> None:
    found = headers_of(message())

    assert set(found) == {"origin", "topic", "partition", "offset"}
    assert list(found.raw) == []
