"""The bare loops: what Python itself needs for the same bytes, the same fsyncs and the same commits."""

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orjson import dumps, loads


def chunks(source: str, rest: bytes = b"") -> Iterator[list[bytes]]:  # noqa: D103 - as it says
    with open(source, "rb", buffering=0) as file:  # noqa: PTH123 - the plainest way
        while block := file.read(1 << 20):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            yield lines


def file_to_file(source: str, target: str, script: Callable[..., Any] | None) -> None:  # noqa: D103 - as it says
    synced, interval = time.monotonic(), 0.05  # as often as a checkpoint is saved
    with open(target, "wb", buffering=0) as file:  # noqa: PTH123 - the plainest way
        for lines in chunks(source):
            edited = [dumps(script(loads(line), None)) for line in lines] if script else lines
            file.write(b"\n".join([*edited, b""]))
            if time.monotonic() - synced >= interval:
                os.fsync(file)
                synced, interval = time.monotonic(), min(interval * 2, 1.0)
        os.fsync(file)


def file_to_sqlite(source: str, target: str, script: Callable[..., Any] | None, table: Mapping[str, str]) -> None:  # noqa: D103 - as it says
    database = sqlite3.connect(target, isolation_level="IMMEDIATE")
    database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")  # as the sink sets them
    database.execute(f"CREATE TABLE records ({', '.join(map(' '.join, table.items()))})")
    insert = f"INSERT INTO records VALUES ({', '.join('?' * len(table))})"  # noqa: S608 - names of our own
    for lines in chunks(source):
        records = [script(loads(line), None) for line in lines] if script else map(loads, lines)
        with database:  # a transaction for each 1 MiB
            database.executemany(insert, [tuple(map(each.get, table)) for each in records])
