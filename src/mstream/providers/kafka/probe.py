"""Test of a cluster, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mstream.errors import ServiceError
from mstream.ports.probe import Outcome, ProbeStep

from .config import KafkaConfig
from .service import connect

#: Seconds for each thing that is waited for.
_PATIENCE: Final = 5.0


async def probe(config: KafkaConfig) -> Sequence[ProbeStep]:
    """Each step in turn. Never raises for what it finds."""
    async with connect(config) as live:
        try:
            await live.metadata(None, "cluster", patience=_PATIENCE)
        except ServiceError as error:
            return [ProbeStep(name="brokers", outcome=Outcome.FAILED, detail=str(error))]
    return [ProbeStep(name="brokers", outcome=Outcome.OK)]
