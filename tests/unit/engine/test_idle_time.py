"""From when on a run counts as idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from tests import virtual
from tests.unit.engine.provider import ScriptedConfig, provider_on
from tests.unit.engine.scripted import RememberingOwner, ScriptedSink, ScriptedSource, connector
from tests.unit.engine.ways import Direct


def test_the_time_that_opening_takes_is_not_idle_time() -> None:
    provider = provider_on({"src": ScriptedSource([("a", 1)]), "s0": ScriptedSink()})

    @asynccontextmanager
    async def connect(config: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(60)
        async with provider.connect(config) as live:
            yield live

    async def story() -> tuple[float, float]:
        control, meter = RunControl(), Meter()
        spec = RunSpec(
            job="job",
            run_id="run-1",
            epoch=1,
            connector=connector(),
            services={name: ScriptedConfig(name=name) for name in ("src", "s0")},
            checkpoint=CheckpointMode.OFF,
        )
        slow = replace(provider, connect=connect)
        run = asyncio.ensure_future(Direct().on(slow, spec, owner=RememberingOwner(), control=control, meter=meter))
        await asyncio.sleep(1)
        before = meter.active_at
        await control.started.wait()
        await asyncio.sleep(0)
        idle = virtual.VirtualClock().monotonic() - meter.active_at
        await run
        return before, idle

    assert virtual.run(story()) == (0.0, 0.0)


def test_who_waits_for_what_it_is_to_read_is_not_idle() -> None:
    class Member(ScriptedSource):
        async def joined(self) -> None:
            await asyncio.sleep(60)

    provider = provider_on({"src": Member([("a", 1)], delay=100), "s0": ScriptedSink()})

    async def story() -> tuple[float, float]:
        meter = Meter()
        spec = RunSpec(
            job="job",
            run_id="run-1",
            epoch=1,
            connector=connector(),
            services={name: ScriptedConfig(name=name) for name in ("src", "s0")},
            checkpoint=CheckpointMode.OFF,
        )
        running = Direct().on(provider, spec, owner=RememberingOwner(), control=RunControl(), meter=meter)
        run = asyncio.ensure_future(running)
        began = virtual.VirtualClock().monotonic()
        await asyncio.sleep(59)
        before = meter.active_at
        await asyncio.sleep(2)
        after = meter.active_at - began
        await run
        return before, after

    assert virtual.run(story()) == (0.0, 60.0)
