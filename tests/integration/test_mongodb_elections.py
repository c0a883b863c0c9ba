"""A whole job from a collection to another one while primaries step down: it waits, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.programs import Program, until
from tests.servers.elections import ReplicaSet, replica_set

CONFIG = """
[system]
state = "state.db"
{checkpoints}
[[services]]
provider = "mongodb"
name = "shop"
connection_string = "env:SHOP_URI"
db_name = "d"

[[connectors]]
name = "orders"
delivery = "{delivery}"
batch = {{ size = 20, max_wait_ms = 20 }}
checkpoint = {{ interval_ms = 100 }}
retry = {{ base_ms = 50, max_ms = 500 }}
[connectors.source]
service_name = "shop"
resource = "orders"
[[connectors.sinks]]
service_name = "shop"
resource = "copies"
write_mode = "{mode}"
"""

pytestmark = pytest.mark.timeout(180)

#: Documents of a round.
SOME = 50

Election = Callable[[ReplicaSet], Coroutine[Any, Any, None]]
ELECTIONS: list[Election] = [
    ReplicaSet.step_down,
    ReplicaSet.die,
    ReplicaSet.interrupt_a_write,
    ReplicaSet.roll_a_write_back,
    ReplicaSet.step_down,
]


CHECKPOINTS = '[system.checkpoints]\nservice_name = "shop"\nresource = "checkpoints"\n'


@pytest.mark.parametrize(
    ("mode", "delivery", "checkpoints"),
    [
        ("replace", "at_least_once", ""),
        ("insert", "at_least_once", ""),
        ("insert", "effectively_once", CHECKPOINTS),
    ],
)
async def test_no_change_is_lost_while_primaries_step_down(
    tmp_path: Path, mode: str, delivery: str, checkpoints: str
) -> None:
    config = CONFIG.format(mode=mode, delivery=delivery, checkpoints=checkpoints)
    (tmp_path / "mstream-config.toml").write_text(config)
    async with replica_set() as servers:
        with Program(tmp_path, "run", environ={"SHOP_URI": servers.uri}) as program:
            await _waits(lambda: any(each.asked_for("getMore") for each in servers.members), "the stream is open")
            for number, election in enumerate(ELECTIONS):
                first = number * 2 * SOME
                held = asyncio.create_task(election(servers))
                _happen(servers, first)
                await held
                _happen(servers, first + SOME)
                wanted = {each: {"_id": each, "n": each} for each in range(first + 2 * SOME)}
                await _waits(partial(_has_come, servers, wanted), f"all after {election}")

            assert program.process.poll() is None
            assert "event=job_failed" not in program.log
            assert program.log.count("event=run_started") == 1

    commits = [each.asked_for("commitTransaction") for each in servers.members]
    assert all(commits) if delivery == "effectively_once" else not any(commits)
    # what was committed with its position did not come again
    assert servers.duplicates == 0 or delivery == "at_least_once"
    # both have been primary, and no write but those of the scripts was refused for good
    assert all(any("update" in each or "insert" in each for each in member.asked) for member in servers.members)


def _happen(servers: ReplicaSet, first: int) -> None:
    for number in range(first, first + SOME):
        key = {"_id": number}
        servers.replay.happen("insert", fullDocument={"_id": number, "n": number}, documentKey=key)


def _has_come(servers: ReplicaSet, wanted: dict[int, Any]) -> bool:
    return servers.written.get("copies") == wanted


async def _waits(holds: Callable[[], Any], what: str) -> None:
    """In a thread: the servers live in this loop."""
    await asyncio.to_thread(until, holds, what)
