"""What each record does to which document, and which records wait for others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.errors import InvalidBSON
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Batch, Encoding, Operation
from mstream.providers.mongodb.config import MongodbSinkOptions, WriteMode
from mstream.providers.mongodb.elements import document_of, elements
from mstream.providers.mongodb.writes import Sorted, rounds, sort, stored_form

OID = ObjectId("65a000000000000000000001")
#: A value of every type that the package writes.
EVERY_TYPE = {
    "_id": OID,
    "double": 1.5,
    "text": "ü",
    "document": {"a": [1, {"b": 2}]},
    "bytes": b"\0\xff",
    "binary": Binary(b"\0\xff", 5),
    "old binary": Binary(b"\0\xff", 2),
    "bool": True,
    "time": datetime(2024, 1, 2, tzinfo=UTC),
    "null": None,
    "regex": Regex("a.*", "i"),
    "code": Code("x"),
    "scope": Code("x", {"y": 1}),
    "int": 7,
    "stamp": Timestamp(1, 2),
    "long": Int64(7),
    "decimal": Decimal128("1.50"),
    "min": MinKey(),
    "max": MaxKey(),
    "": "no name",
    "a.b$": 1,
}


def sorted_of(
    documents: Sequence[Any], operations: Sequence[Operation] | None = None, *, keys: Any = None, **options: Any
) -> Sorted:
    payloads = [None if each is None else each if isinstance(each, bytes) else bson.encode(each) for each in documents]
    batch = Batch(payloads=payloads, encoding=Encoding.BSON, operations=operations, keys=keys)
    return sort(batch, MongodbSinkOptions.model_validate(options))


def spoken(found: Sorted) -> list[tuple[str, Any, Any]]:
    """The kind of each write, its filter and its content, decoded."""
    told = []
    for each in found.writes:
        action: Any = each.action
        where = bson.decode(action._filter.raw) if hasattr(action, "_filter") else None
        content = getattr(action, "_doc", None)
        told.append((type(action).__name__, where, None if content is None else bson.decode(bson.encode(content))))
    return told


def test_the_fields_of_a_document_are_its_bytes() -> None:
    raw = bson.encode(EVERY_TYPE)

    assert document_of([each.raw for each in elements(raw)]) == raw
    assert [each.name for each in elements(raw)] == list(EVERY_TYPE)


@given(st.binary(max_size=60))
def test_bytes_that_are_no_document_are_told(data: bytes) -> None:
    with suppress(InvalidBSON):
        assert document_of([each.raw for each in elements(data)]) == data


@given(st.integers(0, 400), st.integers(0, 255), st.sampled_from([OID, "text", 7]))
def test_a_damaged_document_ends_in_an_answer(place: int, value: int, document_id: Any) -> None:
    raw = bytearray(bson.encode({**EVERY_TYPE, "_id": document_id}))
    raw[place % len(raw)] = value

    for mode in WriteMode:
        found = sorted_of([bytes(raw)], write_mode=mode)
        assert len(found.writes) + len(found.refused) == 1


def test_an_insert_carries_the_very_same_bytes() -> None:
    raw = bson.encode(EVERY_TYPE)

    write = sorted_of([raw]).writes[0]
    assert write.action._doc.raw is raw  # type: ignore[union-attr]
    assert write.inserted is raw


def test_a_replacement_carries_the_very_same_bytes_and_the_type_of_its_id() -> None:
    raw = bson.encode({"_id": Int64(5), "a": Decimal128("1.0")})

    action: Any = sorted_of([raw], write_mode="replace").writes[0].action
    assert action._doc.raw is raw
    assert action._filter.raw == bson.encode({"_id": Int64(5)})
    assert action._upsert is True


def test_an_upsert_sets_the_fields_that_it_has() -> None:
    found = sorted_of([{"a": 1, "_id": 5, "b": {"c": 2}}, {"_id": 6}], write_mode="upsert")

    assert spoken(found) == [
        ("UpdateOne", {"_id": 5}, {"$set": {"a": 1, "b": {"c": 2}}}),
        ("UpdateOne", {"_id": 6}, {"$setOnInsert": {"_id": 6}}),
    ]


@pytest.mark.parametrize("mode", ["insert", "replace", "upsert"])
@pytest.mark.parametrize("document_id", [OID, "text", "", "ü\0x", 7, Int64(7), None, True])
def test_an_id_is_found_wherever_it_stands(document_id: Any, mode: str) -> None:
    fields = {"a": 1, "b": "x"}
    first, last = sorted_of([{"_id": document_id, **fields}, {**fields, "_id": document_id}], write_mode=mode).writes

    assert first.key == last.key
    if mode != "insert":
        assert first.action._filter.raw == last.action._filter.raw == bson.encode({"_id": document_id})  # type: ignore[union-attr]
    if mode == "upsert":
        assert first.action._doc["$set"].raw == last.action._doc["$set"].raw == bson.encode(fields)  # type: ignore[union-attr]


@pytest.mark.parametrize("document_id", [OID, "text", 7])
def test_an_upsert_leaves_values_alone_that_python_cannot_hold(document_id: Any) -> None:
    late = b"\x09late\0" + (2**60).to_bytes(8, "little")
    broken = b"\x02text\0\x02\0\0\0\xff\0"
    fields = document_of([late, broken])
    raw = document_of([bson.encode({"_id": document_id})[4:-1], late, broken])

    (write,) = sorted_of([raw], write_mode="upsert").writes

    assert write.action._doc["$set"].raw == fields  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["a.b", "$a", ""])
def test_an_upsert_refuses_a_name_that_would_be_a_path(name: str) -> None:
    found = sorted_of([{"_id": 1, name: 2}], write_mode="upsert")

    assert "replace" in found.refused[0]


def test_other_key_fields_find_the_document_and_leave_it_its_id() -> None:
    found = sorted_of([{"_id": 9, "k": 1, "in": {"k": 2}}], write_mode="replace", key_fields=["k", "in.k"])

    assert spoken(found) == [("ReplaceOne", {"k": 1, "in.k": 2}, {"k": 1, "in": {"k": 2}})]


@pytest.mark.parametrize("value", [[1], Regex("x"), {"$gt": 1}])
def test_what_finds_other_documents_is_no_key(value: Any) -> None:
    for mode in ("replace", "upsert"):
        assert sorted_of([{"_id": value}], write_mode=mode).refused


@pytest.mark.parametrize("document", [{"a": 1}, {"k": None}, {"k": {"x": 1}, "_id": 1}])
def test_a_record_without_its_key_is_refused(document: Any) -> None:
    keys = ["k.y"] if isinstance(document.get("k"), dict) else ["k"]

    assert "k" in sorted_of([document], write_mode="replace", key_fields=keys).refused[0]


def test_an_insert_needs_no_id() -> None:
    assert spoken(sorted_of([{"a": 1}])) == [("InsertOne", None, {"a": 1})]


def test_a_delete_removes_by_the_key_in_its_content_or_by_the_records_key() -> None:
    keys = [None, bson.encode({"_id": OID}), b'{"_id": 7}', b'"text"', b'{"_id": {"$oid": "65a000000000000000000001"}}']
    operations = [Operation.DELETE, *[Operation.DELETE] * 4]
    found = sorted_of([{"_id": 1, "a": 2}, None, None, None, None], operations, keys=keys)

    assert spoken(found) == [("DeleteOne", {"_id": each}, None) for each in (1, OID, 7, "text", OID)]


@pytest.mark.parametrize("key", [None, b"plain", b"[1", bson.encode({"other": 1})])
def test_a_delete_without_a_key_is_refused(key: bytes | None) -> None:
    assert 0 in sorted_of([None], keys=[key]).refused


def test_deletes_can_be_left_out() -> None:
    assert sorted_of([{"_id": 1}, None], [Operation.DELETE, Operation.INSERT], on_delete="ignore") == Sorted()


def test_a_document_beyond_the_limit_is_refused() -> None:
    assert "smaller" in sorted_of([{"_id": 1, "a": "x" * (16 << 20)}]).refused[0]


@pytest.mark.parametrize(
    "ids",
    [(1, Int64(1)), (1, 1.0), (1, Decimal128("1.0")), (0.0, -0.0), ({"a": 1}, {"a": 1.0}), (OID, OID), ("x", "x")],
)
def test_writes_that_may_touch_one_document_wait_for_each_other(ids: tuple[Any, Any]) -> None:
    for mode in ("insert", "replace", "upsert"):
        operations = [Operation.INSERT, Operation.INSERT, Operation.DELETE]
        found = sorted_of([{"_id": ids[0]}, {"_id": ids[1]}, {"_id": ids[0]}], operations, write_mode=mode)
        first, later = rounds(found.writes)
        assert ([each.index for each in first], [each.index for each in later]) == ([0], [1, 2])


def test_writes_of_different_documents_need_no_order() -> None:
    ids: list[Any] = [1, "1", b"1", True, OID, {"a": 1}, 2.5, None, Binary(b"1", 5)]
    first, later = rounds(sorted_of([{"_id": each} for each in ids], write_mode="replace").writes)

    assert len(first) == len(ids)
    assert later == []


def test_the_server_keeps_the_id_in_front() -> None:
    assert list(bson.decode(stored_form(_unsorted()))) == ["_id", "a", "b"]


def _unsorted() -> bytes:
    return document_of([each.raw for each in reversed(list(elements(bson.encode({"_id": 2, "b": 3, "a": 1}))))])


def event(kind: str, **parts: Any) -> dict[str, Any]:
    return {"_id": {"_data": "token"}, "operationType": kind, "documentKey": {"_id": 5}, **parts}


@pytest.mark.parametrize(
    ("record", "write"),
    [
        (event("insert", fullDocument={"_id": 5, "a": 1}), ("ReplaceOne", {"_id": 5}, {"_id": 5, "a": 1})),
        (event("delete"), ("DeleteOne", {"_id": 5}, None)),
        (
            event("update", updateDescription={"updatedFields": {"a.b": 1, "c.0": 2}, "removedFields": ["d"]}),
            ("UpdateOne", {"_id": 5}, {"$set": {"a.b": 1, "c.0": 2}, "$unset": {"d": ""}}),
        ),
        (
            event("update", updateDescription={"truncatedArrays": [{"field": "a", "newSize": 2}]}),
            ("UpdateOne", {"_id": 5}, {"$push": {"a": {"$each": [], "$slice": 2}}}),
        ),
        (
            event(
                "update",
                fullDocument={"_id": 5, "a": [9]},
                updateDescription={"updatedFields": {"a.0": 9}, "truncatedArrays": [{"field": "a", "newSize": 1}]},
            ),
            ("ReplaceOne", {"_id": 5}, {"_id": 5, "a": [9]}),
        ),
        (
            event(
                "update",
                fullDocument={"_id": 5, "a.b": 1},
                updateDescription={"updatedFields": {"a.b": 1}, "disambiguatedPaths": {"a.b": ["a.b"]}},
            ),
            ("ReplaceOne", {"_id": 5}, {"_id": 5, "a.b": 1}),
        ),
        (event("update", updateDescription={}), ("UpdateOne", {"_id": 5}, {"$setOnInsert": {"_id": 5}})),
    ],
)
def test_merge_applies_what_a_change_event_describes(record: Any, write: Any) -> None:
    assert spoken(sorted_of([record], write_mode="merge")) == [write]


@pytest.mark.parametrize(
    "record",
    [
        {"_id": 1, "a": 2},
        event("update"),
        event("update", updateDescription={"updatedFields": {"a..b": 1}}),
        event("update", updateDescription={"updatedFields": {"$a": 1}}),
        {"operationType": "delete"},
        {"_id": {"_data": "token"}, "operationType": "drop", "ns": {"db": "d", "coll": "c"}},
    ],
)
def test_merge_refuses_what_it_cannot_apply(record: Any) -> None:
    assert list(sorted_of([record], write_mode="merge").refused) == [0]
