"""Fields of a mongodb service, and the options of its roles."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.foundation.secrets import Secret

WriteMode = Literal["insert", "replace"]


class MongodbConfig(ServiceConfig):
    """One database of a MongoDB deployment."""

    public: ClassVar[frozenset[str]] = ServiceConfig.public | {"db_name", "write_mode"}

    provider: Literal["mongodb"] = "mongodb"
    connection_string: Secret
    db_name: str = Field(min_length=1)
    #: How its sinks write, where a sink does not say.
    write_mode: WriteMode = "insert"


class MongodbSinkOptions(RoleOptions):
    """How records are written to a collection."""

    write_mode: WriteMode = "insert"
