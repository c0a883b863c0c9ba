"""A member of a replica set that says what a test tells it to say, and remembers what it was asked.

No stand-in is a replica set; what goes over the wire to one, and what comes of its refusals, is shown here.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import bson

Answer = Mapping[str, Any]

_OP_MSG = 2013
_OP_QUERY = 2004
_OP_REPLY = 1
_GREETINGS = frozenset({"hello", "ismaster", "isMaster"})


class Replica:
    """Answers greetings by itself, everything else as `answer` does."""

    def __init__(self) -> None:
        self.port = 0
        #: Every command but greetings, in order.
        self.asked: list[dict[str, Any]] = []
        self.answer: Callable[[dict[str, Any]], Answer] = default_answer
        #: What distinguishes it from a server on its own.
        self.set_name: str | None = "rs"
        #: Addresses of all members; none: it is the only one.
        self.hosts: list[str] = []
        self.is_primary = True
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?timeoutMS=3000&directConnection=true"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Every connection ends."""
        for each in self._writers:
            each.transport.abort()

    def asked_for(self, command: str) -> list[dict[str, Any]]:
        return [each for each in self.asked if command in each]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self._writers.add(writer)
        try:
            while True:
                length, request, _, kind = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if kind == _OP_QUERY:
                    start = 4 + body.index(b"\0", 4) + 1 - 4 + 8
                    document = bson.encode(self._reply(bson.decode(body[start:])))
                    payload = struct.pack("<iqii", 8, 0, 0, 1) + document
                    writer.write(struct.pack("<iiii", 16 + len(payload), 0, request, _OP_REPLY) + payload)
                    continue
                payload = struct.pack("<ib", 0, 0) + bson.encode(self._reply(_command(body)))
                writer.write(struct.pack("<iiii", 16 + len(payload), 0, request, _OP_MSG) + payload)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _reply(self, command: dict[str, Any]) -> Answer:
        if _GREETINGS.isdisjoint(command):
            self.asked.append(command)
            return self.answer(command)
        member = {"setName": self.set_name, "hosts": self.hosts or [self.address], "me": self.address}
        return {
            **(member if self.set_name else {}),
            "isWritablePrimary": self.is_primary,
            "ismaster": self.is_primary,
            "secondary": not self.is_primary,
            "helloOk": True,
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "maxBsonObjectSize": 16 * 1024 * 1024,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "logicalSessionTimeoutMinutes": 30,
            "ok": 1,
        }


def _command(body: bytes) -> dict[str, Any]:
    """A message's body, with the documents that were sent beside it."""
    at = 4
    found: dict[str, Any] = {}
    end = len(body) - (4 if struct.unpack("<I", body[:4])[0] & 1 else 0)
    while at < end:
        section, at = body[at], at + 1
        (size,) = struct.unpack("<i", body[at : at + 4])
        if section == 0:
            found |= bson.decode(body[at : at + size])
        else:
            name_end = body.index(b"\0", at + 4)
            found[body[at + 4 : name_end].decode()] = bson.decode_all(body[name_end + 1 : at + size])
        at += size
    return found


def default_answer(command: dict[str, Any]) -> Answer:
    """An empty database in which every write finds its document."""
    if "find" in command or "listIndexes" in command:
        return {"ok": 1, "cursor": {"id": 0, "ns": "d.c", "firstBatch": []}}
    if "createIndexes" in command:
        return {"ok": 1}
    return {"ok": 1, "n": 1, "nModified": 1}


def refusal(code: int, name: str) -> Answer:
    """How a server says no."""
    return {"ok": 0, "code": code, "codeName": name, "errmsg": f"{name} with planted-value"}


@asynccontextmanager
async def replica() -> AsyncIterator[Replica]:
    """One that listens on a free port."""
    member = Replica()
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(member.serve(reader, writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    member.port = server.sockets[0].getsockname()[1]
    try:
        yield member
    finally:
        server.close()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
