"""Errors of the client: each judged, told with what to do, without secrets."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from mstream.errors import (
    AccessDenied,
    MstreamError,
    PositionLost,
    RecordRefused,
    ResourceMissing,
    ServiceError,
    Throttled,
    Unreachable,
)
from mstream.providers.kafka.faults import CODES, FAILURES, NAMES, Fault, fault_of, kafka_error, service_error, told


def every_name() -> set[str]:
    return {each for each in dir(KafkaError) if each.lstrip("_")[:1].isupper()}


def test_every_code_of_the_client_is_judged_once() -> None:
    names = [name for each in NAMES.values() for name in each.split()]

    assert len(names) == len(set(names))
    assert every_name() - set(names) == set()
    assert len(CODES) == len(every_name())


def test_a_code_that_is_not_judged_is_noticed() -> None:
    names = {name for each in NAMES.values() for name in each.split()} - {"_TRANSPORT"}

    assert every_name() - names == {"_TRANSPORT"}


@pytest.mark.parametrize(
    ("code", "kind", "retryable"),
    [
        (KafkaError._TRANSPORT, Unreachable, True),
        (KafkaError.NOT_ENOUGH_REPLICAS, Unreachable, True),
        (KafkaError.REBALANCE_IN_PROGRESS, Unreachable, True),
        (KafkaError._GAPLESS_GUARANTEE, Unreachable, True),
        (KafkaError._PURGE_QUEUE, Unreachable, True),
        (KafkaError.THROTTLING_QUOTA_EXCEEDED, Throttled, True),
        (KafkaError._AUTHENTICATION, AccessDenied, False),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, AccessDenied, False),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, ResourceMissing, False),
        (KafkaError.OFFSET_OUT_OF_RANGE, PositionLost, False),
        (KafkaError.PRODUCER_FENCED, ServiceError, False),
        (KafkaError._INVALID_ARG, ServiceError, False),
        (KafkaError.MSG_SIZE_TOO_LARGE, RecordRefused, False),
        (KafkaError.INVALID_RECORD, RecordRefused, False),
    ],
)
def test_what_an_error_becomes(code: int, kind: type[MstreamError], retryable: bool) -> None:
    error = kafka_error(KafkaException(KafkaError(code)), "service 'bus', topic 't'")

    assert type(error) is kind
    assert error.retryable is retryable
    assert str(error).startswith("service 'bus', topic 't': ")


def test_a_certificate_is_trusted_or_not_and_a_connection_that_was_cut_may_come_back() -> None:
    distrusted = KafkaError(KafkaError._SSL, "SSL handshake failed: certificate verify failed: broker certificate")
    cut = KafkaError(KafkaError._SSL, "SSL handshake failed: Disconnected")

    assert type(service_error(distrusted, "x")) is AccessDenied
    assert "ssl.ca.location" in str(service_error(distrusted, "x"))
    assert type(service_error(cut, "x")) is Unreachable
    assert fault_of(KafkaException(cut)) is Fault.UNREACHABLE


def test_where_no_record_is_meant_it_is_an_error_of_the_service() -> None:
    assert type(service_error(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), "x")) is ServiceError


def test_other_exceptions_are_told_by_their_name() -> None:
    assert fault_of(BufferError()) is Fault.BUSY
    assert fault_of(TimeoutError("secret text")) is Fault.UNREACHABLE
    assert told(TimeoutError("secret text")).startswith("TimeoutError; check bootstrap.servers")
    assert fault_of(ValueError()) is Fault.OTHER
    assert isinstance(KafkaException(), FAILURES)


def test_texts_hide_secrets_and_what_follows_the_first_line() -> None:
    error = KafkaError(KafkaError._AUTHENTICATION, "user hunter2 at http://me:hunter2@host/ failed\nmore")

    text = told(error, {"hunter2"})
    assert "hunter2" not in text
    assert "more" not in text
    assert "sasl.password" in text
