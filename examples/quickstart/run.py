"""The quick start: a generator of orders and mstream beside it, until Ctrl-C, then what arrived where."""

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
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PORT = 8719
PR_SET_PDEATHSIG = 1

#: How long a bounded run waits for the last orders to arrive.
CATCH_UP_SEC = 30.0
#: How long the programs may take to end.
END_SEC = 60.0


@dataclass(frozen=True)
class Counts:
    """How many orders are where."""

    generated: int
    tests: int
    table: int
    file: int

    @property
    def waiting(self) -> int:
        """Orders that have not arrived in the table yet."""
        return max(0, self.generated - self.tests - self.table)


def count(folder: Path) -> Counts:
    """Look into the files and the table."""
    generated = lines(folder / "shop/orders.jsonl")
    return Counts(
        generated=len(generated),
        tests=sum(1 for each in generated if b'"test": true' in each),
        table=rows(folder / "warehouse.db"),
        file=len(lines(folder / "masked/orders.jsonl")),
    )


def lines(path: Path) -> list[bytes]:
    """The whole lines of a file."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


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
    for name in ("shop", "masked", "scripts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "shop/orders.jsonl").touch()
    for name in ("mstream-config.toml", "scripts/mask.py"):
        if not (folder / name).exists():
            shutil.copyfile(HERE / name, folder / name)


def free_port() -> int:
    """The usual port, or another one where that is taken."""
    for port in (PORT, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    return PORT


def introduction(folder: Path, port: str, *, again: bool) -> str:
    """What to look at, and what to try."""
    api = f"http://127.0.0.1:{port}"
    beginning = "It goes on where it stopped." if again else "A first run: 3000 orders at once, then 5 a second."
    look = f"{sys.executable} {HERE / 'look.py'} {folder}"
    mstream = f"{sys.executable} -m mstream"
    return f"""
mstream quick start: orders of a small shop, in {folder}
{beginning}

  shop/orders.jsonl ──> scripts/mask.py ──┬──> warehouse.db, table orders
   (the generator)      (drops tests,     └──> masked/orders.jsonl
                         masks e-mails)

Look, in another terminal:
  tail -f {folder}/masked/orders.jsonl
  {look}     the last rows of the table (or: sqlite3 {folder}/warehouse.db)
  curl {api}/jobs

Try:
  Ctrl-C, then `make run` again     it goes on exactly where it stopped
  curl -X POST {api}/jobs/orders/stop     stops the job, over restarts too; orders keep coming
  curl -X POST {api}/jobs/orders/start    starts it; it catches up
  edit {folder}/mstream-config.toml, then, in that folder:
    {mstream} plan      what has changed
    {mstream} apply     brings it over; the next start alone would not
  edit {folder}/scripts/mask.py, then curl -X POST {api}/jobs/orders/restart
  rm -r {folder}     begins anew
"""


def summary(before: Counts, after: Counts) -> str:
    """What arrived, in this run and in all."""
    table, file = after.table - before.table, after.file - before.file
    report = f"""
                        this run   in all
orders generated     {after.generated - before.generated:>11} {after.generated:>8}
test orders, dropped {after.tests - before.tests:>11} {after.tests:>8}
in the table         {table:>11} {after.table:>8}
in the second file   {file:>11} {after.file:>8}
"""
    if after.waiting:
        return f"{report}{after.waiting} orders wait in the file; they are the first of the next run.\n"
    return f"{report}Every order has arrived.\n"


def end_with_parent() -> None:
    """Have the system send SIGTERM when the one that started this is gone, whatever ended it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Programs:
    """The generator and mstream, in sessions of their own, so that a Ctrl-C reaches them once, through us."""

    def __init__(self, folder: Path, environ: dict[str, str], generator_options: list[str]) -> None:
        python = sys.executable
        generate = [python, str(HERE / "generate.py"), "shop/orders.jsonl", *generator_options]
        run = [python, "-m", "mstream", "run", "--config", "mstream-config.toml"]
        self.generator = subprocess.Popen(generate, cwd=folder, start_new_session=True)
        self.mstream = subprocess.Popen(
            run,
            cwd=folder,
            env=environ,
            start_new_session=True,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - there are no threads here
        )
        self.signals = 0

    def watch(self, seconds: float | None) -> None:
        """Return after so long, at a signal, or when mstream has ended."""
        until = None if seconds is None else time.monotonic() + seconds
        while not self.signals and self.mstream.poll() is None:
            if until is not None and time.monotonic() >= until:
                return
            time.sleep(0.1)

    def told(self, number: int, frame: object) -> None:
        """A signal: the first one ends the watching, another one is passed on, which cuts mstream short."""
        self.signals += 1
        if self.signals > 1 and self.mstream.poll() is None:
            self.mstream.send_signal(signal.SIGINT)

    def end_generator(self) -> None:
        """No more orders."""
        if self.generator.poll() is None:
            self.generator.terminate()
        self.generator.wait(END_SEC)

    def end_mstream(self) -> int:
        """Let mstream deliver what it has read; its exit code."""
        if self.mstream.poll() is None:
            self.mstream.send_signal(signal.SIGINT)
        try:
            return self.mstream.wait(END_SEC)
        except subprocess.TimeoutExpired:
            self.mstream.kill()
            return self.mstream.wait()


def catch_up(programs: Programs, folder: Path) -> None:
    """Wait until what was generated has arrived."""
    until = time.monotonic() + CATCH_UP_SEC
    while time.monotonic() < until and not programs.signals and programs.mstream.poll() is None:
        counts = count(folder)
        if not counts.waiting and counts.file >= counts.table:
            return
        time.sleep(0.1)


def main() -> int:
    """Run until Ctrl-C, or for as long as `--seconds` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "out", help="where everything is kept")
    parser.add_argument("--seconds", type=float, help="end by itself after so long, when every order has arrived")
    parser.add_argument("--at-once", default="3000", help="orders of the first run (default: 3000)")
    arguments = parser.parse_args()

    folder: Path = arguments.folder.resolve()
    prepare(folder)
    before = count(folder)
    port = os.environ.get("MSTREAM_API_PORT") or str(free_port())
    print(introduction(folder, port, again=before.generated > 0), flush=True)
    programs = Programs(folder, {**os.environ, "MSTREAM_API_PORT": port}, ["--at-once", arguments.at_once])
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, programs.told)
    try:
        programs.watch(arguments.seconds)
    finally:
        programs.end_generator()
        if arguments.seconds is not None:
            catch_up(programs, folder)
        code = programs.end_mstream()
    after = count(folder)
    print(summary(before, after), flush=True)
    if not code and arguments.seconds is not None and not programs.signals and after.waiting:
        return 1
    if code not in (0, 130):
        print(f"mstream ended with code {code}; its last lines above say why", file=sys.stderr)
    return code if code >= 0 else 1


if __name__ == "__main__":
    sys.exit(main())
