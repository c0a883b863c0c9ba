"""What the stand-ins for MongoDB have in common, and the real deployment that may be named instead."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient

from tests.servers.process import ServerProcess

#: Names a deployment that may be written to; databases of random names are made there, and dropped.
VARIABLE = "MSTREAM_TEST_MONGODB_URI"
#: What no stand-in has, or has in a way of its own.
NOT_SHOWN = (
    "on a real MongoDB linearizable reads, majority writes, unique indexes on some documents alone,"
    " and keys above U+FFFF in order on more than one stand-in"
)


@dataclass(frozen=True)
class MongoDatabase:
    """An empty database."""

    uri: str
    name: str

    def client(self) -> MongoClient[dict[str, Any]]:
        """A client without any of our settings; to be closed."""
        return MongoClient(self.uri, tz_aware=True, serverSelectionTimeoutMS=5000)


class MongodbServer(ServerProcess):
    """A server that speaks MongoDB's protocol."""

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/"

    def greet(self) -> None:
        with MongoClient("127.0.0.1", self.port, serverSelectionTimeoutMS=500, directConnection=True) as client:
            client.admin.command("ping")

    def create_database(self) -> MongoDatabase:
        """A database that nobody has used yet."""
        return MongoDatabase(self.uri, fresh_name())


def deployment() -> str | None:
    """The connection string of the real deployment; None: there is none."""
    return os.environ.get(VARIABLE) or None


def fresh_name() -> str:
    return f"mstream_test_{secrets.token_hex(6)}"
