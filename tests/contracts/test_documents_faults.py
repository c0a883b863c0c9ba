"""What every document store does when its server, or the way there, fails."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mstream.domain.service import ServiceConfig
from mstream.errors import AccessDenied, RevisionConflict, StoreUnreachable
from mstream.foundation.secrets import Secret
from mstream.ports.documents import ABSENT, Collection, DocumentStore, Stored
from mstream.ports.provider import Provider
from tests.contracts.stores import MONGODB_DATABASES, opened
from tests.servers.process import ServerProcess
from tests.servers.proxy import CuttingProxy, cutting_proxy

#: Store -> its server; a named deployment is left in peace.
SERVERS = {
    "postgres": "postgres_server",
    "mariadb": "mysql_server",
    "mongo-java": "mongo_java_server",
    "nx": "nx_server",
}
#: All but mongo-java-server, which lives in memory.
LASTING = [each for each in SERVERS if each != "mongo-java"]
#: How the drivers are told to give up soon, where they take their time.
HASTE = "timeoutMS=4000"

pytestmark = [
    pytest.mark.timeout(120),
    # MongoDB's driver forgets a socket, now and then, when the time is up while it connects anew.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


def through(port: int, config: Any) -> ServiceConfig:
    """The same service at another port of 127.0.0.1."""
    field = "connection_string" if config.provider == "mongodb" else "url"
    url = re.sub(r"(@|//)127\.0\.0\.1:\d+", rf"\g<1>127.0.0.1:{port}", getattr(config, field).reveal())
    if config.provider == "mongodb":
        url = f"{url}?{HASTE}"
    changed: ServiceConfig = config.model_copy(update={field: Secret(url)})
    return changed


@asynccontextmanager
async def store_at(port: int, opening: tuple[Provider[Any, Any], ServiceConfig]) -> AsyncIterator[DocumentStore]:
    provider, config = opening
    assert provider.documents is not None
    async with provider.connect(through(port, config)) as live:
        yield provider.documents(live)


class Line:
    """A store, one collection of it, and the proxy between it and its server."""

    def __init__(self, store: DocumentStore, proxy: CuttingProxy) -> None:
        self.store = store
        self.jobs: Collection = store.collection(f"jobs-{secrets.token_hex(4)}")
        self.proxy = proxy


@pytest.fixture(params=SERVERS)
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    server: ServerProcess = request.getfixturevalue(SERVERS[request.param])
    opening = opened(request.param, request, tmp_path)
    async with cutting_proxy(server.port) as proxy, store_at(proxy.port, opening) as store:
        yield Line(store, proxy)


async def settled(line: Line) -> Stored | None:
    """What is stored, once the store answers again: a driver may meet each of its broken connections once."""
    for _ in range(5):
        try:
            return await line.jobs.get("orders")
        except StoreUnreachable:
            continue
    return await line.jobs.get("orders")


async def test_a_line_that_is_slow_changes_nothing(line: Line) -> None:
    line.proxy.delay = 0.02

    revision = await line.jobs.put("orders", {"v": 1}, expect=ABSENT)
    with pytest.raises(RevisionConflict):
        await line.jobs.put("orders", {"v": 2}, expect=ABSENT)

    assert await line.jobs.get("orders") == Stored(key="orders", document={"v": 1}, revision=revision)


async def test_a_line_that_was_cut_is_laid_again(line: Line) -> None:
    revision = await line.jobs.put("orders", {"v": 1})

    for _ in range(3):
        line.proxy.cut()
        assert await settled(line) == Stored(key="orders", document={"v": 1}, revision=revision)


@pytest.mark.parametrize("to_client", [True, False], ids=["to the client", "to the server"])
async def test_half_a_line_is_none(line: Line, *, to_client: bool) -> None:
    revision = await line.jobs.put("orders", {"v": 1})

    line.proxy.close_half(to_client=to_client)

    assert await settled(line) == Stored(key="orders", document={"v": 1}, revision=revision)


async def test_a_store_behind_a_dead_line_is_unreachable_and_comes_back_by_itself(line: Line) -> None:
    revision = await line.jobs.put("orders", {"v": 1})
    line.proxy.refuses = True
    line.proxy.cut()

    with pytest.raises(StoreUnreachable):
        await line.store.ping()
    with pytest.raises(StoreUnreachable) as caught:
        await line.jobs.put("orders", {"v": 2}, expect=revision)
    line.proxy.refuses = False

    assert caught.value.retryable
    assert "planted" not in str(caught.value)
    assert await settled(line) == Stored(key="orders", document={"v": 1}, revision=revision)


async def test_whichever_answer_is_lost_the_revision_tells_what_has_happened(line: Line) -> None:
    """The caller's own token stands there, or the old one; never anything between."""
    await line.jobs.put("orders", {"v": 0}, revision="0")
    found: list[str] = []
    for number in range(1, 30):
        expect, chosen = str(number - 1), str(number)
        await line.jobs.put("orders", {"v": number - 1}, revision=expect)
        line.proxy.lose_answer(after=number - 1)
        try:
            await line.jobs.put("orders", {"v": number}, expect=expect, revision=chosen)
        except StoreUnreachable:
            stored = await settled(line)
            assert stored is not None
            assert stored in (
                Stored(key="orders", document={"v": number - 1}, revision=expect),
                Stored(key="orders", document={"v": number}, revision=chosen),
            )
            found.append("written" if stored.revision == chosen else "not written")
        if not line.proxy.has_lost:
            break

    assert not line.proxy.has_lost, "every answer was lost: nothing is shown"
    assert "written" in found


@pytest.mark.parametrize("kind", LASTING)
@pytest.mark.parametrize("end", ["stop", "crash"])
async def test_what_was_written_survives_the_end_of_the_server(
    kind: str, end: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server: ServerProcess = request.getfixturevalue(SERVERS[kind])
    opening = opened(kind, request, tmp_path)
    async with store_at(server.port, opening) as store:
        jobs = store.collection(f"jobs-{secrets.token_hex(4)}")
        revision = await jobs.put("orders", {"v": 1})

        getattr(server, end)()
        with pytest.raises(StoreUnreachable):
            await jobs.get("orders")
        with pytest.raises(StoreUnreachable):
            await jobs.put("orders", {"v": 2}, expect=revision)
        server.start()

        moved = await retried(jobs, revision)
        assert await jobs.get("orders") == Stored(key="orders", document={"v": 3}, revision=moved)


async def retried(jobs: Collection, expect: str) -> str:
    """A driver may meet each connection of before once."""
    for _ in range(5):
        try:
            return await jobs.put("orders", {"v": 3}, expect=expect)
        except StoreUnreachable:
            continue
    return await jobs.put("orders", {"v": 3}, expect=expect)


async def test_a_server_that_has_lost_everything_is_filled_anew(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """mongo-java-server, restarted: what was known of its collections holds no more."""
    server: ServerProcess = request.getfixturevalue(SERVERS["mongo-java"])
    async with store_at(server.port, opened("mongo-java", request, tmp_path)) as store:
        jobs = store.collection("jobs")
        revision = await jobs.put("orders", {"v": 1})

        server.restart()

        with pytest.raises((RevisionConflict, StoreUnreachable)):
            await jobs.put("orders", {"v": 2}, expect=revision)
        assert await retried(jobs, ABSENT)


@pytest.mark.parametrize("kind", [each for each in SERVERS if each not in MONGODB_DATABASES])
async def test_a_wrong_password_is_no_outage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The stand-ins for MongoDB know no accounts."""
    provider, config = opened(kind, request, tmp_path)
    url = config.url.reveal()  # type: ignore[attr-defined]  # these two have one
    wrong = config.model_copy(update={"url": Secret(re.sub(r":planted[^@]*@", ":planted-and-wrong@", url))})

    with pytest.raises(AccessDenied) as caught:
        async with provider.connect(wrong):
            raise AssertionError

    assert "planted" not in str(caught.value)
    assert not caught.value.retryable
