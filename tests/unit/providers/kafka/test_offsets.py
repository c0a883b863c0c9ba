"""Where a partition begins."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstream.encodings.cursors import cursor_of, positions_of
from mstream.providers.kafka.offsets import AtTime, Edge, Noted, Place, beginning, note, noted, offset_in, refused
from mstream.providers.kafka.reading import KafkaSourceOptions
from mstream.providers.kafka.topic_ids import made_anew

NOW = 1_000_000_000_000
LANE = "t/0"


def options(**given: Any) -> KafkaSourceOptions:
    return KafkaSourceOptions.model_validate(given)


def begins(
    stored: int | None = None,
    group: Noted | None = None,
    *,
    resets: int = 0,
    is_new: bool = False,
    is_copy: bool = False,
    **given: Any,
) -> Place:
    return beginning(
        LANE,
        stored=stored,
        group=group,
        resets=resets,
        is_new=is_new,
        is_copy=is_copy,
        options=options(**given),
        now_ms=NOW,
    )


def at(offset: int, resets: int = 0) -> Noted:
    return Noted(offset=offset, resets=resets)


@pytest.mark.parametrize(
    ("stored", "group", "resets", "place"),
    [
        (7, None, 0, 7),
        (None, at(7), 0, 7),
        (0, None, 0, 0),
        (None, at(0), 0, 0),
        (7, at(5), 0, 7),
        (5, at(7), 0, 7),
        # What was noted before the job was put somewhere by hand counts no more.
        (5, at(7), 1, 5),
        (5, at(7, resets=1), 1, 7),
        (5, at(7, resets=1), 2, 5),
        (None, at(7), 1, Edge.END),
        (None, at(7, resets=1), 1, 7),
        # Of a later time than this run, which will not live long.
        (5, at(7, resets=2), 1, 7),
        (None, None, 0, Edge.END),
        (None, None, 3, Edge.END),
    ],
)
def test_the_later_of_what_is_stored_and_what_the_group_has_noted(
    stored: int | None, group: Noted | None, resets: int, place: Place
) -> None:
    assert begins(stored, group, resets=resets, start="latest") == place


@pytest.mark.parametrize(
    ("stored", "group", "resets", "place"),
    [(9, at(7), 0, 7), (9, None, 0, 9), (9, at(7), 1, 9), (9, at(7, resets=1), 1, 7), (5, at(7), 0, 7)],
)
def test_a_copy_counts_only_where_the_group_says_nothing(
    stored: int, group: Noted | None, resets: int, place: Place
) -> None:
    assert begins(stored, group, resets=resets, is_copy=True) == place


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, Edge.FIRST),
        ({"start": "earliest"}, Edge.FIRST),
        ({"start": "latest"}, Edge.END),
        ({"start": "timestamp", "start_timestamp": "2026-01-31T08:00:00+01:00"}, AtTime(1_769_842_800_000)),
        ({"start": "timestamp", "start_timestamp": datetime(1970, 1, 1, tzinfo=UTC)}, AtTime(0)),
        ({"start": "offsets", "start_offsets": {LANE: 0}}, 0),
        ({"start": "offsets", "start_offsets": {LANE: 12}}, 12),
        ({"start": "offsets", "start_offsets": {"t/1": 12}}, Edge.FIRST),
        ({"offset_seek_back_seconds": 0}, AtTime(NOW)),
        ({"offset_seek_back_seconds": 90}, AtTime(NOW - 90_000)),
        ({"offset_seek_back_seconds": 10_000_000_000}, AtTime(0)),
        ({"start": "timestamp", "start_timestamp": "1969-12-31T23:59:59Z"}, AtTime(0)),
        # The nearer word counts: the service may say the first, the connector the second.
        ({"offset_seek_back_seconds": 90, "start": "latest"}, AtTime(NOW - 90_000)),
    ],
)
def test_where_nothing_is_known_the_options_say(given: dict[str, Any], place: Place) -> None:
    assert begins(**given) == place
    assert begins(5, **given) == 5
    assert begins(None, at(5), **given) == 5


def test_a_partition_that_was_added_is_read_from_its_beginning_whatever_the_options_say() -> None:
    told: list[dict[str, Any]] = [
        {"start": "latest"},
        {"offset_seek_back_seconds": 0},
        {"start": "offsets", "start_offsets": {LANE: 9}},
    ]
    assert [begins(is_new=True, **each) for each in told] == [Edge.FIRST] * 3
    assert begins(5, is_new=True) == 5
    assert begins(None, at(6), is_new=True) == 6


def test_after_a_reset_the_options_count_for_a_partition_that_was_there_before() -> None:
    assert begins(None, at(6), resets=1, is_new=True, start="latest") is Edge.END


@given(
    st.none() | st.integers(0, 1 << 40),
    st.none() | st.builds(Noted, offset=st.integers(0, 1 << 40), resets=st.integers(0, 3)),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_no_message_that_is_known_to_be_delivered_comes_again_and_no_other_is_left_out(
    stored: int | None, group: Noted | None, resets: int, is_new: bool, is_copy: bool
) -> None:
    place = begins(stored, group, resets=resets, is_new=is_new, is_copy=is_copy)

    counts = group is not None and group.resets >= resets
    known = {each for each in (stored, group.offset if group and counts else None) if each is not None}
    if known:
        assert place in known
        assert is_copy or place == max(known)
    else:
        assert place is Edge.FIRST


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 31))
def test_what_is_noted_is_found_again(offset: int, resets: int) -> None:
    assert noted(offset, note(resets)) == at(offset, resets)


@pytest.mark.parametrize(
    ("metadata", "resets"), [(None, 0), ("", 0), ("someone", 0), ("mstream resets=4", 4), ("mstream resets=4 x", 0)]
)
def test_the_notes_of_others_are_of_no_reset(metadata: str | None, resets: int) -> None:
    assert noted(3, metadata) == at(3, resets)


def test_without_a_committed_offset_there_is_no_note() -> None:
    assert noted(-1001, None) is None
    assert note(0) is None


@pytest.mark.parametrize(
    ("position", "offset"),
    [
        ({"next_offset": 3}, 3),
        ({"next_offset": 0}, 0),
        ({"next_offset": True}, None),
        ({"next_offset": -1}, None),
        ({"next_offset": "3"}, None),
        ({}, None),
        (None, None),
        (3, None),
        ("3", None),
    ],
)
def test_the_offset_of_a_position(position: Any, offset: int | None) -> None:
    assert offset_in(position) == offset


@pytest.mark.parametrize(
    ("position", "ids", "is_another"),
    [
        ({"next_offset": 3, "topic_id": "x"}, {"t": "x"}, False),
        ({"next_offset": 3, "topic_id": "x"}, {"t": "y"}, True),
        # Of clusters that know no ids, of older positions, and of such as were given by hand nobody can tell.
        ({"next_offset": 3, "topic_id": "x"}, {}, False),
        ({"next_offset": 3, "topic_id": "x"}, {"u": "y"}, False),
        ({"next_offset": 3}, {"t": "y"}, False),
        (None, {"t": "y"}, False),
    ],
)
def test_whether_a_position_was_in_another_topic_of_the_name(
    position: Any, ids: dict[str, str], is_another: bool
) -> None:
    assert made_anew("t/0", position, ids) is is_another


@pytest.mark.parametrize(
    ("lane", "position", "is_refused"),
    [
        ("t/0", {"next_offset": 3}, False),
        ("a.b-c_d/17", {"next_offset": 0}, False),
        ("t", {"next_offset": 3}, True),
        ("/0", {"next_offset": 3}, True),
        ("t/x", {"next_offset": 3}, True),
        ("", {"next_offset": 3}, True),
        ("t/0", {"next_offset": 3, "topic_id": "x"}, False),
        ("t/0", {"topic_id": "x"}, True),
        ("t/0", {"offset": 3}, True),
        ("t/0", {"next_offset": 3, "offset": 3}, True),
        ("t/0", {"next_offset": "3"}, True),
        ("t/0", 3, True),
    ],
)
def test_a_position_that_is_given_by_hand_is_looked_at(lane: str, position: Any, is_refused: bool) -> None:
    assert (refused(lane, position) is not None) is is_refused


def test_v047_goes_on_from_a_position_with_the_topics_id() -> None:
    cursor = cursor_of({"t/0": {"next_offset": 3, "topic_id": "x"}})

    assert cursor is not None
    assert positions_of(cursor) == {"t/0": {"next_offset": 3}}
