"""Fields of a mongodb service, and the options of its roles."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

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


class AuthMechanism(StrEnum):
    """How a user proves who it is."""

    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_1 = "SCRAM-SHA-1"
    X509 = "MONGODB-X509"
    PLAIN = "PLAIN"
    GSSAPI = "GSSAPI"
    AWS = "MONGODB-AWS"


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


class Watch(StrEnum):
    """What a change stream tells of; the resource is the name of the collection, or just a name."""

    COLLECTION = "collection"
    DATABASE = "database"
    DEPLOYMENT = "deployment"


class FullDocument(StrEnum):
    """Which document an update brings."""

    #: None; the event has the changed fields alone.
    DEFAULT = "default"
    #: As it is when the event is read.
    UPDATE_LOOKUP = "update_lookup"
    #: As it was after the change, where the collection keeps images; or else none, or an error.
    WHEN_AVAILABLE = "when_available"
    REQUIRED = "required"

    @property
    def sent(self) -> str:
        """As the server calls it."""
        first, *others = self.value.split("_")
        return first + "".join(each.title() for each in others)


class FullDocumentBefore(StrEnum):
    """Whether events bring the document as it was before, where the collection keeps images."""

    OFF = "off"
    WHEN_AVAILABLE = "when_available"
    REQUIRED = "required"

    @property
    def sent(self) -> str:
        """As the server calls it."""
        return "whenAvailable" if self is FullDocumentBefore.WHEN_AVAILABLE else self.value


class OnHistoryLost(StrEnum):
    """What happens when the server no longer has what came after the stored position."""

    FAIL = "fail"
    RESTART_FROM_NOW = "restart_from_now"
    RESNAPSHOT = "resnapshot"


class TakeSnapshot(StrEnum):
    """Whether a source without a position first reads the documents that are there."""

    NEVER = "never"
    INITIAL = "initial"
    #: And ends behind them.
    ONLY = "only"


#: Stages that leave each event one event.
STAGES = frozenset({"$match", "$project", "$addFields", "$set", "$unset", "$redact"})


def is_pattern(name: str) -> bool:
    """Whether it is `/…/`, a regular expression."""
    return len(name) >= len("/./") and name.startswith("/") and name.endswith("/")


class MongodbSourceOptions(RoleOptions):
    """How a change stream is read."""

    watch: Watch = Watch.COLLECTION
    #: With watch = "database": the collections that are read, each by its name or as /a regular expression/; or else
    #: all of them.
    collections: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    #: Stages that the server runs over the events: filters and projections.
    pipeline: tuple[dict[str, Any], ...] = ()
    full_document: FullDocument = FullDocument.UPDATE_LOOKUP
    full_document_before_change: FullDocumentBefore = FullDocumentBefore.WHEN_AVAILABLE
    #: Whole events as records, those of collections and databases too.
    envelope: bool = False
    #: Events of indexes, views and sharding too.
    expanded_events: bool = False
    #: Events of more than 16 MB come in fragments and are put together, from MongoDB 6.0.9 and 7.0 on; without a word,
    #: with 7.0 and later.
    split_large_events: bool | None = None
    #: Documents that are there already come first, as records, before what happens to them from then on.
    snapshot: TakeSnapshot = TakeSnapshot.NEVER
    #: How many ranges of documents are read at once.
    snapshot_ranges: int = Field(default=1, ge=1, le=64)
    on_history_lost: OnHistoryLost = OnHistoryLost.FAIL

    @field_validator("collections")
    @classmethod
    def _can_be_searched(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for each in filter(is_pattern, names):
            try:
                re.compile(each[1:-1])
            except re.error as error:
                message = f"{each!r} is no regular expression: {error}"
                raise ValueError(message) from None
        return names

    @field_validator("pipeline")
    @classmethod
    def _keeps_events(cls, stages: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        if any(len(each) != 1 or not STAGES.issuperset(each) for each in stages):
            message = f"each stage is a table with one key out of {', '.join(sorted(STAGES))}"
            raise ValueError(message)
        return stages

    @model_validator(mode="after")
    def _chooses_in_a_database(self) -> Self:
        if self.collections and self.watch is not Watch.DATABASE:
            message = "collections are chosen in a database: set watch = 'database'"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _has_documents(self) -> Self:
        if not self.envelope and self.full_document in {FullDocument.DEFAULT, FullDocument.WHEN_AVAILABLE}:
            message = "an update without its document would pass for a delete: set envelope = true, or full_document"
            raise ValueError(f"{message} = 'update_lookup' or 'required'")
        return self


class MongodbConfig(MongodbSinkOptions, ServiceConfig):
    """One database of a MongoDB deployment; defaults for its sinks may stand beside it."""

    public: ClassVar[frozenset[str]] = (
        ServiceConfig.public
        | frozenset(MongodbSinkOptions.model_fields)
        | {"db_name", "auth_mechanism", "auth_source", "tls", "tls_ca_file", "tls_certificate_key_file", "replica_set"}
        | {"max_pool_size", "min_pool_size", "connect_timeout_sec", "server_selection_timeout_sec"}
    )

    provider: Literal["mongodb"] = "mongodb"
    connection_string: Secret
    db_name: str = Field(min_length=1)
    # What follows may stand in the connection string instead; where both say something, the field counts.
    username: str | None = None
    password: Secret | None = None
    auth_mechanism: AuthMechanism | None = None
    #: The database that knows the user; `admin` where nothing says otherwise.
    auth_source: str | None = None
    tls: bool | None = None
    #: File with the certificates of the authorities that are trusted; without it those of the system.
    tls_ca_file: str | None = None
    #: File with our own certificate and its key, and what opens the key.
    tls_certificate_key_file: str | None = None
    tls_certificate_key_password: Secret | None = None
    replica_set: str | None = None
    #: Connections to each server, at most, and at least.
    max_pool_size: int | None = Field(default=None, ge=1)
    min_pool_size: int | None = Field(default=None, ge=0)
    connect_timeout_sec: float | None = Field(default=None, gt=0)
    #: How long a server that can take a call is waited for.
    server_selection_timeout_sec: float | None = Field(default=None, gt=0)


def filter_digest(options: MongodbSourceOptions) -> str:
    """Tells streams of other events apart; "" for all events of one collection, as v0.47 has read them."""
    if options.watch is Watch.COLLECTION and not options.pipeline:
        return ""
    parts: list[Any] = [options.watch.value, options.pipeline]
    if options.collections:
        parts.append(options.collections)
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def same_deployment(sink: MongodbConfig, other: ServiceConfig) -> bool:
    """Whether a checkpoint there can be committed together with the records of a sink here."""
    if not isinstance(other, MongodbConfig):
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
