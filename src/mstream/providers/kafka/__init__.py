"""PROVIDER: the kafka descriptor; it is described so that files can be checked, and cannot run yet."""

from __future__ import annotations

from typing import Any, NoReturn

from mstream.domain.connector import SourceRef
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built

from .config import KafkaConfig, KafkaSourceOptions


def _unbuilt(*_: Any) -> NoReturn:
    raise not_built("kafka")


def _fingerprint(config: KafkaConfig, ref: SourceRef, options: KafkaSourceOptions) -> str:
    return f"kafka:{config.name}/{ref.resource}"


PROVIDER: Provider[KafkaConfig, Any] = Provider(
    name="kafka",
    config=KafkaConfig,
    connect=_unbuilt,
    source=SourceRole(
        open=_unbuilt,
        fingerprint=_fingerprint,
        options=KafkaSourceOptions,
        needs_input_encoding=True,
    ),
    sink=SinkRole(open=_unbuilt),
    extra="kafka",
    built=False,
)
