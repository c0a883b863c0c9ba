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
from mstream.foundation.secrets import Secret
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


#: Fields of a service, and what the driver calls them; of times, which it counts in milliseconds.
_NAMES = {
    "username": "username",
    "password": "password",
    "auth_mechanism": "authMechanism",
    "auth_source": "authSource",
    "tls": "tls",
    "tls_ca_file": "tlsCAFile",
    "tls_certificate_key_file": "tlsCertificateKeyFile",
    "tls_certificate_key_password": "tlsCertificateKeyFilePassword",
    "replica_set": "replicaSet",
    "max_pool_size": "maxPoolSize",
    "min_pool_size": "minPoolSize",
}
_TIMES = {
    "connect_timeout_sec": "connectTimeoutMS",
    "server_selection_timeout_sec": "serverSelectionTimeoutMS",
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
        client: AsyncMongoClient[Any] = AsyncMongoClient(config.connection_string.reveal(), **client_settings(config))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        advice = "check tls_ca_file and tls_certificate_key_file, or what the connection_string names instead"
        message = f"service {config.name!r} cannot be opened: a file that it names cannot be read ({reason}); {advice}"
        raise ServiceError(message) from None
    except (PyMongoError, ValueError, TypeError) as error:
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


def client_settings(config: MongodbConfig) -> dict[str, Any]:
    """The service's fields by the driver's names, and our own settings where the connection string says nothing."""
    given = config.connection_string.reveal().partition("?")[2].lower()
    names = {each.partition("=")[0] for each in given.split("&")}
    settings = {name: value for name, value in _SETTINGS.items() if name.lower() not in names}
    for field_name, name in _NAMES.items():
        value = getattr(config, field_name)
        if value is not None:
            settings[name] = value.reveal() if isinstance(value, Secret) else value
    for field_name, name in _TIMES.items():
        seconds = getattr(config, field_name)
        if seconds is not None:
            settings[name] = int(seconds * 1000)
    return settings
