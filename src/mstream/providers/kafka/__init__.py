"""PROVIDER: the kafka descriptor; imports no driver."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NoReturn

from mstream.domain.connector import SourceRef
from mstream.ports.probe import ProbeStep
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built

from .config import KafkaConfig, KafkaSourceOptions

if TYPE_CHECKING:
    from .service import KafkaService


def _connect(config: KafkaConfig) -> AbstractAsyncContextManager[KafkaService]:
    if find_spec("confluent_kafka") is None:
        raise not_built("kafka", extra="kafka")
    from .service import connect  # noqa: PLC0415 - the driver is loaded when it is needed

    return connect(config)


def _unavailable(config: KafkaConfig) -> str | None:
    if find_spec("confluent_kafka") is None:
        return "provider 'kafka' needs a driver: pip install 'mstream[kafka]'"
    return None


async def _probe(config: KafkaConfig) -> Sequence[ProbeStep]:
    from .probe import probe  # noqa: PLC0415 - the driver is loaded when it is needed

    return await probe(config)


def _unbuilt(*_: Any) -> NoReturn:
    raise not_built("kafka")


def _fingerprint(config: KafkaConfig, ref: SourceRef, options: KafkaSourceOptions) -> str:
    return f"kafka:{config.name}/{ref.resource}"


PROVIDER: Provider[KafkaConfig, KafkaService] = Provider(
    name="kafka",
    config=KafkaConfig,
    connect=_connect,
    source=SourceRole(
        open=_unbuilt,
        fingerprint=_fingerprint,
        options=KafkaSourceOptions,
        needs_input_encoding=True,
    ),
    sink=SinkRole(open=_unbuilt),
    unavailable=_unavailable,
    probe=_probe,
    extra="kafka",
)
