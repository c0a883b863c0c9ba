"""Signals that end the program: the first drains, the second cuts short."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mstream.observability.logs import get_logger

log = get_logger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
#: Seconds within which the same signal is one: `timeout`, and some supervisors, tell a process and then its group.
_ONE = 0.25
#: Seconds that runs have to be aborted before the process ends without them.
_LAST_SECONDS = 3.0


class Interruption:
    """What was asked from outside of the program."""

    def __init__(self) -> None:
        #: The program shall drain and end.
        self.drain = asyncio.Event()
        #: The number of the newest signal.
        self.signal: int | None = None
        self._heard_at = 0.0
        self.is_cut = False
        #: Set by SIGHUP: what can be read anew shall be.
        self.reload = asyncio.Event()

    @contextmanager
    def listening(self, cut_short: Callable[[], None]) -> Iterator[None]:
        """Handle signals while the body runs."""
        loop = asyncio.get_running_loop()

        def heard(number: int) -> None:
            is_echo = number == self.signal and loop.time() - self._heard_at < _ONE
            self.signal, self._heard_at = number, loop.time()
            if is_echo:
                return
            if not self.drain.is_set():
                log.info("signal_received", signal=number)
                self.drain.set()
                return
            if self.is_cut:
                return
            self.is_cut = True
            log.warning("signal_received_again", signal=number)
            cut_short()
            loop.call_later(_LAST_SECONDS, _leave, number)

        # Python hands signals to the main thread alone; embedded elsewhere, its host has to pass them on.
        signals = _SIGNALS if threading.current_thread() is threading.main_thread() else ()
        for each in signals:
            loop.add_signal_handler(each, heard, each)
        if signals:
            loop.add_signal_handler(signal.SIGHUP, self.reload.set)
        try:
            yield
        finally:
            for each in (*signals, signal.SIGHUP):
                loop.remove_signal_handler(each)


def _leave(number: int) -> None:
    """A worker that does not even abort holds nobody up; it ends by itself when its owner is gone."""
    log.warning("program_cut", signal=number)
    os._exit(128 + number)
