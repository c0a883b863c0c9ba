"""Runtime `inline`: runs are tasks of this process; the same messages, in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from mstream.domain.run import RunSpec
from mstream.engine import run as engine
from mstream.errors import Unavailable
from mstream.foundation.clock import Clock, SystemClock
from mstream.ports.owner import Owner
from mstream.ports.provider import Catalog
from mstream.runtimes.base import RunHandle
from mstream.runtimes.executor import Executor, RunFunction
from mstream.runtimes.handle import MessagedRun
from mstream.runtimes.messages import Exited, Heartbeat, LeaseValid, LogLines, Message, Start, ToOwner, ToRun
from mstream.runtimes.sealing import new_key, seal

M = TypeVar("M", bound=Message)

#: Seconds between two heartbeats.
BEAT = 0.5


class InlineRuntime:
    """Everything in one process and on one loop: tests, embedding, debugging."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        clock: Clock | None = None,
        pickled: bool = False,
        run: RunFunction = engine.run,
        sees: Callable[[bytes], None] | None = None,
        lease: Callable[[], float] | None = None,
    ) -> None:
        """`pickled`: every message goes through bytes, as between processes; `sees` is shown those bytes.

        `lease`: seconds for which the owner's lease still holds; None: there is none.
        """
        self._lease = lease
        self._catalog = catalog
        self._clock = clock or SystemClock()
        self._pickled = pickled
        self._run = run
        self._sees = sees
        self._key = new_key()
        self._runs: dict[str, MessagedRun] = {}
        self._group = asyncio.TaskGroup()
        self._executor: Executor | None = None
        self._beating: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._executor = Executor(
            catalog=self._catalog, send=self._to_owner, clock=self._clock, key=self._key, run=self._run
        )
        await self._executor.__aenter__()
        self._beating = self._group.create_task(self._beat(self._executor))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort what still runs; returns when nothing is left behind."""
        runs = list(self._runs.values())
        for each in runs:
            each.abort()
        for each in runs:
            await each.outcome()
        if self._beating is not None:
            self._beating.cancel()
        executor, self._executor = self._executor, None
        if executor is not None:
            await executor.__aexit__(None, None, None)
        await self._group.__aexit__(None, None, None)

    async def start(self, spec: RunSpec, owner: Owner) -> RunHandle:
        """Hand a run over."""
        if self._executor is None:
            message = f"job {spec.job!r} cannot start: the program is stopping"
            raise Unavailable(message)
        handle = MessagedRun(spec, owner, send=self._to_run, group=self._group)
        self._runs[spec.run_id] = handle
        if self._pickled:
            sealed = seal(spec.services, key=self._key, run_id=spec.run_id)
            bare = dataclasses.replace(spec, services={})
            start = Start(run_id=spec.run_id, spec=bare, sealed=sealed, leased=self._lease is not None)
        else:
            start = Start(run_id=spec.run_id, spec=spec, leased=self._lease is not None)
        self._to_run(start)
        return handle

    def _to_run(self, message: ToRun) -> None:
        executor = self._executor
        if executor is not None:
            asyncio.get_running_loop().call_soon(executor.receive, self._carried(message))

    def _to_owner(self, message: ToOwner) -> None:
        asyncio.get_running_loop().call_soon(self._receive, self._carried(message))

    def _receive(self, message: ToOwner) -> None:
        match message:
            case Heartbeat():
                for run_id, status in message.statuses.items():
                    if run_id in self._runs:
                        self._runs[run_id].heard(status)
                if self._lease is not None:
                    self._to_run(LeaseValid(seconds=self._lease(), heartbeat_sent_at=message.sent_at))
            case LogLines():
                return
            case _:
                run = self._runs.get(message.run_id)
                if run is not None:
                    run.receive(message)
                if isinstance(message, Exited):
                    self._runs.pop(message.run_id, None)

    def _carried(self, message: M) -> M:
        if not self._pickled:
            return message
        data = pickle.dumps(message)
        if self._sees is not None:
            self._sees(data)
        copy: M = pickle.loads(data)  # noqa: S301 - our own bytes of a moment ago
        return copy

    async def _beat(self, executor: Executor) -> None:
        while True:
            await self._clock.sleep(BEAT)
            self._to_owner(executor.heartbeat())
