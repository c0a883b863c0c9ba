"""Jobs, services, plans, checkpoints and keys by way of the API."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from mstream.domain.job import Phase
from tests.unit.api.test_api import served
from tests.unit.control.scripted import Plane
from tests.virtual import run

JOB: dict[str, Any] = {
    "name": "new",
    "source": {"service_name": "a", "resource": "in"},
    "sinks": [{"service_name": "b", "resource": "out"}],
}
SERVICE = {"provider": "http", "name": "hook", "host": "http://user:planted@h/"}


async def posted(client: httpx.AsyncClient, path: str, body: Any, **query: str) -> httpx.Response:
    return await client.post(path, json=body, params=query)


def test_a_job_is_made_shown_changed_and_deleted() -> None:
    async def story() -> None:
        async with served() as (client, it):
            made = await posted(client, "/jobs", JOB, wait="60")
            assert (made.status_code, made.json()["item"]["name"], made.json()["item"]["phase"]) == (
                201,
                "new",
                "running",
            )
            assert made.json()["item"]["origin"] == "api"

            shown = await client.get("/jobs/new")
            stale = shown.headers["etag"]
            changed = await client.put(
                "/jobs/new?wait=60", json={**JOB, "max_in_flight": 9}, headers={"If-Match": stale}
            )
            assert (changed.status_code, changed.json()["item"]["pipeline"]["max_in_flight"]) == (200, 9)
            assert changed.json()["item"]["run_id"] != made.json()["item"]["run_id"]
            again = await client.put("/jobs/new", json=JOB, headers={"If-Match": stale})
            assert (again.status_code, again.json()["error"]["code"]) == (409, "revision_conflict")

            running = await client.delete("/jobs/new")
            assert (running.status_code, running.json()["error"]["code"]) == (409, "illegal_transition")
            await posted(client, "/jobs/new/stop", None, wait="60")
            deleted, gone = await client.delete("/jobs/new"), await client.get("/jobs/new")
            assert (deleted.status_code, gone.status_code) == (200, 404)
            assert [each.spec.job for each in it.runtime.alive] == ["copy"]

    run(story())


def test_a_job_of_that_name_is_only_replaced_on_request() -> None:
    async def story() -> None:
        async with served() as (client, _):
            body = {**JOB, "name": "copy", "max_in_flight": 7}

            refused, replaced = await posted(client, "/jobs", body), await posted(client, "/jobs", body, replace="true")

            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "job_exists")
            assert (replaced.status_code, replaced.json()["item"]["pipeline"]["max_in_flight"]) == (200, 7)

    run(story())


def test_a_job_that_is_not_enabled_is_stored_and_not_started() -> None:
    async def story() -> None:
        async with served() as (client, it):
            made = await posted(client, "/jobs", {**JOB, "enabled": False}, wait="60")

            assert (made.status_code, made.json()["item"]["intent"], made.json()["item"]["state"]) == (
                201,
                "stopped",
                "stopped",
            )
            assert it.manager.view("new").job.phase is Phase.STOPPED

    run(story())


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({**JOB, "sinks": []}, "sinks"),
        ({**JOB, "name_": 1}, "name_"),
        ({**JOB, "name": " "}, "blank"),
        ({**JOB, "batch": {"kind": "count", "size": 0}}, "batch.size"),
        ({**JOB, "source": {"service_name": "gone", "resource": "in"}}, "no service 'gone'"),
    ],
)
def test_everything_that_is_wrong_with_a_definition_is_told_and_nothing_is_stored(
    body: dict[str, Any], told: str
) -> None:
    async def story() -> None:
        async with served() as (client, it):
            answer = await posted(client, "/jobs", body)

            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "config_invalid")
            assert told in answer.json()["message"]
            assert len(it.manager.views()) == 1

    run(story())


@pytest.mark.parametrize("text", ["{", "[]", "1", '{"name": NaN}', "[" * 100_000])
def test_a_body_that_is_no_object_is_refused(text: str) -> None:
    async def story() -> None:
        async with served() as (client, _):
            answer = await client.post("/jobs", content=text, headers={"content-type": "application/json"})

            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "usage")

    run(story())


def test_services_are_shown_without_secrets_and_protected_while_jobs_name_them() -> None:
    async def story() -> None:
        async with served() as (client, _):
            made = await posted(client, "/services", SERVICE)
            assert made.status_code == 201
            assert "planted" not in made.text
            assert (await posted(client, "/services", SERVICE)).json()["error"]["code"] == "service_exists"

            await posted(
                client, "/jobs", {**JOB, "sinks": [{"service_name": "hook", "resource": "x"}], "enabled": False}
            )
            held = await client.delete("/services/hook")
            assert (held.status_code, held.json()["error"]["code"]) == (409, "service_in_use")
            assert "'new'" in held.json()["message"]

            await client.delete("/jobs/new")
            assert (await client.delete("/services/hook")).status_code == 200
            assert (await client.get("/services/hook")).status_code == 404

    run(story())


def test_a_definition_from_the_api_reaches_neither_files_nor_variables_nor_code() -> None:
    async def story() -> None:
        async with served() as (client, _):
            for body in (
                {**SERVICE, "host": "env:HOME"},
                {**SERVICE, "host": "file:/etc/passwd"},
                {"provider": "udf", "name": "u", "script_path": "/tmp", "engine": {"kind": "python"}},
            ):
                answer = await posted(client, "/services", body)
                assert (answer.status_code, answer.json()["error"]["code"]) == (422, "config_invalid"), body

    run(story())


def test_checkpoints_are_shown_put_and_forgotten_while_the_job_rests() -> None:
    async def story() -> None:
        async with served() as (client, it):
            await moved(it)
            shown = (await client.get("/jobs/copy/checkpoints")).json()
            assert (shown[0]["job_name"], shown[0]["positions"]) == ("copy", {"": 7})
            assert shown[0]["updated_at"].endswith(" UTC")

            refused = await client.put("/jobs/copy/checkpoints", json={"positions": {"": 3}})
            assert refused.json()["error"]["code"] == "illegal_transition"
            await posted(client, "/jobs/copy/stop", None, wait="60")
            put = await client.put("/jobs/copy/checkpoints", json={"positions": {"": 3}, "reason": "again"})
            assert (put.status_code, put.json()["item"]["positions"]) == (200, {"": 3})
            forgotten = await client.delete("/jobs/copy/checkpoints")
            assert (forgotten.status_code, forgotten.json()["item"]["positions"]) == (200, {})
            odd = await client.put("/jobs/copy/checkpoints", json={"to": "there"})
            assert (odd.status_code, odd.json()["error"]["code"]) == (400, "usage")

    run(story())


async def moved(it: Plane) -> None:
    await it.runtime.alive[0].owner.save({"": 7})
    await asyncio.sleep(1)


def test_a_plan_is_shown_and_applied_only_as_it_was_shown() -> None:
    async def story() -> None:
        async with served() as (client, _):
            await posted(client, "/jobs", JOB)
            plan = (await client.get("/plan")).json()
            dry = (await posted(client, "/apply", {"dry_run": True, "prune": True})).json()["item"]
            assert plan["startup_state"] == "force_from_file"
            assert {each["job"]: each["action"] for each in dry["actions"]} == {"copy": "leave", "new": "remove"}

            await posted(client, "/jobs/copy/stop", None, wait="60")
            await client.put("/jobs/copy", json={**JOB, "name": "copy", "max_in_flight": 2})
            stale = await posted(client, "/apply", {"prune": True, "plan": dry["hash"]})
            assert (stale.status_code, stale.json()["error"]["code"]) == (409, "plan_stale")

            fresh = (await posted(client, "/apply", {"dry_run": True, "prune": True})).json()["item"]
            done = await posted(client, "/apply", {"prune": True, "plan": fresh["hash"]})
            assert done.status_code == 200
            jobs = (await client.get("/jobs")).json()
            assert [(each["name"], each["intent"], each["pipeline"]["max_in_flight"]) for each in jobs] == [
                ("copy", "stopped", 4)
            ]

    run(story())


def test_where_no_services_are_kept_there_are_no_keys() -> None:
    async def story() -> None:
        async with served() as (client, _):
            keys, reload = await client.get("/keys"), await client.post("/keys/reload")

            assert {keys.status_code, reload.status_code} == {409}

    run(story())


def test_a_job_that_is_deleted_and_made_again_begins_anew() -> None:
    async def story() -> None:
        async with served() as (client, it):
            await moved(it)
            await posted(client, "/jobs/copy/stop", None, wait="60")
            await client.delete("/jobs/copy")

            await posted(client, "/jobs", {**JOB, "name": "copy"}, wait="60")

            assert it.runtime.alive[0].spec.positions == {}

    run(story())


def test_an_apply_leaves_alone_what_names_a_service_of_the_api() -> None:
    async def story() -> None:
        async with served() as (client, _):
            await posted(client, "/services", {**SERVICE, "host": "http://h/"})
            body = {**JOB, "sinks": [{"service_name": "hook", "resource": "x"}], "enabled": False}
            assert (await posted(client, "/jobs", body)).status_code == 201

            plan = (await posted(client, "/apply", {"dry_run": True})).json()["item"]

            assert {each["job"]: each["action"] for each in plan["actions"]} == {"copy": "leave", "new": "leave"}

    run(story())
