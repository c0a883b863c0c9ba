"""/services and below, and the keys of stored ones."""

from __future__ import annotations

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mstream.api.requests import actor_of, expected_of, name_of, table_of
from mstream.api.wire import message_body
from mstream.control.operations import Operations


def routes(operations: Operations) -> list[Route]:
    """Services as they may be shown: secrets are masked, references stay references."""
    services = operations.services

    async def every(request: Request) -> JSONResponse:
        found = services.views(provider=request.query_params.get("provider"))
        return JSONResponse([each.as_document() for each in found])

    async def one(request: Request) -> JSONResponse:
        view = services.view(name_of(request))
        headers = {"ETag": f'"{view.revision}"'} if view.revision else None
        return JSONResponse(view.as_document(), headers=headers)

    async def create(request: Request) -> JSONResponse:
        view = await services.create(await table_of(request), by=actor_of(request))
        body = message_body(f"service {view.name!r} is created", view.as_document())
        return JSONResponse(body, HTTPStatus.CREATED)

    async def replace(request: Request) -> JSONResponse:
        name = name_of(request)
        body = await table_of(request)
        view = await services.replace(name, body, by=actor_of(request), expect=expected_of(request))
        return JSONResponse(message_body(f"service {name!r} has a new definition", view.as_document()))

    async def remove(request: Request) -> JSONResponse:
        name = name_of(request)
        await services.remove(name, by=actor_of(request))
        return JSONResponse(message_body(f"service {name!r} is deleted"))

    async def keys(request: Request) -> JSONResponse:
        return JSONResponse((await operations.keys()).as_document())

    async def reload(request: Request) -> JSONResponse:
        return JSONResponse(message_body("the keys are read again", (await operations.reload_keys()).as_document()))

    return [
        Route("/services", every),
        Route("/services", create, methods=["POST"]),
        Route("/services/{name}", one),
        Route("/services/{name}", replace, methods=["PUT"]),
        Route("/services/{name}", remove, methods=["DELETE"]),
        Route("/keys", keys),
        Route("/keys/reload", reload, methods=["POST"]),
    ]
