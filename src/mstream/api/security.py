"""Who may speak to the API: bind rules, foreign hosts and origins, bodies, and nobody before it is ready."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mstream.api.problems import refusal

#: The only address that is bound while there are no tokens and roles.
HOST = "127.0.0.1"
#: Bytes; commands carry little.
BODY_LIMIT = 2 * 1024 * 1024
_TOO_LARGE = f"a body may have {BODY_LIMIT} bytes"
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
            # As it was sent: decoded, a slash in a name could not be told from one between names.
            await self._app({**scope, "path": scope["raw_path"].decode("latin-1")}, _limited(receive), send)
            return
        status, message = answer
        await refusal(status, message)(scope, receive, send)

    def _refused(self, path: str, headers: Headers) -> tuple[HTTPStatus, str] | None:
        if path != LIVE and is_foreign(headers):
            return HTTPStatus.FORBIDDEN, "requests from pages of other sites are refused"
        host = headers.get("host")
        if host is not None and not _is_near(f"//{host}"):
            message = f"the API answers to {HOST} and localhost alone, whatever name leads here; send it as Host"
            return HTTPStatus.MISDIRECTED_REQUEST, message
        if path == LIVE:
            return None
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


def _is_near(url: str) -> bool:
    """Whether it names this machine as nobody else can: a page's own name may lead here as well."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host in {HOST, "localhost"}:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _limited(receive: Receive) -> Receive:
    """The same, until the pieces of a body whose length nobody has told are too many."""
    size = 0

    async def received() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY_LIMIT:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return message

    return received


def _wrong_body(headers: Headers) -> tuple[HTTPStatus, str] | None:
    try:
        size = int(headers.get("content-length", "0"))
    except ValueError:
        return HTTPStatus.BAD_REQUEST, "Content-Length is no number"
    if size > BODY_LIMIT:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE
    if size == 0 and "transfer-encoding" not in headers:
        return None
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "a body must be application/json"
    return None
