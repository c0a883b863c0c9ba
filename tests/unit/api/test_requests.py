"""Names, hosts, bodies and revisions as clients send them, and answers that take long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from mstream.api.rendering import rendered
from mstream.api.security import BODY_LIMIT
from mstream.config.document import ConfigFile
from mstream.domain.run import Ending, Outcome
from mstream.errors import Unavailable
from mstream.providers.file.config import FileConfig
from mstream.providers.memory.config import MemoryConfig
from mstream.providers.sql.config import SqlConfig
from mstream.providers.udf.config import Engine, UdfConfig
from tests.unit.api.test_api import served
from tests.unit.api.test_definitions import JOB, SERVICE
from tests.unit.control.scripted import Script
from tests.virtual import run

#: Seconds that a thread waits for the loop; it never takes so long unless the loop waits for the thread.
PATIENCE = 20


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8719", "127.0.0.1.evil.example", "10.0.0.1:8719", "[::2]", "[::1", ""]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs"), ("POST", "/jobs/copy/stop"), ("GET", "/health/live")])
def test_a_name_that_an_attacker_points_here_is_answered_nothing(method: str, path: str, host: str) -> None:
    async def story() -> None:
        async with served() as (client, it):
            answer = await client.request(method, path, headers={"Host": host})

            assert (answer.status_code, answer.json()["error"]["code"]) == (421, "misdirected")
            assert it.manager.view("copy").job.intent == "running"

    run(story())


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8719", "127.0.0.2", "[::1]", "[::1]:9000"]
)
def test_this_machine_is_answered_by_any_of_its_names(host: str) -> None:
    async def story() -> None:
        async with served() as (client, _):
            assert (await client.get("/jobs", headers={"Host": host})).status_code == 200

    run(story())


def test_a_body_that_does_not_say_how_long_it_is_has_the_same_limit() -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 65_536

    async def story() -> None:
        async with served() as (client, it):
            headers = {"Content-Type": "application/json"}
            most = BODY_LIMIT // 65_536
            fits = await client.post("/jobs", content=pieces(most), headers=headers)
            exceeds = await client.post("/jobs", content=pieces(most + 1), headers=headers)

            assert (fits.status_code, fits.json()["error"]["code"]) == (400, "usage")
            assert (exceeds.status_code, exceeds.json()["error"]["code"]) == (413, "body_too_large")
            assert str(BODY_LIMIT) in exceeds.json()["message"]
            assert len(it.manager.views()) == 1

    run(story())


@pytest.mark.parametrize("name", ["a/b", "/", "a%2Fb", "a b?c#d", "jobs/copy/stop", "\u00fc\u20ac"])
def test_every_name_can_be_reached(name: str) -> None:
    async def story() -> None:
        async with served() as (client, _):
            at = f"/jobs/{quote(name, safe='')}"
            assert (await client.post("/jobs", json={**JOB, "name": name})).status_code == 201
            assert (await client.get(at)).json()["name"] == name
            assert (await client.post(f"{at}/stop?wait=60")).json()["item"]["phase"] == "stopped"
            assert (await client.delete(at)).status_code == 200

            at = f"/services/{quote(name, safe='')}"
            assert (await client.post("/services", json={**SERVICE, "name": name})).status_code == 201
            assert (await client.get(at)).json()["name"] == name
            assert (await client.delete(at)).status_code == 200

    run(story())


def test_a_slash_that_is_not_encoded_parts_names() -> None:
    async def story() -> None:
        async with served() as (client, _):
            await client.post("/jobs", json={**JOB, "name": "a/b"})

            assert (await client.get("/jobs/a/b")).json()["error"]["code"] == "not_found"

    run(story())


def test_what_is_observed_of_a_job_does_not_move_its_revision() -> None:
    """A client that has read a job may change it although it has failed and begun anew meanwhile."""
    failed = Outcome(ending=Ending.FAILED, reason="x", message="no", retryable=True)

    async def story() -> None:
        async with served(Script(lasts=50, ends=failed), Script()) as (client, _):
            seen = await client.get("/jobs/copy")
            await asyncio.sleep(60)
            now = await client.get("/jobs/copy")
            assert now.json()["run_id"] != seen.json()["run_id"]

            body = {**JOB, "name": "copy"}
            put = await client.put("/jobs/copy", json=body, headers={"If-Match": seen.headers["etag"]})
            again = await client.put("/jobs/copy", json=body, headers={"If-Match": seen.headers["etag"]})

            assert (seen.headers["etag"], put.status_code) == (now.headers["etag"], 200)
            assert (again.status_code, again.json()["error"]["code"]) == (409, "revision_conflict")

    run(story())


@pytest.mark.parametrize("part", ["runs", "changes"])
def test_a_job_that_never_was_has_no_history(part: str) -> None:
    async def story() -> None:
        async with served() as (client, it):
            unknown = await client.get(f"/jobs/nope/{part}")
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "job_not_found")

            await it.jobs.put("bad", {"name": "bad"})
            await it.manager.reread()
            for name in ("copy", "bad"):
                known = await client.get(f"/jobs/{name}/{part}")
                assert (known.status_code, known.json()) == (200, [])

    run(story())


def test_a_damaged_document_is_not_replaced_unseen() -> None:
    async def story() -> None:
        async with served() as (client, it):
            await it.jobs.put("bad", {"name": "bad"})
            await it.manager.reread()

            for query in ({}, {"replace": "true"}):
                answer = await client.post("/jobs", json={**JOB, "name": "bad"}, params=query)
                assert (answer.status_code, answer.json()["error"]["code"]) == (409, "document_damaged")
                assert "delete" in answer.json()["message"]

    run(story())


def test_a_reason_is_a_text() -> None:
    async def story() -> None:
        async with served() as (client, _):
            await client.post("/jobs/copy/stop?wait=60")
            body = {"positions": {"": 3}, "reason": {"why": 1}}
            answer = await client.put("/jobs/copy/checkpoints", json=body)

            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")
            assert "reason" in answer.json()["message"]

    run(story())


@pytest.mark.parametrize(
    ("sent", "who"),
    [
        ("anna", "anna"),
        (quote("\u0416\u043e\u0440\u0430 \u20ac"), "\u0416\u043e\u0440\u0430 \u20ac"),
        ("50%", "50%"),
        ("a%0Ab%1b", "ab"),
        ("%20", "api"),
    ],
)
def test_who_asks_may_have_any_letters(sent: str, who: str) -> None:
    async def story() -> None:
        async with served() as (client, it):
            await client.post("/jobs/copy/stop", headers={"Mstream-Actor": sent})

            change = it.manager.view("copy").job.last_change
            assert change is not None
            assert change.by.who == who

    run(story())


def test_nobody_takes_the_place_of_what_the_program_runs_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is not restricted; what the API defines is, also where it takes the place of what it had."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    services = [
        MemoryConfig(name="a"),
        MemoryConfig(name="b"),
        SqlConfig.model_validate({"name": "home", "url": "sqlite:///state/mstream.db"}),
        FileConfig(name="all", path="/"),
        UdfConfig(name="u", script_path="scripts", engine=Engine(kind="python")),
    ]
    system = {"schemas": {"service_name": "home", "resource": "s"}, "encryption_key_path": "keys/mstream.key"}

    async def story() -> None:
        async with served(services=services, system=system) as (client, _):
            made = await client.post("/services", json={"provider": "file", "name": "f", "path": "data"})
            assert made.status_code == 201
            for path, what in {
                "scripts": "'u'",
                "state": "'home'",
                "keys": "key file",
                "/etc": "allowed_paths",
            }.items():
                body = {"provider": "file", "name": "g", "path": path}
                for answer in (
                    await client.post("/services", json=body),
                    await client.put("/services/f", json={**body, "name": "f"}),
                ):
                    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "config_invalid")
                    assert what in answer.json()["message"]
            assert (await client.get("/services/f")).json()["path"] == "data"

    run(story())


async def test_a_long_answer_is_made_while_others_are_answered() -> None:
    met = threading.Event()

    def make() -> list[Any]:
        # In the loop's own thread nobody could set it.
        assert met.wait(PATIENCE), "the loop waits for an answer that is being made"
        return [{"a": [1, "\u00fc"]}, None]

    async with asyncio.TaskGroup() as group:
        answer = group.create_task(rendered(make))
        await asyncio.sleep(0)
        met.set()

    assert answer.result().body == '[{"a":[1,"\u00fc"]},null]'.encode()
    assert answer.result().headers["content-type"] == "application/json"


@pytest.mark.parametrize("value", [[], {}, {"a": [], "b": {"c": 1}, "d": None}, "x", [[1], [2]]])
async def test_what_is_made_in_pieces_is_what_it_was(value: Any) -> None:
    assert httpx.Response(200, content=bytes((await rendered(lambda: value)).body)).json() == value


@pytest.mark.parametrize(("method", "path"), [("GET", "/plan"), ("POST", "/apply")])
def test_others_are_answered_while_the_file_is_read(method: str, path: str) -> None:
    met = threading.Event()

    def read() -> ConfigFile:
        assert met.wait(PATIENCE), "the loop waits for the file"
        message = "read"
        raise Unavailable(message)

    async def story() -> None:
        async with served() as (client, it):
            it.operations._read_file = read
            async with asyncio.TaskGroup() as group:
                slow = group.create_task(client.request(method, path))
                quick = await client.get("/health")
                met.set()

            assert (quick.status_code, slow.result().status_code) == (200, 503)

    run(story())
