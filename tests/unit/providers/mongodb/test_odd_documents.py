"""The largest documents, the deepest, and those with the oddest names, on every way out of a collection."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import bson
import pytest
from bson import Int64
from bson.raw_bson import RawBSONDocument
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Batch, Encoding, JsonMode
from mstream.encodings import codec_for, conversion_between
from mstream.providers.mongodb.config import MongodbSinkOptions
from mstream.providers.mongodb.events import events_of
from mstream.providers.mongodb.keys import LIMIT
from mstream.providers.mongodb.writes import sort
from tests.servers.replica import replica
from tests.unit.providers.mongodb.test_sink import sink_on
from tests.unit.providers.mongodb.test_source import START, played, read, source_on

#: Deeper than the server stores documents.
DEPTH = 200
ODD_NAMES = ["", ".", "a.b", "a.", "$", "$set", "$a.b", "_id.x", " ", "\x01", "\x7f", "__proto__", "ключ", "\U0001f600"]


def nested(depth: int, *, in_lists: bool = False) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value] if in_lists else {"": value}
    return value


def of_size(size: int) -> bytes:
    """A document of so many bytes."""
    empty = len(bson.encode({"_id": 1, "filling": ""}))
    return bson.encode({"_id": 1, "filling": "x" * (size - empty)})


DOCUMENTS = {
    "names": bson.encode({"_id": 1, **{name: {name: [{name: None}]} for name in ODD_NAMES}}),
    "deep": bson.encode({"_id": 1, "a": nested(DEPTH)}),
    "deep lists": bson.encode({"_id": 1, "a": nested(DEPTH, in_lists=True)}),
    "largest": of_size(LIMIT),
}

odd = pytest.mark.parametrize("raw", DOCUMENTS.values(), ids=DOCUMENTS.keys())


@asynccontextmanager
async def passed_on(raw: bytes, *, envelope: bool = False, **options: Any) -> AsyncIterator[tuple[Batch, Any, Any]]:
    """A document out of a change stream into a collection: the records, what was refused, and what the server got."""
    async with played() as (member, replay), replica() as target:
        replay.happen("insert", documentKey={"_id": 1}, fullDocument=RawBSONDocument(raw))
        async with source_on(member, START, envelope=envelope) as source, sink_on(target, **options) as sink:
            batch = await read(source)
            failures = await sink.write(batch)
        yield batch, failures, [each for each in target.asked if "insert" in each or "update" in each]


@odd
async def test_a_document_is_inserted_byte_for_byte(raw: bytes) -> None:
    async with passed_on(raw) as (batch, failures, asked):
        assert batch.payloads == [raw]
        assert failures == []
        assert bson.encode(asked[0]["documents"][0]) == raw


@odd
async def test_a_document_is_replaced_byte_for_byte(raw: bytes) -> None:
    async with passed_on(raw, write_mode="replace") as (_, failures, asked):
        assert failures == []
        assert bson.encode(asked[0]["updates"][0]["u"]) == raw


@pytest.mark.parametrize("name", ["deep", "deep lists", "largest"])
async def test_a_document_is_upserted_by_its_fields(name: str) -> None:
    async with passed_on(DOCUMENTS[name], write_mode="upsert") as (_, failures, asked):
        assert failures == []
        assert {"_id": 1, **asked[0]["updates"][0]["u"]["$set"]} == bson.decode(DOCUMENTS[name])


@odd
async def test_a_change_event_is_merged(raw: bytes) -> None:
    async with passed_on(raw, envelope=True, write_mode="merge") as (batch, failures, asked):
        assert raw in (batch.payloads or [b""])[0]  # type: ignore[operator]  # it is no tombstone
        assert failures == []
        assert bson.encode(asked[0]["updates"][0]["u"]) == raw


@pytest.mark.parametrize("mode", ["insert", "replace", "upsert"])
async def test_what_is_larger_than_the_server_takes_is_refused_alone(mode: str) -> None:
    async with replica() as member, sink_on(member, write_mode=mode) as sink:
        payloads = [of_size(LIMIT + 1), bson.encode({"_id": 2})]
        failures = await sink.write(Batch(payloads=payloads, encoding=Encoding.BSON))

        assert [each.index for each in failures] == [0]
        assert "16,777,217 bytes" in str(failures[0].error)
        assert len(member.asked) == 1


async def test_a_merged_document_that_is_too_large_is_refused_alone() -> None:
    async with passed_on(of_size(LIMIT + 1), envelope=True, write_mode="merge") as (_, failures, asked):
        assert "16,777,217 bytes" in str(failures[0].error)
        assert asked == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_upsert_refuses_names_that_would_be_paths_or_operators(name: str) -> None:
    payload = bson.encode({"_id": 1, name: 1})
    found = sort(
        Batch(payloads=[payload], encoding=Encoding.BSON), MongodbSinkOptions.model_validate({"write_mode": "upsert"})
    )

    is_plain = name != "" and not name.startswith("$") and "." not in name
    assert (found.refused == {}) is is_plain
    assert is_plain or repr(name) in found.refused[0]


@pytest.mark.parametrize("mode", ["insert", "replace", "upsert"])
def test_a_key_that_is_nested_too_deeply_is_refused_alone(mode: str) -> None:
    key = bson.encode({})
    for _ in range(3000):
        key = bson.encode({"_id": RawBSONDocument(key)})
    found = sort(
        Batch(payloads=[key, bson.encode({"_id": 1})], encoding=Encoding.BSON),
        MongodbSinkOptions.model_validate({"write_mode": mode}),
    )

    assert [each.index for each in found.writes] == [1]
    assert "nested too deeply" in found.refused[0]


@odd
@pytest.mark.parametrize("mode", [JsonMode.FLAT, JsonMode.CANONICAL])
def test_a_document_becomes_one_line_of_json_and_bson_again(raw: bytes, mode: JsonMode) -> None:
    there, back = (
        conversion_between(Encoding.BSON, Encoding.JSON, mode),
        conversion_between(Encoding.JSON, Encoding.BSON, mode),
    )
    assert there is not None
    assert back is not None
    lines, failures = there.of_payloads([raw])
    again, refusals = back.of_payloads(lines)

    assert (list(failures), list(refusals)) == ([], [])
    assert b"\n" not in (lines[0] or b"\n")
    if mode is JsonMode.FLAT:
        assert json.loads(lines[0] or b"") == bson.decode(raw)
    assert again == [raw]


@pytest.mark.parametrize("depth", [1000, 10_000, 100_000])
@pytest.mark.parametrize("mode", list(JsonMode))
def test_what_is_nested_too_deeply_for_json_is_refused_with_the_reason(depth: int, mode: JsonMode) -> None:
    payload = bson.encode({"v": 1})
    prefix = len(payload)
    payload = (
        b"".join((prefix + 8 * (depth - each)).to_bytes(4, "little") + b"\x03d\0" for each in range(depth))
        + payload
        + b"\0" * depth
    )
    conversion = conversion_between(Encoding.BSON, Encoding.JSON, mode)
    assert conversion is not None

    _, failures = conversion.of_payloads([payload, bson.encode({"_id": 1})])
    _, undecoded = codec_for(Encoding.BSON).decode([payload])

    assert [each.index for each in failures] == [0]
    assert "nested too deeply" in str(failures[0].error)
    assert all("nested too deeply" in str(each.error) for each in undecoded)


@pytest.mark.parametrize("depth", [1000, 100_000])
def test_json_that_is_nested_too_deeply_for_bson_is_refused_with_the_reason(depth: int) -> None:
    conversion = conversion_between(Encoding.JSON, Encoding.BSON, JsonMode.FLAT)
    assert conversion is not None

    _, failures = conversion.of_payloads([b'{"a":' * depth + b"1" + b"}" * depth, b'{"a":1}'])

    assert [each.index for each in failures] == [0]
    assert "nested too deeply" in str(failures[0].error)


NAMES = st.one_of(
    st.sampled_from(ODD_NAMES), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1).map(Int64), st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=10,
)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from(["insert", "replace", "merge"]))
def test_any_document_of_an_event_is_written_as_it_is(fields: Mapping[str, Any], mode: str) -> None:
    document = bson.encode({"_id": 1, **{name: each for name, each in fields.items() if name != "_id"}})
    event = bson.encode(
        {
            "_id": {"_data": "1"},
            "operationType": "insert",
            "ns": {"db": "d", "coll": "c"},
            "documentKey": {"_id": 1},
            "fullDocument": RawBSONDocument(document),
        }
    )
    events = events_of([event], envelope=mode == "merge")
    found = sort(
        Batch(payloads=events.payloads, encoding=Encoding.BSON), MongodbSinkOptions.model_validate({"write_mode": mode})
    )

    (write,) = found.writes
    assert bytes(write.action._doc.raw) == document  # type: ignore[union-attr]
    assert events.keys == [bson.encode({"_id": 1})]
