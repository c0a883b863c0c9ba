"""The owner's side of one worker process: starting, speaking, listening, ending."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mstream.domain.run import Outcome
from mstream.runtimes.handle import MessagedRun
from mstream.runtimes.launch import Setup
from mstream.runtimes.link import Frames, Speaker, received
from mstream.runtimes.messages import ToOwner, ToRun
from mstream.runtimes.page import SLOTS, SharedPage
from mstream.runtimes.sealing import new_key


class WorkerProcess:
    """One child and the runs that it holds; everything but the two threads lives on the owner's loop."""

    def __init__(
        self,
        setup: Setup,
        *,
        now: float,
        message: Callable[[WorkerProcess, ToOwner], None],
        gone: Callable[[WorkerProcess], None],
        inherited: Sequence[int] = (),
    ) -> None:
        """Starts the process; returns before it is ready. Raises OSError when the system refuses one."""
        self.key = new_key()
        #: By slot.
        self.runs: dict[int, MessagedRun] = {}
        #: When it last said anything, and whether it ever has.
        self.heard_at = now
        self.is_ready = False
        #: Of this job alone; None: of any.
        self.reserved_for: str | None = None
        #: The run that cost it, and that run's outcome; None: nobody is known to have.
        self.blamed: tuple[str, Outcome] | None = None
        #: Told to end: it takes no more runs.
        self.is_ending = False
        self.gone = asyncio.Event()
        self._message = message
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as undo:
            self.page = undo.enter_context(contextlib.closing(SharedPage()))
            self._connection, theirs = socket.socketpair()
            undo.enter_context(self._connection)
            with theirs:
                self._process = self._started(theirs, inherited)
            undo.pop_all()
        self._speaker = Speaker(self._connection, name=f"speaking-{self.pid}")
        self._listener = threading.Thread(target=self._listen, name=f"listening-{self.pid}", daemon=True)
        self._speaker.send(setup)
        self._speaker.start()
        self._listener.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def count(self, job: str) -> int:
        """How many runs of this job it holds."""
        return sum(each.spec.job == job for each in self.runs.values())

    def send(self, message: ToRun) -> None:
        """Hand over; returns at once."""
        self._speaker.send(message)

    @contextlib.contextmanager
    def placed(self, run: MessagedRun) -> Iterator[int]:
        """A free slot of the page; the run has it for good once the body has gone well."""
        slot = next(each for each in range(SLOTS) if each not in self.runs)
        self.page.clear(slot)
        yield slot
        self.runs[slot] = run

    def remove(self, run_id: str) -> MessagedRun | None:
        """The run has ended; None: it was not here."""
        for slot, run in list(self.runs.items()):
            if run.run_id == run_id:
                return self.runs.pop(slot)
        return None

    def kill(self) -> None:
        """End the process at once; `gone` follows."""
        self.is_ending = True
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    def retire(self) -> None:
        """It holds no run: let it go."""
        self.is_ending = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def _started(self, theirs: socket.socket, inherited: Sequence[int]) -> subprocess.Popen[bytes]:
        reading, writing = os.pipe()
        os.write(writing, self.key)
        os.close(writing)
        fds = (theirs.fileno(), reading, self.page.fd)
        own = [*fds, os.getpid(), *inherited]
        command = [sys.executable, "-P", "-m", "mstream.runtimes.worker", *(str(each) for each in own)]
        try:
            return subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                command,
                pass_fds=(*fds, *inherited),
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a script prints is no answer of ours
            )
        finally:
            os.close(reading)

    def _listen(self) -> None:
        """On a thread: until the socket or the process ends, then see that both have."""
        try:
            self._pass_on_messages()
        finally:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._speaker.close()
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._speaker.join()
            self._connection.close()
            self._loop.call_soon_threadsafe(self._ended)

    def _pass_on_messages(self) -> None:
        frames = Frames()
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        with _exit_of(self.pid) as exited:
            if exited is not None:
                poll.register(exited, select.POLLIN)
            while self._connection.fileno() in dict(poll.poll()):
                data = received(self._connection)
                if not data:
                    return
                for each in frames.feed(data):
                    self._loop.call_soon_threadsafe(self._heard, each)

    def _heard(self, message: Any) -> None:  # noqa: ANN401 - told apart by the runtime
        self._message(self, message)

    def _ended(self) -> None:
        self.is_ending = True
        try:
            self._gone(self)
        finally:
            self.page.close()
            self.gone.set()


@contextlib.contextmanager
def _exit_of(pid: int) -> Iterator[int | None]:
    """A descriptor that tells the end of a process even if a child of it still holds our socket; None: not here."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)
