"""Runtime `process`: worker processes beside the owner, watched, replaced when lost."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from mstream.domain.run import RunSpec
from mstream.errors import Unavailable, WorkerLost
from mstream.foundation.clock import Clock, SystemClock
from mstream.foundation.concurrency import shielded
from mstream.observability.logs import get_logger
from mstream.ports.owner import Owner
from mstream.ports.provider import Catalog, provider_named
from mstream.runtimes import log_relay
from mstream.runtimes.base import RunHandle
from mstream.runtimes.faults import failed
from mstream.runtimes.handle import MessagedRun
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.launch import CATALOG, ENGINE, Setup, named
from mstream.runtimes.messages import Exited, Heartbeat, LeaseValid, LogLines, Start, ToOwner
from mstream.runtimes.page import SLOTS
from mstream.runtimes.sealing import seal
from mstream.runtimes.suspects import Suspects
from mstream.runtimes.watch import Limits, Watch
from mstream.runtimes.worker_process import WorkerProcess

log = get_logger(__name__)

#: Seconds that aborted runs have at the end before their workers are killed.
_LAST_SECONDS = 5.0


class ProcessRuntime:
    """A blocking script or a crashing driver takes nobody along but its worker."""

    def __init__(
        self,
        *,
        workers: int | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        catalog: str = CATALOG,
        run: str = ENGINE,
        lease: Callable[[], float] | None = None,
        inherited: Sequence[int] = (),
    ) -> None:
        """`workers`: as many as cores when None; `catalog`, `run`: `module:name`, for tests and embedding.

        `lease`: seconds for which the owner's lease still holds; None: there is none. `inherited`: descriptors
        that every worker keeps open as long as it lives.
        """
        self._lease = lease
        self._inherited = tuple(inherited)
        self._most = workers or os.cpu_count() or 1
        self._clock = clock or SystemClock()
        self._limits = limits or Limits()
        self._setup = Setup(import_path=_import_path(), catalog=catalog, run=run)
        self._catalog: Catalog = named(catalog)
        self._inline = InlineRuntime(self._catalog, clock=self._clock, run=named(run), lease=lease)
        self._group = asyncio.TaskGroup()
        self._workers: list[WorkerProcess] = []
        self._suspects = Suspects(self._limits.stable_sec)
        self._watch = Watch(limits=self._limits, looked_at=self._clock.monotonic())
        self._watching: asyncio.Task[None] | None = None

    @property
    def worker_pids(self) -> Sequence[int]:
        """The processes that are there now."""
        return [each.pid for each in self._workers]

    async def __aenter__(self) -> Self:
        await self._inline.__aenter__()
        await self._group.__aenter__()
        self._watching = self._group.create_task(self._look())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort what still runs; returns when no worker is left, also when it is cancelled meanwhile."""
        watching, self._watching = self._watching, None
        try:
            await self._abort_all()
        finally:
            for each in self._workers:
                each.kill()
            try:
                await shielded(self._all_gone())
            finally:
                if watching is not None:
                    watching.cancel()
                await self._group.__aexit__(None, None, None)
                await self._inline.__aexit__(None, None, None)

    async def _abort_all(self) -> None:
        runs = [run for each in self._workers for run in each.runs.values()]
        for run in runs:
            run.abort()
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                for run in runs:
                    await run.outcome()
        except TimeoutError:
            log.warning("workers_killed", count=sum(bool(each.runs) for each in self._workers))

    async def _all_gone(self) -> None:
        while self._workers:
            await self._workers[0].gone.wait()

    async def start(self, spec: RunSpec, owner: Owner) -> RunHandle:
        """Hand a run over to the worker that has least to do."""
        if self._watching is None:
            message = f"job {spec.job!r} cannot start: the program is stopping"
            raise Unavailable(message)
        if any(provider_named(self._catalog, each.provider).one_process for each in spec.services.values()):
            return await self._inline.start(spec, owner)
        worker = self._worker_for(spec.job)
        run = MessagedRun(spec, owner, send=worker.send, group=self._group)
        sealed = seal(spec.services, key=worker.key, run_id=spec.run_id)
        bare = dataclasses.replace(spec, services={})
        with worker.placed(run) as slot:
            leased = self._lease is not None
            worker.send(Start(run_id=spec.run_id, spec=bare, sealed=sealed, slot=slot, leased=leased))
        self._suspects.started(spec.job, self._clock.monotonic())
        return run

    # ---------------------------------------------------------------------------------------------------- placement
    def _worker_for(self, job: str) -> WorkerProcess:
        if job in self._suspects:
            return self._new_worker(reserved_for=job)
        shared = self._shared()
        # Members of one job are spread before anything else.
        least = min(shared, key=lambda each: (len(each.runs) == SLOTS, each.count(job), len(each.runs)), default=None)
        if least is None or (least.runs and len(shared) < self._most):
            return self._new_worker()
        if len(least.runs) == SLOTS:
            message = f"job {job!r} cannot start: every worker has {SLOTS} runs; raise 'workers' in [system.runtime]"
            raise Unavailable(message)
        return least

    def _shared(self) -> list[WorkerProcess]:
        return [each for each in self._workers if each.reserved_for is None and not each.is_ending]

    def _new_worker(self, reserved_for: str | None = None) -> WorkerProcess:
        now = self._clock.monotonic()
        try:
            worker = WorkerProcess(
                self._setup, now=now, message=self._receive, gone=self._gone, inherited=self._inherited
            )
        except OSError as error:
            message = f"no worker process can be started ({error.strerror}); the system is short of memory or processes"
            raise Unavailable(message) from error
        worker.reserved_for = reserved_for
        self._workers.append(worker)
        log.debug("worker_started", pid=worker.pid)
        return worker

    def _retire_if_spare(self, worker: WorkerProcess) -> None:
        if not worker.runs and (worker.reserved_for is not None or len(self._shared()) > self._most):
            worker.retire()

    # ----------------------------------------------------------------------------------------------- what workers say
    def _receive(self, worker: WorkerProcess, message: ToOwner) -> None:
        worker.heard_at = self._clock.monotonic()
        worker.is_ready = True
        match message:
            case Heartbeat():
                for run in worker.runs.values():
                    if run.run_id in message.statuses:
                        run.heard(message.statuses[run.run_id])
                if self._lease is not None:
                    worker.send(LeaseValid(seconds=self._lease(), heartbeat_sent_at=message.sent_at))
            case LogLines():
                log_relay.emit(message)
            case Exited():
                ended = worker.remove(message.run_id)
                if ended is not None:
                    self._watch.forget(message.run_id)
                    self._suspects.ended(ended.spec.job)
                    ended.receive(message)
                    self._retire_if_spare(worker)
            case _:
                for run in worker.runs.values():
                    if run.run_id == message.run_id:
                        run.receive(message)

    # ------------------------------------------------------------------------------------------------ lost workers
    async def _look(self) -> None:
        while True:
            await self._clock.sleep(self._limits.look_sec)
            now = self._clock.monotonic()
            for worker, (run_id, error) in self._watch.look(self._workers, now):
                if run_id is not None:
                    worker.blamed = (run_id, failed(error, charged=True))
                log.warning("worker_killed", pid=worker.pid, error_code=error.code, error=str(error))
                worker.kill()
            for job in self._suspects.cleared(now):
                for worker in self._workers:
                    if worker.reserved_for == job:
                        worker.reserved_for = None

    def _gone(self, worker: WorkerProcess) -> None:
        """Every run that it held has ended; those that were busy, or were alone, are charged."""
        self._workers.remove(worker)
        runs, worker.runs = worker.runs, {}
        message = f"the worker (process {worker.pid}) of the run is gone; it goes on from its checkpoint"
        for slot, run in runs.items():
            suspicious = len(runs) == 1 or worker.page.read(slot) is not None
            outcome = failed(WorkerLost(message), charged=suspicious and worker.blamed is None)
            if worker.blamed is not None and worker.blamed[0] == run.run_id:
                outcome = worker.blamed[1]
            self._watch.forget(run.run_id)
            if outcome.charged:
                self._suspects.charge(run.spec.job)
            elif run.spec.job in self._suspects:
                self._suspects.ended(run.spec.job)
            run.end(outcome)


def _import_path() -> tuple[str, ...]:
    """Where a worker finds modules: as here, with the working directory spelled out."""
    return tuple(str(Path(each).resolve()) for each in sys.path)
