"""ASGI application: routes, the gate before them, one format for errors."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from mstream.api import problems
from mstream.api.routes import checkpoints, jobs, plans, services, system
from mstream.api.security import Gate
from mstream.control.health import Health
from mstream.control.operations import Operations
from mstream.errors import MstreamError


def application(operations: Operations, health: Health) -> Starlette:
    """The whole HTTP surface."""
    app = Starlette(
        routes=[
            *system.routes(health),
            *checkpoints.routes(operations),
            *jobs.routes(operations),
            *services.routes(operations),
            *plans.routes(operations),
        ],
        middleware=[Middleware(Gate, is_ready=health.is_ready)],
        exception_handlers={
            MstreamError: problems.on_error,
            HTTPException: problems.on_http_error,
            Exception: problems.on_error,
        },
    )
    # A trailing slash names nothing; a redirect would turn a POST without body into a riddle.
    app.router.redirect_slashes = False
    return app
