"""The owner and its workers: started, found, killed, and gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process that cannot be mistaken for a later one of the same number."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """It is there and not only waiting to be buried."""
        return _stat(self.pid) == (self.started, True)

    def kill(self) -> None:
        """SIGKILL, if it is still that process."""
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Owner:
    """`mstream run` in a folder, started again as often as it is needed."""

    folder: Path
    config: Path
    _process: subprocess.Popen[bytes] | None = None
    _seen: set[Process] = field(default_factory=set)

    def start(self, *options: str) -> None:
        """A new process; its output is added to `log`."""
        command = [sys.executable, "-m", "mstream", "run", "--config", str(self.config), *options]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def process(self) -> Process:
        """The owner itself."""
        assert self._process is not None, "not started"
        return identified(self._process.pid)

    @property
    def ended(self) -> int | None:
        """Its exit code; None: it runs."""
        return None if self._process is None else self._process.poll()

    def workers(self) -> list[Process]:
        """Its children, found by their parent."""
        found = [identified(each) for each in children(self.process.pid)]
        self._seen.update(found)
        return found

    def kill(self) -> None:
        """SIGKILL, and no word to the workers."""
        self.workers()
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """Ask it to end in good order."""
        assert self._process is not None, "not started"
        self._process.terminate()

    def wait(self, seconds: float) -> int:
        """Its exit code, once it has ended by itself."""
        assert self._process is not None, "not started"
        return self._process.wait(timeout=seconds)

    def left_behind(self, seconds: float) -> list[Process]:
        """Workers of owners that are gone which still live after so long."""
        mine = set(self.workers()) if self.ended is None else set()
        end = time.monotonic() + seconds
        while (left := [each for each in self._seen - mine if each.is_alive]) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def stop(self) -> None:
        """Leave nothing, whatever has happened."""
        if self.ended is None and self._process is not None:
            self.kill()
        for each in self._seen:
            each.kill()


def kill_all(processes: Sequence[Process]) -> None:
    """SIGKILL to each."""
    for each in processes:
        each.kill()


def identified(pid: int) -> Process:
    """The process of that number, as it is now."""
    found = _stat(pid)
    return Process(pid, found[0] if found else "")


def _stat(pid: int) -> tuple[str, bool] | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[19], fields[0] not in "ZX"


def children(pid: int) -> list[int]:
    """The numbers of its children."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found
