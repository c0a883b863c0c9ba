"""A worker's settings: it dies with its owner, leaves signals to it, and keeps its buffers."""

from __future__ import annotations

import ctypes
import gc
import os
import signal

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_MB = 1 << 20


def die_with(owner: int) -> None:
    """Be killed when the thread of the owner that started us ends; end now if that has happened already."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != owner:
        os._exit(0)


def leave_signals_to_the_owner() -> None:
    """A signal to the whole group is the owner's to answer: it drains us."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)


def keep_buffers() -> None:
    """Let the allocator keep what batches will need again; without that each maps and unmaps its buffers."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 32 * _MB)
        libc.mallopt(_M_TRIM_THRESHOLD, 64 * _MB)
        libc.mallopt(_M_TOP_PAD, 8 * _MB)


def collect_rarely() -> None:
    """Everything that is loaded now stays; batches are freed by their reference counts."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
