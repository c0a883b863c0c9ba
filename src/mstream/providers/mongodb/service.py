"""Client lifecycle: one client per service and process, opened by its first call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pymongo import AsyncMongoClient, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import InvalidURI, PyMongoError

from mstream.errors import ServiceError
from mstream.observability.logs import get_logger

from .config import MongodbConfig

log = get_logger(__name__)

#: What was written survives the loss of any one server, and a crash of the only one.
SAFE = WriteConcern("majority", j=True)

#: Settings of the client, where the connection string does not say otherwise.
_SETTINGS = {
    "appname": "mstream",
    "connectTimeoutMS": 10_000,
    "serverSelectionTimeoutMS": 10_000,
    "tz_aware": True,
}


@dataclass(slots=True)
class Abilities:
    """What the deployment can do; learnt by asking it, None until then."""

    #: Whether a read can be told from what a deposed primary still believes.
    linearizable: bool | None = None
    #: Whether a unique index may be limited to some documents.
    partial_indexes: bool | None = None


@dataclass(frozen=True, slots=True)
class MongodbService:
    """A client and its database."""

    config: MongodbConfig
    client: AsyncMongoClient[Any]
    abilities: Abilities = field(default_factory=Abilities)

    @property
    def database(self) -> AsyncDatabase[Any]:
        """The service's database."""
        return self.client[self.config.db_name]

    async def reads_linearizable(self) -> bool:
        """Whether such reads are to be asked for. A server on its own has no other that could know better."""
        if self.abilities.linearizable is None:
            hello = await self.client.admin.command("hello")
            if "setName" in hello or hello.get("msg") == "isdbgrid":
                self.abilities.linearizable = True
            else:
                self.without_linearizable("the server is no member of a replica set")
        return bool(self.abilities.linearizable)

    def without_linearizable(self, reason: str) -> None:
        """From now on majority reads must do; said once."""
        if self.abilities.linearizable is not False:
            self.abilities.linearizable = False
            log.warning("linearizable_reads_unavailable", service=self.config.name, reason=reason)


@asynccontextmanager
async def connect(config: MongodbConfig) -> AsyncIterator[MongodbService]:
    """A client that has not spoken to the server yet. Raises ServiceError when the settings cannot be used."""
    try:
        _check_scheme(config)
        client: AsyncMongoClient[Any] = AsyncMongoClient(config.connection_string.reveal(), **_missing(config))
    except (PyMongoError, ValueError, TypeError, OSError) as error:
        advice = "write its connection_string as mongodb://user:password@host:port/?option=value"
        message = f"service {config.name!r} cannot be opened: {type(error).__name__}; {advice}"
        raise ServiceError(message) from None
    try:
        yield MongodbService(config, client)
    finally:
        await client.close()


def _check_scheme(config: MongodbConfig) -> None:
    """The driver would take any other text for the name of a host, and tell it."""
    if not config.connection_string.reveal().startswith(("mongodb://", "mongodb+srv://")):
        raise InvalidURI


def _missing(config: MongodbConfig) -> dict[str, Any]:
    """Our settings without those that the connection string has."""
    given = config.connection_string.reveal().partition("?")[2].lower()
    names = {each.partition("=")[0] for each in given.split("&")}
    return {name: value for name, value in _SETTINGS.items() if name.lower() not in names}
