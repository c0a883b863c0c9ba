"""Fatal errors that the client meets while it reports."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from mstream.providers.kafka.faults import unwrapped


def test_a_fatal_error_comes_as_itself() -> None:
    fatal = KafkaException(KafkaError(KafkaError._FENCED))

    with pytest.raises(KafkaException) as raised, unwrapped():
        raise SystemError("a report returned a result with an exception set") from fatal

    assert raised.value is fatal


def test_another_fault_of_the_system_stays_what_it_is() -> None:
    with pytest.raises(SystemError, match="something else"), unwrapped():
        raise SystemError("something else")
