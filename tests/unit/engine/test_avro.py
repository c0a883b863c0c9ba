"""Avro on its way through a job: by which schema, whose bytes, and what becomes of records that do not fit."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import pytest
from bson import Int64

from mstream.domain.batch import Batch, Encoding
from mstream.domain.connector import ConnectorSpec
from mstream.errors import AccessDenied, MstreamError, ProviderUnavailable, ResourceMissing, SchemaInvalid, Unreachable
from mstream.ports.roles import Limit
from mstream.ports.schemas import SchemaText
from tests.unit.engine.scripted import ScriptedMiddleware, ScriptedSink, ScriptedSource, Trial
from tests.unit.engine.ways import Near


def record(**fields: Any) -> str:
    return json.dumps(
        {"type": "record", "name": "R", "fields": [{"name": name, **each} for name, each in fields.items()]}
    )


ORDER = record(id={"type": "long"}, name={"type": "string"})
SHORT = record(id={"type": "double"}, note={"type": ["null", "string"], "default": None})
FIRST = b"\x02\x02a"
AVRO, JSON = {"output_encoding": "avro"}, {"output_encoding": "json"}


def numbered(number: int, datum: bytes) -> bytes:
    return b"\x00" + number.to_bytes(4, "big") + datum


@dataclass
class Given(ScriptedSource):
    """A source of batches of these payloads."""

    schedule: list[tuple[str, int]] = field(default_factory=list)
    batches: Sequence[Sequence[bytes | None]] = ()
    encoding: Encoding = Encoding.AVRO

    async def read(self, limit: Limit) -> Batch | None:
        self.reads += 1
        if self.reads > len(self.batches):
            return None
        payloads = self.batches[self.reads - 1]
        before = sum(map(len, self.batches[: self.reads - 1]))
        marks = [before + each for each in range(1, len(payloads) + 1)]
        return Batch(payloads=payloads, encoding=self.encoding, marks=marks, positions={"a": marks[-1]})


@dataclass
class ScriptedCatalog:
    """Schemas by name and by number; the errors are raised by the next calls, once each."""

    named: dict[str, SchemaText] = field(default_factory=dict)
    by_number: dict[int, str] = field(default_factory=dict)
    errors: list[MstreamError] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    taken: list[tuple[str, str]] = field(default_factory=list)

    async def get(self, id_or_name: str) -> SchemaText | None:
        return self.named.get(id_or_name)

    async def numbered(self, number: int) -> SchemaText | None:
        self.asked.append(number)
        if self.errors:
            raise self.errors.pop(0)
        text = self.by_number.get(number)
        return None if text is None else schema(text, number)

    async def registered(self, name: str, given: SchemaText) -> SchemaText:
        self.taken.append((name, given.definition))
        return schema(given.definition, 9)

    async def entries(self) -> Sequence[SchemaText]:
        return ()

    async def save(self, given: SchemaText) -> None: ...

    async def delete(self, schema_id: str) -> bool:
        return False


def schema(text: str, number: int, *, is_fixed: bool = False) -> SchemaText:
    return SchemaText(id=str(number), name=None, encoding=Encoding.AVRO, definition=text, is_fixed=is_fixed)


def trial(
    given: Sequence[Sequence[bytes | None]],
    *sinks: dict[str, Any],
    source: dict[str, Any],
    schemas: Sequence[dict[str, Any]] = (),
    step: dict[str, Any] | None = None,
    change: Any = None,
    catalog: ScriptedCatalog | None = None,
    encoding: Encoding = Encoding.AVRO,
    **keys: Any,
) -> Trial:
    table = {
        "name": "job",
        "source": {"service_name": "src", "resource": "in", "input_encoding": encoding, **source},
        "middlewares": [{"service_name": "mid", "resource": "step", **step}] if step is not None else [],
        "sinks": [{"service_name": f"s{n}", "resource": "out", **each} for n, each in enumerate(sinks)],
        "schemas": schemas or [{"id": "order", "text": ORDER}, {"id": "short", "text": SHORT}],
        **keys,
    }
    parts = [ScriptedSink() for _ in sinks]
    made = Trial(ConnectorSpec.model_validate(table), Given(batches=given, encoding=encoding), parts)
    made.middleware = ScriptedMiddleware(change or (lambda document: [document])) if step is not None else None
    made.more = {"reg": catalog} if catalog else {}
    return made


REGISTRY = {"id": "order", "service_name": "reg", "resource": "orders-value"}


def taken(near: Near, made: Trial) -> list[Any]:
    near.run(made.run(near))
    return [each.taken for each in made.sinks]


def test_the_same_schema_is_the_very_same_bytes_whatever_they_are(near: Near) -> None:
    given = [FIRST, b"\x02\x02a\t\t\t", b"no Avro", None]

    found = taken(near, trial([given], AVRO, AVRO, source={**AVRO, "schema_id": "order"}))

    assert all(each is theirs for sink in found for each, theirs in zip(sink, given, strict=True))
    assert len(found) == 2


def test_each_sink_gets_its_encoding_by_its_schema(near: Near) -> None:
    sinks = [AVRO, JSON, {"output_encoding": "bson"}, {**AVRO, "schema_id": "short"}, {**JSON, "schema_id": "short"}]

    found = taken(near, trial([[FIRST]], *sinks, source={**AVRO, "schema_id": "order"}))

    assert found[:2] == [[FIRST], [b'{"id":1,"name":"a"}']]
    assert found[0][0] is FIRST
    assert bson.decode(found[2][0]) == {"id": Int64(1), "name": "a"}
    assert found[3:] == [[b"\x00\x00\x00\x00\x00\x00\xf0\x3f\x00"], [b'{"id":1.0,"note":null}']]


def test_json_becomes_avro_at_the_source_and_what_comes_after_goes_by_the_same_schema(near: Near) -> None:
    seen = []

    def change(document: Any) -> list[Any]:
        seen.append(document)
        return [{**document, "name": document["name"] * 2}]

    made = trial(
        [[b'{"id":1,"name":"a","more":true}']],
        AVRO,
        JSON,
        source={**AVRO, "schema_id": "order"},
        step=AVRO,
        change=change,
        encoding=Encoding.JSON,
    )

    assert taken(near, made) == [[b"\x02\x04aa"], [b'{"id":1,"name":"aa"}']]
    assert seen == [{"id": 1, "name": "a"}]


def test_a_schema_on_a_step_of_json_gives_records_its_form(near: Near) -> None:
    made = trial([[b'{"name":"a","more":true,"id":1}']], {}, source={"schema_id": "order"}, encoding=Encoding.JSON)

    assert taken(near, made) == [[b'{"id":1,"name":"a"}']]


@pytest.mark.parametrize("given", [b"\x02", b"\x02\x02a\x00"])
def test_what_cannot_be_read_is_given_up_with_its_own_bytes(near: Near, given: bytes) -> None:
    made = trial([[FIRST, given, None, FIRST]], JSON, source={**JSON, "schema_id": "order"}, on_error="dead_letter")

    assert taken(near, made) == [[b'{"id":1,"name":"a"}', None, b'{"id":1,"name":"a"}']]
    (letter,) = made.owner.letters
    assert (letter.stage, letter.payload) == ("decode", given)
    assert letter.error_message.startswith("not valid Avro by schema 'order': ")


def test_what_cannot_be_written_names_the_field(near: Near) -> None:
    made = trial(
        [[b'{"id":"1","name":"a"}']],
        {**AVRO, "schema_id": "order"},
        source=JSON,
        encoding=Encoding.JSON,
        on_error="dead_letter",
    )

    assert taken(near, made) == [[]]
    (letter,) = made.owner.letters
    assert letter.error_message == "$.id: the schema wants a long, a string came"
    assert letter.payload == b'{"id":"1","name":"a"}'


def test_avro_without_any_schema_passes_and_cannot_be_looked_into(near: Near) -> None:
    assert taken(near, trial([[b"any"]], AVRO, source=AVRO)) == [[b"any"]]
    with pytest.raises(SchemaInvalid, match="no schema says how"):
        taken(near, trial([[b"any"]], JSON, source=AVRO))


def test_a_schema_that_is_not_there_or_not_understood_ends_the_run_before_it_reads(near: Near) -> None:
    def refused(schemas: Sequence[dict[str, Any]], kind: type[MstreamError], told: str, **more: Any) -> None:
        made = trial([[FIRST]], JSON, source={**JSON, "schema_id": "order"}, schemas=schemas, **more)
        with pytest.raises(kind, match=told):
            taken(near, made)
        assert made.source.reads == 0

    refused([{"id": "other", "text": ORDER}], SchemaInvalid, "there is no schema 'order'")
    refused([{"id": "order", "text": "{"}], SchemaInvalid, "schema 'order': it is not JSON")
    refused([{"id": "order", "file": "order.avsc"}], SchemaInvalid, "files are read with the configuration file")
    refused([{"id": "order", "text": "{}", "encoding": "json"}], SchemaInvalid, "a schema of json, not of Avro")


# ---------------------------------------------------------------------------------------------------- out of a registry
def test_numbers_are_resolved_once_and_by_what_each_record_was_written(near: Near) -> None:
    catalog = ScriptedCatalog(by_number={7: ORDER, 8: SHORT})
    other = b"\x00\x00\x00\x00\x00\x00\xf0\x3f\x02\x02b"
    batches = [[numbered(7, FIRST), numbered(8, other)], [numbered(7, FIRST)] * 3, [numbered(8, other)]]

    made = trial(batches, JSON, source={**JSON, "schema_id": "order"}, schemas=[REGISTRY], catalog=catalog)

    first, second = b'{"id":1,"name":"a"}', b'{"id":1.0,"note":"b"}'
    assert taken(near, made) == [[first, second, first, first, first, second]]
    assert catalog.asked == [7, 8]


def test_a_version_is_what_all_records_are_read_by(near: Near) -> None:
    catalog = ScriptedCatalog(named={"orders-value:2": schema(SHORT, 8, is_fixed=True)}, by_number={7: ORDER})
    schemas = [{**REGISTRY, "resource": "orders-value:2"}]

    made = trial([[numbered(7, FIRST)]], JSON, source={**JSON, "schema_id": "order"}, schemas=schemas, catalog=catalog)

    assert taken(near, made) == [[b'{"id":1.0,"note":null}']]


def test_an_outage_of_the_registry_is_waited_out(near: Near) -> None:
    catalog = ScriptedCatalog(by_number={7: ORDER}, errors=[Unreachable("not now"), Unreachable("still not")])

    made = trial(
        [[numbered(7, FIRST)]], JSON, source={**JSON, "schema_id": "order"}, schemas=[REGISTRY], catalog=catalog
    )

    assert taken(near, made) == [[b'{"id":1,"name":"a"}']]
    assert catalog.asked == [7, 7, 7]
    assert made.meter.errors == 2


def test_what_the_registry_refuses_for_good_ends_the_run(near: Near) -> None:
    catalog = ScriptedCatalog(errors=[AccessDenied("the registry wants a password")])

    made = trial(
        [[numbered(7, FIRST)]], JSON, source={**JSON, "schema_id": "order"}, schemas=[REGISTRY], catalog=catalog
    )

    with pytest.raises(AccessDenied):
        taken(near, made)


def test_a_number_that_is_nowhere_is_the_fault_of_its_record_and_asked_for_again_later(near: Near) -> None:
    catalog = ScriptedCatalog(by_number={7: ORDER})
    batches = [[numbered(7, FIRST), numbered(5, FIRST), b"{}"], [numbered(5, FIRST)], [numbered(7, FIRST)]]

    made = trial(
        batches,
        JSON,
        source={**JSON, "schema_id": "order"},
        schemas=[REGISTRY],
        catalog=catalog,
        on_error="dead_letter",
    )

    assert taken(near, made) == [[b'{"id":1,"name":"a"}'] * 2]
    assert [each.payload for each in made.owner.letters] == [numbered(5, FIRST), b"{}", numbered(5, FIRST)]
    assert "the registry has no schema number 5" in made.owner.letters[0].error_message
    assert "does not begin with a zero byte" in made.owner.letters[1].error_message
    assert catalog.asked == [5, 7]


def test_records_are_written_by_the_newest_or_by_what_is_registered(near: Near) -> None:
    catalog = ScriptedCatalog(named={"orders-value": schema(ORDER, 3)})
    for entry, number in ((REGISTRY, 3), ({**REGISTRY, "text": ORDER}, 9)):
        sink = {**AVRO, "schema_id": "order"}
        made = trial(
            [[b'{"id":1,"name":"a"}']], sink, source=JSON, schemas=[entry], catalog=catalog, encoding=Encoding.JSON
        )
        assert taken(near, made) == [[numbered(number, FIRST)]]
    assert catalog.taken == [("orders-value", ORDER)]


def test_a_schema_without_a_name_is_that_of_the_one_resource_that_names_it(near: Near) -> None:
    catalog = ScriptedCatalog(named={"out-value": schema(ORDER, 3)})
    entry, sink = {"id": "order", "service_name": "reg"}, {**AVRO, "schema_id": "order"}

    def run(**source: str) -> list[Any]:
        given = [[b'{"id":1,"name":"a"}']]
        made = trial(given, sink, source=source, schemas=[entry], catalog=catalog, encoding=Encoding.JSON)
        return taken(near, made)

    assert run(**JSON) == [[numbered(3, FIRST)]]
    with pytest.raises(SchemaInvalid, match="schema 'order' needs a 'resource'"):
        run(**JSON, schema_id="order")


def test_a_subject_that_is_not_there_cannot_be_written_by(near: Near) -> None:
    made = trial(
        [[b"{}"]],
        {**AVRO, "schema_id": "order"},
        source=JSON,
        schemas=[REGISTRY],
        catalog=ScriptedCatalog(),
        encoding=Encoding.JSON,
    )

    with pytest.raises(ResourceMissing, match="has no schema 'orders-value', which is 'order' in the connector"):
        taken(near, made)


def test_records_of_a_registry_pass_as_they_are_without_a_question(near: Near) -> None:
    catalog = ScriptedCatalog(by_number={7: ORDER})
    given = [numbered(7, FIRST), b"any"]

    made = trial([given], AVRO, source={**AVRO, "schema_id": "order"}, schemas=[REGISTRY], catalog=catalog)

    assert taken(near, made) == [given]
    assert catalog.asked == []


def test_a_service_that_keeps_no_schemas_is_told(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial([[FIRST]], JSON, source={**JSON, "schema_id": "order"}, schemas=[REGISTRY], catalog=ScriptedCatalog())
    monkeypatch.setattr("tests.unit.engine.provider.SCHEMAS", None)

    with pytest.raises(ProviderUnavailable, match="keeps no schemas"):
        taken(near, made)
