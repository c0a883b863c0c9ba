"""A member of a replica set that plays change events encoded beforehand, and counts the documents that it is sent.

`python -m bench.mongodb_server COUNT SIZE BOARD` prints its port. A stream has COUNT events, a collection as many
documents, SIZE in an answer; writes are acknowledged at once, and how many documents they held, and the sum of their
checksums, stands in the file BOARD.
"""

from __future__ import annotations

import argparse
import asyncio
import mmap
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import bson
from bson import Timestamp
from bson.raw_bson import RawBSONDocument

from bench.bson import plain

_HEADER: Final = struct.Struct("<iiii")
_LENGTH: Final = struct.Struct("<i")
#: Documents written, and the sum of their checksums.
BOARD: Final = struct.Struct("<QQ")
_OP_MSG, _OP_QUERY, _OP_REPLY = 2013, 2004, 1
#: Events that differ; after them the same come again.
DIFFERENT: Final = 20_000
#: The cursor of who reads a collection; those of streams are small.
READING: Final = 1 << 40
#: Seconds that a stream at its end waits before it says so.
_PAUSE: Final = 0.5
_TIME: Final = Timestamp(1_700_000_000, 1)
_LIMITS: Final = {
    "isWritablePrimary": True,
    "ismaster": True,
    "helloOk": True,
    "setName": "rs",
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "maxBsonObjectSize": 16 * 1024 * 1024,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "logicalSessionTimeoutMinutes": 30,
}


def events(count: int) -> Iterator[dict[str, Any]]:
    """Inserts of orders."""
    for number, payload in enumerate(plain(count)):
        document = bson.decode(payload)
        yield {
            "_id": {"_data": f"82{number:08x}2b022c0100296e5a1004"},
            "operationType": "insert",
            "clusterTime": _TIME,
            "fullDocument": document,
            "ns": {"db": "bench", "coll": "orders"},
            "documentKey": {"_id": document["_id"]},
        }


def answers(count: int, size: int) -> list[bytes]:
    """The body of each answer of a stream, in order."""
    known = list(events(min(count, DIFFERENT)))
    pieces = [known[start : start + size] for start in range(0, len(known), size)]
    made = [_encoded(_cursor("nextBatch", piece)) for piece in pieces]
    return [made[each % len(made)] for each in range(count // size)]


def found(count: int, size: int) -> list[bytes]:
    """The body of each answer to who reads a collection, in order."""
    known = [RawBSONDocument(each) for each in plain(min(count, DIFFERENT))]
    pieces = [known[start : start + size] for start in range(0, len(known), size)]
    left = count // size - 1
    middle = [_encoded(_documents("nextBatch", piece)) for piece in pieces] if left > 1 else []
    more = [middle[each % len(pieces)] for each in range(1, left)]
    last = _encoded(_documents("nextBatch", pieces[left % len(pieces)], 0))
    return [_encoded(_documents("firstBatch", pieces[0])), *more, last]


def _documents(name: str, batch: list[Any], number: int = READING) -> dict[str, Any]:
    cursor = {"id": bson.Int64(number), "ns": "bench.orders", name: batch}
    return {"cursor": cursor, "operationTime": _TIME, "ok": 1.0}


def _cursor(name: str, batch: list[dict[str, Any]], number: int = 1) -> dict[str, Any]:
    token = batch[-1]["_id"] if batch else {"_data": "8200000000"}
    cursor = {"id": bson.Int64(number), "ns": "bench.orders", name: batch, "postBatchResumeToken": token}
    return {"cursor": cursor, "operationTime": _TIME, "ok": 1.0}


def _encoded(reply: Mapping[str, Any]) -> bytes:
    return struct.pack("<ib", 0, 0) + bson.encode(reply)


class Member:
    """What all connections share."""

    def __init__(self, replies: list[bytes], documents: list[bytes], board: mmap.mmap) -> None:
        self.replies = replies
        self.documents = documents
        self.read = 0
        self.board = board
        self.port = 0
        self.streams = 0
        self.places: dict[int, int] = {}
        #: What is kept beside the copies, by collection and `_id`: positions of mstream.
        self.kept: dict[str, dict[Any, dict[str, Any]]] = {}

    def greeting(self) -> dict[str, Any]:
        me = f"127.0.0.1:{self.port}"
        return {**_LIMITS, "hosts": [me], "me": me, "ok": 1.0}

    async def answer(self, body: bytes) -> bytes:  # noqa: PLR0911 - one for each command
        command, documents = _parts(body)
        name = next(iter(command))
        match name:
            case "hello" | "ismaster" | "isMaster":
                return _encoded(self.greeting())
            case "aggregate":
                self.streams += 1
                self.places[self.streams] = 0
                return _encoded(_cursor("firstBatch", [], self.streams))
            case "find" if command["find"] == "orders":
                self.read = 1
                return self.documents[0]
            case "find" | "listIndexes":
                kept = self.kept.get(command[name], {}) if name == "find" else {}
                return _encoded(_found(kept, command.get("filter", {})))
            case "getMore":
                return await self._next(command["getMore"])
            case "insert" | "update" | "delete":
                self._keep(command, documents)
                return _encoded({"n": len(documents), "nModified": len(documents), "ok": 1.0})
        return _encoded({"ok": 1.0})

    async def _next(self, stream: int) -> bytes:
        if stream == READING:
            self.read += 1
            return self.documents[self.read - 1]
        place = self.places.get(stream, len(self.replies))
        if place >= len(self.replies):
            await asyncio.sleep(_PAUSE)
            return _encoded(_cursor("nextBatch", [], stream))
        self.places[stream] = place + 1
        return self.replies[place]

    def _keep(self, command: Mapping[str, Any], documents: list[bytes]) -> None:
        """Copies are counted; everything else can be read again, as a transaction would leave it."""
        name = command.get("insert") or command.get("update") or command["delete"]
        if name == "copies":
            self._count(documents)
            return
        kept = self.kept.setdefault(name, {})
        for each in map(bson.decode, documents):
            if "insert" in command:
                kept[each["_id"]] = each
            elif "update" in command and each["q"].get("_id") in kept:
                kept[each["q"]["_id"]] = {"_id": each["q"]["_id"], **each["u"]}

    def _count(self, documents: list[bytes]) -> None:
        count, total = BOARD.unpack_from(self.board)
        BOARD.pack_into(self.board, 0, count + len(documents), (total + sum(map(zlib.crc32, documents))) & (2**64 - 1))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        try:
            while True:
                length, request, _, kind = _HEADER.unpack(await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if kind == _OP_QUERY:
                    reply = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self.greeting())
                    kind = _OP_REPLY
                else:
                    reply = await self.answer(body)
                    kind = _OP_MSG
                writer.write(_HEADER.pack(16 + len(reply), 0, request, kind))
                writer.write(reply)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


def _found(kept: Mapping[Any, Mapping[str, Any]], query: Mapping[str, Any]) -> dict[str, Any]:
    """The documents that have these values; a query of anything else finds all."""
    wanted = {field: value for field, value in query.items() if not isinstance(value, dict)}
    found = [each for each in kept.values() if all(each.get(field) == value for field, value in wanted.items())]
    return {"cursor": {"id": bson.Int64(0), "ns": "bench.found", "firstBatch": found}, "ok": 1.0}


def _parts(body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """A message's command, and the documents beside it as they came."""
    at, end = 4, len(body)
    command: dict[str, Any] = {}
    documents: list[bytes] = []
    while at < end:
        kind = body[at]
        at += 1
        (size,) = _LENGTH.unpack_from(body, at)
        if kind == 0:
            command = bson.decode(body[at : at + size])
        else:
            stop, start = at + size, body.index(0, at + 4) + 1
            while start < stop:
                (length,) = _LENGTH.unpack_from(body, start)
                documents.append(body[start : start + length])
                start += length
        at += size
    return command, documents


async def _run(count: int, size: int, board: Path) -> None:
    with board.open("r+b") as file, mmap.mmap(file.fileno(), BOARD.size) as shown:
        member = Member(answers(count, size), found(count, size), shown)
        server = await asyncio.start_server(member.serve, "127.0.0.1", 0, limit=1 << 22)
        member.port = server.sockets[0].getsockname()[1]
        print(member.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("size", type=int)
    parser.add_argument("board", type=Path)
    chosen = parser.parse_args()
    asyncio.run(_run(chosen.count, chosen.size, chosen.board))
