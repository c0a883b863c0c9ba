"""A proxy between a client and a server on 127.0.0.1 that cuts, delays, loses answers, and closes half a connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class CuttingProxy:
    """Lives in the event loop of the test; all that it does to connections is done to those of this moment."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: set[_Pair] = set()
        #: Seconds that everything takes longer, each way.
        self.delay = 0.0
        #: New connections are closed at once.
        self.refuses = False
        self._answers_left: int | None = None
        #: Whether an answer was lost since `lose_answer` was called.
        self.has_lost = False
        self.port = 0

    def cut(self) -> None:
        """End every connection without a farewell."""
        for each in list(self._pairs):
            each.abort()

    def lose_answer(self, *, after: int) -> None:
        """Let so many answers pass; the next is lost, and its connection with it. The request has arrived."""
        self._answers_left, self.has_lost = after, False

    def close_half(self, *, to_client: bool) -> None:
        """Say to one side of every connection that nothing more will come; the other may go on."""
        for each in list(self._pairs):
            each.close_half(to_client=to_client)

    def passes(self, *, is_answer: bool) -> bool:
        """Whether what has just come may go on."""
        if not is_answer or self._answers_left is None:
            return True
        if self._answers_left > 0:
            self._answers_left -= 1
            return True
        self._answers_left, self.has_lost = None, True
        return False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        if self.refuses:
            _reset(writer)
            return
        try:
            behind = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        pair = _Pair(writer, behind[1])
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, behind[1], pair, is_answer=False))
                both.create_task(self._pump(behind[0], writer, pair, is_answer=True))
        finally:
            self._pairs.discard(pair)
            pair.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pair: _Pair, *, is_answer: bool
    ) -> None:
        try:
            while data := await reader.read(65536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if not self.passes(is_answer=is_answer):
                    pair.abort()
                    return
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof() and not writer.is_closing():
                writer.write_eof()
        except OSError:
            pair.abort()


class _Pair:
    """The two ends of a connection."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._client, self._server = client, server

    def abort(self) -> None:
        _reset(self._client)
        _reset(self._server)

    def close_half(self, *, to_client: bool) -> None:
        (self._client if to_client else self._server).write_eof()


@asynccontextmanager
async def cutting_proxy(target: int) -> AsyncIterator[CuttingProxy]:
    """A proxy in front of that port; its own is `port`."""
    proxy = CuttingProxy(target)
    ended: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        ended.add(task)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for each in ended:
            each.cancel()
        await asyncio.gather(*ended, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """The other side meets a reset, not an end."""
    plain: Callable[..., None] | None = getattr(writer.get_extra_info("socket"), "setsockopt", None)
    if plain is not None and not writer.is_closing():
        plain(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
