"""A worker process: `python -m mstream.runtimes.worker SOCKET KEY PAGE OWNER [KEPT…]`.

Descriptors, the owner's id, and descriptors that stay open as long as this process lives.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

from mstream.foundation.clock import SystemClock
from mstream.runtimes import lifeline
from mstream.runtimes.executor import Executor
from mstream.runtimes.faults import as_ours
from mstream.runtimes.launch import Setup, named
from mstream.runtimes.link import Frames, Speaker, received
from mstream.runtimes.log_relay import LogRelay
from mstream.runtimes.messages import Exited, LeaseValid, Start, ToOwner, ToRun
from mstream.runtimes.page import WorkerPage
from mstream.runtimes.sealing import KEY_BYTES

#: Seconds between two heartbeats, and between two looks at the log.
_BEAT = 0.5
_LOOK = 0.1


def main() -> None:
    """Serve the owner until it is gone."""
    connection_fd, key_fd, page_fd, owner, *kept = (int(each) for each in sys.argv[1:])
    lifeline.die_with(owner)
    lifeline.leave_signals_to_the_owner()
    lifeline.keep_buffers()
    for fd in kept:
        os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
    with os.fdopen(key_fd, "rb") as pipe:
        key = pipe.read(KEY_BYTES)
    worker = Worker(socket.socket(fileno=connection_fd), key, page_fd)
    try:
        asyncio.run(worker.serve())
    except BaseException as error:  # noqa: BLE001 - the last that this process can say, to standard error
        _complain(error)
    finally:
        os._exit(1)


class Worker:
    """One executor, with a thread that listens and one that speaks and beats."""

    def __init__(self, connection: socket.socket, key: bytes, page_fd: int) -> None:
        for fd in (connection.fileno(), page_fd):
            os.set_inheritable(fd, False)  # noqa: FBT003 - it takes no keyword
        self._connection = connection
        self._key = key
        self._clock = SystemClock()
        self._page = WorkerPage(page_fd, self._clock)
        self._relay = LogRelay()
        self._messages = self._read()
        self._executor: Executor | None = None
        self._beaten_at = 0.0

    async def serve(self) -> None:
        """Until the process ends: its end is the owner's, by closing the socket."""
        setup = next(self._messages)
        if not isinstance(setup, Setup):
            message = "the first message of an owner must be a setup"
            raise TypeError(message)
        sys.path[:] = setup.import_path
        self._relay.configure("off")
        speaker = Speaker(self._connection, name="speaking", tick=self._tick, tick_sec=_LOOK, gone=_end)
        async with Executor(
            catalog=named(setup.catalog),
            send=lambda message: self._send(speaker, message),
            clock=self._clock,
            key=self._key,
            slot=self._page.slot,
            run=named(setup.run),
        ) as self._executor:
            lifeline.collect_rarely()
            speaker.start()
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._listen, args=(loop,), name="listening", daemon=True).start()
            await asyncio.Event().wait()

    def _read(self) -> Iterator[Any]:
        frames = Frames()
        while data := received(self._connection):
            yield from frames.feed(data)
        _end()

    def _send(self, speaker: Speaker, message: ToOwner) -> None:
        """A run's last word comes after everything that it has logged."""
        if isinstance(message, Exited) and (lines := self._relay.take()):
            speaker.send(lines)
        speaker.send(message)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            for each in self._messages:
                if isinstance(each, LeaseValid) and self._executor is not None:
                    self._executor.lease_holds(each)  # at once: the loop may be busy with a script
                loop.call_soon_threadsafe(self._receive, each)
        except BaseException as error:  # noqa: BLE001 - a worker that cannot understand its owner is of no use
            _complain(error)
        finally:
            _end()

    def _receive(self, message: ToRun) -> None:
        if self._executor is None:
            return
        if isinstance(message, Start):
            self._relay.configure(message.spec.log_level)
        self._executor.receive(message)

    def _tick(self) -> list[Any]:
        """On the speaking thread: the log, and a heartbeat when it is time."""
        lines = self._relay.take()
        messages: list[Any] = [lines] if lines else []
        now = self._clock.monotonic()
        if self._executor is not None and now - self._beaten_at >= _BEAT:
            self._beaten_at = now
            messages.append(self._executor.heartbeat())
        return messages


def _complain(error: BaseException) -> None:
    sys.stderr.write(f"mstream worker {os.getpid()}: {as_ours(error)}\n")
    sys.stderr.flush()


def _end() -> None:
    """The owner is gone: nothing may be finished, nothing is worth saying."""
    os._exit(0)


if __name__ == "__main__":
    main()
