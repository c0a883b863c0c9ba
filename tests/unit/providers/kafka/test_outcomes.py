"""Which records failed, and which must come again, by the reports of a producer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from confluent_kafka import KafkaError, Message

from mstream.domain.batch import Batch
from mstream.errors import MstreamError, RecordRefused, Unreachable
from mstream.providers.kafka.faults import kafka_error
from mstream.providers.kafka.outcomes import outcome_of, wire_size, with_followers
from mstream.providers.kafka.records import Messages
from tests.unit.providers.kafka.made import message

GONE, LARGE, BAD = KafkaError._PURGE_QUEUE, KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD


def made(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None, **more: Any) -> Messages:
    given: dict[str, Any] = {"topics": "t", "times": None, "headers": None, "refused": {}, **more}
    return Messages(values=values, keys=keys, **given)


def failed(code: int, value: bytes | None, key: bytes | None = None) -> tuple[KafkaError, Message]:
    return KafkaError(code), message(value=value, key=key)


def error_of(error: Any, topic: str) -> MstreamError:
    return kafka_error(error, topic)


def test_failed_records_are_found_by_their_content() -> None:
    found = outcome_of(made([b"a", b"b", b"c"]), [failed(GONE, b"c"), failed(BAD, b"a")], {}, error_of)

    assert {index: type(each) for index, each in found.refused.items()} == {0: RecordRefused}
    assert {index: type(each) for index, each in found.again.items()} == {2: Unreachable}


def test_of_records_that_are_alike_those_behind_have_failed() -> None:
    same = made([b"a"] * 4, [b"k", b"k", None, b"k"])

    found = outcome_of(same, [failed(GONE, b"a", b"k"), failed(GONE, b"a", b"k")], {}, error_of)
    assert sorted(found.again) == [1, 3]


def test_records_that_were_refused_before_are_no_candidates() -> None:
    given = made([b"a", b"a"], refused={1: RecordRefused("no key")})

    assert list(outcome_of(given, [failed(GONE, b"a")], {}, error_of).again) == [0]


def test_records_that_never_reached_the_client_have_not_failed_there() -> None:
    same = made([b"a", b"b", b"a"])

    found = outcome_of(same, [failed(GONE, b"a"), failed(GONE, b"b")], {}, error_of, never_sent=[2])

    assert sorted(found.again) == [0, 1]


def test_a_request_that_is_too_large_fails_those_above_the_limit() -> None:
    values = [b"x" * 10, b"y" * 500, b"z" * 20]
    reports = [failed(LARGE, each) for each in values]

    found = outcome_of(made(values), reports, {"t": 300}, error_of)
    assert (sorted(found.refused), sorted(found.again)) == ([1], [0, 2])


def test_without_a_limit_the_largest_is_too_large() -> None:
    values = [b"x" * 10, b"z" * 20]
    reports = [failed(LARGE, each) for each in values]

    for limits in ({}, {"t": None}, {"t": 10_000}):
        found = outcome_of(made(values), reports, limits, error_of)
        assert (sorted(found.refused), sorted(found.again)) == ([1], [0])


def test_messages_that_were_alone_are_each_too_large() -> None:
    values = [b"x" * 10, b"z" * 20]
    reports = [failed(LARGE, each) for each in values]

    assert sorted(outcome_of(made(values), reports, {"t": None}, error_of, is_exact=True).refused) == [0, 1]


def test_the_size_of_a_message_counts_key_and_headers() -> None:
    plain = wire_size(made([b"x" * 100]), 0)

    assert 100 < plain < 200
    assert wire_size(made([b"x" * 100], [b"k" * 50]), 0) == plain + 50
    assert wire_size(made([b"x" * 100], headers=[{"ö": "ü"}]), 0) >= plain + 4
    assert wire_size(made([b"x" * 100], headers=[[("a", None), ("a", b"12")]]), 0) >= plain + 4
    assert wire_size(made([None]), 0) == plain - 100


def test_later_records_of_the_same_key_come_again_too() -> None:
    keys = [b"a", b"b", b"a", None, b"b", None]
    batch = Batch(payloads=[b"x"] * 6, keys=keys, lanes=["1", "1", "1", "1", "1", "1"], positions={"1": 6})
    gone = Unreachable("gone")

    assert [each.index for each in with_followers(batch, keys, {1: gone}, {})] == [1, 4]
    assert [each.index for each in with_followers(batch, keys, {0: gone}, {2: 1})] == [0]
    assert with_followers(batch, keys, {}, {0: 1}) == []


def test_without_a_key_later_records_of_the_same_lane_come_again_too() -> None:
    batch = Batch(payloads=[b"x"] * 4, lanes=["1", "2", "1", "2"], positions={"1": 2, "2": 2})
    gone = Unreachable("gone")

    assert [each.index for each in with_followers(batch, None, {1: gone}, {})] == [1, 3]
