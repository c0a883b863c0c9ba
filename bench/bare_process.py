"""Run a bare loop as a process of its own: `python -m bench.bare_process file|sqlite SOURCE TARGET`."""

from __future__ import annotations

import argparse
import ctypes
import gc

from bench import bare
from bench.records import TABLE
from bench.scripts.edit import transform

#: glibc's names for them: mmap threshold, trim threshold, top pad.
_ALLOCATOR = {-3: 32 << 20, -1: 64 << 20, -2: 8 << 20}


def main() -> None:
    """Run the loop that was asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sink", choices=["file", "sqlite"])
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--script", action="store_true")
    parser.add_argument("--allocator", action="store_true", help="the allocator and collector settings of a worker")
    chosen = parser.parse_args()
    if chosen.allocator:
        tune()
    script = transform if chosen.script else None
    if chosen.sink == "file":
        bare.file_to_file(chosen.source, chosen.target, script)
    else:
        bare.file_to_sqlite(chosen.source, chosen.target, script, TABLE)


def tune() -> None:
    """What a worker of mstream does at its start."""
    libc = ctypes.CDLL(None)
    for parameter, value in _ALLOCATOR.items():
        libc.mallopt(parameter, value)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


if __name__ == "__main__":
    main()
