"""A provider and an engine so small that only the runtime is tested; importable by worker processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal

from mstream.domain.connector import ConnectorSpec
from mstream.domain.dead_letter import DeadLetter
from mstream.domain.run import RunSpec
from mstream.domain.service import ServiceConfig
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter, StagePage
from mstream.engine.services import Services
from mstream.errors import DeadLettersFull, StaleOwner, Unreachable
from mstream.foundation.clock import Clock, monotonic
from mstream.foundation.secrets import Secret
from mstream.observability.logs import get_logger
from mstream.ports.owner import LaneClaim
from mstream.ports.provider import Provider

PLANTED = "planted-7f3e-secret"


class StandInConfig(ServiceConfig):
    provider: Literal["stand_in"] = "stand_in"
    password: Secret = Secret("")


class LocalConfig(ServiceConfig):
    provider: Literal["local"] = "local"


@dataclass
class Live:
    config: ServiceConfig
    closed: bool = False


@asynccontextmanager
async def connect(config: ServiceConfig) -> AsyncIterator[Live]:
    live = Live(config)
    yield live
    live.closed = True


CATALOG = (
    Provider(name="stand_in", config=StandInConfig, connect=connect),
    Provider(name="local", config=LocalConfig, connect=connect, one_process=True),
)


def spec(behaviour: str, *, job: str = "job", run_id: str = "run-1", config: ServiceConfig | None = None) -> RunSpec:
    config = config or StandInConfig(name="svc", password=Secret(PLANTED))
    connector = ConnectorSpec.model_validate(
        {
            "name": job,
            "enabled": True,
            "source": {"service_name": config.name, "resource": behaviour},
            "sinks": [{"service_name": config.name, "resource": "out"}],
        }
    )
    return RunSpec(job=job, run_id=run_id, epoch=1, connector=connector, services={config.name: config})


@dataclass
class RecordingOwner:
    """Keeps what it is asked; refuses what it is told to refuse."""

    saved: dict[str, Any] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)

    async def save(self, positions: Mapping[str, Any]) -> None:
        if "stale" in positions:
            message = "job 'job' has a newer owner"
            raise StaleOwner(message)
        if "broken" in positions:
            raise ZeroDivisionError(PLANTED)
        self.saved.update(positions)

    async def claim(self, lanes: Collection[str]) -> Mapping[str, LaneClaim]:
        return {lane: LaneClaim(position=7, revision=f"rev-{lane}", sequence=3) for lane in lanes}

    async def release(self, lanes: Collection[str]) -> None:
        self.released += lanes

    async def lookup(self, lanes: Collection[str]) -> Mapping[str, LaneClaim]:
        return {lane: LaneClaim(position=None, revision="") for lane in lanes}

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        if len(self.letters) + len(letters) > 2:
            message = "there is room for 2 dead letters"
            raise DeadLettersFull(message)
        self.letters += letters


def letter(index: int) -> DeadLetter:
    return DeadLetter(
        job="job", run_id="run-1", lane="", position=index, index=0, sink=None, stage="decode",
        error_code="record_undecodable", error_message="no JSON", attempts=1, payload=b"\xff\x00", encoding="json",
        record_key=None, headers={}, operation="insert", at="2026-01-01T00:00:00.000000Z",
    )  # fmt: skip


async def run(
    spec: RunSpec,
    *,
    services: Services,
    owner: RecordingOwner,
    control: RunControl,
    meter: Meter,
    page: StagePage,
    clock: Clock,
    random: Random,
) -> None:
    """Behaves as the resource of its source says."""
    live = await services.live("svc")
    assert live.config.name == "svc"
    control.started.set()
    meter.records_read = 5
    meter.active_at = clock.monotonic()
    await BEHAVIOURS[spec.connector.source.resource](owner, control, meter, page)


async def quiet(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Waits for a drain, then saves."""
    await control.draining.wait()
    meter.records_delivered = 5
    await owner.save({"lane": [1, "two"]})


async def until_finish(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    await control.finishing.wait()


async def asking(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Asks for everything that an owner can be asked."""
    claims = await owner.claim(["a", "b"])
    assert claims["b"] == LaneClaim(position=7, revision="rev-b", sequence=3)
    assert (await owner.lookup(["a"]))["a"].position is None
    await owner.save({"a": {"offset": 1}, "b": None})
    await owner.release(["b"])
    await owner.bury([letter(1)])
    try:
        await owner.bury([letter(2), letter(3)])
    except DeadLettersFull:
        await owner.save({"full": "noticed by class"})


async def stale(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    await owner.save({"stale": 1})


async def broken(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    await owner.save({"broken": 1})


async def unreachable(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    message = "cannot reach amqp://user:hunter2@host/"
    raise Unreachable(message)


async def crash(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    raise ZeroDivisionError(PLANTED)


async def ends_process(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    raise SystemExit(3)


async def blocking(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """A script that never returns."""
    await asyncio.sleep(0.1)
    page.busy("svc/loop.py", 0.5)
    while True:
        pass


async def stuck(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Holds the interpreter's lock without a deadline: no thread of the worker has a turn any more."""
    await asyncio.sleep(0.1)
    re.match("(a+)+$", "a" * 60 + "b")


async def killed(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Dies of itself."""
    os.kill(os.getpid(), signal.SIGKILL)
    await control.draining.wait()


def child_with_every_descriptor() -> int:
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            os.set_inheritable(int(each.name), True)
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"], close_fds=False).pid


async def forking(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Leaves a process behind that holds its socket, and dies."""
    await owner.save({"child": child_with_every_descriptor()})
    os.kill(os.getpid(), signal.SIGKILL)


async def leased(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Says how long the lease holds, from its first moment on."""
    await owner.save({"lease_sec": control.lease_until and control.lease_until - monotonic()})


async def frozen(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Is there and says nothing."""
    await asyncio.sleep(1)
    os.kill(os.getpid(), signal.SIGSTOP)


async def deaf(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Does not end when it is cancelled."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


async def tells(owner: RecordingOwner, control: RunControl, meter: Meter, page: StagePage) -> None:
    """Logs, prints and says where it runs."""
    get_logger("scripts").warning("something_noticed", count=3, password=Secret(PLANTED))
    print("a script prints")
    await owner.save({"pid": os.getpid(), "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN})


BEHAVIOURS = {
    each.__name__: each
    for each in (
        quiet, until_finish, asking, stale, broken, unreachable, crash, ends_process, blocking, stuck, killed, frozen,
        deaf, tells, forking, leased,
    )
}  # fmt: skip
