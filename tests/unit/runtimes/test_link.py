"""Messages over a socket: whole, in order, and never in the way of who sends them."""

from __future__ import annotations

import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from mstream.runtimes.link import Frames, Speaker, received


def sent(messages: list[object]) -> bytes:
    """The bytes of these messages."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        speaker = Speaker(ours, name="test")
        speaker.start()
        for each in messages:
            speaker.send(each)
        speaker.close()
        speaker.join()
        ours.shutdown(socket.SHUT_WR)
        data = b""
        while part := received(theirs):
            data += part
        return data


@given(messages=st.lists(st.binary(max_size=50) | st.integers(), max_size=8), size=st.integers(1, 60))
def test_messages_come_whole_and_in_order_however_the_bytes_are_cut(messages: list[object], size: int) -> None:
    data, frames = sent(messages), Frames()

    assert [each for at in range(0, len(data), size) for each in frames.feed(data[at : at + size])] == messages


def test_sending_returns_at_once_when_nobody_reads() -> None:
    ours, theirs = socket.socketpair()
    gone = threading.Event()
    speaker = Speaker(ours, name="test", gone=gone.set)
    speaker.start()
    for _ in range(50):
        speaker.send(b"x" * 1_000_000)  # far more than the socket takes

    theirs.close()
    assert gone.wait(10)
    speaker.join()
    ours.close()


def test_a_message_is_what_it_was_when_it_was_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        speaker = Speaker(ours, name="test")
        positions = {"lane": 1}
        speaker.send(positions)
        positions["lane"] = 2
        speaker.start()
        speaker.close()
        speaker.join()

        assert list(Frames().feed(received(theirs))) == [{"lane": 1}]


def test_between_messages_there_is_a_tick() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        speaker = Speaker(ours, name="test", tick=lambda: ["beat"], tick_sec=0.01)
        speaker.start()
        data = received(theirs)
        speaker.close()
        speaker.join()

        assert next(Frames().feed(data)) == "beat"
