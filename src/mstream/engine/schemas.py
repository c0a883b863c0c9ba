"""The schemas of a connector: those that its steps name, once per run, and those that payloads name, as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from mstream.domain.connector import ConnectorSpec, SchemaRef
from mstream.encodings import avro_codec
from mstream.engine.attempts import Retry, persistently
from mstream.engine.services import Services
from mstream.engine.stages import Way
from mstream.errors import ProviderUnavailable, ResourceMissing, SchemaInvalid
from mstream.foundation.clock import Clock
from mstream.ports.encoding import Codec, NumberedCodec
from mstream.ports.schemas import NumberedSchemas, SchemaCatalog, SchemaText
from mstream.schemas.stored import KEY, StoredSchemas

#: Seconds after which a number is asked for again that was not there: a registry may learn of it late.
_ASK_AGAIN = 10.0


class Schemas:
    """The codecs of a connector's schemas, and what tells them of schemas that payloads name."""

    def __init__(self) -> None:
        #: By alias.
        self.codecs: dict[str, Codec] = {}
        self._catalogs: dict[str, tuple[str, NumberedSchemas]] = {}
        #: Monotonic seconds until which a number is known not to be there.
        self._missing: dict[tuple[str, int], float] = {}

    def add(self, alias: str, codec: Codec, service: str, catalog: NumberedSchemas | None) -> None:
        """One of them; `catalog`: where its payloads' numbers lead."""
        self.codecs[alias] = codec
        if catalog is not None:
            self._catalogs[alias] = service, catalog

    async def learn(
        self, alias: str | None, payloads: Sequence[bytes | None], retry: Callable[[str], Retry], clock: Clock
    ) -> None:
        """Every schema that these name and that is not known yet; an outage of the service is waited out.

        Raises what the service raises for good. A number that is not there is left unknown: its records are refused.
        """
        if alias not in self._catalogs:
            return
        codec, (service, catalog) = self.codecs[alias], self._catalogs[alias]
        if not isinstance(codec, NumberedCodec):
            return
        for number in codec.unknown(payloads):
            if clock.monotonic() < self._missing.get((alias, number), 0.0):
                continue
            schema = await persistently(lambda: catalog.numbered(number), lambda: retry(f"schemas of {service}"))  # noqa: B023 - awaited here
            if schema is None:
                self._missing[alias, number] = clock.monotonic() + _ASK_AGAIN
            else:
                codec.learn(number, schema)


async def schemas_of(connector: ConnectorSpec, way: Way, services: Services, stored_in: str) -> Schemas:
    """Those that steps name; `stored_in`: the collection of those that document stores keep.

    Raises SchemaInvalid, ResourceMissing, ProviderUnavailable, or what the service raises.
    """
    named, only_read = connector.schema_ids, {way.arrival.schema, way.keys}
    found = Schemas()
    for ref in connector.schemas:
        if ref.id in named and ref.id not in found.codecs:
            ref = _named(ref, connector, services)  # noqa: PLW2901 - whole from here on
            await _add(ref, services, found, stored_in=stored_in, only_reads=ref.id in only_read)
    for alias in sorted(named - found.codecs.keys()):
        message = f"there is no schema {alias!r} in the connector; define it under 'schemas'"
        raise SchemaInvalid(message)
    return found


def _named(ref: SchemaRef, connector: ConnectorSpec, services: Services) -> SchemaRef:
    """With what it is called in its service, also where that is told by a topic."""
    if ref.service_name is None or ref.resource is not None:
        return ref
    name, uses = services.provider(ref.service_name).schema_name, connector.uses_of(ref.id)
    if name is None or len(uses) != 1:
        message = f"schema {ref.id!r} needs a 'resource': nothing else tells what service {ref.service_name!r} calls it"
        raise SchemaInvalid(message)
    resource, is_key = uses[0]
    return ref.model_copy(update={"resource": name(resource, is_key=is_key)})


async def _add(ref: SchemaRef, services: Services, found: Schemas, *, stored_in: str, only_reads: bool) -> None:
    """`only_reads`: records that come say by themselves what they were written by."""
    codec_of = partial(avro_codec, ref.id, text_decimals=ref.decimals == "text")
    given = SchemaText(id="", name=ref.id, encoding=ref.encoding, definition=ref.text or "")
    if ref.service_name is None:
        if ref.text is None:
            message = f"schema {ref.id!r} has no text; files are read with the configuration file, and nowhere else"
            raise SchemaInvalid(message)
        found.add(ref.id, codec_of(given), "", None)
        return
    catalog, resource = await _catalog(ref.service_name, services, stored_in), ref.resource or ""
    if not isinstance(catalog, NumberedSchemas):
        if ref.text is not None:
            message = f"schema {ref.id!r} has a text, and service {ref.service_name!r} registers none; leave one out"
            raise SchemaInvalid(message)
        found.add(ref.id, codec_of(_there(await catalog.get(resource), ref)), "", None)
        return
    schema = await catalog.registered(resource, given) if ref.text else await catalog.get(resource)
    if not only_reads:
        schema = _there(schema, ref)
    reads_as = schema if schema is not None and schema.is_fixed else None
    codec = codec_of(schema, reads_as=reads_as, is_numbered=True)
    found.add(ref.id, codec, ref.service_name, catalog)


async def _catalog(name: str, services: Services, stored_in: str) -> SchemaCatalog:
    """Of a store of documents a collection of them; raises ProviderUnavailable for a service that keeps none."""
    provider = services.provider(name)
    if provider.documents is not None:
        documents = provider.documents(await services.live(name))
        return StoredSchemas(documents.collection(stored_in, key=KEY))
    if provider.schemas is None:
        message = f"service {name!r} (provider {provider.name!r}) keeps no schemas"
        raise ProviderUnavailable(message)
    return provider.schemas(await services.live(name))


def _there(schema: SchemaText | None, ref: SchemaRef) -> SchemaText:
    if schema is None:
        message = f"service {ref.service_name!r} has no schema {ref.resource!r}, which is {ref.id!r} in the connector"
        raise ResourceMissing(message)
    return schema
