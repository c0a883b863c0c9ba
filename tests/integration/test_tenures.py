"""A program that loses its store's lease and has it again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from mstream.bootstrap.program import Options, Program, read
from mstream.foundation.concurrency import background
from mstream.providers import CATALOG

FILE = """
[system]
state = "{folder}/mstream.db"
encryption_key_path = "{folder}/mstream.key"
[system.job_lifecycle]
startup_state = "force_from_file"
[system.runtime]
kind = "inline"
[system.api]
port = 0
[[services]]
provider = "file"
name = "{service}"
path = "{folder}"
[[connectors]]
name = "copy"
max_in_flight = {size}
source = {{ service_name = "{service}", resource = "in.jsonl" }}
sinks = [ {{ service_name = "{service}", resource = "out.jsonl" }} ]
"""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_what_was_applied_holds_in_the_next_tenure(tmp_path: Path) -> None:
    path = tmp_path / "mstream.toml"
    path.write_text(FILE.format(folder=tmp_path, service="old", size=2))
    program = Program(read(path, CATALOG, {}), Options(), path=path, environ={})

    async with background(program.run()):
        await until(program.health.is_ready)
        path.write_text(FILE.format(folder=tmp_path, service="new", size=7))
        async with httpx.AsyncClient(base_url=program.address) as client:
            applied = await client.post("/apply", json={"prune": True})
        assert applied.status_code == 200, applied.text
        [run_before] = [each.job.run_id for each in program.manager.views()]

        program.forfeit("the test takes it")
        await until(lambda: not program.health.is_ready())
        await until(program.health.is_ready)

        [view] = program.manager.views()
        assert (view.job.spec.max_in_flight, view.job.spec.service_names) == (7, ("new",))
        assert view.job.run_id != run_before
        program.interruption.drain.set()
        await until(lambda: not program.health.is_ready())
