"""Positions come back from JSON as they were, with the same bytes of every `_id`."""

from __future__ import annotations

import json
import uuid
from typing import Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from mstream.providers.mongodb.places import Place, Range, Snapshot, key_of, stand_of, text_of, value_of

TOKEN = bson.encode({"_data": "8265", "_typeBits": Binary(b"\x01")})
VALUES: list[Any] = [
    *(None, True, 5, Int64(5), 5.0, -0.0, float("nan"), float("inf"), Decimal128("5.00"), "5", "", "\u0000\U0001f600"),
    *(b"", b"5", Binary(b"x", 5), Binary.from_uuid(uuid.UUID(int=7)), ObjectId(b"0" * 12), Timestamp(1, 2)),
    *(DatetimeMS(0), DatetimeMS(-1), DatetimeMS(2**62), MinKey(), MaxKey(), Code("f"), Code("f", {"x": 1})),
    *({"b": 1, "a": Int64(2)}, {"": {}}, {"$numberInt": "5"}, {"$oid": "0" * 24}, {"$ref": "c", "$id": 1}),
    {"$date": {"$numberLong": "1"}},
]
IDS = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5)),
        *(st.binary(max_size=5), st.integers(-(2**63), 2**63 - 1).map(Int64)),
    ),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "$numberLong", "$binary", "$uuid", "_id"]), inner),
    max_leaves=4,
)


def check_same(value: Any) -> None:
    key = bson.encode({"_id": value})
    text = json.loads(json.dumps(text_of(key)))
    assert key_of(text) == key
    assert bson.encode({"_id": value_of(text)}) == key


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_an_id_comes_back_with_its_bytes(value: Any) -> None:
    check_same(value)


@given(IDS)
def test_any_id_comes_back_with_its_bytes(value: Any) -> None:
    check_same(value)


def test_an_id_can_be_read_by_people() -> None:
    assert text_of(bson.encode({"_id": "order-5"})) == '{"_id": "order-5"}'


@pytest.mark.parametrize(
    "stand",
    [
        Place(TOKEN),
        Place(time=Timestamp(3, 4)),
        Snapshot(start=Place(TOKEN), collections=("d.a", "d.b"), read=3, about=9),
        Snapshot(
            start=Place(time=Timestamp(3, 4)),
            ranges=(
                Range(collection="d.c", until=text_of(bson.encode({"_id": 5}))),
                Range(collection="d.c", after=text_of(bson.encode({"_id": 6}))),
            ),
            lost=(Place(TOKEN), Place(time=Timestamp(1, 1))),
        ),
        Snapshot(start=Place(TOKEN), lost=(Place(TOKEN),)),
    ],
)
def test_a_position_comes_back_as_it_was(stand: Place | Snapshot) -> None:
    position = stand.position() if isinstance(stand, Snapshot) else Snapshot(start=stand).position()

    assert stand_of(json.loads(json.dumps(position))) == stand


@pytest.mark.parametrize(
    "position",
    [
        *(None, 5, "8265", [], {}, {"_data": ""}, {"next_offset": 1}, {"time": 5}, {"time": {"t": -1, "i": 0}}),
        *({"snapshot": {}}, {"snapshot": {"stream": {}}}, {"snapshot": 5}, {"_data": {"$oid": "no"}}),
        {"snapshot": {"stream": {"_data": "8265"}, "ranges": [{"collection": "d.c", "after": "{"}]}},
        {"snapshot": {"stream": {"_data": "8265"}, "ranges": [{"collection": "d.c", "after": "bson:%"}]}},
        {"snapshot": {"stream": {"_data": "8265"}, "ranges": [{"collection": "d.c", "after": "{}"}]}},
        {"snapshot": {"stream": {"_data": "8265"}, "ranges": [5]}},
        {"snapshot": {"stream": {"_data": "8265"}, "ranges": [{"collection": "d.c", "after": 5}]}},
        {"snapshot": {"stream": {"_data": "8265"}, "read": "many"}},
    ],
)
def test_what_is_no_position_is_told(position: Any) -> None:
    with pytest.raises(ValueError, match="no position"):
        stand_of(position)
