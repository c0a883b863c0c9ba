"""The client of a schema registry: requests, and their answers as values and exceptions of ours."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import httpx

from mstream.domain.batch import Encoding
from mstream.errors import (
    AccessDenied,
    MstreamError,
    SchemaInvalid,
    ServiceError,
    Throttled,
    Unreachable,
)
from mstream.foundation.secrets import redacted
from mstream.ports.schemas import SchemaText

from .config import SchemaRegistryConfig, subject_and_version

_ACCEPT: Final = "application/vnd.schemaregistry.v1+json, application/json"
_SENT: Final = "application/vnd.schemaregistry.v1+json"
#: What a schema is of, by the registry's word; nothing is said of Avro.
_ENCODINGS: Final = {"AVRO": Encoding.AVRO, "JSON": Encoding.JSON}
_LATEST: Final = "latest"
#: Characters of an answer that stand in an error.
_SHOWN: Final = 300
#: Schemas that refer to others, one behind the other, at most.
_DEPTH: Final = 50
_MAY_PASS: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY})
_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED})
_UNFIT: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY})


@asynccontextmanager
async def connect(config: SchemaRegistryConfig) -> AsyncIterator[SchemaRegistry]:
    """The service, open; nothing is asked yet. Raises AccessDenied for files that cannot be used."""
    headers = {"Accept": _ACCEPT}
    auth = None
    if config.token is not None:
        headers["Authorization"] = f"Bearer {config.token.reveal()}"
    elif config.username is not None and config.password is not None:
        auth = httpx.BasicAuth(config.username, config.password.reveal())
    context = await asyncio.to_thread(_context, config)
    async with httpx.AsyncClient(auth=auth, headers=headers, timeout=config.timeout_sec, verify=context) as client:
        yield SchemaRegistry(config, client)


class SchemaRegistry:
    """The schemas of one registry, as `ports.schemas` has catalogs; what has a number never changes and is kept."""

    def __init__(self, config: SchemaRegistryConfig, client: httpx.AsyncClient) -> None:
        self._config = config
        self._client = client
        #: Where the last answer came from goes first.
        self._urls = list(config.urls)
        self._by_number: dict[int, SchemaText] = {}

    async def entries(self) -> Sequence[SchemaText]:
        """As `ports.schemas.SchemaCatalog`: the newest of every subject."""
        found = [await self.get(each) for each in await self.subjects()]
        return [each for each in found if each is not None]

    async def subjects(self) -> Sequence[str]:
        """The names of all."""
        names = await self._asked("GET", "/subjects")
        if not isinstance(names, list):
            raise self._no_registry("a list was asked for")
        return sorted(map(str, names))

    async def get(self, id_or_name: str) -> SchemaText | None:
        """As `ports.schemas.SchemaCatalog`; of a subject the newest, or the version that stands behind a colon."""
        subject, version = subject_and_version(id_or_name)
        answer = await self._found("GET", f"/subjects/{_part(subject)}/versions/{version or _LATEST}")
        return None if answer is None else await self._schema(answer, is_fixed=version is not None)

    async def numbered(self, number: int) -> SchemaText | None:
        """As `ports.schemas.NumberedSchemas`."""
        if number not in self._by_number:
            answer = await self._found("GET", f"/schemas/ids/{number}")
            if answer is None:
                return None
            self._by_number[number] = await self._schema({"id": number, **answer})
        return self._by_number[number]

    async def registered(self, name: str, schema: SchemaText) -> SchemaText:
        """As `ports.schemas.NumberedSchemas`; who may not write needs no more than that it is there."""
        subject = _part(subject_and_version(name)[0])
        body = {"schema": schema.definition}
        answer = await self._found("POST", f"/subjects/{subject}", body)
        if answer is None:
            answer = await self._asked("POST", f"/subjects/{subject}/versions", body)
        return await self._schema({**body, "id": answer.get("id"), "subject": name}, is_fixed=True)

    async def misfits(self, name: str, schema: SchemaText) -> Sequence[str]:
        """Why a schema could not become the next version under a name; empty: it could, or would be the first."""
        subject = _part(subject_and_version(name)[0])
        path = f"/compatibility/subjects/{subject}/versions/{_LATEST}?verbose=true"
        answer = await self._found("POST", path, {"schema": schema.definition})
        if answer is None or answer.get("is_compatible"):
            return ()
        return [
            str(each) for each in answer.get("messages") or [answer.get("reason") or "the registry does not say why"]
        ]

    async def save(self, schema: SchemaText) -> None:
        """As `ports.schemas.SchemaCatalog`."""
        await self.registered(schema.name or schema.id, schema)

    async def delete(self, schema_id: str) -> bool:
        """As `ports.schemas.SchemaCatalog`; a subject with all its versions, or one version."""
        subject, version = subject_and_version(schema_id)
        path = f"/subjects/{_part(subject)}" + (f"/versions/{version}" if version else "")
        return await self._found("DELETE", path) is not None

    async def _schema(self, answer: Mapping[str, Any], *, is_fixed: bool = False) -> SchemaText:
        definition, number = answer.get("schema"), answer.get("id")
        if not isinstance(definition, str) or not isinstance(number, int):
            raise self._no_registry("a schema and its number were asked for")
        name = answer.get("subject")
        return SchemaText(
            id=str(number),
            name=name if isinstance(name, str) else None,
            encoding=_ENCODINGS.get(answer.get("schemaType") or "AVRO", Encoding.TEXT),
            definition=definition,
            parts=tuple(await self._parts(answer)),
            is_fixed=is_fixed,
        )

    async def _parts(self, answer: Mapping[str, Any]) -> Iterable[str]:
        """What it refers to, and what that refers to, the innermost first, once each."""
        found: dict[tuple[str, str], str] = {}

        async def add(references: Iterable[Mapping[str, Any]], depth: int) -> None:
            if depth > _DEPTH:
                message = f"{self._named()}: schemas refer to each other without an end"
                raise SchemaInvalid(message)
            for each in references:
                key = str(each.get("subject")), str(each.get("version"))
                if key in found:
                    continue
                part = await self._asked("GET", f"/subjects/{_part(key[0])}/versions/{_part(key[1])}")
                await add(part.get("references") or (), depth + 1)
                found[key] = str(part.get("schema"))

        await add(answer.get("references") or (), 0)
        return found.values()

    # ------------------------------------------------------------------------------------------------- requests
    async def _found(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; None: there is no such thing, as the registry itself says."""
        response = await self._response(method, path, body)
        return None if _is_missing(response) else self._value(response)

    async def _asked(self, method: str, path: str, body: Any = None) -> Any:
        """The answer; that there is no such thing is an error too."""
        return self._value(await self._response(method, path, body))

    async def _response(self, method: str, path: str, body: Any) -> httpx.Response:
        """Of the first that answers; raises Unreachable where none does, and AccessDenied for a certificate."""
        errors: list[str] = []
        headers = {"Content-Type": _SENT} if body else None
        for url in tuple(self._urls):
            try:
                response = await self._sent(method, url + path, body, headers)
            except (httpx.HTTPError, OSError) as error:  # an alert of TLS comes as it is
                if (refused := _certificate(error)) is not None:
                    message = f"{self._named()}: the certificate of {redacted(url)} is not trusted: {refused}"
                    raise AccessDenied(message) from None
                errors.append(f"{redacted(url)}: {_reason(error)}")
                continue
            except (httpx.InvalidURL, ValueError):
                message = f"{self._named()}: {redacted(url)} is no URL"
                raise ServiceError(message) from None
            if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR and response.status_code not in _MAY_PASS:
                self._urls.sort(key=lambda each: each != url)
                return response
            errors.append(f"{redacted(url)}: {self._told(response)}")
        message = f"{self._named()} does not answer: {'; '.join(errors)}"
        raise Unreachable(message)

    async def _sent(self, method: str, url: str, body: Any, headers: Mapping[str, str] | None) -> httpx.Response:
        """Once more where a connection that was kept is gone: every request may be made twice."""
        try:
            return await self._client.request(method, url, json=body, headers=headers)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._client.request(method, url, json=body, headers=headers)

    def _value(self, response: httpx.Response) -> Any:
        """The answer as a value. Raises what its status means."""
        status = response.status_code
        if status == HTTPStatus.OK:
            try:
                return response.json()
            except ValueError:
                raise self._no_registry("its answer is not JSON") from None
        raise _KINDS.get(status, ServiceError)(f"{self._named()}: {self._told(response)}")

    def _told(self, response: httpx.Response) -> str:
        """Status and reason, as the registry puts it."""
        try:
            answer = response.json()
            reason = str(answer.get("message") or answer) if isinstance(answer, dict) else ""
        except ValueError:
            reason = ""
        return f"{response.status_code} {redacted(reason)[:_SHOWN] or response.reason_phrase}"

    def _no_registry(self, what: str) -> ServiceError:
        return ServiceError(f"{self._named()}: {what}; is there a schema registry at {redacted(self._urls[0])}?")

    def _named(self) -> str:
        return f"service {self._config.name!r}"


_KINDS: Final[Mapping[int, type[MstreamError]]] = {
    **dict.fromkeys(_REFUSED, AccessDenied),
    **dict.fromkeys(_UNFIT, SchemaInvalid),
    HTTPStatus.TOO_MANY_REQUESTS: Throttled,
}


def _is_missing(response: httpx.Response) -> bool:
    """Whether the registry knows no such subject, version or number; a path that is not its own is another matter."""
    if response.status_code != HTTPStatus.NOT_FOUND:
        return False
    try:
        code = response.json().get("error_code")
    except (ValueError, AttributeError):
        return False
    return isinstance(code, int) and code // 100 == HTTPStatus.NOT_FOUND


def _part(text: str) -> str:
    """As one part of a path."""
    return quote(text, safe="")


def _context(config: SchemaRegistryConfig) -> ssl.SSLContext:
    """Reads files. Raises AccessDenied."""
    try:
        context = ssl.create_default_context(cafile=config.tls_ca_file)
        if config.tls_certificate_file is not None:
            password = config.tls_key_password.reveal() if config.tls_key_password else None
            context.load_cert_chain(config.tls_certificate_file, config.tls_key_file, password)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        message = f"service {config.name!r}: a file named by 'tls_…' cannot be used: {reason}"
        raise AccessDenied(message) from None
    return context


def _certificate(error: BaseException) -> str | None:
    """Why a certificate was not trusted; None: it was nothing of that kind."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message
        cause = cause.__cause__ or cause.__context__
    return None


def _reason(error: httpx.HTTPError | OSError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
