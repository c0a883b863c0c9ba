"""ConnectorSpec and its parts: source, middlewares, sinks, and the policies of delivery."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mstream.domain.batch import Encoding, JsonMode

Name = Annotated[str, Field(min_length=1)]


class Model(BaseModel):
    """A part of a definition: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Ref(Model):
    """A service in one role; keys that are not ours are options of the service's provider.

    The options are checked against the provider's own model, see `ports.provider`.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    #: The name of a service.
    service_name: Name
    #: What is read or written there: a table, file, topic, collection or script.
    resource: Name
    #: The encoding that leaves this step.
    output_encoding: Encoding = Encoding.JSON
    #: How types of BSON are spelled in JSON where this step makes the one of the other; by default flat.
    json_mode: JsonMode | None = None
    #: The alias of an entry in the connector's `schemas`.
    schema_id: str | None = None

    @property
    def mode(self) -> JsonMode:
        """The mode that it is, whether it is said or not."""
        return self.json_mode or JsonMode.FLAT

    @property
    def options(self) -> dict[str, Any]:
        """The keys that belong to the provider."""
        return dict(self.model_extra or {})


class SourceRef(Ref):
    """Where records come from."""

    #: The encoding in which records arrive; by default that of the provider.
    input_encoding: Encoding | None = None
    #: The alias of the schema that keys come in, in Avro; steps and sinks are given them as JSON.
    key_schema_id: str | None = None


class MiddlewareRef(Ref):
    """What changes records on their way."""


class SinkRef(Ref):
    """Where records go."""

    #: The alias of the schema that keys are written by, in Avro; without it they are written as they are.
    key_schema_id: str | None = None


class SchemaRef(Model):
    """A schema that steps of this connector name by `id`: a text, or what a service keeps."""

    id: Name
    #: The service that keeps it.
    service_name: Name | None = None
    #: What it is called there: an id or a name, of a schema registry `SUBJECT`, the newest, or `SUBJECT:VERSION`;
    #: without it the subject of the values, or of the keys, of the topic whose step names it.
    resource: Name | None = None
    #: What it is a schema of.
    encoding: Encoding = Encoding.AVRO
    #: The schema itself; with a service it is registered there, unless it is there already.
    text: Name | None = None
    #: Instead of the text a file, relative to the configuration file, and taken in with that.
    file: Name | None = None
    #: How decimals in Avro are read: by its specification, or as v0.47 wrote them; they are written by the former.
    decimals: Literal["standard", "text"] = "standard"


class BatchPolicy(Model):
    """How records are gathered; without it batches are as large as what is there."""

    kind: Literal["count"] = "count"
    #: At most so many records in a batch.
    size: int = Field(ge=1, le=1_000_000)
    #: At most so many bytes in a batch.
    bytes: int | None = Field(default=None, ge=1)
    #: A batch that is not full leaves after this long.
    max_wait_ms: int = Field(default=200, ge=0)


class CheckpointPolicy(Model):
    """Whether and how often the position is saved."""

    enabled: bool = True
    interval_ms: int = Field(default=1000, ge=10)


class RetryPolicy(Model):
    """How often and when a failed write is tried again."""

    #: None: for ever; an outage is waited out.
    max_attempts: int | None = Field(default=None, ge=1)
    base_ms: int = Field(default=200, ge=1)
    max_ms: int = Field(default=30_000, ge=1)


class FailureBudget(Model):
    """The job stops when more records than this were given up within the time."""

    records: int = Field(ge=0)
    per_sec: int = Field(ge=1)


class DeadLettersRef(Model):
    """A sink of any service for records that were given up."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    service_name: Name
    resource: Name


class OnError(StrEnum):
    """What happens to a record that a step or a sink refuses for good."""

    STOP = "stop"
    DEAD_LETTER = "dead_letter"
    SKIP = "skip"


class Delivery(StrEnum):
    """What is promised about repeats."""

    AT_LEAST_ONCE = "at_least_once"
    EFFECTIVELY_ONCE = "effectively_once"


class ConnectorSpec(Model):
    """A pipeline's definition: one source, middlewares, one or more sinks."""

    name: Name
    #: False: stored, with intent stopped.
    enabled: bool = True
    source: SourceRef
    middlewares: tuple[MiddlewareRef, ...] = ()
    schemas: tuple[SchemaRef, ...] = ()
    sinks: tuple[SinkRef, ...] = Field(min_length=1)
    batch: BatchPolicy | None = None
    #: None: enabled where a checkpoint store is configured.
    checkpoint: CheckpointPolicy | None = None
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    on_error: OnError = OnError.STOP
    dead_letters: DeadLettersRef | None = None
    failure_budget: FailureBudget | None = None
    retry: RetryPolicy = RetryPolicy()
    #: Batches on their way at the same time.
    max_in_flight: int = Field(default=4, ge=1, le=1024)
    drain_timeout_sec: float = Field(default=30, gt=0)
    #: Member runs of this job: they share the lanes of a source that is a member of a group.
    parallelism: int = Field(default=1, ge=1, le=1024)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, values: Any) -> Any:
        """Stored definitions of v0.47 spell absent parts as null."""
        if not isinstance(values, dict):
            return values
        return {key: value for key, value in values.items() if value is not None}

    @property
    def steps(self) -> tuple[Ref, ...]:
        """Source, middlewares and sinks, in order."""
        return (self.source, *self.middlewares, *self.sinks)

    @property
    def ends(self) -> tuple[SourceRef | SinkRef, ...]:
        """Source and sinks, in order."""
        return (self.source, *self.sinks)

    @property
    def schema_ids(self) -> frozenset[str]:
        """The aliases of all schemas that steps name, for records and for keys."""
        named = {each.schema_id for each in self.steps} | {each.key_schema_id for each in self.ends}
        return frozenset(each for each in named if each is not None)

    def uses_of(self, schema: str) -> tuple[tuple[str, bool], ...]:
        """The resources of the source and the sinks that name a schema, and whether for keys; sorted, once each."""
        values = {(each.resource, False) for each in self.ends if each.schema_id == schema}
        return tuple(sorted(values | {(each.resource, True) for each in self.ends if each.key_schema_id == schema}))

    @property
    def service_names(self) -> tuple[str, ...]:
        """Every service that the definition names, sorted, once each."""
        names = {each.service_name for each in self.steps}
        names |= {each.service_name for each in self.schemas if each.service_name is not None}
        if self.dead_letters:
            names.add(self.dead_letters.service_name)
        return tuple(sorted(names))
