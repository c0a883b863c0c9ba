"""Start a contender, watch its output grow from outside, and take its time and its memory."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at the output.
_LOOK = 0.004
_ALLOWED = 300.0


class Unfinished(Exception):
    """A contender ended, or took too long, before its output was complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of a contender."""

    records_per_second: float
    #: Highest resident memory of the process and its children together, in MiB.
    memory: float


def run(
    command: Sequence[str], *, progress: Callable[[], int], count: int, log: Path, ends_itself: bool = True
) -> Measured:
    """From the first output to the last; the start of the process counts for nobody.

    `progress` tells how many records are there, or bytes in the place of records. `ends_itself`: or it is told to.
    """
    with log.open("wb") as output, _started(command, output, ends_itself=ends_itself) as process:
        first, begun = _first(process, progress, log)
        end = time.monotonic() + _ALLOWED
        seen, peak, looked = first, 0.0, begun
        while seen < count:
            time.sleep(_LOOK)
            seen = progress()
            now = time.monotonic()
            if now - looked > 0.1:
                peak, looked = max(peak, memory(process.pid)), now
            if now > end or (process.poll() is not None and progress() < count):
                raise Unfinished(f"{seen} of {count} are there: {log.read_text()[-2000:]}")
        taken = time.monotonic() - begun
        peak = max(peak, memory(process.pid))
    return Measured(records_per_second=(count - first) / taken, memory=peak)


@contextlib.contextmanager
def _started(command: Sequence[str], output: object, *, ends_itself: bool) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=output, stderr=output)  # type: ignore[call-overload]  # any file
    try:
        yield process
        if not ends_itself:
            process.terminate()
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _first(process: subprocess.Popen[bytes], progress: Callable[[], int], log: Path) -> tuple[int, float]:
    end = time.monotonic() + 60
    while not (seen := progress()):
        if time.monotonic() > end or process.poll() is not None:
            raise Unfinished(f"no output: {log.read_text()[-2000:]}")
        time.sleep(_LOOK / 4)
    return seen, time.monotonic()


def memory(pid: int) -> float:
    """VmHWM of a process and all below it, in MiB; ru_maxrss is inherited over fork and would lie."""
    return sum(_high_water(each) for each in family(pid)) / 1024


def family(pid: int) -> list[int]:
    """A process and everything that it has started."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _high_water(pid: int) -> int:
    try:
        found = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) if found else 0


def size(path: Path) -> int:
    """Bytes of a file; 0 while there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def rows(path: Path) -> int:
    """Rows of the table `records`; 0 while there is none."""
    if not path.exists():
        return 0
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return int(database.execute("SELECT coalesce(max(rowid), 0) FROM records").fetchone()[0])
    except sqlite3.Error:
        return 0
