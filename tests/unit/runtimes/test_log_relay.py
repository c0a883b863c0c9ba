"""Events of a worker: plain, bounded, counted."""

from __future__ import annotations

import pickle

from mstream.runtimes.log_relay import LogRelay
from mstream.runtimes.messages import LogLine, LogLines


def line(number: int) -> LogLine:
    return LogLine(level="info", logger="l", event=f"event_{number}")


def test_events_are_taken_once_and_in_order() -> None:
    relay = LogRelay()
    for number in range(3):
        relay.add(line(number))

    assert relay.take() == LogLines(lines=[line(0), line(1), line(2)])
    assert relay.take() is None


def test_beyond_the_bound_events_are_counted_not_kept() -> None:
    relay = LogRelay(bound=2)
    for number in range(5):
        relay.add(line(number))

    assert relay.take() == LogLines(lines=[line(0), line(1)], dropped=3)
    assert relay.take() is None


def test_a_message_with_events_pickles() -> None:
    message = LogLines(lines=[line(1)], dropped=2)

    assert pickle.loads(pickle.dumps(message)) == message
