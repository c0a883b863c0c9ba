"""Processes of this machine, told apart beyond their ids: who they are, and whether they are still there."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
#: Where state and start time stand in /proc/PID/stat, counted after the name of the program.
_STATE, _STARTED = 0, 19


class Sighting(StrEnum):
    """What can be seen of a process from here."""

    #: On another machine, in another container, or before the machine was started anew: nothing can be seen.
    ELSEWHERE = "elsewhere"
    RUNNING = "running"
    #: It is there, but stopped by a signal or a debugger.
    STOPPED = "stopped"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process, not to be confused with any other that has had or will have its id."""

    host: str
    #: Changes with every start of the machine; "": unknown.
    boot_id: str
    #: Process ids mean something within one such space only.
    namespace: str
    pid: int
    #: When it began, in ticks since the machine was started; "": unknown.
    started: str

    def shares_ids_with(self, other: Process) -> bool:
        """Whether an id of one means the same to the other."""
        return bool(self.boot_id) and self._place == other._place

    @property
    def _place(self) -> tuple[str, str, str]:
        return (self.host, self.boot_id, self.namespace)


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    boot_id = namespace = ""
    with suppress(OSError):
        boot_id = _BOOT_ID.read_text(encoding="ascii").strip()
        namespace = str((_PROC / "self/ns/pid").readlink())
    facts = _facts(pid)
    return Process(
        host=socket.gethostname(),
        boot_id=boot_id,
        namespace=namespace,
        pid=pid,
        started=facts[_STARTED] if facts else "",
    )


def sighted(process: Process, observer: Process) -> Sighting:
    """What the observer can see of it now."""
    if not observer.shares_ids_with(process):
        return Sighting.ELSEWHERE
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return Sighting.GONE
    except OSError:
        pass  # another user's: it is there
    facts = _facts(process.pid)
    if facts is None:
        return Sighting.RUNNING  # hidden from us, but not gone
    if facts[_STARTED] != process.started or facts[_STATE] in "ZX":
        return Sighting.GONE
    return Sighting.STOPPED if facts[_STATE] in "Tt" else Sighting.RUNNING


def end_stopped(process: Process, observer: Process) -> bool:
    """Kill it, if it is still there and still stopped; False: it is not, or it is not ours to kill."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        # Looked at while the descriptor is open: the id cannot become another process's meanwhile.
        if sighted(process, observer) is not Sighting.STOPPED:
            return False
        signal.pidfd_send_signal(fd, signal.SIGKILL)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _facts(pid: int) -> list[str] | None:
    """What the system says of a process, from its state on; None: nothing."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
