"""/jobs and below."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from http import HTTPStatus
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mstream.api.rendering import rendered
from mstream.api.requests import actor_of, expected_of, flag_of, name_of, snapshot_order_of, table_of, wait_of
from mstream.api.wire import damaged_body, job_body, message_body
from mstream.control.jobs import Answer, JobManager
from mstream.control.operations import Operations
from mstream.domain.audit import Actor
from mstream.domain.orders import SnapshotOrder
from mstream.errors import JobExists


class Command(Protocol):
    """A command of the job manager."""

    def __call__(self, name: str, *, by: Actor, wait_sec: float) -> Awaitable[Answer]: ...


def routes(operations: Operations) -> list[Route]:
    """The jobs, their definitions, their history, and their commands."""
    manager = operations.manager

    async def every(request: Request) -> Response:
        views, damaged = manager.views(), manager.damaged
        return await rendered(lambda: [*map(job_body, views), *map(damaged_body, damaged)])

    async def one(request: Request) -> JSONResponse:
        view = manager.view(name_of(request))
        return JSONResponse(job_body(view), headers={"ETag": f'"{view.revision}"'})

    async def create(request: Request) -> JSONResponse:
        body, by, seconds = await table_of(request), actor_of(request), wait_of(request)
        may_replace = flag_of(request, "replace")
        try:
            answer = await operations.create_job(body, by=by, wait_sec=seconds)
        except JobExists:
            if not may_replace:
                raise
            name = str(body["name"])
            answer = await operations.replace_job(name, body, by=by, wait_sec=seconds)
            return _answered(answer, seconds, f"job {name!r} has a new definition")
        name = answer.view.job.name
        return JSONResponse(message_body(f"job {name!r} is created", job_body(answer.view)), HTTPStatus.CREATED)

    async def replace(request: Request) -> JSONResponse:
        name, seconds = name_of(request), wait_of(request)
        answer = await operations.replace_job(
            name, await table_of(request), by=actor_of(request), expect=expected_of(request), wait_sec=seconds
        )
        return _answered(answer, seconds, f"job {name!r} has a new definition")

    async def remove(request: Request) -> JSONResponse:
        name = name_of(request)
        await manager.remove(name, by=actor_of(request))
        return JSONResponse(message_body(f"job {name!r} is deleted"))

    return [
        Route("/jobs", every),
        Route("/jobs", create, methods=["POST"]),
        Route("/jobs/{name}", one),
        Route("/jobs/{name}", replace, methods=["PUT"]),
        Route("/jobs/{name}", remove, methods=["DELETE"]),
        *_commands(manager),
        *_snapshots(operations),
        *_history(operations),
    ]


def _commands(manager: JobManager) -> list[Route]:
    commands: dict[str, tuple[Command, str]] = {
        "stop": (manager.stop, "job {name!r} is told to stop"),
        "start": (manager.start, "job {name!r} is told to start"),
        "restart": (manager.restart, "job {name!r} is told to restart"),
        "pause": (manager.pause, "job {name!r} is told to pause"),
        "resume": (manager.resume, "job {name!r} is told to resume"),
        "finish": (manager.finish, "job {name!r} is told to finish"),
    }
    return [
        Route(f"/jobs/{{name}}/{verb}", _handler(command, text), methods=["POST"])
        for verb, (command, text) in commands.items()
    ]


def _snapshots(operations: Operations) -> list[Route]:
    async def ask(request: Request) -> JSONResponse:
        name, order = name_of(request), snapshot_order_of(await table_of(request))
        view = await operations.snapshot(name, order, by=actor_of(request))
        return JSONResponse(message_body(f"job {name!r} reads once more what is there", job_body(view)))

    async def cancel(request: Request) -> JSONResponse:
        name = name_of(request)
        view = await operations.snapshot(name, SnapshotOrder(cancels=True), by=actor_of(request))
        return JSONResponse(message_body(f"job {name!r} reads no further what was asked for", job_body(view)))

    path = "/jobs/{name}/snapshot"
    return [Route(path, ask, methods=["POST"]), Route(path, cancel, methods=["DELETE"])]


def _history(operations: Operations) -> list[Route]:
    async def runs(request: Request) -> JSONResponse:
        return JSONResponse([asdict(each) for each in await operations.runs(name_of(request))])

    async def changes(request: Request) -> JSONResponse:
        found = await operations.changes(name_of(request))
        return JSONResponse([{**asdict(each.change), "definition": each.definition} for each in found])

    return [Route("/jobs/{name}/runs", runs), Route("/jobs/{name}/changes", changes)]


def _handler(command: Command, text: str) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def handle(request: Request) -> JSONResponse:
        name, seconds = name_of(request), wait_of(request)
        answer = await command(name, by=actor_of(request), wait_sec=seconds)
        return _answered(answer, seconds, text.format(name=name))

    return handle


def _answered(answer: Answer, seconds: float, text: str) -> JSONResponse:
    """Without `wait` nothing was asked of the state; with it the status tells whether it was reached in time."""
    status = HTTPStatus.OK if answer.reached or seconds == 0 else HTTPStatus.ACCEPTED
    return JSONResponse(message_body(text, job_body(answer.view)), status_code=status)
