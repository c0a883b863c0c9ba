"""/jobs/{name}/checkpoints: where a job stands and stood, and putting it elsewhere."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mstream.api.requests import actor_of, name_of, table_of
from mstream.api.wire import message_body, place_body
from mstream.control.operations import Operations
from mstream.domain.reset import ToBegin, target_of
from mstream.errors import UsageError


def routes(operations: Operations) -> list[Route]:
    """Read, put, forget."""

    async def places(request: Request) -> JSONResponse:
        name = name_of(request)
        return JSONResponse([place_body(name, each) for each in await operations.places(name)])

    async def put(request: Request) -> JSONResponse:
        name, body = name_of(request), await table_of(request)
        reason = body.get("reason", "")
        if not isinstance(reason, str):
            message = "reason must be a text"
            raise UsageError(message)
        place = await operations.reset(name, target_of(body), by=actor_of(request), reason=reason)
        return JSONResponse(message_body(f"job {name!r} is put elsewhere", place_body(name, place)))

    async def forget(request: Request) -> JSONResponse:
        name = name_of(request)
        place = await operations.reset(name, ToBegin(), by=actor_of(request))
        return JSONResponse(message_body(f"job {name!r} begins anew", place_body(name, place)))

    path = "/jobs/{name}/checkpoints"
    return [Route(path, places), Route(path, put, methods=["PUT"]), Route(path, forget, methods=["DELETE"])]
