"""A small owner: takes the lease of a database, runs one job in a worker, saves its place, says what happens.

`python -m tests.integration.lease_owner OPTIONS`, options as JSON; prints one JSON object a line. The worker appends
the moments at which it delivers to a file: moments of a clock that every process of this machine shares.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from mstream.control.lease import Lease, kept
from mstream.control.owner import JobOwner, Stores
from mstream.control.standby import acquire
from mstream.domain.lease import Identity
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.errors import LeaseLost, StoreError
from mstream.foundation.clock import SystemClock, monotonic
from mstream.foundation.locks import FileLock
from mstream.foundation.processes import this_process
from mstream.observability.logs import configure
from mstream.ports.documents import DocumentStore
from mstream.ports.exclusive import Exclusive
from mstream.providers.sql import PROVIDER
from mstream.providers.sql.config import SqlConfig
from mstream.runtimes.process import ProcessRuntime
from mstream.stores.checkpoints import CheckpointStore
from tests.unit.runtimes import stand_in

DELIVERIES = "MSTREAM_TEST_DELIVERIES"
SYSTEM, PLACES = "mstream-system", "mstream-checkpoints"


async def deliver(spec: RunSpec, *, control: RunControl, **parts: Any) -> None:
    """As the engine: asks before each attempt whether the lease still holds."""
    control.started.set()
    path = Path(os.environ[DELIVERIES])
    while not control.draining.is_set():
        if control.lease_until is None or monotonic() >= control.lease_until:
            message = "no lease"
            raise LeaseLost(message)
        note(path, f"{spec.run_id} {monotonic()}\n")
        await asyncio.sleep(0.02)


def note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line)


def freeze_in_a_transaction(url: str) -> None:
    """Stopped with the write lock of the SQLite file in its hands."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, timeout=20)
    connection.execute("BEGIN IMMEDIATE")
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)
    connection.close()


def say(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "at": monotonic(), **fields}), flush=True)


async def own(documents: DocumentStore, options: dict[str, Any]) -> None:
    """Once: from the wait for the lease to its end."""
    name, clock = options["name"], SystemClock()
    path = documents.lock_path() if isinstance(documents, Exclusive) and options["lock"] else None
    process = replace(this_process(), **({"host": options["host"]} if options["host"] else {}))
    say("stands_by")
    lease = await acquire(
        documents.collection(SYSTEM),
        Identity(instance=name, process=process, address=f"http://{name}"),
        clock=clock,
        lease_sec=options["lease_sec"],
        on_conflict=options["on_conflict"],
        lock=FileLock(path) if path else None,
    )
    say("owns", epoch=lease.epoch)
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, freeze_in_a_transaction, options["url"])
    here = __name__ if __name__ != "__main__" else "tests.integration.lease_owner"
    runtime = ProcessRuntime(
        workers=1,
        catalog="tests.unit.runtimes.stand_in:CATALOG",
        run=f"{here}:deliver",
        lease=lease.remaining,
        inherited=lease.inherited,
    )
    async with kept(lease), runtime:
        await run(documents, lease, runtime, name, ending)
    say("ended", reason=lease.reason)


async def run(
    documents: DocumentStore, lease: Lease, runtime: ProcessRuntime, name: str, ending: asyncio.Event
) -> None:
    """One job, as long as the lease holds."""
    clock = SystemClock()
    stores = Stores(checkpoints=CheckpointStore(documents.collection(PLACES, key="job_name"), clock), authority=lease)
    owner = JobOwner(job="copy", run_id=name, stores=stores, clock=clock, random=Random())
    await owner.begin(CheckpointMode.SAVED, "here")
    handle = await runtime.start(stand_in.spec("quiet", run_id=name), owner)
    await handle.started()
    say("runs", workers=list(runtime.worker_pids))
    saved = 0
    with suppress(StoreError):
        while not lease.lost.is_set() and not ending.is_set():
            await owner.save({"": {"by": name, "number": saved}})
            saved += 1
            await asyncio.sleep(0.05)
    if ending.is_set():
        handle.drain()
    else:
        await lease.lost.wait()
    outcome = await handle.outcome()
    say("run_ended", ending=outcome.ending, reason=outcome.reason, saved=saved)


async def main(options: dict[str, Any]) -> None:
    config = SqlConfig.model_validate({"name": "state", "provider": "sql", "url": options["url"]})
    async with PROVIDER.connect(config) as live:
        assert PROVIDER.documents is not None
        try:
            await own(PROVIDER.documents(live), options)
        except StoreError as error:
            say("refused", code=error.code, message=str(error))


if __name__ == "__main__":
    configure("debug")
    asyncio.run(main(json.loads(sys.argv[1])))
