"""Fields of a mongodb service, and the options of its roles."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mstream.domain.batch import Encoding
from mstream.domain.connector import SinkRef
from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.foundation.secrets import Secret, is_reference

#: The field that every document of MongoDB has.
ID = "_id"


class WriteMode(StrEnum):
    """What a record does to the document of its key."""

    INSERT = "insert"
    REPLACE = "replace"
    UPSERT = "upsert"
    MERGE = "merge"


class OnDelete(StrEnum):
    """What a record with the operation `delete`, or without content, does."""

    DELETE = "delete"
    IGNORE = "ignore"


class MongodbSinkOptions(RoleOptions):
    """How records are written to a collection."""

    write_mode: WriteMode = WriteMode.INSERT
    #: The fields whose values tell documents apart; one inside of others is named with dots.
    key_fields: tuple[str, ...] = (ID,)
    on_delete: OnDelete = OnDelete.DELETE
    #: Members that must have a write before it counts: a number, "majority", or a name that the replica set defines.
    #: Without it the connection string decides, and where that says nothing the majority does.
    write_concern: Annotated[int, Field(ge=1)] | Annotated[str, Field(min_length=1)] | None = None
    #: Whether a write must be in the journal before it counts; without it as above.
    journal: bool | None = None


class MongodbConfig(MongodbSinkOptions, ServiceConfig):
    """One database of a MongoDB deployment; defaults for its sinks may stand beside it."""

    public: ClassVar[frozenset[str]] = ServiceConfig.public | {"db_name"} | frozenset(MongodbSinkOptions.model_fields)

    provider: Literal["mongodb"] = "mongodb"
    connection_string: Secret
    db_name: str = Field(min_length=1)


def is_idempotent(ref: SinkRef, options: MongodbSinkOptions) -> bool:
    """Whether writing a record again changes nothing: an insert without `_id` gets one at each write."""
    return options.write_mode is not WriteMode.INSERT


def check(ref: SinkRef, options: MongodbSinkOptions) -> Sequence[tuple[str, str]]:
    """What single fields cannot tell."""
    found: list[tuple[str, str]] = []
    keys = options.key_fields
    if ref.output_encoding is Encoding.TEXT:
        found.append(("output_encoding", "plain text is no document; write output_encoding = 'bson', or 'json'"))
    if not keys or "" in keys or len(set(keys)) != len(keys):
        found.append(("key_fields", "at least one field tells documents apart; each has a name, and stands there once"))
    elif keys != (ID,) and options.write_mode in {WriteMode.INSERT, WriteMode.MERGE}:
        message = f"write_mode = {options.write_mode.value!r} goes by {ID!r} alone; use 'replace' or 'upsert'"
        found.append(("key_fields", message))
    return found


def same_database(sink: MongodbConfig, other: ServiceConfig) -> bool:
    """Whether a checkpoint there can be committed together with the records of a sink here."""
    if not isinstance(other, MongodbConfig) or sink.db_name != other.db_name:
        return False
    one, two = sink.connection_string.reveal(), other.connection_string.reveal()
    if is_reference(one) or is_reference(two):
        return one == two
    return _members(one) == _members(two)


def _members(url: str) -> frozenset[str]:
    """The servers that a connection string names, written in one way."""
    scheme, _, rest = url.partition("://")
    hosts = rest.partition("/")[0].partition("?")[0].rpartition("@")[2].lower().split(",")
    port = "" if scheme.endswith("+srv") else ":27017"
    named = {each if ":" in each.rpartition("]")[2] else f"{each}{port}" for each in hosts}
    return frozenset(each.replace("127.0.0.1", "localhost") for each in named)
