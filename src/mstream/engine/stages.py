"""What records are in at each point of their way, and the codecs that are needed there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mstream.domain.batch import Encoding, JsonMode
from mstream.domain.connector import ConnectorSpec, Ref
from mstream.encodings import conversion_by
from mstream.errors import SchemaInvalid
from mstream.ports.encoding import Codec, Conversion


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What records are in between two steps."""

    encoding: Encoding
    mode: JsonMode = JsonMode.FLAT
    #: The alias of the schema that they are written by, or that was applied to them; None: none.
    schema: str | None = None

    def holds(self, wanted: Stage) -> bool:
        """Records here are what is wanted there; how JSON spells types counts only where it is made."""
        return self.encoding is wanted.encoding and wanted.schema in {None, self.schema}

    def after_step(self, encoding: Encoding) -> Stage:
        """What a middleware gives: Avro is written by the schema as before, all else may have become anything."""
        return Stage(encoding=encoding, schema=self.schema if encoding is self.encoding is Encoding.AVRO else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """The stages of one connector; a step that names no schema goes by the last one that is named before it."""

    #: As the source gives them, and behind the source's step.
    arrival: Stage
    source: Stage
    steps: Sequence[Stage]
    sinks: Sequence[Stage]
    #: The alias of the schema that keys come in; None: they are what they are.
    keys: str | None = None


def way_of(connector: ConnectorSpec, arriving: Encoding) -> Way:
    """The stages that its records go through."""
    named = connector.source.schema_id
    arrival = Stage(encoding=arriving, schema=named if arriving is Encoding.AVRO else None)
    source = _stage(connector.source, named)
    steps = []
    for each in connector.middlewares:
        named = each.schema_id or named
        steps.append(_stage(each, named))
    sinks = [_stage(each, named) for each in connector.sinks]
    return Way(arrival=arrival, source=source, steps=steps, sinks=sinks, keys=connector.source.key_schema_id)


def _stage(ref: Ref, named: str | None) -> Stage:
    schema = ref.schema_id or (named if ref.output_encoding is Encoding.AVRO else None)
    return Stage(encoding=ref.output_encoding, mode=ref.mode, schema=schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encodings:
    """What reads and writes the encodings of a job."""

    codecs: Mapping[Encoding, Codec]
    #: From one into another, in a mode. Where there is none, their documents are the same.
    conversions: Mapping[tuple[Encoding, Encoding, JsonMode], Conversion] = field(default_factory=dict)
    #: Codecs of Avro, by the aliases of schemas.
    schemas: Mapping[str, Codec] = field(default_factory=dict)
    _by_schema: dict[tuple[str, Encoding, Encoding, JsonMode], Conversion | None] = field(default_factory=dict)

    def codec(self, stage: Stage) -> Codec:
        """What reads and writes records there. Raises SchemaInvalid where nothing says how."""
        if stage.encoding is not Encoding.AVRO:
            return self.codecs[stage.encoding]
        if stage.schema is None:
            raise SchemaInvalid("records are in Avro, and no schema says how; name one by 'schema_id'")
        return self.schemas[stage.schema]

    def conversion(self, here: Stage, there: Stage) -> Conversion | None:
        """How payloads here become those there; None: their documents are the same. Raises SchemaInvalid."""
        alias = here.schema if here.encoding is Encoding.AVRO else there.schema
        if alias is None and Encoding.AVRO not in {here.encoding, there.encoding}:
            return self.conversions.get((here.encoding, there.encoding, there.mode))
        if here.encoding is there.encoding is Encoding.AVRO:
            return None
        codec = self.codec(Stage(encoding=Encoding.AVRO, schema=alias))
        key = alias or "", here.encoding, there.encoding, there.mode
        if key not in self._by_schema:
            self._by_schema[key] = conversion_by(codec, *key[1:])
        return self._by_schema[key]
