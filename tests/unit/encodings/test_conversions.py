"""Between BSON and JSON: what each type becomes in each mode, and what comes back."""

import datetime as dt
import json
import uuid
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, json_util

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import codec_for, conversion_between
from mstream.errors import DecodeError, EncodeError
from mstream.ports.encoding import Conversion
from tests.unit.encodings.bson_examples import BROKEN, NAMES, OID, TYPES, framed, nested, string

FINE = bson.encode({"fine": 1})


def conversion(source: Encoding, target: Encoding, mode: JsonMode) -> Conversion:
    found = conversion_between(source, target, mode)
    assert found is not None
    return found


TO_JSON = {mode: conversion(Encoding.BSON, Encoding.JSON, mode) for mode in JsonMode}
TO_BSON = {mode: conversion(Encoding.JSON, Encoding.BSON, mode) for mode in JsonMode}


def spelled(payload: bytes, mode: JsonMode = JsonMode.FLAT) -> str:
    payloads, failures = TO_JSON[mode].of_payloads([payload])
    assert not failures
    documents, _ = codec_for(Encoding.BSON).decode([payload])
    assert TO_JSON[mode].of_documents(documents) == (payloads, failures)
    return (payloads[0] or b"").decode()


def value(name: str, mode: JsonMode) -> Any:
    return json.loads(spelled(TYPES[name], mode))["v"]


def made(text: str, mode: JsonMode = JsonMode.FLAT) -> Any:
    """The field `v` of the BSON that JSON becomes, as its package reads it."""
    payloads, failures = TO_BSON[mode].of_payloads([text.encode()])
    assert not failures
    return bson.decode(payloads[0] or b"", bson.CodecOptions(tz_aware=True))["v"]


def refusal(text: str, mode: JsonMode = JsonMode.FLAT) -> str:
    payloads, failures = TO_BSON[mode].of_payloads([b'{"fine":1}', text.encode(), b'{"fine":1}'])
    assert payloads == [FINE, None, FINE]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, EncodeError)
    return str(failures[0].error)


def test_encodings_that_share_their_documents_need_no_conversion() -> None:
    pairs = [(Encoding.JSON, Encoding.TEXT), (Encoding.TEXT, Encoding.BSON), (Encoding.BSON, Encoding.BSON)]

    assert [conversion_between(*each, JsonMode.FLAT) for each in pairs] == [None, None, None]


#: Beyond what v0.47 was measured with.
FLAT = {
    "datetime, ten milliseconds": "2023-11-14T22:13:20.12Z",
    "datetime in the year 0": "0000-01-01T00:00:00Z",
    "datetime before the year 0": "-62167219200001",
    "earliest datetime": "-9223372036854775808",
    "old binary": "YWJj",
    "empty string": "",
    "NaN with a payload": "NaN",
    "regex with odd options": {"pattern": "a", "options": "gi"},
    "dbpointer": {"namespace": "db.c", "id": str(OID)},
    "dbref out of order": {"x": 1, "$id": str(OID), "$ref": "c"},
    "code with a scope": {"code": "f()", "scope": {"a": str(OID), "b": {}}},
    "undefined in an array in a scope": {"code": "f", "scope": {"a": [None]}},
    "small int64": 7,
}


@pytest.mark.parametrize("name", FLAT)
def test_flat_json_of_rare_values(name: str) -> None:
    assert value(name, JsonMode.FLAT) == FLAT[name]


def test_an_infinity_under_a_very_long_name_is_found() -> None:
    assert json.loads(spelled(NAMES["as long as a page"])) == {"n" * 5000: "Infinity", "a": None}


def test_the_order_of_fields_is_kept() -> None:
    assert spelled(NAMES["_id is not first"]) == '{"a":1,"_id":2}'
    assert spelled(TYPES["dbref out of order"]) == f'{{"v":{{"x":1,"$id":"{OID}","$ref":"c"}}}}'


#: Relaxed where it is another.
EXTENDED: dict[str, tuple[Any, Any]] = {
    "double": ({"$numberDouble": "1.5"}, 1.5),
    "whole double": ({"$numberDouble": "2.0"}, 2.0),
    "negative zero": ({"$numberDouble": "-0.0"}, -0.0),
    "NaN": ({"$numberDouble": "NaN"}, {"$numberDouble": "NaN"}),
    "infinity": ({"$numberDouble": "-Infinity"}, {"$numberDouble": "-Infinity"}),
    "int32": ({"$numberInt": "7"}, 7),
    "small int64": ({"$numberLong": "7"}, 7),
    "large int64": ({"$numberLong": "9223372036854775807"}, 9223372036854775807),
    "datetime": ({"$date": {"$numberLong": "1700000000123"}}, {"$date": "2023-11-14T22:13:20.123Z"}),
    "datetime, ten milliseconds": (
        {"$date": {"$numberLong": "1700000000120"}},
        {"$date": "2023-11-14T22:13:20.120Z"},
    ),
    "datetime before the epoch": ({"$date": {"$numberLong": "-1"}}, {"$date": {"$numberLong": "-1"}}),
    "objectid": ({"$oid": str(OID)}, {"$oid": str(OID)}),
    "uuid": (
        {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}},
        {"$binary": {"base64": "AAECAwQFBgcICQoLDA0ODw==", "subType": "04"}},
    ),
    "undefined": ({"$undefined": True}, {"$undefined": True}),
    "symbol": ({"$symbol": "s"}, {"$symbol": "s"}),
    "dbpointer": ({"$dbPointer": {"$ref": "db.c", "$id": {"$oid": str(OID)}}},) * 2,
    "code with a scope": ({"$code": "f()", "$scope": {"a": {"$oid": str(OID)}, "b": {}}},) * 2,
}


@pytest.mark.parametrize("name", EXTENDED)
def test_extended_json(name: str) -> None:
    canonical, relaxed = EXTENDED[name]

    assert json.dumps(value(name, JsonMode.CANONICAL)) == json.dumps(canonical)
    assert json.dumps(value(name, JsonMode.RELAXED)) == json.dumps(relaxed)


#: What the driver's own reader or writer changes, or does not know.
_NOT_THEIRS = {
    "NaN with a payload",
    "undefined",
    "symbol",
    "dbpointer",
    "regex with odd options",
    "regex with options out of order",
    "undefined in an array in a scope",
    "dbref",
    "dbref out of order",
}
OPTIONS = {
    JsonMode.RELAXED: json_util.RELAXED_JSON_OPTIONS,
    JsonMode.CANONICAL: json_util.CANONICAL_JSON_OPTIONS,
}


@pytest.mark.parametrize("mode", OPTIONS)
@pytest.mark.parametrize("name", sorted(TYPES.keys() - _NOT_THEIRS))
def test_the_driver_writes_the_same_extended_json(name: str, mode: JsonMode) -> None:
    options = bson.CodecOptions(datetime_conversion=bson.codec_options.DatetimeConversion.DATETIME_MS)
    theirs = json_util.dumps(bson.decode(TYPES[name], options), json_options=OPTIONS[mode])

    assert json.loads(spelled(TYPES[name], mode), parse_constant=str) == json.loads(theirs, parse_constant=str)


@pytest.mark.parametrize("name", sorted((TYPES | NAMES).keys() - {"NaN with a payload"}))
def test_canonical_json_comes_back_as_it_was(name: str) -> None:
    payload = (TYPES | NAMES)[name]
    text = spelled(payload, JsonMode.CANONICAL)

    for mode in JsonMode:
        assert TO_BSON[mode].of_payloads([text.encode()]) == ([SORTED.get(name, payload)], [])


#: Options of a regular expression are in the order of the alphabet in BSON, which this one's are not.
SORTED = {"regex with options out of order": framed(b"\x0bv\x00a\x00ix\x00")}


def test_relaxed_json_comes_back_but_for_the_width_of_whole_numbers() -> None:
    changed = set()
    for name, payload in TYPES.items():
        back, failures = TO_BSON[JsonMode.RELAXED].of_payloads([spelled(payload, JsonMode.RELAXED).encode()])
        assert not failures
        changed |= {name} if back != [payload] else set()

    assert changed == {"small int64", "NaN with a payload", "regex with options out of order"}


@pytest.mark.parametrize("mode", JsonMode)
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_bson_is_refused_at_its_place_and_nothing_else_is(name: str, mode: JsonMode) -> None:
    payload, place = BROKEN[name]

    payloads, failures = TO_JSON[mode].of_payloads([FINE, payload, None, FINE])

    assert [bool(each) for each in payloads] == [True, False, False, True]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, DecodeError)
    assert str(failures[0].error).endswith(f"at byte {place} of {len(payload)}")


@pytest.mark.parametrize("mode", JsonMode)
def test_documents_nested_too_deeply_are_refused(mode: JsonMode) -> None:
    payloads, failures = TO_JSON[mode].of_payloads([nested(100), nested(100_000), nested(200)])

    assert [bool(each) for each in payloads] == [True, False, True]
    assert "nested too deeply" in str(failures[0].error)
    assert TO_BSON[mode].of_payloads(payloads)[0] == [nested(100), None, nested(200)]

    text = b'{"a":' * 5000 + b"1" + b"}" * 5000
    _, failures = TO_BSON[mode].of_payloads([text])
    assert "nested too deeply" in str(failures[0].error)


def test_the_odd_ones_of_a_long_batch_are_found_at_their_places() -> None:
    payloads = [bson.encode({"n": each}) for each in range(200)]
    payloads[60] = bson.encode({"n": float("nan"), "m": None})
    payloads[61] = TYPES["symbol"]
    payloads[120] = b"none"
    payloads[199] = TYPES["dbref"]

    found, failures = TO_JSON[JsonMode.FLAT].of_payloads(payloads)

    assert [each.index for each in failures] == [120]
    assert found[60] == b'{"n":"NaN","m":null}'
    assert found[61] == b'{"v":"s"}'
    assert found[120] is None
    assert found[0::199] == [b'{"n":0}', b'{"v":{"$ref":"c","$id":"%s","$db":"d","x":1}}' % str(OID).encode()]
    assert found[1:60] == [b'{"n":%d}' % each for each in range(1, 60)]


@pytest.mark.parametrize("text", ["null", "a null e+5 b", "1e+300", "\\u0000", "é\u2028"])
def test_texts_that_look_like_numbers_stay_texts(text: str) -> None:
    payload = bson.encode({"a": text, text: [text], "n": float("inf"), "m": None, "x": 1e300})

    document = json.loads(spelled(payload))

    assert document == {"a": text, text: [text], "n": "Infinity", "m": None, "x": 1e300}


@pytest.mark.parametrize(
    ("made_by_script", "text"),
    [
        ({"v": dt.datetime(2026, 1, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))}, "2026-01-01T00:00:00Z"),
        ({"v": dt.datetime(2026, 1, 1)}, "2026-01-01T00:00:00Z"),  # noqa: DTZ001 - that is the case
        ({"v": dt.datetime(2026, 1, 1, microsecond=1999, tzinfo=dt.UTC)}, "2026-01-01T00:00:00.001Z"),
        ({"v": dt.datetime(2026, 1, 1, microsecond=999)}, "2026-01-01T00:00:00Z"),  # noqa: DTZ001 - the same
        ({"v": dt.datetime(1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))}, "0000-12-31T22:00:00Z"),
        ({"v": uuid.UUID(int=1)}, "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_what_a_script_makes_of_python_s_types_is_spelled_too(made_by_script: Any, text: str) -> None:
    payloads, failures = TO_JSON[JsonMode.FLAT].of_documents([made_by_script])

    assert not failures
    assert json.loads(payloads[0] or b"") == {"v": text}


@pytest.mark.parametrize("mode", JsonMode)
def test_what_neither_has_is_refused_by_its_place(mode: JsonMode) -> None:
    payloads, failures = TO_JSON[mode].of_documents([{"a": [{1}]}, {"fine": 1}, None])

    assert [bool(each) for each in payloads] == [False, True, False]
    assert str(failures[0].error).startswith("$.a[0] is a set")


@pytest.mark.parametrize(
    ("text", "flat", "strict"),
    [
        ("-5", Int64(-5), -5),
        ("-2147483649", Int64(-2147483649), Int64(-2147483649)),
        ("-9223372036854775808", Int64(-(1 << 63)), Int64(-(1 << 63))),
        (" -5", Int64(-5), -5),
        ("5", 5, 5),
        ("2147483648", Int64(1 << 31), Int64(1 << 31)),
        ("0.1000000000000000055511151231257827", 0.1, 0.1),
        ('[-1, {"a":\n-1}]', [Int64(-1), {"a": Int64(-1)}], [-1, {"a": -1}]),
    ],
)
def test_numbers_become_the_type_of_their_size(text: str, flat: Any, strict: Any) -> None:
    for mode, expected in zip(JsonMode, (flat, strict, strict), strict=True):
        payloads, failures = TO_BSON[mode].of_payloads([b'{"v":%s}' % text.encode()])
        assert not failures
        assert payloads == [bson.encode({"v": expected})]


@pytest.mark.parametrize(
    "text",
    ["9223372036854775808", "18446744073709551617", "-9223372036854775809", "1" * 400, "1e400", "-1e400"],
)
@pytest.mark.parametrize("mode", JsonMode)
def test_a_number_that_bson_cannot_hold_is_refused_by_its_place(text: str, mode: JsonMode) -> None:
    assert refusal(f'{{"a":[{text}]}}', mode).startswith("$.a[0] is a ")


def test_a_whole_number_that_a_double_holds_is_one_in_flat_mode_alone() -> None:
    assert made('{"v":18446744073709551616}') == 18446744073709551616.0
    assert "beyond 64 bits" in refusal('{"v":18446744073709551616}', JsonMode.RELAXED)


def test_words_that_are_no_numbers_in_json_are_doubles() -> None:
    assert repr(made('{"v":[NaN,Infinity,-Infinity,null]}')) == "[nan, inf, -inf, None]"


@pytest.mark.parametrize(
    "marker",
    [
        '{"$oid":"60002e5e19e23b5c08a6c03"}',
        '{"$oid":5}',
        '{"$date":"yesterday"}',
        '{"$date":"2026-02-30T00:00:00Z"}',
        '{"$date":"2026-01-01T00:00:00"}',
        '{"$date":true}',
        '{"$date":9223372036854775808}',
        '{"$date":{"$numberLong":5}}',
        '{"$date":{"$numberLong":"5","x":1}}',
        '{"$numberInt":"2147483648"}',
        '{"$numberInt":5}',
        '{"$numberLong":"1e3"}',
        '{"$numberLong":"9223372036854775808"}',
        '{"$numberDouble":"1e400"}',
        '{"$numberDouble":"nan"}',
        '{"$numberDecimal":"x"}',
        '{"$numberDecimal":1.5}',
        '{"$binary":{"base64":"?","subType":"00"}}',
        '{"$binary":{"base64":"AQI=","subType":"100"}}',
        '{"$binary":{"base64":"AQI="}}',
        '{"$binary":"AQI="}',
        '{"$uuid":"x"}',
        '{"$code":1}',
        '{"$scope":{}}',
        '{"$code":"f","$scope":1}',
        '{"$code":"f","x":1}',
        '{"$timestamp":{"t":-1,"i":0}}',
        '{"$timestamp":{"t":1.0,"i":0}}',
        '{"$regularExpression":{"pattern":"a"}}',
        '{"$dbPointer":{"$ref":"c","$id":"x"}}',
        '{"$symbol":null}',
        '{"$undefined":false}',
        '{"$minKey":true}',
        '{"$maxKey":2}',
    ],
)
@pytest.mark.parametrize("mode", JsonMode)
def test_markers_with_something_else_in_them_are_refused_by_their_place(marker: str, mode: JsonMode) -> None:
    text = refusal(f'{{"a":[{{"b":{marker}}}]}}', mode)

    assert text.startswith("$.a[0].b")
    assert "yesterday" not in text


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.1z", 100),
        ("1970-01-01T00:00:00.123999Z", 123),
        ("1970-01-01T02:00:00.001+02:00", 1),
        ("1969-12-31T23:59:59.999Z", -1),
    ],
)
def test_times_are_read_to_the_millisecond(text: str, milliseconds: int) -> None:
    expected = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=milliseconds)

    assert made(f'{{"v":{{"$date":"{text}"}}}}') == expected


def test_markers_are_seen_in_escapes_and_in_depth() -> None:
    assert made(f'{{"v":{{"\\u0024oid":"{OID}"}}}}') == OID
    assert made(f'{{"v":[{{"a":{{"$oid":"{OID}"}}}}]}}') == [{"a": OID}]
    assert made('{"v":{"a\\u0041":"\\u00e9"}}') == {"aA": "é"}


def test_what_stands_before_a_marker_is_passed_over_in_flat_mode_alone() -> None:
    text = f'{{"v":{{"a":1,"$oid":"{OID}"}}}}'

    assert made(text) == OID
    assert "no other field" in refusal(text, JsonMode.RELAXED)
    assert "no other field" in refusal(text, JsonMode.CANONICAL)


@pytest.mark.parametrize("text", ['{"v":"\\ud800"}', '{"\\ud800":1}', '{"a\\u0000b":1}'])
def test_texts_that_bson_cannot_hold_are_refused(text: str) -> None:
    assert refusal(text).startswith("$")


def test_what_is_no_json_is_a_failure_of_reading() -> None:
    payloads, failures = TO_BSON[JsonMode.FLAT].of_payloads([b'{"a":1', None, b"\xff", b"{}"])

    assert payloads == [None, None, None, bson.encode({})]
    assert [each.index for each in failures] == [0, 2]
    assert all(isinstance(each.error, DecodeError) for each in failures)


def test_documents_of_a_script_become_bson_by_the_same_rules() -> None:
    documents = [{"n": -5, "id": {"$oid": str(OID)}, "d": Decimal128("1"), "t": (1,), "o": ObjectId(str(OID))}, None]

    payloads, failures = TO_BSON[JsonMode.FLAT].of_documents(documents)

    assert not failures
    expected = {"n": Int64(-5), "id": OID, "d": Decimal128("1"), "t": [1], "o": OID}
    assert payloads == [bson.encode(expected), None]


def test_strings_that_hold_a_nul_pass_both_ways() -> None:
    payload = framed(b"\x02v\x00" + string(b"a\x00b"))

    assert spelled(payload) == '{"v":"a\\u0000b"}'
    assert made(spelled(payload)) == "a\x00b"
