"""Fields of a kafka service: its own, and free-form options of the client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from mstream.domain.service import ServiceConfig
from mstream.foundation.secrets import MASK

from .options import IGNORED, refused

_OWN = frozenset({"provider", "name", "offset_seek_back_seconds"})

#: Options of the client whose values tell nothing that could be secret.
_HARMLESS = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "compression.codec",
        "compression.type",
        "enable.idempotence",
        "group.id",
        "group.protocol",
        "isolation.level",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "partitioner",
        "sasl.mechanism",
        "sasl.mechanisms",
        "security.protocol",
        "ssl.endpoint.identification.algorithm",
    }
)


class KafkaConfig(ServiceConfig):
    """A cluster; keys that are not ours go to the client as they are."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)
    public: ClassVar[frozenset[str]] = ServiceConfig.public | _HARMLESS

    __pydantic_extra__: dict[str, str]

    provider: Literal["kafka"] = "kafka"
    #: Where a source begins that has no position: so long before now.
    offset_seek_back_seconds: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _options_are_text(cls, values: Any) -> Any:
        """The client takes text alone; files of older versions hold numbers and booleans too."""
        if not isinstance(values, Mapping):
            return values
        return {key: value if key in _OWN else _text(value) for key, value in values.items()}

    @model_validator(mode="after")
    def _options_may_be_set(self) -> Self:
        problems = [f"{key!r}: {reason}" for key, reason in refused(self.client_settings)]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Options of the client are not of a type that hides itself."""
        shown = self.public | _OWN
        return ((key, value if key in shown else MASK) for key, value in super().__repr_args__())

    @property
    def client_settings(self) -> dict[str, str]:
        """The options of the client, by the names that it has for them."""
        return dict(self.__pydantic_extra__)

    @classmethod
    def tolerated(cls, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """What of a table is taken although a new file would write it otherwise: key and what was done."""
        for key, value in table.items():
            if key in IGNORED:
                yield key, IGNORED[key]
            elif key not in _OWN and _text(value) is not value:
                yield key, "options of the client are text; the value was taken as its text, put it in quotes"


def same_cluster(sink: KafkaConfig, other: ServiceConfig) -> bool:
    """Whether a transaction of a sink here can commit offsets of a group there."""
    if not isinstance(other, KafkaConfig):
        return False
    return sink.name == other.name or bool(_brokers(sink) & _brokers(other))


def _brokers(config: KafkaConfig) -> frozenset[str]:
    """Those that it begins with, written in one way."""
    settings = config.client_settings
    named = settings.get("bootstrap.servers", settings.get("metadata.broker.list", ""))
    brokers = (each.strip().rpartition("://")[2].lower() for each in named.split(","))
    return frozenset(each.replace("127.0.0.1", "localhost") for each in brokers if each)


def _text(value: Any) -> Any:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return value
