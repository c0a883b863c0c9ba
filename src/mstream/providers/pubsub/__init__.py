"""PROVIDER: the pubsub descriptor; it is described so that files can be checked, and cannot run yet."""

from __future__ import annotations

from typing import Any, NoReturn

from mstream.domain.connector import SourceRef
from mstream.domain.service import RoleOptions
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built

from .config import PubsubConfig


def _unbuilt(*_: Any) -> NoReturn:
    raise not_built("pubsub")


def _fingerprint(config: PubsubConfig, ref: SourceRef, options: RoleOptions) -> str:
    return f"pubsub:{config.project_id}/{ref.resource}"


PROVIDER: Provider[PubsubConfig, Any] = Provider(
    name="pubsub",
    config=PubsubConfig,
    connect=_unbuilt,
    source=SourceRole(
        open=_unbuilt,
        fingerprint=_fingerprint,
        replays=False,
        needs_input_encoding=True,
    ),
    sink=SinkRole(open=_unbuilt),
    schemas=_unbuilt,
    extra="pubsub",
    built=False,
)
