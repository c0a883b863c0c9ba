"""Three ways to run the engine: called directly, through pickled messages, in a real child process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields, replace
from pathlib import Path
from random import Random
from typing import Any, Protocol, Self, TypeVar

from mstream.domain.run import Ending, Outcome, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter, NoPage
from mstream.engine.run import Run
from mstream.engine.run import run as run_engine
from mstream.errors import MstreamError
from mstream.foundation.concurrency import background
from mstream.ports.owner import Owner
from mstream.ports.provider import Provider
from mstream.runtimes.base import RunHandle, Runtime
from mstream.runtimes.faults import error_of
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.messages import Fault
from mstream.runtimes.process import ProcessRuntime
from tests import virtual
from tests.unit.engine import carried
from tests.unit.engine.provider import OpenServices, ScriptedConfig, provider_on

T = TypeVar("T")

#: Seconds of a child's scripts in one second of ours.
RATE = 50.0


class Way(Protocol):
    """How runs are executed, and on which clock."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a story on this way's clock."""

    async def execute(
        self, spec: RunSpec, parts: dict[str, Any], *, owner: Owner, control: RunControl, meter: Meter
    ) -> None:
        """As the engine's `run`; `parts` are the scripted roles by the names of their services."""


class Near:
    """On virtual time, in this process."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return virtual.run(work)

    async def execute(
        self, spec: RunSpec, parts: dict[str, Any], *, owner: Owner, control: RunControl, meter: Meter
    ) -> None:
        spec = replace(spec, services={name: ScriptedConfig(name=name) for name in parts})
        await self.on(provider_on(parts), spec, owner=owner, control=control, meter=meter)

    async def on(
        self, provider: Provider[Any, Any], spec: RunSpec, *, owner: Owner, control: RunControl, meter: Meter
    ) -> None:
        """With the services of one provider."""
        raise NotImplementedError


class Direct(Near):
    """The engine itself."""

    def __init__(self, kind: type[Run] = Run) -> None:
        """`kind`: another engine, for instance one that is wrong on purpose."""
        self._kind = kind

    async def on(
        self, provider: Provider[Any, Any], spec: RunSpec, *, owner: Owner, control: RunControl, meter: Meter
    ) -> None:
        async with AsyncExitStack() as stack:
            run = self._kind(spec, owner, control, meter, NoPage(), virtual.VirtualClock(), Random(7))
            await run.execute(OpenServices(provider, spec.services, stack))


class Pickled(Near):
    """A runtime whose messages go through bytes."""

    async def on(
        self, provider: Provider[Any, Any], spec: RunSpec, *, owner: Owner, control: RunControl, meter: Meter
    ) -> None:
        until, clock = control.lease_until, virtual.VirtualClock()
        lease = None if until is None else lambda: until - clock.monotonic()
        async with InlineRuntime([provider], clock=clock, pickled=True, lease=lease) as runtime:
            await _through(runtime, spec, owner, control, meter)


class Home:
    """A thread with a loop on a clock that runs fast, and a runtime with one worker process for all that comes."""

    def __init__(self) -> None:
        self._started = threading.Event()
        self._ended = asyncio.Event()
        self.runtime = ProcessRuntime(workers=1, catalog=f"{__name__}:CATALOG", run=f"{__name__}:run_hastily")
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="home")

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *error: object) -> None:
        self.loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        hasten(self.loop)
        async with self.runtime:
            self._started.set()
            await self._ended.wait()


class Child:
    """A worker process; the parts are sent there, and what has become of them comes back."""

    def __init__(self, home: Home, folder: Path) -> None:
        self._home = home
        self._folder = folder
        self._runs = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._home.loop).result()

    async def execute(
        self, spec: RunSpec, parts: dict[str, Any], *, owner: Owner, control: RunControl, meter: Meter
    ) -> None:
        self._runs += 1
        files = {name: self._folder / f"{self._runs}-{name}" for name in parts}
        for name, part in parts.items():
            carried.carry(part, files[name])
        configs = {name: ScriptedConfig(name=name, part=str(file)) for name, file in files.items()}
        try:
            await _through(self._home.runtime, replace(spec, services=configs), owner, control, meter)
        finally:
            for name, part in parts.items():
                carried.take_state(part, files[name])


async def _through(runtime: Runtime, spec: RunSpec, owner: Owner, control: RunControl, meter: Meter) -> None:
    """Start it there, pass on what is asked of it, end as it ended."""
    handle = await runtime.start(spec, owner)
    try:
        async with (
            background(_when(control.draining, handle.drain)),
            background(_when(control.finishing, handle.finish)),
            background(_told(handle, control)),
            background(_ordered(handle, control)),
            background(_watched(handle, meter)),
        ):
            await handle.outcome()
    finally:
        handle.abort()  # nothing, if it has ended
        outcome = await handle.outcome()
        _copy(handle, meter)
    _raise(outcome)


async def _when(event: asyncio.Event, action: Callable[[], None]) -> None:
    await event.wait()
    action()


async def _told(handle: RunHandle, control: RunControl) -> None:
    await handle.started()
    control.started.set()


async def _ordered(handle: RunHandle, control: RunControl) -> None:
    """One order after the other; the answers come back."""
    while True:
        await control.orders.waiting.wait()
        order, answer = control.orders.pop()
        try:
            await handle.snapshot(order)
        except MstreamError as error:
            answer.set_exception(error)
        else:
            answer.set_result(None)


async def _watched(handle: RunHandle, meter: Meter) -> None:
    while True:
        await asyncio.sleep(0.5)
        _copy(handle, meter)


def _copy(handle: RunHandle, meter: Meter) -> None:
    for each in fields(Meter):
        if hasattr(handle.status, each.name):
            setattr(meter, each.name, getattr(handle.status, each.name))


def _raise(outcome: Outcome) -> None:
    if outcome.ending is Ending.FAILED:
        raise error_of(Fault(code=outcome.reason or "", message=outcome.message or ""))
    if outcome.ending is Ending.ABORTED:
        raise asyncio.CancelledError


@asynccontextmanager
async def _sent(config: ScriptedConfig) -> AsyncIterator[Any]:
    """In the child: the part that was sent; what has become of it goes back."""
    part = carried.taken(Path(config.part))
    try:
        yield part
    finally:
        carried.carry_state(part, Path(config.part))


#: What a child can open.
CATALOG: tuple[Provider[Any, Any], ...] = (provider_on(_sent),)


async def run_hastily(spec: RunSpec, **parts: Any) -> None:
    """In the child: the engine's `run` on the fast clock."""
    hasten(asyncio.get_running_loop())
    await run_engine(spec, **{**parts, "clock": virtual.VirtualClock()})


def hasten(loop: asyncio.AbstractEventLoop) -> None:
    """From now on the loop's seconds are shorter than the world's."""
    quick: Any = loop
    if hasattr(quick, "hastened"):
        return
    began, shown = time.monotonic(), loop.time()
    select = quick._selector.select
    quick.hastened = True
    quick.time = lambda: shown + (time.monotonic() - began) * RATE
    quick._selector.select = lambda timeout=None: select(timeout and timeout / RATE)
