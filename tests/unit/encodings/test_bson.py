"""BSON to documents and back: what nobody has changed is the same, byte for byte."""

import datetime as dt
import decimal
import pickle
import sys
import uuid
from typing import Any

import bson
import pytest
from bson import DBRef, Decimal128, Int64, ObjectId
from bson.datetime_ms import DatetimeMS

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import codec_for, conversion_between
from mstream.encodings.bson_values import DbPointer, OddRegex, Symbol, Undefined
from mstream.errors import DecodeError, EncodeError, ProviderUnavailable
from tests.unit.encodings.bson_examples import BROKEN, NAMES, OID, TYPES, framed, nested, string

CODEC = codec_for(Encoding.BSON)
BOTH = (Encoding.BSON, Encoding.JSON)
SECRET = "s3cr3t-c0ntent"
FINE = bson.encode({"fine": 1})


def decoded(payload: bytes) -> Any:
    documents, failures = CODEC.decode([payload])
    assert not failures
    return documents[0]


def encoded(document: Any) -> bytes | None:
    payloads, failures = CODEC.encode([document])
    assert not failures
    return payloads[0]


def refusal(document: Any) -> str:
    payloads, failures = CODEC.encode([{"fine": 1}, document, {"fine": 1}])
    assert payloads == [FINE, None, FINE]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, EncodeError)
    assert failures[0].error.__cause__ is None
    return str(failures[0].error)


@pytest.mark.parametrize("name", TYPES)
def test_every_type_leaves_as_it_came(name: str) -> None:
    assert encoded(decoded(TYPES[name])) == TYPES[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_leaves_as_it_came(name: str) -> None:
    assert encoded(decoded(NAMES[name])) == NAMES[name]


def test_changing_one_field_changes_no_other() -> None:
    """All types beside each other, nested and in arrays."""
    parts = {name: decoded(payload)["v"] for name, payload in TYPES.items()}
    payload = encoded({"n": 1, "all": parts, "list": list(parts.values())})
    assert payload is not None

    document = decoded(payload)
    document["n"] = 2

    assert encoded(document) == payload.replace(b"\x10n\x00\x01", b"\x10n\x00\x02", 1)


def test_a_batch_with_all_of_them_in_it_is_what_each_is_alone() -> None:
    payloads: list[bytes | None] = [FINE, None, *TYPES.values(), *NAMES.values()]

    documents, failures = CODEC.decode(payloads)

    assert not failures
    assert documents[:2] == [{"fine": 1}, None]
    assert CODEC.encode(documents) == (payloads, [])


def decoded_and_encoded(payload: bytes) -> bytes:
    """The twin: what is near at hand."""
    return bson.encode(bson.decode(payload))


def test_these_types_tell_such_a_codec_from_what_lies_near() -> None:
    changed = set()
    for name, payload in (TYPES | NAMES).items():
        try:
            if decoded_and_encoded(payload) != payload:
                changed.add(name)
        except bson.errors.BSONError:
            changed.add(name)

    assert {
        "undefined",
        "symbol",
        "dbpointer",
        "regex with odd options",
        "dbref out of order",
        "_id is not first",
    } <= changed
    assert {"earliest datetime", "regex with options out of order", "undefined in an array in a scope"} <= changed


def test_types_are_told_apart_in_a_document() -> None:
    values = {name: decoded(payload)["v"] for name, payload in TYPES.items()}

    assert values["undefined"] == Undefined()
    assert values["symbol"] == Symbol("s")
    assert values["dbpointer"] == DbPointer("db.c", OID)
    assert values["regex with odd options"] == OddRegex("a", "gi")
    assert type(values["small int64"]) is Int64
    assert type(values["int32"]) is int
    assert values["datetime"] == dt.datetime(2023, 11, 14, 22, 13, 20, 123_000, tzinfo=dt.UTC)
    assert isinstance(values["latest datetime"], DatetimeMS)
    assert values["dbref"] == {"$ref": "c", "$id": OID, "$db": "d", "x": 1}
    assert pickle.loads(pickle.dumps(values["dbpointer"])) == values["dbpointer"]


def test_of_a_field_that_comes_twice_the_last_one_counts() -> None:
    assert decoded(framed(b"\x10a\x00\x01\x00\x00\x00\x0ab\x00\x10a\x00\x02\x00\x00\x00")) == {"a": 2, "b": None}


def test_elements_of_an_array_are_numbered_anew() -> None:
    payload = framed(b"\x04v\x00" + framed(b"\x10\xff\x00\x01\x00\x00\x00\x0a\x00"))

    assert decoded(payload) == {"v": [1, None]}
    assert encoded(decoded(payload)) == bson.encode({"v": [1, None]})


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_bson_is_refused_at_its_place_and_nothing_else_is(name: str) -> None:
    payload, place = BROKEN[name]

    documents, failures = CODEC.decode([FINE, payload, FINE])

    assert documents == [{"fine": 1}, None, {"fine": 1}]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, DecodeError)
    assert str(failures[0].error).endswith(f"at byte {place} of {len(payload)}")
    assert failures[0].error.__cause__ is None


@pytest.mark.parametrize("name", TYPES)
def test_a_document_that_is_cut_off_is_refused_wherever_that_is(name: str) -> None:
    payload = TYPES[name]

    documents, failures = CODEC.decode([payload[:end] for end in range(len(payload))])

    assert len(failures) == len(documents) == len(payload)


def test_halves_of_a_document_are_not_put_together() -> None:
    one, other = bson.encode({"a": 1}), bson.encode({"b": 2})

    _, failures = CODEC.decode([one + other[:5], other[5:]])

    assert [each.index for each in failures] == [0, 1]


def test_what_is_refused_is_not_shown() -> None:
    payload = framed(b"\x02%s\x00" % SECRET.encode() + string(SECRET.encode() + b"\xff"))

    _, failures = CODEC.decode([payload])

    assert SECRET not in str(failures[0].error)


@pytest.mark.parametrize("kind", [b"\x03", b"\x04"])
def test_documents_nest_as_deeply_as_a_server_allows_and_deeper(kind: bytes) -> None:
    for levels in (100, 200):
        assert encoded(decoded(nested(levels, kind))) == nested(levels, kind)


@pytest.mark.parametrize("levels", [3_000, 100_000])
@pytest.mark.parametrize("kind", [b"\x03", b"\x04"])
def test_documents_nested_too_deeply_are_refused(levels: int, kind: bytes) -> None:
    documents, failures = CODEC.decode([FINE, nested(levels, kind)])

    assert documents == [{"fine": 1}, None]
    assert "nested too deeply" in str(failures[0].error)


def test_a_tombstone_stays_one() -> None:
    assert CODEC.decode([FINE, None]) == ([{"fine": 1}, None], [])
    assert CODEC.encode([{"fine": 1}, None]) == ([FINE, None], [])


def test_without_its_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bson", None)

    for used in (lambda: codec_for(Encoding.BSON), lambda: conversion_between(*BOTH, JsonMode.FLAT)):
        with pytest.raises(ProviderUnavailable, match=r"'bson' needs .* pip install 'mstream\[mongodb\]'"):
            used()
    assert codec_for(Encoding.JSON).encode([{}]) == ([b"{}"], ())


def test_nothing_gives_nothing() -> None:
    assert CODEC.decode([])[0] == []
    assert CODEC.encode([])[0] == []


@pytest.mark.parametrize("document", [[], [{"a": 1}], "text", 1, True, OID])
def test_what_is_no_object_is_refused(document: Any) -> None:
    assert "is an object" in refusal(document)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (decimal.Decimal("1.5"), "is a Decimal"),
        (dt.date(2026, 1, 1), "is a date"),
        (object(), "is a object"),
        ({1}, "is a set"),
        (1 << 63, "beyond 64 bits"),
        (-(1 << 63) - 1, "beyond 64 bits"),
        ("\ud800", "surrogate"),
        (Symbol("\ud800"), "surrogate"),
    ],
)
def test_what_bson_does_not_have_is_refused_by_its_place(value: Any, reason: str) -> None:
    text = refusal({"a": [{"b": 1}, {"b": value}]})

    assert text.startswith("$.a[1].b ")
    assert reason in text


@pytest.mark.parametrize(("name", "reason"), [(1, "name is a int"), ("a\x00b", "NUL"), ("\ud800", "surrogate")])
def test_names_that_bson_does_not_have_are_refused_by_their_place(name: Any, reason: str) -> None:
    text = refusal({"a": {name: 1}})

    assert text.startswith("$.a: ")
    assert reason in text


def test_a_document_that_contains_itself_is_refused() -> None:
    document: dict[str, Any] = {}
    document["self"] = document

    assert "contains itself" in refusal(document)


def test_the_path_in_an_error_is_bounded() -> None:
    assert len(refusal({"x" * 10_000: {1}})) < 400


def test_what_a_script_makes_becomes_the_nearest_type() -> None:
    one = uuid.UUID(int=1)
    document = {
        "uuid": one,
        "naive": dt.datetime(2026, 1, 1),  # noqa: DTZ001 - that is the case
        "zone": dt.datetime(2026, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        "micros": dt.datetime(2026, 1, 1, microsecond=1999, tzinfo=dt.UTC),
        "tuple": (1, 2),
        "small": 5,
        "large": 1 << 40,
        "dbref": DBRef("c", OID),
        "decimal": Decimal128("1"),
    }

    again = decoded(encoded(document) or b"")

    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert again == {
        "uuid": bson.Binary(one.bytes, 4),
        "naive": start,
        "zone": start,
        "micros": start + dt.timedelta(milliseconds=1),
        "tuple": [1, 2],
        "small": 5,
        "large": 1 << 40,
        "dbref": {"$ref": "c", "$id": OID},
        "decimal": Decimal128("1"),
    }
    assert type(again["large"]) is Int64


def test_the_documents_are_not_changed_by_encoding() -> None:
    document = {"b": 1, "_id": ObjectId(), "u": Undefined(), "d": {"_id": 1}}
    before = repr(document)

    encoded(document)

    assert repr(document) == before


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_largest_documents_pass_in_one_batch() -> None:
    """16 MiB, the limit of MongoDB's server, as one value and as many."""
    whole = bson.encode({"data": b"\xff" * ((16 << 20) - 20), "n": None})
    small = bson.encode({"n": [{"a": float(each), "b": f"text {each}"} for each in range(350_000)]})
    odd = framed(b"\x06u\x00\x05v\x00" + (1 << 24).to_bytes(4, "little") + b"\x00" + b"\x01" * (1 << 24))
    payloads: list[bytes | None] = [FINE, whole, small, odd, FINE]
    assert len(small) > 14 << 20

    documents, failures = CODEC.decode(payloads)

    assert not failures
    assert CODEC.encode(documents) == (payloads, [])
