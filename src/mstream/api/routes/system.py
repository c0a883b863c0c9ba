"""/health, /health/live, /health/ready."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from mstream.control.health import Health


def routes(health: Health) -> list[Route]:
    """Liveness asks nobody; readiness says what is there."""

    async def live(request: Request) -> JSONResponse:
        return JSONResponse({"status": "live", "instance": health.instance})

    async def ready(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ready", "jobs": health.phases()})

    async def summary(request: Request) -> JSONResponse:
        return JSONResponse(
            {"status": health.status(), "version": health.version, "uptime_seconds": health.uptime_seconds()}
        )

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/health", summary)]
