"""The MongoDB example: a server, a generator of orders and mstream, until Ctrl-C, then what arrived where.

The server is the deployment that MONGODB_URI names; without it nx-27017, a stand-in for MongoDB from PyPI.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

HERE = Path(__file__).resolve().parent
PORT = 8719
PR_SET_PDEATHSIG = 1

#: How long the server may take to come up.
START_SEC = 30.0
#: How long a bounded run waits for the last changes to arrive.
CATCH_UP_SEC = 30.0
#: How long the programs may take to end.
END_SEC = 60.0

Client = MongoClient[dict[str, Any]]
Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Counts:
    """How many orders are where."""

    placed: int
    shop: int
    masked: int
    table: int

    @property
    def is_complete(self) -> bool:
        """Both targets hold what they should."""
        return self.masked == self.shop and self.table == self.placed


def count(client: Client, folder: Path) -> Counts:
    """Look into the collections and the table."""
    orders = client["shop"]["orders"]
    newest = orders.find_one(sort=[("_id", -1)])
    return Counts(
        placed=int(newest["_id"].removeprefix("order-")) if newest else 0,
        shop=orders.count_documents({}),
        masked=client["masked"]["orders"].count_documents({}),
        table=rows(folder / "warehouse.db"),
    )


def rows(path: Path) -> int:
    """The rows of the table; 0 as long as there is none."""
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        try:
            found = connection.execute("SELECT count(*) FROM orders").fetchone()
        except sqlite3.OperationalError:
            return 0
    return int(found[0])


def prepare(folder: Path) -> None:
    """Put the example's own files there; those that are there already, perhaps edited, stay."""
    for name in ("scripts", "mongodb"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("mstream-config.toml", "scripts/mask.py"):
        if not (folder / name).exists():
            shutil.copyfile(HERE / name, folder / name)


def free_port(usual: int) -> int:
    """The usual port, or another one where that is taken."""
    for port in (usual, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    return usual


def end_with_parent() -> None:
    """Have the system send SIGTERM when the one that started this is gone, whatever ended it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def started(
    command: list[str], folder: Path, environ: dict[str, str] | None = None, output: int | None = None
) -> Iterator[Process]:
    """A program in a session of its own, so that a Ctrl-C reaches it once, through us; gone at the end."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - there are no threads yet
    )
    try:
        yield process
    finally:
        end(process)


def end(process: Process, how: signal.Signals = signal.SIGTERM) -> int:
    """Let it end in its own time; its exit code."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(END_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """The connection string of the deployment that the environment names, or of a stand-in that keeps its data here."""
    if given := os.environ.get("MONGODB_URI"):
        yield given
        return
    port = free_port(27017)
    files = [f"--{each}-file={folder / f'mongodb.{each}'}" for each in ("log", "pid")]
    command = [sys.executable, "-m", "nx_27017.nx_27017", "--data-dir", str(folder / "mongodb"), f"--port={port}"]
    with started([*command, *files], folder, output=subprocess.DEVNULL):
        yield f"mongodb://127.0.0.1:{port}/"


def greeted(uri: str) -> Client:
    """A client, once the server answers; to be closed. Raises when it does not."""
    client = Client(uri, serverSelectionTimeoutMS=500)
    until = time.monotonic() + START_SEC
    while True:
        try:
            client.admin.command("ping")
        except PyMongoError:
            if time.monotonic() >= until:
                raise
            continue
        return client


def introduction(folder: Path, uri: str, api: str) -> str:
    """What to look at, and what to try."""
    look = f"sqlite3 {folder}/warehouse.db 'SELECT _id, state, email FROM orders ORDER BY _id DESC LIMIT 9'"  # noqa: S608 - shown
    return f"""
mstream and MongoDB: orders of a small shop, in {folder}

  shop.orders ── change stream ──> scripts/mask.py ──┬──> masked.orders, follows changes and cancellations
  (the generator places, changes    (masks e-mails   └──> warehouse.db, table orders, keeps cancelled ones
   and cancels orders)               and phones)

Look, in another terminal:
  mongosh {uri}masked --eval 'db.orders.find().sort({{_id: -1}}).limit(3)'
  {look}
  curl {api}/jobs

Try:
  Ctrl-C, then the same command again     it goes on exactly where it stopped
  curl -X POST {api}/jobs/orders/stop     stops the job, over restarts too; orders keep coming
  curl -X POST {api}/jobs/orders/start    starts it; it catches up
  edit {folder}/scripts/mask.py, then curl -X POST {api}/jobs/orders/restart
  rm -r {folder}     begins anew
"""


def summary(before: Counts, after: Counts) -> str:
    """What is where, and what of it came in this run."""
    report = f"""
                          this run   in all
orders placed          {after.placed - before.placed:>11} {after.placed:>8}
not cancelled          {after.shop - before.shop:>11} {after.shop:>8}
in masked.orders       {after.masked - before.masked:>11} {after.masked:>8}
in the table           {after.table - before.table:>11} {after.table:>8}
"""
    missing = "Some changes have not arrived; they are the first of the next run."
    return f"{report}{'Every change has arrived.' if after.is_complete else missing}\n"


class Example:
    """mstream and the generator, watched until there was a signal or the time is up."""

    def __init__(self, folder: Path, client: Client, uri: str, api: str) -> None:
        self._folder = folder
        self._client = client
        self._api = api
        self._environ = {**os.environ, "MONGODB_URI": uri, "MSTREAM_API_PORT": api.rpartition(":")[2]}
        self.signals = 0

    def told(self, number: int, frame: object) -> None:
        """A signal ends the watching."""
        self.signals += 1

    def run(self, seconds: float | None, at_once: int) -> int:
        """The exit code of mstream."""
        command = [sys.executable, "-m", "mstream", "run", "--config", "mstream-config.toml"]
        generate = [
            sys.executable,
            str(HERE / "generate.py"),
            f"--at-once={at_once}",
            f"--after={self._api}/jobs/orders",
        ]
        with started(command, self._folder, self._environ) as mstream:
            with started(generate, self._folder, self._environ) as generator:
                self._watch(mstream, generator, seconds, at_once)
            if seconds is not None:
                self._catch_up(mstream)
            return end(mstream, signal.SIGINT)

    def _watch(self, mstream: Process, generator: Process, seconds: float | None, at_once: int) -> None:
        """Return after so long from the first order on that is placed while mstream runs."""
        until, before = None, max(at_once, count(self._client, self._folder).placed)
        while not self.signals and mstream.poll() is None and generator.poll() is None:
            if until is None and seconds is not None and count(self._client, self._folder).placed > before:
                until = time.monotonic() + seconds
            if until is not None and time.monotonic() >= until:
                return
            time.sleep(0.2)

    def _catch_up(self, mstream: Process) -> None:
        until = time.monotonic() + CATCH_UP_SEC
        while time.monotonic() < until and not self.signals and mstream.poll() is None:
            if count(self._client, self._folder).is_complete:
                return
            time.sleep(0.2)


def main() -> int:
    """Run until Ctrl-C, or for as long as `--seconds` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "out", help="where everything is kept")
    parser.add_argument("--seconds", type=float, help="end by itself after so long, when every change has arrived")
    parser.add_argument("--at-once", type=int, default=500, help="orders of the first run (default: 500)")
    arguments = parser.parse_args()

    folder: Path = arguments.folder.resolve()
    prepare(folder)
    api = f"http://127.0.0.1:{os.environ.get('MSTREAM_API_PORT') or free_port(PORT)}"
    with server(folder) as uri, greeted(uri) as client:
        print(introduction(folder, uri, api), flush=True)
        example = Example(folder, client, uri, api)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, example.told)
        before = count(client, folder)
        code = example.run(arguments.seconds, arguments.at_once)
        after = count(client, folder)
    print(summary(before, after), flush=True)
    if code not in (0, 130):
        print(f"mstream ended with code {code}; its last lines above say why", file=sys.stderr)
        return abs(code)
    is_short = arguments.seconds is not None and not example.signals and not after.is_complete
    return 1 if is_short else code


if __name__ == "__main__":
    sys.exit(main())
