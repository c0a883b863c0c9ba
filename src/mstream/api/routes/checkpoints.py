"""/jobs/{name}/checkpoints: where a job stands and stood, and putting it elsewhere."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mstream.api.requests import actor_of, table_of
from mstream.api.wire import message_body, place_body
from mstream.control.operations import Operations
from mstream.domain.reset import ToBegin, target_of


def routes(operations: Operations) -> list[Route]:
    """Read, put, forget."""

    async def places(request: Request) -> JSONResponse:
        name = request.path_params["name"]
        return JSONResponse([place_body(name, each) for each in await operations.places(name)])

    async def put(request: Request) -> JSONResponse:
        name, body = request.path_params["name"], await table_of(request)
        place = await operations.reset(name, target_of(body), by=actor_of(request), reason=str(body.get("reason", "")))
        return JSONResponse(message_body(f"job {name!r} is put elsewhere", place_body(name, place)))

    async def forget(request: Request) -> JSONResponse:
        name = request.path_params["name"]
        place = await operations.reset(name, ToBegin(), by=actor_of(request))
        return JSONResponse(message_body(f"job {name!r} begins anew", place_body(name, place)))

    path = "/jobs/{name}/checkpoints"
    return [Route(path, places), Route(path, put, methods=["PUT"]), Route(path, forget, methods=["DELETE"])]
