"""/plan and /apply: what a start would do, and bringing the file's definitions over."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mstream.api.rendering import rendered
from mstream.api.requests import actor_of, table_of
from mstream.api.wire import message_body
from mstream.control.operations import Operations
from mstream.domain.plan import to_document
from mstream.errors import UsageError


def routes(operations: Operations) -> list[Route]:
    """The file is read again for each of them."""

    async def plan(request: Request) -> Response:
        made = await operations.plan()
        return await rendered(lambda: to_document(made))

    async def apply(request: Request) -> Response:
        body = await table_of(request)
        if strange := body.keys() - {"dry_run", "prune", "plan"}:
            message = f"unknown keys {', '.join(sorted(map(repr, strange)))}; there are dry_run, prune and plan"
            raise UsageError(message)
        for key in ("dry_run", "prune"):
            if not isinstance(body.get(key, False), bool):
                message = f"{key} must be true or false"
                raise UsageError(message)
        expect = body.get("plan")
        if expect is not None and not isinstance(expect, str):
            message = "plan must be the hash of a plan"
            raise UsageError(message)
        applied = await operations.apply(
            by=actor_of(request),
            dry_run=body.get("dry_run", False),
            prune=body.get("prune", False),
            expect=expect,
        )
        text = "the file's definitions are brought over" if applied.is_done else "nothing was changed"
        return await rendered(lambda: message_body(text, to_document(applied.plan)))

    return [Route("/plan", plan), Route("/apply", apply, methods=["POST"])]
