"""The HTTP server in the program's own loop; it listens on loopback only."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping

import uvicorn
from starlette.types import ASGIApp

from mstream.api.security import HOST
from mstream.errors import MstreamError, UsageError
from mstream.foundation.concurrency import background

DEFAULT_PORT = 8719
_LARGEST_PORT = 65_535
#: Seconds that open requests have when the program ends.
_LAST_REQUESTS = 2


def chosen_port(configured: int | None, environ: Mapping[str, str]) -> int:
    """MSTREAM_API_PORT, the file, else the default; 0 asks for any free port. Raises UsageError for no port."""
    text = environ.get("MSTREAM_API_PORT")
    if text is None:
        return DEFAULT_PORT if configured is None else configured
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not 0 <= number <= _LARGEST_PORT:
        message = f"MSTREAM_API_PORT is {text!r}; it must be a port, a number from 0 to {_LARGEST_PORT}"
        raise UsageError(message)
    return number


def bound(port: int) -> socket.socket:
    """A listening socket. Raises MstreamError when the port cannot be had."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        message = (
            f"the API cannot listen on {HOST}:{port} ({error.strerror}); end the program that does, "
            "or choose another port in MSTREAM_API_PORT or [system.api] port"
        )
        raise MstreamError(message) from error
    listener.setblocking(False)  # noqa: FBT003 - the standard library takes it by position
    return listener


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator[int]:
    """Answer requests while the body runs; gives the port."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=_LAST_REQUESTS,
    )
    server = _Server(config)
    port: int = listener.getsockname()[1]
    with contextlib.closing(listener):
        async with background(server.serve(sockets=[listener])) as task:
            try:
                yield port
            finally:
                server.should_exit = True
                await task


class _Server(uvicorn.Server):
    """Leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The program drains its jobs first; a server that exits by itself would come in between."""
        yield
