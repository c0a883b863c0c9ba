"""In which encoding records reach steps and sinks, and what nobody has looked into."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId

from mstream.domain.batch import Batch, Encoding, Form
from mstream.domain.connector import ConnectorSpec
from mstream.errors import RecordStopped
from mstream.ports.roles import Failure, Limit
from tests.unit.engine.scripted import ScriptedMiddleware, ScriptedSink, ScriptedSource, Trial
from tests.unit.engine.ways import Near

OID = ObjectId("60002e5e19e23b5c08a6c03c")
#: Types of its own, and an `_id` that is not first.
PAYLOAD = bson.encode({"": {"n": 1, "_id": OID, "big": Int64(5), "ratio": 2.0}})[6:-1]
JSON = b'{"n":1,"_id":"60002e5e19e23b5c08a6c03c","big":5,"ratio":2.0}'


@dataclass
class Given(ScriptedSource):
    """A source of these payloads, in one batch."""

    schedule: list[tuple[str, int]] = field(default_factory=list)
    payloads: Sequence[bytes | None] = ()
    encoding: Encoding = Encoding.BSON

    async def read(self, limit: Limit) -> Batch | None:
        self.reads += 1
        if self.reads > 1:
            return None
        count = len(self.payloads)
        marks = list(range(1, count + 1))
        return Batch(payloads=self.payloads, encoding=self.encoding, marks=marks, positions={"a": count})


@dataclass
class DocumentSink(ScriptedSink):
    """Takes documents."""

    accepts: Form = Form.DOCUMENTS

    async def write(self, batch: Batch) -> Sequence[Failure]:
        self.taken += batch.documents or ()
        return ()


def spec(
    output: str, *sinks: dict[str, Any], step: str | None = None, mode: str | None = None, **keys: Any
) -> ConnectorSpec:
    """BSON in; `output` leaves the source; `mode`: of the source and of the step."""
    source = {"service_name": "src", "resource": "in", "input_encoding": "bson", "output_encoding": output}
    middleware = {"service_name": "mid", "resource": "step", "output_encoding": step, "json_mode": mode}
    table = {
        "name": "job",
        "source": {**source, "json_mode": mode},
        "middlewares": [middleware] if step else [],
        "sinks": [{"service_name": f"s{n}", "resource": "out", **each} for n, each in enumerate(sinks)],
        **keys,
    }
    return ConnectorSpec.model_validate(table)


def delivered(near: Near, connector: ConnectorSpec, *sinks: ScriptedSink, change: Any = None) -> list[Any]:
    """What each sink was given for one record."""
    middleware = ScriptedMiddleware(change) if change else None
    trial = Trial(connector, Given(payloads=[PAYLOAD]), sinks, middleware=middleware)
    near.run(trial.run(near))
    return [each.taken for each in trial.sinks]


def test_records_that_nobody_looks_into_are_the_very_same_bytes(near: Near) -> None:
    """What is no BSON passes too: it is for its reader to say."""
    payloads = [PAYLOAD, b"no BSON at all", None]
    trial = Trial(spec("bson", {"output_encoding": "bson"}), Given(payloads=payloads), [ScriptedSink()])

    near.run(trial.run(near))

    assert all(found is given for found, given in zip(trial.sinks[0].taken, payloads, strict=True))


def test_each_sink_gets_its_encoding_in_its_mode(near: Near) -> None:
    sinks = [
        {"output_encoding": "bson"},
        {"output_encoding": "json"},
        {"output_encoding": "json", "json_mode": "relaxed"},
        {"output_encoding": "json", "json_mode": "canonical"},
    ]

    found = delivered(near, spec("bson", *sinks), *(ScriptedSink() for _ in sinks))

    oid = b'{"$oid":"60002e5e19e23b5c08a6c03c"}'
    assert found == [
        [PAYLOAD],
        [JSON],
        [b'{"n":1,"_id":%s,"big":5,"ratio":2.0}' % oid],
        [
            b'{"n":{"$numberInt":"1"},"_id":%s,"big":{"$numberLong":"5"},"ratio":{"$numberDouble":"2.0"}}' % oid,
        ],
    ]


def test_a_sink_of_the_same_encoding_gets_the_very_same_bytes_beside_another(near: Near) -> None:
    same, _ = delivered(near, spec("bson", {"output_encoding": "bson"}, {}), ScriptedSink(), ScriptedSink())

    assert same[0] is PAYLOAD


@pytest.mark.parametrize(("output", "step"), [("json", "json"), ("bson", "json")])
def test_the_step_that_makes_json_says_in_which_mode(near: Near, output: str, step: str) -> None:
    connector = spec(output, {"output_encoding": "json", "json_mode": "flat"}, step=step, mode="canonical")

    found = delivered(near, connector, ScriptedSink(), change=lambda document: [{"n": document["n"]}])

    assert found == [[b'{"n":{"$numberInt":"1"}}']]


def test_documents_of_a_step_reach_a_sink_of_documents_in_its_encoding(near: Near) -> None:
    found = delivered(near, spec("bson", {}, step="bson"), DocumentSink(), change=lambda document: [document])

    assert found == [[{"n": 1, "_id": str(OID), "big": 5, "ratio": 2.0}]]


def test_a_sink_of_documents_gets_the_values_of_its_encoding(near: Near) -> None:
    connector = spec("bson", {"output_encoding": "bson"}, {"output_encoding": "json"})

    typed, plain = delivered(near, connector, DocumentSink(), DocumentSink())

    assert typed == [{"n": 1, "_id": OID, "big": Int64(5), "ratio": 2.0}]
    assert type(typed[0]["big"]) is Int64
    assert plain == [{"n": 1, "_id": str(OID), "big": 5, "ratio": 2.0}]


def test_types_stay_types_while_no_step_asks_for_json(near: Near) -> None:
    seen = []

    def change(document: Any) -> list[Any]:
        seen.append(dict(document))
        document["n"] = 2
        return [document]

    connector = spec("bson", {"output_encoding": "bson"}, step="bson")
    found = delivered(near, connector, ScriptedSink(), change=change)

    assert seen[0]["_id"] == OID
    assert found == [[PAYLOAD.replace(b"\x10n\x00\x01", b"\x10n\x00\x02")]]


def test_a_step_behind_one_that_asks_for_json_sees_what_json_has(near: Near) -> None:
    seen = []

    def change(document: Any) -> list[Any]:
        seen.append(document)
        return [document]

    found = delivered(near, spec("json", {}, step="json"), ScriptedSink(), change=change)

    assert seen == [{"n": 1, "_id": str(OID), "big": 5, "ratio": 2.0}]
    assert found == [[JSON]]


def test_what_a_step_made_becomes_the_encoding_that_leaves_it(near: Near) -> None:
    def change(document: Any) -> list[Any]:
        return [{"from": document["_id"]}, {"again": {"$oid": document["_id"]}}]

    connector = spec("json", {"output_encoding": "bson"}, step="bson")
    found = delivered(near, connector, ScriptedSink(), change=change)

    assert found == [[bson.encode({"from": str(OID)}), bson.encode({"again": OID})]]


def test_a_record_that_cannot_be_read_stops_the_job_before_it(near: Near) -> None:
    connector = spec("bson", {"output_encoding": "json"}, on_error="stop")
    trial = Trial(connector, Given(payloads=[PAYLOAD, PAYLOAD, b"no BSON at all", PAYLOAD]), [ScriptedSink()])

    with pytest.raises(RecordStopped, match="decode"):
        near.run(trial.run(near))

    assert trial.sinks[0].taken == [JSON, JSON]
    assert trial.owner.positions == {"a": 2}


def test_a_document_that_cannot_be_written_is_a_failure_of_writing(near: Near) -> None:
    def change(document: Any) -> list[Any]:
        return [{**document, "odd": {1}}]

    connector = spec("bson", {"output_encoding": "json"}, step="json", on_error="dead_letter")
    trial = Trial(connector, Given(payloads=[PAYLOAD]), [ScriptedSink()], middleware=ScriptedMiddleware(change))

    near.run(trial.run(near))

    assert [each.stage for each in trial.owner.letters] == ["encode"]
    assert "$.odd is a set" in trial.owner.letters[0].error_message
    assert trial.owner.letters[0].payload == PAYLOAD


def test_records_that_cannot_be_converted_are_put_aside_and_the_others_go_on(near: Near) -> None:
    payloads = [PAYLOAD, b"no BSON at all", None, PAYLOAD]
    connector = spec("bson", {"output_encoding": "json"}, on_error="dead_letter")
    trial = Trial(connector, Given(payloads=payloads), [ScriptedSink()])

    near.run(trial.run(near))

    assert trial.sinks[0].taken == [JSON, None, JSON]
    assert [each.payload for each in trial.owner.letters] == [b"no BSON at all"]
    assert trial.owner.positions == {"a": 4}
