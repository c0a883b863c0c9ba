"""The Kafka example: a broker, a generator of orders and mstream, until Ctrl-C, then what arrived where.

The broker is the cluster that KAFKA_BOOTSTRAP names; without it an Apache Kafka of one broker, started here.
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

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
GENERATE = HERE.parent / "quickstart/generate.py"
PORT = 8719
PR_SET_PDEATHSIG = 1

#: Seconds for a question to the broker.
PATIENCE_SEC = 10.0
#: How long a bounded run waits for the last orders to arrive.
CATCH_UP_SEC = 60.0
#: How long the programs may take to end.
END_SEC = 60.0

Process = subprocess.Popen[bytes]


class Missing(Exception):
    """What has to be there first."""


@dataclass(frozen=True)
class Counts:
    """How many orders are where."""

    generated: int
    tests: int
    topic: int
    table: int
    distinct: int

    @property
    def is_complete(self) -> bool:
        """Topic and table hold what they should; in the table each order is once."""
        return self.topic >= self.generated and self.table == self.distinct == self.generated - self.tests


#: Errors of the cluster that pass.
_FOR_A_MOMENT = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
}


class Watch:
    """Looks where the orders are."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self._folder = folder
        # Kept: one that is let go takes its answers along.
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        #: Messages of the topic when it was last looked at.
        self._seen = 0

    def count(self) -> Counts:
        """In the file, the topic and the table."""
        orders = lines(self._folder / "shop/orders.jsonl")
        table, distinct = rows(self._folder / "warehouse.db")
        return Counts(
            generated=len(orders),
            tests=sum(1 for each in orders if b'"test": true' in each),
            topic=self._messages(),
            table=table,
            distinct=distinct,
        )

    def _messages(self) -> int:
        """Of the topic; 0 as long as there is none."""
        try:
            partitions = self._partitions()
            ends = self._edge(partitions, OffsetSpec.latest())
            self._seen = sum(ends) - sum(self._edge(partitions, OffsetSpec.earliest()))
        except KafkaException as error:
            # One that is just made, or whose broker has just begun, has no leader for a moment.
            if error.args[0].code() not in _FOR_A_MOMENT:
                raise
        return self._seen

    def _partitions(self) -> dict[int, object]:
        found = self._admin.list_topics("orders", timeout=PATIENCE_SEC).topics["orders"]
        if found.error is not None:
            raise KafkaException(found.error)
        partitions: dict[int, object] = found.partitions
        return partitions

    def _edge(self, partitions: dict[int, object], edge: OffsetSpec) -> list[int]:
        asked = {TopicPartition("orders", each): edge for each in partitions}
        return [each.result().offset for each in self._admin.list_offsets(asked, request_timeout=PATIENCE_SEC).values()]


def lines(path: Path) -> list[bytes]:
    """The whole lines of a file."""
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def rows(path: Path) -> tuple[int, int]:
    """The rows of the table, and how many orders they are; 0 as long as there is none."""
    if not path.exists():
        return 0, 0
    with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection:
        try:
            found = connection.execute("SELECT count(*), count(DISTINCT order_id) FROM orders").fetchone()
        except sqlite3.OperationalError:
            return 0, 0
    return int(found[0]), int(found[1])


def prepare(folder: Path) -> None:
    """Put the example's own files there; those that are there already, perhaps edited, stay."""
    for name in ("scripts", "shop", "kafka"):
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
    raise OSError("no free port on 127.0.0.1")


def end_with_parent() -> None:
    """Have the system send SIGTERM when the one that started this is gone, whatever ended it (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def started(command: list[str], folder: Path, environ: dict[str, str] | None = None) -> Iterator[Process]:
    """A program in a session of its own, so that a Ctrl-C reaches it once, through us; gone at the end."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environ,
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
def broker(folder: Path) -> Iterator[str]:
    """The addresses of the cluster that the environment names, or of a broker that keeps its topics here.

    Raises Missing.
    """
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        yield given
        return
    # The one that the tests use; it ends with us, whatever ends us.
    sys.path.insert(0, str(ROOT))
    from tests.servers import kafka  # noqa: PLC0415 - the path to it comes first

    if not kafka.is_installed():
        raise Missing(
            f"Apache Kafka is started here where Java and Maven are: {kafka.ADVICE}; "
            "or name a cluster: KAFKA_BOOTSTRAP=127.0.0.1:9092 make example-kafka"
        )
    print("Apache Kafka starts; the first time its jars are fetched through Maven.", flush=True)
    server = kafka.KafkaServer(folder=folder / "kafka")
    try:
        server.start()
        yield server.bootstrap
    finally:
        server.stop()


def introduction(folder: Path, bootstrap: str, api: str) -> str:
    """What to look at, and what to try."""
    look = (
        f"sqlite3 {folder}/warehouse.db 'SELECT order_id, customer, email FROM orders ORDER BY order_id DESC LIMIT 9'"  # noqa: S608 - shown
    )
    return f"""
mstream and Kafka: orders of a small shop, in {folder}

  shop/orders.jsonl ── publish ──> topic orders ── collect ──> scripts/mask.py ──> warehouse.db, table orders
  (the generator adds lines)       (6 partitions,  (2 members  (drops tests, masks  (each order once)
                                    by customer)    of a group)  e-mails and phones)

The broker: {bootstrap}
Look, in another terminal:
  {look}
  curl {api}/jobs

Try:
  Ctrl-C, then the same command again      it goes on exactly where it stopped
  kill -9 the process of mstream           start it again: no order is lost, none is there twice
  curl -X POST {api}/jobs/collect/stop     stops this job, over restarts too; orders gather in the topic
  curl -X POST {api}/jobs/collect/start    starts it; it catches up
  rm -r {folder}     begins anew
"""


def summary(before: Counts, after: Counts) -> str:
    """What is where, and what of it came in this run."""
    report = f"""
                          this run   in all
orders generated       {after.generated - before.generated:>11} {after.generated:>8}
tests among them       {after.tests - before.tests:>11} {after.tests:>8}
in the topic           {after.topic - before.topic:>11} {after.topic:>8}
in the table           {after.table - before.table:>11} {after.table:>8}
"""
    missing = "Some orders have not arrived; they are the first of the next run."
    return f"{report}{'Every order has arrived, each once.' if after.is_complete else missing}\n"


class Example:
    """mstream and the generator, watched until there was a signal or the time is up."""

    def __init__(self, folder: Path, watch: Watch, bootstrap: str, api: str) -> None:
        self._folder = folder
        self._watch = watch
        self._environ = {
            **os.environ,
            "KAFKA_BOOTSTRAP": bootstrap,
            "MSTREAM_API_PORT": api.rpartition(":")[2],
        }
        self.signals = 0

    def told(self, number: int, frame: object) -> None:
        """A signal ends the watching."""
        self.signals += 1

    def run(self, seconds: float | None, at_once: int) -> int:
        """The exit code of mstream."""
        command = [sys.executable, "-m", "mstream", "run", "--config", "mstream-config.toml"]
        generate = [sys.executable, str(GENERATE), "shop/orders.jsonl", f"--at-once={at_once}"]
        with started(command, self._folder, self._environ) as mstream:
            with started(generate, self._folder) as generator:
                self._until_told(mstream, generator, seconds)
            if seconds is not None:
                self._catch_up(mstream)
            return end(mstream, signal.SIGINT)

    def _until_told(self, mstream: Process, generator: Process, seconds: float | None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        while not self.signals and mstream.poll() is None and generator.poll() is None:
            if until is not None and time.monotonic() >= until:
                return
            time.sleep(0.2)

    def _catch_up(self, mstream: Process) -> None:
        until = time.monotonic() + CATCH_UP_SEC
        while time.monotonic() < until and not self.signals and mstream.poll() is None:
            if self._watch.count().is_complete:
                return
            time.sleep(0.2)


def main() -> int:
    """Run until Ctrl-C, or for as long as `--seconds` says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=HERE / "out", help="where everything is kept")
    parser.add_argument("--seconds", type=float, help="end by itself after so long, when every order has arrived")
    parser.add_argument("--at-once", type=int, default=3000, help="orders of the first run (default: 3000)")
    arguments = parser.parse_args()

    folder: Path = arguments.folder.resolve()
    prepare(folder)
    api = f"http://127.0.0.1:{os.environ.get('MSTREAM_API_PORT') or free_port(PORT)}"
    try:
        with broker(folder) as bootstrap:
            watch = Watch(folder, bootstrap)
            example = Example(folder, watch, bootstrap, api)
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(each, example.told)
            print(introduction(folder, bootstrap, api), flush=True)
            before = watch.count()
            code = example.run(arguments.seconds, arguments.at_once)
            after = watch.count()
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    print(summary(before, after), flush=True)
    if code not in (0, 130):
        print(f"mstream ended with code {code}; its last lines above say why", file=sys.stderr)
        return abs(code)
    is_short = arguments.seconds is not None and not example.signals and not after.is_complete
    return 1 if is_short else code


if __name__ == "__main__":
    sys.exit(main())
