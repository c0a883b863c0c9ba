"""Open the roles of a connector in order, give the run a ready pipeline, close in reverse."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product

from mstream.domain.batch import Encoding
from mstream.domain.connector import ConnectorSpec, DeadLettersRef, MiddlewareRef, SinkRef
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.encodings import codec_for, conversion_between, keys_by
from mstream.engine.schemas import Schemas, schemas_of
from mstream.engine.services import Services
from mstream.engine.stages import Encodings, Stage, Way, way_of
from mstream.engine.transforms import Step, Want
from mstream.errors import ProviderUnavailable
from mstream.ports.encoding import KeyedSink
from mstream.ports.provider import role_options
from mstream.ports.roles import Fenced, Lanes, Middleware, Resume, Sink, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Every role of a connector, open."""

    source: Source
    steps: Sequence[Step]
    sinks: Sequence[Sink]
    wants: Sequence[Want]
    way: Way
    encodings: Encodings
    schemas: Schemas
    dead_letters: Sink | None


@asynccontextmanager
async def opened(spec: RunSpec, services: Services, lanes: Lanes) -> AsyncIterator[Pipeline]:
    """Schemas and sinks first, then middlewares, then the source: nothing is read before it can be delivered."""
    connector = spec.connector
    way = way_of(connector, _arriving(connector, services))
    schemas = await schemas_of(connector, way, services, spec.schemas_resource)
    async with AsyncExitStack() as stack:
        opening = _Opening(services, stack)
        sinks = [await opening.sink(each) for each in connector.sinks]
        for ref, sink in zip(connector.sinks, sinks, strict=True):
            _give_key_schema(ref, sink, schemas)
        dead_letters = await opening.dead_letters(connector.dead_letters) if connector.dead_letters else None
        steps = [await opening.step(*each) for each in zip(connector.middlewares, way.steps, strict=True)]
        await _fence(spec, sinks)
        source = await opening.source(spec, lanes)
        wants = [Want(form=sink.accepts, stage=stage) for stage, sink in zip(way.sinks, sinks, strict=True)]
        yield Pipeline(
            source=source,
            steps=steps,
            sinks=sinks,
            wants=wants,
            way=way,
            encodings=_encodings(way, schemas),
            schemas=schemas,
            dead_letters=dead_letters,
        )


def _give_key_schema(ref: SinkRef, sink: Sink, schemas: Schemas) -> None:
    """Where its keys are written by one."""
    if ref.key_schema_id is None:
        return
    if not isinstance(sink, KeyedSink):
        message = f"service {ref.service_name!r} writes no keys by a schema; take 'key_schema_id' out of the sink"
        raise ProviderUnavailable(message)
    sink.write_keys_by(keys_by(schemas.codecs[ref.key_schema_id], ref.output_encoding, ref.mode))


async def _fence(spec: RunSpec, sinks: Sequence[Sink]) -> None:
    """Before the source looks for its places: one that is committed late would be missed."""
    if spec.transactional_sink is not None:
        sink = sinks[spec.transactional_sink]
        if isinstance(sink, Fenced):
            await sink.fence(spec.job, spec.member)


class _Opening:
    """Opens one role after the other on one stack."""

    def __init__(self, services: Services, stack: AsyncExitStack) -> None:
        self._services = services
        self._stack = stack

    async def source(self, spec: RunSpec, lanes: Lanes) -> Source:
        ref = spec.connector.source
        provider, config = self._services.provider(ref.service_name), self._services.config(ref.service_name)
        if provider.source is None:
            raise _no_role(ref.service_name, provider.name, "source")
        options = role_options(provider.source.options, config, ref)
        live = await self._services.live(ref.service_name)
        resume = Resume(
            positions=spec.positions,
            job=spec.job,
            member=spec.member,
            resets=spec.resets,
            are_copies=spec.checkpoint is CheckpointMode.IN_SOURCE,
        )
        return await self._stack.enter_async_context(provider.source.open(live, ref, options, resume, lanes))

    async def sink(self, ref: SinkRef) -> Sink:
        provider, config = self._services.provider(ref.service_name), self._services.config(ref.service_name)
        if provider.sink is None:
            raise _no_role(ref.service_name, provider.name, "sink")
        options = role_options(provider.sink.options, config, ref)
        live = await self._services.live(ref.service_name)
        return await self._stack.enter_async_context(provider.sink.open(live, ref, options))

    async def dead_letters(self, ref: DeadLettersRef) -> Sink:
        return await self.sink(SinkRef.model_validate(ref.model_dump()))

    async def step(self, ref: MiddlewareRef, output: Stage) -> Step:
        provider, config = self._services.provider(ref.service_name), self._services.config(ref.service_name)
        if provider.middleware is None:
            raise _no_role(ref.service_name, provider.name, "middleware")
        options = role_options(provider.middleware.options, config, ref)
        live = await self._services.live(ref.service_name)
        middleware: Middleware = await self._stack.enter_async_context(provider.middleware.open(live, ref, options))
        return Step(
            name=f"{ref.service_name}/{ref.resource}",
            middleware=middleware,
            output=output,
            deadline_sec=getattr(middleware, "deadline_sec", None),
        )


def _arriving(connector: ConnectorSpec, services: Services) -> Encoding:
    role = services.provider(connector.source.service_name).source
    return connector.source.input_encoding or (role.input_encoding if role else Encoding.JSON)


def _encodings(way: Way, schemas: Schemas) -> Encodings:
    stages = (way.arrival, way.source, *way.steps, *way.sinks)
    named = {*(each.encoding for each in stages), Encoding.JSON} - {Encoding.AVRO}
    # Between all of them: a middleware may give records in another encoding than it was given.
    legs = product(named, named, {each.mode for each in stages})
    conversions = {leg: conversion_between(*leg) for leg in legs}
    return Encodings(
        codecs={each: codec_for(each) for each in named},
        conversions={leg: conversion for leg, conversion in conversions.items() if conversion is not None},
        schemas=schemas.codecs,
    )


def _no_role(service: str, provider: str, role: str) -> ProviderUnavailable:
    message = f"service {service!r} (provider {provider!r}) cannot be a {role}"
    return ProviderUnavailable(message)
