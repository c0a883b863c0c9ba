"""Messages over a socket: length and pickle; one thread listens, one speaks, no loop ever blocks."""

from __future__ import annotations

import contextlib
import pickle
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

_LENGTH = struct.Struct(">Q")
_CHUNK = 1 << 20


class Frames:
    """Bytes as they come in, messages as they become whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Every message that is complete with these bytes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(body)  # noqa: S301 - only our own processes hold the other end of the pair


def received(connection: socket.socket) -> bytes:
    """The next bytes; none: the other side is gone, however it went."""
    try:
        return connection.recv(_CHUNK)
    except OSError:
        return b""


class Speaker:
    """Sends what it is given, in order, from a thread of its own; between messages it calls `tick`."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        name: str,
        tick: Callable[[], list[Any]] = list,
        tick_sec: float | None = None,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        """`tick`: messages to send besides, asked for every `tick_sec`; `gone`: the other side does not listen."""
        self._connection = connection
        self._tick = tick
        self._tick_sec = tick_sec
        self._gone = gone
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._speak, name=name, daemon=True)

    def start(self) -> None:
        """Begin; what was sent before goes out first."""
        self._thread.start()

    def send(self, message: object) -> None:
        """Hand over; returns at once. The message is what it is now, whatever becomes of its parts."""
        self._queue.put(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    def close(self) -> None:
        """Send what is waiting, then end the thread."""
        self._queue.put(None)

    def join(self) -> None:
        """Wait for the thread."""
        if self._thread.ident is not None:
            self._thread.join()

    def _speak(self) -> None:
        try:
            while True:
                body = self._next()
                if body is None:
                    return
                if body:
                    self._write(body)
                for each in self._tick():
                    self._write(pickle.dumps(each, protocol=pickle.HIGHEST_PROTOCOL))
        except OSError:
            self._gone()

    def _next(self) -> bytes | None:
        """A message, b"" when it is time to tick, None at the end."""
        with contextlib.suppress(queue.Empty):
            return self._queue.get(timeout=self._tick_sec)
        return b""

    def _write(self, body: bytes) -> None:
        self._connection.sendall(_LENGTH.pack(len(body)) + body)
