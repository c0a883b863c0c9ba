"""Options of a kafka sink: how records become messages, and what the producer is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mstream.domain.batch import Encoding
from mstream.domain.connector import SinkRef
from mstream.domain.service import RoleOptions

from .options import OF_PRODUCERS, as_text, refused
from .templates import problem_of, template_of


class KeyFrom(StrEnum):
    """Where the key of a message comes from."""

    #: The record's own key, where it has one.
    SOURCE = "source"
    NONE = "none"


class Timestamp(StrEnum):
    """The time that a message gets."""

    #: When it is written.
    NOW = "now"
    #: The record's own, where it has one.
    SOURCE = "source"


class OnDelete(StrEnum):
    """What a record with the operation `delete` becomes."""

    #: A message of its key without a value; the record as it came, where it has no key.
    TOMBSTONE = "tombstone"
    #: A message like any other.
    KEEP = "keep"


class NewTopics(BaseModel):
    """How topics are made that are not there; what is not said the cluster decides."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    partitions: int | None = Field(default=None, ge=1)
    replication_factor: int | None = Field(default=None, ge=1)
    #: Settings of a topic, by Kafka's names: "retention.ms", "cleanup.policy", …
    config: dict[str, str] = Field(default_factory=dict)


class KafkaSinkOptions(RoleOptions):
    """How records are written to topics; options of the client's producers may stand beside them, by their names."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    __pydantic_extra__: dict[str, str]

    #: The message's key: the record's own, where it has one, or none.
    key: KeyFrom = KeyFrom.SOURCE
    #: The field whose value is the key instead; one inside of others is named with dots.
    key_field: Annotated[str, Field(min_length=1)] | None = None
    #: Which attributes become headers: all, none, or those of these names.
    headers: bool | tuple[Annotated[str, Field(min_length=1)], ...] = True
    #: Whether topic, partition and offset of records that come from Kafka are headers too.
    origin_headers: bool = False
    #: The message's time: when it is written, or the record's own, where it has one.
    timestamp: Timestamp = Timestamp.NOW
    #: A record with the operation `delete` becomes a message without a value, or one like any other.
    on_delete: OnDelete = OnDelete.TOMBSTONE
    #: Make topics that are not there, with `partitions`, `replication_factor` and a table `config`; what is not said,
    #: the cluster decides. Without it a missing topic is an error.
    create_topics: NewTopics | None = None

    @model_validator(mode="before")
    @classmethod
    def _options_are_text(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {key: value if key in cls.model_fields else as_text(value) for key, value in values.items()}

    @model_validator(mode="after")
    def _options_are_of_producers(self) -> Self:
        known = OF_PRODUCERS | {"message.max.bytes"}
        problems = [
            f"{key!r}: no such option of a sink or a producer" for key in self.__pydantic_extra__.keys() - known
        ]
        problems += [f"{key!r}: {reason}" for key, reason in refused(self.__pydantic_extra__)]
        if problems:
            raise ValueError("; ".join(sorted(problems)))
        return self

    @property
    def client_settings(self) -> dict[str, str]:
        """The options of the producer, by the names that librdkafka has for them."""
        return dict(self.__pydantic_extra__)


def check_sink(ref: SinkRef, options: KafkaSinkOptions) -> Sequence[tuple[str, str]]:
    """What single fields cannot tell."""
    problem = problem_of(ref.resource)
    if problem is not None:
        return [("resource", problem)]
    if ref.key_schema_id is not None and options.key is KeyFrom.NONE and options.key_field is None:
        return [
            ("key_schema_id", "with key = 'none' there are no keys that a schema could be of; leave one of both out")
        ]
    if ref.output_encoding in {Encoding.JSON, Encoding.BSON}:
        return []
    message = f"fields can be looked for in JSON and BSON, not in {ref.output_encoding.value!r}"
    looking = {"key_field": options.key_field is not None, "resource": template_of(ref.resource).needs_fields}
    return [(key, message) for key, looks in looking.items() if looks]
