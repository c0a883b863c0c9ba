"""Keys in Avro on their way through a job: what steps and sinks see, and what becomes of those that do not fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mstream.domain.batch import Batch, Encoding
from mstream.domain.connector import ConnectorSpec
from mstream.errors import MstreamError, ProviderUnavailable, SchemaInvalid, Unreachable
from mstream.ports.encoding import Conversion
from mstream.ports.roles import Failure, Limit, Transformed
from tests.unit.engine.scripted import ScriptedMiddleware, ScriptedSink, Trial
from tests.unit.engine.test_avro import Given, ScriptedCatalog, numbered, record, schema
from tests.unit.engine.ways import Near

PAIR = record(id={"type": "long"}, name={"type": "string"})
FIRST, SECOND = b"\x02\x02a", b"\x04\x02b"
INLINE = {"id": "pair", "text": PAIR}
REGISTRY = {"id": "pair", "service_name": "reg"}
BY_PAIR = {"key_schema_id": "pair"}


@dataclass
class Keyed(Given):
    """A source whose records have these keys, batch by batch."""

    keys: Sequence[Sequence[bytes | None] | None] = ()

    async def read(self, limit: Limit) -> Batch | None:
        batch = await super().read(limit)
        return None if batch is None else replace(batch, keys=self.keys[self.reads - 1])


@dataclass
class KeySink(ScriptedSink):
    """Remembers the keys; by a schema they are written when it was given one."""

    conversion: Conversion | None = None
    seen: list[bytes | None] = field(default_factory=list)

    def write_keys_by(self, conversion: Conversion) -> None:
        self.conversion = conversion

    async def write(self, batch: Batch) -> Sequence[Failure]:
        answer = await super().write(batch)
        keys = batch.keys or [None] * len(batch)
        made, failures = self.conversion.of_payloads(keys) if self.conversion else (keys, ())
        assert not failures
        self.seen += made
        return answer


@dataclass
class Doubling(ScriptedMiddleware):
    """Each record twice, with all that it has; keys that it saw are noted."""

    saw: list[bytes | None] = field(default_factory=list)

    async def apply(self, batch: Batch) -> Transformed:
        self.saw += batch.keys or ()
        origins = [index for index in range(len(batch)) for _ in range(2)]
        return Transformed(batch=batch.pick(origins), origins=origins, failures=())


def trial(
    keys: Sequence[Sequence[bytes | None] | None],
    *sinks: Mapping[str, Any],
    source: Mapping[str, Any] = BY_PAIR,
    schemas: Sequence[Mapping[str, Any]] = (INLINE,),
    catalog: ScriptedCatalog | None = None,
    step: Doubling | None = None,
    **more: Any,
) -> Trial:
    table = {
        "name": "job",
        "source": {"service_name": "src", "resource": "in", **source},
        "middlewares": [{"service_name": "mid", "resource": "step"}] if step else [],
        "sinks": [{"service_name": f"s{n}", "resource": "out", **each} for n, each in enumerate(sinks)],
        "schemas": schemas,
        **more,
    }
    payloads = [[b'{"n":%d}' % index for index in range(len(each or (1,)))] for each in keys]
    parts = [KeySink() for _ in sinks]
    made = Trial(ConnectorSpec.model_validate(table), Keyed(batches=payloads, keys=keys, encoding=Encoding.JSON), parts)
    made.middleware = step
    made.more = {"reg": catalog} if catalog else {}
    return made


def seen(near: Near, made: Trial) -> list[list[bytes | None]]:
    near.run(made.run(near))
    return [each.seen for each in made.sinks if isinstance(each, KeySink)]


def test_steps_and_sinks_see_json_and_a_sink_of_the_same_schema_the_very_same_bytes(near: Near) -> None:
    first, second = b'{"id":1,"name":"a"}', b'{"id":2,"name":"b"}'
    step = Doubling(change=lambda document: [document])

    found = seen(near, trial([[FIRST, None, SECOND], None], {}, BY_PAIR, step=step))

    assert step.saw == [first, None, second]
    assert found[0] == [first, first, None, None, second, second, None, None]
    assert found[1] == [FIRST, FIRST, None, None, SECOND, SECOND, None, None]


def test_without_a_schema_keys_are_what_they_are(near: Near) -> None:
    given = [[b"any", None]]
    made = trial(given, {}, source={})

    assert seen(near, made) == given


def test_a_key_that_cannot_be_read_is_given_up_with_its_own_bytes(near: Near) -> None:
    made = trial([[FIRST, b"\x02", SECOND]], BY_PAIR, on_error="dead_letter")

    assert seen(near, made) == [[FIRST, SECOND]]
    (letter,) = made.owner.letters
    assert (letter.stage, letter.payload, letter.record_key) == ("decode", b'{"n":1}', b"\x02")
    assert letter.error_message.startswith("its key is not valid Avro by schema 'pair': ")
    assert made.sinks[0].taken == [b'{"n":0}', b'{"n":2}']


def test_under_stop_nothing_after_it_is_delivered(near: Near) -> None:
    made = trial([[FIRST, b"\x02", SECOND]], {})

    with pytest.raises(MstreamError, match="its key is not valid Avro"):
        seen(near, made)
    assert made.sinks[0].taken == [b'{"n":0}']


def test_numbers_of_keys_are_asked_for_once_and_outages_waited_out(near: Near) -> None:
    catalog = ScriptedCatalog(by_number={7: PAIR, 8: '"string"'}, errors=[Unreachable("not now")])
    keys = [[numbered(7, FIRST), numbered(8, b"\x02x")], [numbered(7, SECOND)], None]

    made = trial(keys, {}, BY_PAIR, schemas=[{**REGISTRY, "resource": "in-key"}], catalog=catalog)
    catalog.named["in-key"] = schema(PAIR, 9)

    found = seen(near, made)
    assert found[0] == [b'{"id":1,"name":"a"}', b'"x"', b'{"id":2,"name":"b"}', None]
    assert found[1] == [numbered(7, FIRST), numbered(8, b"\x02x"), numbered(7, SECOND), None]
    assert catalog.asked == [7, 7, 8]


def test_the_schema_of_keys_is_called_by_the_topic_whose_keys_they_are(near: Near) -> None:
    catalog = ScriptedCatalog(named={"out-key": schema(PAIR, 3)})

    made = trial([[b'{"name":"a","id":1}']], BY_PAIR, source={}, schemas=[REGISTRY], catalog=catalog)

    assert seen(near, made) == [[numbered(3, FIRST)]]
    with pytest.raises(SchemaInvalid, match="schema 'pair' needs a 'resource'"):
        seen(near, trial([[FIRST]], BY_PAIR, schemas=[REGISTRY], catalog=catalog))
    registered = trial([[b'{"name":"a","id":1}']], BY_PAIR, source={}, schemas=[{**REGISTRY, "text": PAIR}])
    registered.more = {"reg": catalog}
    assert seen(near, registered) == [[numbered(9, FIRST)]]
    assert catalog.taken == [("out-key", PAIR)]


def test_what_cannot_be_ends_the_run_before_it_reads(near: Near) -> None:
    def refused(kind: type[MstreamError], told: str, made: Trial) -> None:
        with pytest.raises(kind, match=told):
            near.run(made.run(near))
        assert made.source.reads == 0

    refused(SchemaInvalid, "there is no schema 'pair'", trial([[FIRST]], {}, schemas=[]))
    refused(
        SchemaInvalid,
        "has none of that name",
        trial([[FIRST]], BY_PAIR, schemas=[{**REGISTRY, "resource": "x"}], catalog=ScriptedCatalog()),
    )
    plain = trial([[FIRST]], BY_PAIR)
    plain.sinks = [ScriptedSink()]
    refused(ProviderUnavailable, "service 's0' writes no keys by a schema", plain)
