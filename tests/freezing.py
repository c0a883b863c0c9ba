"""Stop a process as a debugger or a sleeping laptop does, but not with a lock of its store in its hands."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

#: Seconds until a process must have been met between two writes.
_PATIENCE = 25.0


def freeze_between_writes(pid: int, database: Path) -> None:
    """Stopped while nobody writes to a SQLite file.

    One that sleeps inside a transaction blocks everybody, and is ended by the owner that follows it.
    """
    ends = time.monotonic() + _PATIENCE
    while time.monotonic() < ends:
        os.kill(pid, signal.SIGSTOP)
        if not _is_locked(database):
            return
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.01)
    message = f"process {pid} was never met between two writes"
    raise AssertionError(message)


def _is_locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as store:
        try:
            store.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        store.execute("ROLLBACK")
    return False
