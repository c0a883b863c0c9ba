"""A dry run: read, transform and show the first records; nothing is written anywhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal
from uuid import uuid4

from mstream.config.availability import reason_unavailable
from mstream.config.document import ConfigFile
from mstream.domain.batch import Batch, Encoding, Form
from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import BatchPolicy, ConnectorSpec, Delivery, SinkRef
from mstream.domain.dead_letter import DeadLetter
from mstream.domain.run import Ending, Outcome, RunSpec
from mstream.domain.service import RoleOptions, ServiceConfig
from mstream.encodings import codec_for
from mstream.errors import ProviderUnavailable
from mstream.foundation.clock import Clock, SystemClock
from mstream.foundation.concurrency import background, first_of
from mstream.observability.logs import get_logger
from mstream.ports.owner import LaneClaim
from mstream.ports.provider import Catalog, Provider, SinkRole, provider_named
from mstream.ports.roles import Failure
from mstream.runtimes.base import RunHandle
from mstream.runtimes.inline import InlineRuntime

log = get_logger(__name__)

#: No service of a file can be called so.
_SERVICE = "_preview"
#: Seconds between two looks at a run.
_LOOK = 0.05


class PreviewConfig(ServiceConfig):
    """The service that stands in for every sink."""

    provider: Literal["_preview"] = "_preview"


class _Screen:
    """A sink that shows records until it has shown enough."""

    accepts = Form.DOCUMENTS
    overlap = 1

    def __init__(self, job: str, records: int, write: Callable[[str], None]) -> None:
        self._job = job
        self._left = records
        self._write = write
        self.full = asyncio.Event()

    async def write(self, batch: Batch) -> Sequence[Failure]:
        documents = list(batch.documents or ())[: self._left]
        payloads, failures = codec_for(Encoding.JSON).encode(documents)
        for each in payloads:
            if each is not None:
                self._write(f'{{"job": {json.dumps(self._job)}, "record": {each.decode()}}}')
        self._left -= len(documents)
        if self._left <= 0:
            self.full.set()
        return failures


class _NobodysOwner:
    """Implements `ports.owner.Owner` for runs that leave no trace."""

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """Nothing is saved."""

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """Nothing is stored of any lane."""
        return {each: LaneClaim(position=None, revision="") for each in lanes}

    async def release(self, lanes: Collection[Lane]) -> None:
        """Nothing was claimed."""

    async def lookup(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """Nothing is stored of any lane."""
        return {}

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """What would be given up is told."""
        for each in letters:
            log.warning("record_refused", job=each.job, stage=each.stage, error_code=each.error_code)


async def preview(
    file: ConfigFile,
    catalog: Catalog,
    *,
    records: int,
    quiet_sec: float,
    write: Callable[[str], None],
    clock: Clock | None = None,
) -> int:
    """Show the first records of every enabled connector; the exit code, 1 when one of them fails."""
    code = 0
    for connector in file.connectors:
        if not connector.enabled:
            continue
        screen = _Screen(connector.name, records, write)
        provider = _provider(screen)
        spec = _spec(file, connector, records)
        why = _unavailable(spec, (*catalog, provider), file)
        if why is not None:
            log.error("job_failed", job=connector.name, error_code=ProviderUnavailable.code, error=why)
            code = 1
            continue
        async with InlineRuntime((*catalog, provider)) as runtime:
            handle = await runtime.start(spec, _NobodysOwner())
            outcome = await _shown(handle, screen, quiet_sec, clock or SystemClock())
        if outcome.ending is Ending.FAILED:
            log.error("job_failed", job=connector.name, error_code=outcome.reason, error=outcome.message)
            code = 1
    return code


def _unavailable(spec: RunSpec, catalog: Catalog, file: ConfigFile) -> str | None:
    """Why the connector cannot be shown here; None: it can."""
    for config in spec.services.values():
        provider = provider_named(catalog, config.provider)
        why = reason_unavailable(provider, config, allow_python_scripts=file.system.allow_python_scripts)
        if why is not None:
            return f"service {config.name!r}: {why}"
    return None


def _provider(screen: _Screen) -> Provider[Any, Any]:
    @asynccontextmanager
    async def connect(config: PreviewConfig) -> AsyncIterator[_Screen]:
        yield screen

    @asynccontextmanager
    async def open_sink(live: _Screen, ref: SinkRef, options: RoleOptions) -> AsyncIterator[_Screen]:
        yield live

    return Provider(name=_SERVICE, config=PreviewConfig, connect=connect, sink=SinkRole(open=open_sink))


def _spec(file: ConfigFile, connector: ConnectorSpec, records: int) -> RunSpec:
    """The connector with one sink that shows what would have been written."""
    sink = SinkRef(service_name=_SERVICE, resource=connector.name, output_encoding=Encoding.JSON)
    changed = connector.model_copy(
        update={
            "sinks": (sink,),
            "dead_letters": None,
            # What a service keeps is asked for, and nothing is registered there.
            "schemas": tuple(
                each.model_copy(update={"text": None}) if each.service_name else each for each in connector.schemas
            ),
            "delivery": Delivery.AT_LEAST_ONCE,
            # No more is read than is shown.
            "batch": BatchPolicy(size=records, max_wait_ms=0),
            "max_in_flight": 1,
        }
    )
    services: dict[str, ServiceConfig] = {
        name: file.service(name) for name in changed.service_names if name != _SERVICE
    }
    services[_SERVICE] = PreviewConfig(name=_SERVICE)
    return RunSpec(
        job=connector.name,
        run_id=str(uuid4()),
        epoch=0,
        connector=changed,
        services=services,
        schemas_resource=file.system.schemas_resource,
    )


async def _shown(handle: RunHandle, screen: _Screen, quiet_sec: float, clock: Clock) -> Outcome:
    async with background(_ended_when_enough(handle, screen, quiet_sec, clock)):
        return await handle.outcome()


async def _ended_when_enough(handle: RunHandle, screen: _Screen, quiet_sec: float, clock: Clock) -> None:
    await handle.started()
    await first_of(_quiet(handle, quiet_sec, clock), screen.full)
    handle.drain()


async def _quiet(handle: RunHandle, seconds: float, clock: Clock) -> None:
    while handle.status.in_flight or handle.status.idle_seconds < seconds:
        await clock.sleep(_LOOK)
