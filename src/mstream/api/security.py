"""Who may speak to the API: bind rules, foreign origins, kinds of bodies, and nobody before it is ready."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mstream.api.problems import refusal

#: The only address that is bound while there are no tokens and roles.
HOST = "127.0.0.1"
#: Bytes; commands carry little.
BODY_LIMIT = 2 * 1024 * 1024
#: It answers before anything else does.
LIVE = "/health/live"


class Gate:
    """Refuses before a handler is reached; an ASGI middleware."""

    def __init__(self, app: ASGIApp, *, is_ready: Callable[[], bool]) -> None:
        self._app = app
        self._is_ready = is_ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        answer = self._refused(scope["path"], headers)
        if answer is None:
            await self._app(scope, receive, send)
            return
        status, message = answer
        await refusal(status, message)(scope, receive, send)

    def _refused(self, path: str, headers: Headers) -> tuple[HTTPStatus, str] | None:
        if path == LIVE:
            return None
        if is_foreign(headers):
            return HTTPStatus.FORBIDDEN, "requests from pages of other sites are refused"
        if not self._is_ready():
            return HTTPStatus.SERVICE_UNAVAILABLE, "not ready: the jobs are not started yet"
        return _wrong_body(headers)


def is_foreign(headers: Headers) -> bool:
    """Whether a page of another site has made a browser send this.

    Never compared with `Host`: a name that an attacker points at this machine would be equal.
    """
    if headers.get("sec-fetch-site", "").lower() == "cross-site":
        return True
    origin = headers.get("origin")
    return origin is not None and not _is_near(origin)


def _is_near(origin: str) -> bool:
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    if host in {HOST, "localhost"}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _wrong_body(headers: Headers) -> tuple[HTTPStatus, str] | None:
    try:
        size = int(headers.get("content-length", "0"))
    except ValueError:
        return HTTPStatus.BAD_REQUEST, "Content-Length is no number"
    if size > BODY_LIMIT:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {BODY_LIMIT} bytes"
    if size == 0 and "transfer-encoding" not in headers:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body must be application/json"
    return None
