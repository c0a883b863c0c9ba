"""PROVIDER: the schema_registry descriptor; imports no driver. Schemas of Avro, by name and by number."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from mstream.ports.probe import ProbeStep
from mstream.ports.provider import Provider, not_built

from .config import SchemaRegistryConfig, subject_of

if TYPE_CHECKING:
    from .service import SchemaRegistry


def _connect(config: SchemaRegistryConfig) -> AbstractAsyncContextManager[SchemaRegistry]:
    if find_spec("httpx") is None:
        raise not_built("schema_registry", extra="schema-registry")
    from .service import connect  # noqa: PLC0415 - the driver is loaded when it is needed

    return connect(config)


def _unavailable(config: SchemaRegistryConfig) -> str | None:
    if find_spec("httpx") is None:
        return "provider 'schema_registry' needs a client: pip install 'mstream[schema-registry]'"
    return None


async def _probe(config: SchemaRegistryConfig) -> Sequence[ProbeStep]:
    from .probe import probe  # noqa: PLC0415 - the driver is loaded when it is needed

    return await probe(config)


PROVIDER: Provider[SchemaRegistryConfig, SchemaRegistry] = Provider(
    name="schema_registry",
    config=SchemaRegistryConfig,
    connect=_connect,
    schemas=lambda live: live,
    schema_name=subject_of,
    unavailable=_unavailable,
    probe=_probe,
    extra="schema-registry",
)
