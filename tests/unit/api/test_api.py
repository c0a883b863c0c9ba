"""What the API answers, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from mstream.api.app import application
from mstream.api.server import chosen_port
from mstream.control.health import Health
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Ending, Outcome, RunStatus
from mstream.errors import Conflict, UsageError
from tests.unit.control.scripted import Plane, Script, connector, plane
from tests.virtual import VirtualClock, run

COMMANDS = ["stop", "start", "restart", "pause", "resume", "finish"]


@asynccontextmanager
async def served(*scripts: Script, ready: bool = True, **given: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Plane]]:
    async with plane(*scripts, **given) as it:
        health = Health(it.manager, version="1.2.3", clock=VirtualClock())
        if ready:
            health.become_ready()
        transport = httpx.ASGITransport(app=application(it.operations, health), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8719") as client:
            await asyncio.sleep(1)
            yield client, it


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/jobs", "/jobs/copy", "/nothing"])
def test_nothing_but_live_answers_before_it_is_ready(path: str) -> None:
    async def story() -> None:
        async with served(ready=False) as (client, _):
            refused, live = await client.get(path), await client.get("/health/live")

            assert (refused.status_code, live.status_code) == (503, 200)
            assert int(refused.headers["retry-after"]) > 0
            assert refused.json()["error"]["code"] == "unavailable"

    run(story())


def test_health_has_the_shape_of_old_and_says_when_a_job_has_failed() -> None:
    failed = Outcome(ending=Ending.FAILED, reason="access_denied", message="no")

    async def story() -> None:
        async with served(Script(lasts=5, ends=failed)) as (client, _):
            fine = (await client.get("/health")).json()
            await asyncio.sleep(10)
            worse = (await client.get("/health")).json()

            assert fine == {"status": "healthy", "version": "1.2.3", "uptime_seconds": 1}
            assert worse == {"status": "degraded", "version": "1.2.3", "uptime_seconds": 11}

    run(story())


def test_jobs_is_a_bare_array_with_the_fields_of_old() -> None:
    async def story() -> None:
        async with served() as (client, it):
            (job,) = (await client.get("/jobs")).json()

            names = ["name", "started_at", "stopped_at", "state", "desired_state", "linked_services", "pipeline"]
            assert list(job)[:7] == names
            assert (job["state"], job["intent"], job["phase"]) == ("running", "running", "running")
            assert job["linked_services"] == ["a", "b"]
            assert job["run_id"] == it.runtime.runs[0].run_id

    run(story())


def test_a_failed_job_says_why() -> None:
    failed = Outcome(ending=Ending.FAILED, reason="access_denied", message="no")

    async def story() -> None:
        async with served(Script(lasts=0.1, ends=failed)) as (client, _):
            job = (await client.get("/jobs/copy")).json()

            assert (job["state"], job["desired_state"], job["phase"]) == ("failed", "running", "failed")
            assert (job["last_error"]["reason"], job["last_error"]["message"]) == ("access_denied", "no")

    run(story())


def test_commands_answer_with_message_and_item() -> None:
    async def story() -> None:
        async with served() as (client, _):
            phases = []
            for command in ["pause", "resume", "restart", "stop", "start"]:
                answer = await client.post(f"/jobs/copy/{command}", params={"wait": "10"})
                assert answer.status_code == 200
                assert set(answer.json()) == {"message", "item"}
                phases.append(answer.json()["item"]["phase"])

            assert phases == ["paused", "running", "running", "stopped", "running"]

    run(story())


def test_a_state_that_is_not_reached_in_time_is_202() -> None:
    async def story() -> None:
        async with served(Script(drain_takes=20)) as (client, _):
            at_once = await client.post("/jobs/copy/stop")
            late = await client.post("/jobs/copy/stop", params={"wait": "2"})

            assert (at_once.status_code, late.status_code) == (200, 202)
            assert late.json()["item"]["phase"] == "stopping"

    run(story())


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_job_is_404(command: str) -> None:
    async def story() -> None:
        async with served() as (client, _):
            answer = await client.post(f"/jobs/nope/{command}")

            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "job_not_found")
            assert "nope" in answer.json()["message"]

    run(story())


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_what_the_intent_does_not_allow_is_409(command: str) -> None:
    async def story() -> None:
        async with served(connectors=[connector(enabled=False)]) as (client, _):
            answer = await client.post(f"/jobs/copy/{command}")

            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "illegal_transition")

    run(story())


@pytest.mark.parametrize("wait", ["x", "-1", "nan", "inf", "301", ""])
def test_a_wait_that_is_no_time_is_400_and_commands_nothing(wait: str) -> None:
    async def story() -> None:
        async with served() as (client, it):
            answer = await client.post("/jobs/copy/stop", params={"wait": wait})

            assert answer.status_code == 400
            assert it.manager.view("copy").job.intent == "running"

    run(story())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/jobs/", 404),
        ("DELETE", "/jobs", 405),
        ("GET", "/jobs/copy/stop", 405),
    ],
)
def test_errors_of_the_router_are_json_too(method: str, path: str, status: int) -> None:
    async def story() -> None:
        async with served() as (client, _):
            answer = await client.request(method, path)

            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/json"
            assert set(answer.json()) >= {"message", "error"}

    run(story())


def test_a_store_that_is_down_is_503() -> None:
    async def story() -> None:
        async with served() as (client, it):
            it.jobs.is_down = True
            answer = await client.post("/jobs/copy/stop")
            it.jobs.is_down = False

            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unreachable")
            assert "retry-after" in answer.headers

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "null"},
        {"Origin": "http://evil.example", "Host": "evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_pages_of_other_sites_command_nothing(headers: dict[str, str]) -> None:
    async def story() -> None:
        async with served() as (client, it):
            answer = await client.post("/jobs/copy/stop", headers=headers)

            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden")
            assert it.manager.view("copy").job.intent == "running"

    run(story())


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8719"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://[::1]:8719"},
        {"Sec-Fetch-Site": "same-origin"},
        {},
    ],
)
def test_pages_of_this_machine_may_command(headers: dict[str, str]) -> None:
    async def story() -> None:
        async with served() as (client, _):
            assert (await client.post("/jobs/copy/stop", headers=headers)).status_code == 200

    run(story())


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"{}", 200),
        ("application/json; charset=utf-8", b"{}", 200),
        ("application/x-www-form-urlencoded", b"a=b", 415),
        ("text/plain", b"{}", 415),
        ("", b"{}", 415),
        ("text/plain", b"", 200),
        ("application/json", b" " * (2 * 1024 * 1024 + 1), 413),
    ],
)
def test_a_body_is_json_or_there_is_none(kind: str, body: bytes, status: int) -> None:
    async def story() -> None:
        async with served() as (client, _):
            answer = await client.post("/jobs/copy/stop", content=body, headers={"Content-Type": kind})

            assert answer.status_code == status

    run(story())


def test_a_body_of_unknown_length_is_held_to_the_same_rule() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"a=b"

    async def story() -> None:
        async with served() as (client, _):
            answer = await client.post("/jobs/copy/stop", content=pieces())

            assert answer.status_code == 415

    run(story())


@pytest.mark.parametrize(("text", "port"), [("8080", 8080), ("0", 0), ("65535", 65_535)])
def test_the_environment_wins_over_the_file(text: str, port: int) -> None:
    assert chosen_port(9000, {"MSTREAM_API_PORT": text}) == port


def test_the_file_wins_over_the_default() -> None:
    assert (chosen_port(9000, {}), chosen_port(None, {})) == (9000, 8719)


@pytest.mark.parametrize("text", ["", " 80", "8e3", "٣", "65536", "-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="MSTREAM_API_PORT"):
        chosen_port(None, {"MSTREAM_API_PORT": text})


def test_a_snapshot_beside_the_stream_is_asked_for_and_cancelled() -> None:
    async def story() -> None:
        async with served() as (client, it):
            body = {"collection": "shop.orders", "filter": {"state": "paid"}}
            answers = [
                await client.post("/jobs/copy/snapshot"),
                await client.post("/jobs/copy/snapshot", json=body),
                await client.delete("/jobs/copy/snapshot"),
            ]

            assert [each.status_code for each in answers] == [200, 200, 200]
            assert all(set(each.json()) == {"message", "item"} for each in answers)
            assert it.runtime.runs[0].orders == [
                SnapshotOrder(),
                SnapshotOrder(collection="shop.orders", filter='{"state": "paid"}'),
                SnapshotOrder(cancels=True),
            ]

    run(story())


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ({"collections": "orders"}, "'collections'"),
        ({"collection": 7}, "collection must be a name"),
        ({"collection": ""}, "collection must be a name"),
        ({"filter": "state"}, "filter must be a JSON object"),
        ({"filter": [1]}, "filter must be a JSON object"),
    ],
)
def test_a_snapshot_that_is_asked_for_wrongly_is_400(body: Any, what: str) -> None:
    async def story() -> None:
        async with served() as (client, it):
            answer = await client.post("/jobs/copy/snapshot", json=body)

            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")
            assert what in answer.json()["message"]
            assert it.runtime.runs[0].orders == []

    run(story())


def test_what_a_source_has_against_a_snapshot_is_answered() -> None:
    async def story() -> None:
        async with served(Script(against=Conflict("one is under way"))) as (client, _):
            answer = await client.post("/jobs/copy/snapshot")

            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
            assert answer.json()["message"] == "one is under way"

    run(story())


@pytest.mark.parametrize("command", ["stop", "pause"])
def test_a_job_that_rests_takes_no_snapshot(command: str) -> None:
    async def story() -> None:
        async with served() as (client, _):
            await client.post(f"/jobs/copy/{command}", params={"wait": "10"})
            answer = await client.post("/jobs/copy/snapshot")

            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "illegal_transition")
            assert (await client.post("/jobs/nope/snapshot")).status_code == 404

    run(story())


def test_a_snapshot_that_nobody_says_to_have_heard_of_is_503() -> None:
    async def story() -> None:
        async with served(Script(hears_after=1000)) as (client, _):
            answer = await client.post("/jobs/copy/snapshot")

            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")

    run(story())


def test_a_job_shows_its_members() -> None:
    dropped = Outcome(ending=Ending.FAILED, reason="service_unreachable", message="gone", retryable=True)
    source = {"service_name": "a", "resource": "in", "member": True}
    shared = connector(source=source, parallelism=2, retry={"base_ms": 60_000})

    async def story() -> None:
        scripts = [Script(status=RunStatus(records_read=3)), Script(lasts=0.5, ends=dropped)]
        async with served(*scripts, connectors=[shared, connector("alone")]) as (client, _):
            body = (await client.get("/jobs/copy")).json()
            alone = (await client.get("/jobs/alone")).json()

            assert (body["state"], body["phase"], body["counters"]["records_read"]) == ("running", "retrying", 3)
            told = [(each["member"], each["phase"], each["restarts"], each["last_error"]) for each in body["members"]]
            failure = {"reason": "service_unreachable", "message": "gone"}
            assert told == [(0, "running", 0, None), (1, "retrying", 0, failure)]
            assert [each["run_id"] for each in body["members"]] == [f"{body['run_id']}.0", f"{body['run_id']}.1"]
            assert body["members"][0]["counters"]["records_read"] == 3
            assert [each["run_id"] for each in alone["members"]] == [alone["run_id"]]

    run(story())
