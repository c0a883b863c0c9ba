"""PROVIDER: the kafka descriptor; imports no driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from mstream.domain.checkpoint import Begin
from mstream.domain.connector import SinkRef, SourceRef
from mstream.ports.inspection import Inspection
from mstream.ports.probe import ProbeStep
from mstream.ports.provider import Provider, SinkRole, SourceRole, not_built
from mstream.ports.roles import Lanes, Resume, Sink, Source

from .config import KafkaConfig, same_cluster
from .offsets import refused
from .reading import KafkaSourceOptions, Start, check, reads
from .writing import KafkaSinkOptions, check_sink

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


def _inspection(live: KafkaService) -> Inspection:
    from .inspection import KafkaInspection  # noqa: PLC0415 - the driver is loaded when it is needed

    return KafkaInspection(live)


async def _probe(config: KafkaConfig) -> Sequence[ProbeStep]:
    from .probe import probe  # noqa: PLC0415 - the driver is loaded when it is needed

    return await probe(config)


def _source(
    live: KafkaService, ref: SourceRef, options: KafkaSourceOptions, resume: Resume, lanes: Lanes
) -> AbstractAsyncContextManager[Source]:
    from .source import open_source  # noqa: PLC0415 - the driver is loaded when it is needed

    return open_source(live, ref, options, resume, lanes)


def _sink(live: KafkaService, ref: SinkRef, options: KafkaSinkOptions) -> AbstractAsyncContextManager[Sink]:
    from .sink import open_sink  # noqa: PLC0415 - the driver is loaded when it is needed

    return open_sink(live, ref, options)


def _fingerprint(config: KafkaConfig, ref: SourceRef, options: KafkaSourceOptions) -> str:
    return f"kafka:{config.name}/{ref.resource}"


def _begin(start: Start) -> Mapping[str, Any]:
    """Instead of whatever else says where to begin."""
    return {"start": start.value, "start_timestamp": None, "start_offsets": {}, "offset_seek_back_seconds": None}


PROVIDER: Provider[KafkaConfig, KafkaService] = Provider(
    name="kafka",
    config=KafkaConfig,
    connect=_connect,
    source=SourceRole(
        open=_source,
        fingerprint=_fingerprint,
        options=KafkaSourceOptions,
        begins={Begin.BEGINNING: _begin(Start.EARLIEST), Begin.NOW: _begin(Start.LATEST)},
        refuses=refused,
        members=lambda ref, options: True,
        finite=True,
        needs_input_encoding=True,
        has_keys=True,
        reads=reads,
        check=check,
    ),
    sink=SinkRole(open=_sink, options=KafkaSinkOptions, has_keys=True, transactional=True, check=check_sink),
    commits_source=same_cluster,
    unavailable=_unavailable,
    probe=_probe,
    inspection=_inspection,
    extra="kafka",
)
