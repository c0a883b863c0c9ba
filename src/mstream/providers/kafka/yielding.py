"""Producers whose own threads give way to everything else on the machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from confluent_kafka import Producer

#: Steps of niceness: where all want a processor, such a thread gets a third of what another one gets.
_STEPS: Final = 5


def producer_of(settings: Mapping[str, Any]) -> Producer:
    """A producer with these settings. Raises KafkaException.

    While a full request waits behind the one that is under way, the client's thread asks again and again whether it
    may go, and takes a processor from those who have work. Its threads inherit how they are scheduled from the one
    that makes the producer; only Linux schedules threads by themselves.
    """
    if sys.platform != "linux":
        return Producer(dict(settings))
    with ThreadPoolExecutor(1, "kafka-producer", initializer=_step_back) as maker:
        return maker.submit(Producer, dict(settings)).result()


def _step_back() -> None:
    """The thread that calls it, and those that it begins; it cannot step forward again."""
    with contextlib.suppress(OSError):  # forbidden in some sandboxes
        os.nice(_STEPS)
