"""A producer's own threads step back; ours does not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from mstream.providers.kafka.yielding import producer_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux schedules threads by themselves")


def _threads() -> set[int]:
    return {int(each.name) for each in Path("/proc/self/task").iterdir()}


def test_its_threads_are_nicer_than_the_one_that_asked_for_it() -> None:
    before, own = _threads(), os.getpriority(os.PRIO_PROCESS, 0)
    producer = producer_of({"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
    new = _threads() - before
    assert new
    assert {os.getpriority(os.PRIO_PROCESS, each) for each in new} == {min(own + 5, 19)}
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
    del producer


def test_settings_that_the_client_refuses_are_its_error() -> None:
    with pytest.raises(KafkaException, match=r"no\.such\.setting"):
        producer_of({"no.such.setting": "1"})
