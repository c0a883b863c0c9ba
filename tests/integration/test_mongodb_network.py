"""A whole job from a collection to another one, over lines that are cut: everything arrives, and nothing is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.acceptance.programs import Program, until
from tests.contracts.stores import MONGODB_DATABASES
from tests.servers.mongodb import MongoDatabase
from tests.servers.proxy import CuttingProxy, cutting_proxy

CONFIG = """
[system]
state = "state.db"

[[services]]
provider = "mongodb"
name = "shop"
connection_string = "env:SHOP_URI"
db_name = "{name}"

[[connectors]]
name = "orders"
batch = {{ size = 20, max_wait_ms = 20 }}
checkpoint = {{ interval_ms = 100 }}
retry = {{ base_ms = 50, max_ms = 500 }}
[connectors.source]
service_name = "shop"
resource = "orders"
[[connectors.sinks]]
service_name = "shop"
resource = "copies"
write_mode = "replace"
"""

pytestmark = pytest.mark.timeout(180)

#: Documents of a round.
SOME = 50


@pytest.fixture(params=[each for each in MONGODB_DATABASES if each != "mongodb"])
def database(request: pytest.FixtureRequest) -> MongoDatabase:
    """Each stand-in: a replica set is reached by the names of its members, not by way of a proxy."""
    found: MongoDatabase = request.getfixturevalue(MONGODB_DATABASES[request.param])
    return found


@pytest.fixture
async def proxy(database: MongoDatabase) -> AsyncIterator[CuttingProxy]:
    port = re.search(r":(\d+)/", database.uri)
    assert port is not None
    async with cutting_proxy(int(port[1])) as found:
        yield found


Harm = Callable[[CuttingProxy], Awaitable[None]]


async def cut(proxy: CuttingProxy) -> None:
    proxy.cut()


async def close_half(proxy: CuttingProxy) -> None:
    proxy.close_half(to_client=True)


async def lose_an_answer(proxy: CuttingProxy) -> None:
    proxy.lose_answer(after=Random(proxy.port).randrange(5))
    for _ in range(200):
        if proxy.has_lost:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("no answer came by that could be lost")


async def be_away(proxy: CuttingProxy) -> None:
    proxy.refuses = True
    proxy.cut()
    await asyncio.sleep(2)
    proxy.refuses = False


async def be_slow(proxy: CuttingProxy) -> None:
    proxy.delay = 0.3
    await asyncio.sleep(2)
    proxy.delay = 0


HARMS: list[Harm] = [cut, close_half, lose_an_answer, be_away, be_slow, cut]


async def test_no_change_is_lost_while_lines_are_cut(
    tmp_path: Path, database: MongoDatabase, proxy: CuttingProxy
) -> None:
    (tmp_path / "mstream-config.toml").write_text(CONFIG.format(name=database.name))
    uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true&serverSelectionTimeoutMS=2000"
    with database.client() as client, Program(tmp_path, "run", environ={"SHOP_URI": uri}) as program:
        shop = client[database.name]
        await _flows(shop, program)
        for number, harm in enumerate(HARMS):
            first = number * 2 * SOME
            await asyncio.to_thread(_insert, shop, first)
            await harm(proxy)
            await asyncio.to_thread(_insert, shop, first + SOME)
            wanted = set(range(first + 2 * SOME))
            await _waits(lambda wanted=wanted: wanted <= _copied(shop), f"all after {harm.__name__}")

        assert program.process.poll() is None
        assert "event=job_failed" not in program.log


async def _flows(shop: Any, program: Program) -> None:
    """The stream is open once a document has come through."""
    await _waits(lambda: "event=run_started" in program.log, "the job runs")
    number = 0

    def has_come() -> bool:
        nonlocal number
        number -= 1
        shop["orders"].insert_one({"_id": number})
        return bool(_copied(shop))

    await _waits(has_come, "the first document")


def _insert(shop: Any, first: int) -> None:
    shop["orders"].insert_many([{"_id": each} for each in range(first, first + SOME)])


def _copied(shop: Any) -> set[int]:
    return {each["_id"] for each in shop["copies"].find()}


async def _waits(holds: Callable[[], Any], what: str) -> None:
    """In a thread: the proxy lives in this loop."""
    await asyncio.to_thread(until, holds, what)
