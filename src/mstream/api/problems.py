"""One table from exception class to status; one error body."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from mstream import errors
from mstream.foundation.secrets import redacted

STATUS: dict[type[BaseException], HTTPStatus] = {
    errors.MstreamError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ConfigError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UsageError: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ServiceError: HTTPStatus.BAD_GATEWAY,
    errors.ProviderUnavailable: HTTPStatus.CONFLICT,
    errors.GuaranteeUnavailable: HTTPStatus.CONFLICT,
    errors.StoreError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.StoreUnreachable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.RevisionConflict: HTTPStatus.CONFLICT,
    errors.DocumentDamaged: HTTPStatus.CONFLICT,
    errors.StaleOwner: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.KeyUnusable: HTTPStatus.CONFLICT,
    errors.RecordError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.ScriptInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.SchemaInvalid: HTTPStatus.UNPROCESSABLE_ENTITY,
}

#: Codes of what the HTTP layer itself refuses.
CODES: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.FORBIDDEN: "forbidden",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "body_too_large",
    HTTPStatus.MISDIRECTED_REQUEST: "misdirected",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "unsupported_media_type",
    HTTPStatus.INTERNAL_SERVER_ERROR: "failed",
    HTTPStatus.SERVICE_UNAVAILABLE: "unavailable",
}

#: Seconds after which a client may ask again.
RETRY_AFTER = "1"


def problem(error: errors.MstreamError) -> JSONResponse:
    """The nearest ancestor decides the status; the code is the error's own."""
    status = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    return _answer(status, error.code, redacted(str(error)))


def refusal(status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """What the HTTP layer itself refuses."""
    return _answer(status, CODES.get(status, "failed"), message, headers)


async def on_error(request: Request, error: Exception) -> JSONResponse:
    """An error of ours that a handler raised."""
    if isinstance(error, errors.MstreamError):
        return problem(error)
    return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "an unexpected fault; the log has the details")


async def on_http_error(request: Request, error: Exception) -> JSONResponse:
    """What the HTTP layer raises: no such path, no such method, a body that grows too large."""
    status = HTTPStatus(getattr(error, "status_code", HTTPStatus.INTERNAL_SERVER_ERROR))
    messages = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path!r}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not possible at {request.url.path!r}",
    }
    headers = dict(getattr(error, "headers", None) or {})
    return refusal(status, messages.get(status, str(getattr(error, "detail", status.phrase))), headers)


def _answer(status: HTTPStatus, code: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body: dict[str, Any] = {
        "type": f"about:blank#{code}",
        "title": status.phrase,
        "status": status.value,
        "detail": message,
        # These two are what clients of v0.47 and scripts read.
        "message": message,
        "error": {"code": code},
    }
    more = {"Retry-After": RETRY_AFTER} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return JSONResponse(body, status_code=status, headers={**more, **(headers or {})})
