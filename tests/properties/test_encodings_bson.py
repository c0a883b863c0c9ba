"""Whatever BSON comes in leaves as it came; in JSON it says what it said, however it got there."""

import math
import struct
from typing import Any

import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import codec_for, conversion_between
from mstream.encodings.bson_exact import read, write
from mstream.encodings.bson_values import DbPointer, OddRegex, Symbol, Undefined
from mstream.encodings.conversions import _spelled
from mstream.encodings.flat import flat
from mstream.errors import DecodeError
from mstream.ports.encoding import Conversion


def conversion(source: Encoding, target: Encoding, mode: JsonMode) -> Conversion:
    found = conversion_between(source, target, mode)
    assert found is not None
    return found


CODEC = codec_for(Encoding.BSON)
FLAT = conversion(Encoding.BSON, Encoding.JSON, JsonMode.FLAT)
CANONICAL = conversion(Encoding.BSON, Encoding.JSON, JsonMode.CANONICAL)
BACK = conversion(Encoding.JSON, Encoding.BSON, JsonMode.CANONICAL)

UTF8 = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(UTF8, max_size=12)
CSTRINGS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
#: None of them is a marker: in extended JSON a field of that name cannot be told from one.
NAMES = st.one_of(st.sampled_from(["_id", "a", "", "a.b", "$set", "v"]), CSTRINGS.filter(lambda name: name[:1] != "$"))
OIDS = st.binary(min_size=12, max_size=12).map(ObjectId)
INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
UINT32 = st.integers(0, (1 << 32) - 1)
DOUBLES = st.one_of(st.floats(allow_nan=False), st.just(math.nan))
DECIMALS = st.builds("{}E{}".format, st.integers(-(10**34) + 1, 10**34 - 1), st.integers(-6176, 6111)).map(Decimal128)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    TEXTS,
    st.sampled_from(["null", "1e+5", "x\x00", "NaN"]),
    st.integers(-(1 << 31), (1 << 31) - 1),
    INT64.map(Int64),
    DOUBLES,
    INT64.map(DatetimeMS),
    st.integers(-(10**13), 10**13).map(DatetimeMS),
    OIDS,
    st.binary(max_size=8),
    st.builds(Binary, st.binary(min_size=16, max_size=16), st.sampled_from([2, 3, 4, 5, 9, 0x80, 0xFF])),
    st.builds(Timestamp, UINT32, UINT32),
    DECIMALS,
    st.sampled_from([MinKey(), MaxKey(), Decimal128("NaN"), Decimal128("-Infinity")]),
)
RARE = st.one_of(
    st.just(Undefined()),
    st.builds(Symbol, TEXTS),
    st.builds(DbPointer, TEXTS, OIDS),
    st.builds(Regex, CSTRINGS, st.sampled_from(["", "i", "imsx", "lu"])),
    st.builds(OddRegex, CSTRINGS, st.sampled_from(["g", "gi"])),
    st.builds(Code, TEXTS, st.one_of(st.none(), st.dictionaries(NAMES, PLAIN, max_size=2))),
)
REFERENCES = st.fixed_dictionaries({"$ref": TEXTS, "$id": OIDS}, optional={"$db": TEXTS, "x": PLAIN})


def documents_of(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
        max_leaves=8,
    )
    return st.dictionaries(NAMES, values, max_size=5)


ORDINARY = documents_of(PLAIN)
ANY = documents_of(st.one_of(PLAIN, RARE, REFERENCES))
PAYLOADS = st.one_of(ORDINARY, ANY).map(write)


@given(st.lists(PAYLOADS, max_size=4))
def test_documents_that_nobody_changed_leave_as_they_came(payloads: list[bytes | None]) -> None:
    documents, refused = CODEC.decode(payloads)

    assert not refused
    assert CODEC.encode(documents)[0] == payloads


@given(PAYLOADS)
def test_the_exact_way_is_the_way_of_the_package_where_that_is_exact(payload: bytes) -> None:
    document = read(payload)

    assert write(document) == payload
    assert write(CODEC.decode([payload])[0][0]) == payload


@given(ORDINARY)
def test_the_package_writes_the_same(document: dict[str, Any]) -> None:
    assert write(document) == bson.encode({"": document})[6:-1]


@given(st.lists(st.one_of(PAYLOADS, st.none()), max_size=4))
def test_flat_json_is_the_same_whichever_way_a_record_took(payloads: list[bytes | None]) -> None:
    written, refused = FLAT.of_payloads(payloads)

    assert not refused
    assert list(written) == [None if each is None else _spelled(read(each), flat) for each in payloads]
    documents, _ = CODEC.decode(payloads)
    assert FLAT.of_documents(documents)[0] == written


@given(st.lists(PAYLOADS, max_size=3))
def test_canonical_json_comes_back_byte_for_byte(payloads: list[bytes | None]) -> None:
    written, refused = CANONICAL.of_payloads(payloads)
    back, unread = BACK.of_payloads(written)

    assert not refused
    assert not unread
    assert back == payloads


def _damaged(payload: bytes, place: int, value: int, cut: int) -> bytes:
    at = place % len(payload)
    return (payload[:at] + bytes([value]) + payload[at + 1 :])[: cut % (2 * len(payload)) or None]


DAMAGED = st.builds(_damaged, PAYLOADS, st.integers(0, 500), st.integers(0, 255), st.integers(0, 1000))


@given(st.lists(st.one_of(DAMAGED, st.binary(max_size=20), PAYLOADS), min_size=1, max_size=5))
def test_any_bytes_are_a_document_or_a_failure_at_their_place(payloads: list[bytes | None]) -> None:
    expected = {index for index, each in enumerate(payloads) if not _is_bson(each or b"")}

    documents, refused = CODEC.decode(payloads)
    written, unwritten = FLAT.of_payloads(payloads)

    assert {each.index for each in refused} == {each.index for each in unwritten} == expected
    assert all(isinstance(each.error, DecodeError) for each in (*refused, *unwritten))
    assert len(documents) == len(written) == len(payloads)


def _is_bson(payload: bytes) -> bool:
    """By the package; it has names for what it does not tell apart, and none for what it does not read."""
    try:
        bson.decode(payload, bson.CodecOptions(datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_MS))
    except (bson.errors.BSONError, struct.error, ValueError):
        return False
    return True
