"""A stand-in for a schema registry: Confluent's protocol over HTTP, in a thread, for what a real one is not asked for.

It wants a user or a token, may be stopped, broken and slow, and counts what it is asked. Whether a schema goes with the
one before it is found out by fastavro: records by the old one must be readable by the new one.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import socket
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import fastavro
from fastavro.utils import generate_many

from tests.servers.process import free_port

#: Records that are tried.
_SAMPLES = 20

Answer = tuple[int, Any]


class SchemaRegistryServer:
    """Subjects, versions and numbers; they outlive a stop."""

    def __init__(
        self,
        *,
        user: tuple[str, str] | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.port = free_port()
        self._tls = tls
        self.wanted = f"Bearer {token}" if token else None
        if user is not None:
            self.wanted = f"Basic {b64encode(':'.join(user).encode()).decode()}"
        #: By number from 1: text, type, references.
        self.schemas: list[dict[str, Any]] = []
        #: By subject the numbers of its versions; None: deleted.
        self.subjects: dict[str, list[int | None]] = {}
        #: Every request, as `GET /subjects`.
        self.asked: list[str] = []
        #: Answers that come instead of the next ones.
        self.instead: list[Answer] = []
        self.delay = 0.0
        #: Connections that are kept.
        self.open: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer, from now on."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections; what is kept open is cut."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            for each in tuple(self.open):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
        self._server = self._thread = None

    def add(self, subject: str, schema: Any, **more: Any) -> int:
        """A schema under a subject, without a question; gives its number."""
        given = {"schema": schema if isinstance(schema, str) else json.dumps(schema), **more}
        if given not in self.schemas:
            self.schemas.append(given)
        number = self.schemas.index(given) + 1
        self.subjects.setdefault(subject, []).append(number)
        return number

    def answer(self, method: str, path: str, body: dict[str, Any], authorization: str | None) -> Answer:
        """What a request is answered."""
        self.asked.append(f"{method} {path}")
        time.sleep(self.delay)
        if self.instead:
            return self.instead.pop(0)
        if self.wanted is not None and authorization != self.wanted:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        for pattern, verb, handle in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                return handle(self, *map(unquote, found.groups()), body)
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _all(self, body: dict[str, Any]) -> Answer:
        return 200, [each for each, versions in self.subjects.items() if any(versions)]

    def _number(self, number: str, body: dict[str, Any]) -> Answer:
        if not 0 < int(number) <= len(self.schemas):
            return 404, {"error_code": 40403, "message": "Schema not found"}
        return 200, self.schemas[int(number) - 1]

    def _version(self, subject: str, version: str, body: dict[str, Any]) -> Answer:
        versions = self.subjects.get(subject, [])
        if not any(versions):
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        newest = max(place for place, each in enumerate(versions, 1) if each)
        place = newest if version == "latest" else int(version)
        number = versions[place - 1] if 0 < place <= len(versions) else None
        if number is None:
            return 404, {"error_code": 40402, "message": f"Version {version} not found."}
        return 200, {"subject": subject, "version": place, "id": number, **self.schemas[number - 1]}

    def _look_up(self, subject: str, body: dict[str, Any]) -> Answer:
        if (refused := _unreadable(body)) is not None:
            return refused
        for place, number in enumerate(self.subjects.get(subject, []), 1):
            if number and _same(self.schemas[number - 1]["schema"], body["schema"]):
                return 200, {"subject": subject, "version": place, "id": number, **self.schemas[number - 1]}
        code = 40403 if any(self.subjects.get(subject, ())) else 40401
        return 404, {"error_code": code, "message": "Schema not found"}

    def _register(self, subject: str, body: dict[str, Any]) -> Answer:
        status, answer = self._look_up(subject, body)
        if status != 404:
            return status, answer if status != 200 else {"id": answer["id"]}
        if misfits := self._misfits(subject, body["schema"]):
            message = f"Schema being registered is incompatible with an earlier schema; {misfits[0]}"
            return 409, {"error_code": 409, "message": message}
        return 200, {"id": self.add(subject, body["schema"])}

    def _compatible(self, subject: str, body: dict[str, Any]) -> Answer:
        if (refused := _unreadable(body)) is not None:
            return refused
        if not any(self.subjects.get(subject, ())):
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        misfits = self._misfits(subject, body["schema"])
        return 200, {"is_compatible": not misfits, "messages": misfits}

    def _misfits(self, subject: str, text: str) -> list[str]:
        before = [each for each in self.subjects.get(subject, ()) if each]
        if not before:
            return []
        old, new = (fastavro.parse_schema(_json(each)) for each in (self.schemas[before[-1] - 1]["schema"], text))
        try:
            for record in generate_many(old, _SAMPLES):
                written = io.BytesIO()
                fastavro.schemaless_writer(written, old, record)
                written.seek(0)
                fastavro.schemaless_reader(written, old, new)
        except Exception as error:  # noqa: BLE001 - whatever it is, it cannot be read
            return [f"{type(error).__name__}: {error}"]
        return []

    def _delete(self, subject: str, body: dict[str, Any]) -> Answer:
        versions = self.subjects.get(subject, [])
        gone = [place for place, each in enumerate(versions, 1) if each]
        if not gone:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        self.subjects[subject] = [None] * len(versions)
        return 200, gone

    def _delete_version(self, subject: str, version: str, body: dict[str, Any]) -> Answer:
        status, answer = self._version(subject, version, body)
        if status != 200:
            return status, answer
        self.subjects[subject][answer["version"] - 1] = None
        return 200, answer["version"]


_ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    (r"/subjects", "GET", SchemaRegistryServer._all),
    (r"/schemas/ids/(\d+)", "GET", SchemaRegistryServer._number),
    (r"/subjects/([^/]+)/versions/([^/]+)", "GET", SchemaRegistryServer._version),
    (r"/subjects/([^/]+)", "POST", SchemaRegistryServer._look_up),
    (r"/subjects/([^/]+)/versions", "POST", SchemaRegistryServer._register),
    (r"/compatibility/subjects/([^/]+)/versions/latest", "POST", SchemaRegistryServer._compatible),
    (r"/subjects/([^/]+)", "DELETE", SchemaRegistryServer._delete),
    (r"/subjects/([^/]+)/versions/([^/]+)", "DELETE", SchemaRegistryServer._delete_version),
]


def _handler(registry: SchemaRegistryServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            registry.open.add(self.connection)

        def finish(self) -> None:
            registry.open.discard(self.connection)
            super().finish()

        def _answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(size) or b"{}")
            path = urlsplit(self.path).path
            status, value = registry.answer(self.command, path, body, self.headers.get("Authorization"))
            text = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _answer  # noqa: N815 - names that its base calls

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    return Handler


def _unreadable(body: dict[str, Any]) -> Answer | None:
    try:
        fastavro.parse_schema(_json(body["schema"]))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no schema
        return 422, {"error_code": 42201, "message": f"Invalid schema: {error}"}
    return None


def _json(text: str) -> Any:
    return json.loads(text)


def _same(one: str, other: str) -> bool:
    return bool(_json(one) == _json(other))
