"""JSON, where it is not ordinary."""

import datetime as dt
import decimal
import enum
import json
import math
import pickle
import uuid
from typing import Any

import pytest

from mstream.domain.batch import Encoding
from mstream.encodings import codec_for
from mstream.encodings.numbers import ExactNumber
from mstream.errors import DecodeError, EncodeError

CODEC = codec_for(Encoding.JSON)
SECRET = "s3cr3t-c0ntent"


def decoded(payload: bytes) -> Any:
    documents, failures = CODEC.decode([payload])
    assert not failures
    return documents[0]


def encoded(document: Any) -> bytes | None:
    payloads, failures = CODEC.encode([document])
    assert not failures
    return payloads[0]


def refusal(document: Any) -> str:
    payloads, failures = CODEC.encode([{"fine": 1}, document, {"fine": 2}])
    assert payloads == [b'{"fine":1}', None, b'{"fine":2}']
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, EncodeError)
    return str(failures[0].error)


def test_whole_numbers_beyond_64_bits_stay_whole() -> None:
    number = 123456789012345678901234567890

    assert decoded(b'{"n":%d}' % number) == {"n": number}
    assert encoded({"n": number}) == b'{"n":%d}' % number


def test_numbers_that_are_not_finite_stay_what_they_are() -> None:
    payload = b'{"a":NaN,"b":Infinity,"c":-Infinity,"d":null}'

    document = decoded(payload)

    assert math.isnan(document["a"])
    assert encoded(document) == payload


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "others",
    [
        [{"a": "x"}, {}],
        [{"a": "x", "b": "y"}, {"a": "x", "b": 1.5}],
        [{"a": 0.5, "b": 10**30}, {"a": 1, "b": True}],
        [{"a": "x", "b": 1.0, "c": 2.0}],
    ],
    ids=["fewer fields", "another type in its column", "numbers of other types", "more fields"],
)
def test_one_among_documents_of_other_shapes_is_not_made_a_null(
    others: list[dict[str, Any]], number: float, size: int
) -> None:
    documents = [*others, {"a": "x" * size, "b": number, "n": None}]
    payloads, failures = CODEC.encode(documents)

    assert not failures
    assert [repr(json.loads(each or b"")) for each in payloads] == [repr(each) for each in documents]


@pytest.mark.parametrize("place", [{"a": math.nan}, [1, [math.inf]], {"a": {"b": [-math.inf, None]}}, math.nan])
def test_a_script_cannot_make_a_null_of_a_number_that_is_not_finite(place: Any) -> None:
    for documents in ([place], [{"x": None}, place]):
        payloads, failures = CODEC.encode(documents)

        assert not failures
        assert b"NaN" in (payloads[-1] or b"") or b"Infinity" in (payloads[-1] or b"")


def test_whole_and_fraction_stay_apart() -> None:
    payload = b'{"a":1.0,"b":1,"c":-0.0,"d":0,"e":100.0}'

    assert encoded(decoded(payload)) == payload


@pytest.mark.parametrize(
    "text",
    [
        "0.1000000000000000055511151231257827",
        "9007199254740993.0",
        "1e400",
        "1e-400",
        "3e-320",
        "1e99999999999999999999999",
    ],
)
def test_a_fraction_that_a_double_cannot_hold_leaves_as_it_came(text: str) -> None:
    payload = b'{"n":%s,"m":1.5}' % text.encode()

    document = decoded(payload)

    assert isinstance(document["n"], float)
    assert float(document["n"]) == float(text)
    assert encoded(document) == payload
    assert type(document["m"]) is float


def test_texts_that_look_like_numbers_stay_texts() -> None:
    payloads: list[bytes | None] = [
        b'{"hash":"1234567890123456e99999999999999999999","n":1.5}',
        b'{"hash":"0.1000000000000000055511151231257827"}',
        None,
        b'{"n":0.1000000000000000055511151231257827}',
    ]

    documents, failures = CODEC.decode(payloads)

    assert not failures
    assert [type((each or {}).get("n")) for each in documents] == [float, type(None), type(None), ExactNumber]
    assert CODEC.encode(documents)[0] == payloads


def test_an_exact_number_survives_a_copy() -> None:
    again = pickle.loads(pickle.dumps(ExactNumber("1e400")))

    assert again.text == "1e400"


def test_a_calculated_number_is_an_ordinary_one() -> None:
    document = decoded(b'{"n":0.10000000000000000555}')

    document["n"] = document["n"] * 2

    assert encoded(document) == b'{"n":0.2}'


def test_fields_keep_their_order_and_the_last_of_two_counts() -> None:
    assert list(decoded(b'{"b":1,"a":2,"c":3}')) == ["b", "a", "c"]
    assert decoded(b'{"b":1,"a":2,"b":3}') == {"b": 3, "a": 2}
    assert decoded(b'{"b":1,"a":NaN,"b":3}')["b"] == 3


def test_a_byte_order_mark_is_passed_over() -> None:
    assert decoded(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_half_of_a_surrogate_pair_is_kept_as_an_escape() -> None:
    payload = b'{"a":"x\\ud800y","\\udc00":1,"b":"\xc3\xa9"}'

    assert encoded(decoded(payload)) == payload


def test_a_tombstone_stays_one() -> None:
    documents, failures = CODEC.decode([b"{}", None])
    assert (documents, list(failures)) == ([{}, None], [])
    assert CODEC.encode(documents)[0] == [b"{}", None]


def test_nothing_gives_nothing() -> None:
    assert CODEC.decode([])[0] == []
    assert CODEC.encode([])[0] == []


def test_line_ends_inside_a_payload_do_no_harm() -> None:
    payloads: list[bytes | None] = [b'{\n "a": [1,\n2]\n}', b'{"b":",\\n,"}']

    documents, _ = CODEC.decode(payloads)

    assert documents == [{"a": [1, 2]}, {"b": ",\n,"}]
    assert CODEC.encode(documents)[0] == [b'{"a":[1,2]}', b'{"b":",\\n,"}']


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b'{"a":"%s"' % SECRET.encode(),
        b'{"a":%s}' % SECRET.encode(),
        b'{"a":"%s"} trailing' % SECRET.encode(),
        b'{"a":"%s\xff"}' % SECRET.encode(),
        b'{"a":"%s\\x"}' % SECRET.encode(),
        b"\xff\xfe",
        b"1\x00",
        b"[" * 5000,
        b"9" * 5000,
    ],
)
def test_what_is_no_json_is_refused_without_being_shown(payload: bytes) -> None:
    documents, failures = CODEC.decode([b'{"a":1}', payload, b'{"b":2}'])

    assert documents == [{"a": 1}, None, {"b": 2}]
    assert [each.index for each in failures] == [1]
    assert isinstance(failures[0].error, DecodeError)
    assert SECRET not in str(failures[0].error)
    assert failures[0].error.__cause__ is None


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b"bytes", "bytes"),
        (bytearray(b"bytes"), "bytearray"),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "datetime"),
        (dt.date(2026, 1, 1), "date"),
        (decimal.Decimal("1.5"), "Decimal"),
        ({1, 2}, "set"),
        (object(), "object"),
        (1j, "complex"),
    ],
)
def test_what_json_does_not_have_is_refused_by_its_place(value: Any, kind: str) -> None:
    text = refusal({"a": [{"b": 1}, {"b": value}]})

    assert text.startswith(f"$.a[1].b is a {kind}")


def test_field_names_that_are_no_strings_are_refused_by_their_place() -> None:
    assert refusal({"a": {1: 2}}).startswith("$.a: a field's name is a int")


def test_a_document_that_contains_itself_is_refused() -> None:
    document: dict[str, Any] = {}
    document["self"] = document

    assert "contains itself" in refusal(document)


def test_a_whole_number_too_long_to_spell_is_refused_by_its_place() -> None:
    assert refusal({"n": 10**5000}).startswith("$.n is a whole number")


def test_the_path_in_an_error_is_bounded() -> None:
    assert len(refusal({"x" * 10_000: b""})) < 400


class Colour(enum.Enum):
    RED = "red"


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize("beside", [1, 2**70])
def test_values_are_written_alike_by_the_fast_and_the_exact_way(beside: int) -> None:
    document = {"u": uuid.UUID(int=1), "e": Colour.RED, "t": (1, 2), "s": Name("n"), "z": "\u2028/é", "n": beside}

    written = (encoded(document) or b"").decode()

    fields = '"u":"00000000-0000-0000-0000-000000000001","e":"red","t":[1,2],"s":"n","z":"\u2028/é"'
    assert written == f'{{{fields},"n":{beside}}}'


def test_deep_documents_pass() -> None:
    document: Any = 1
    for _ in range(300):
        document = [document]

    assert decoded(encoded(document) or b"") == document


def test_the_documents_are_not_changed_by_encoding() -> None:
    document = {"n": math.nan, "a": [1, {"b": 2**70}]}
    before = repr(document)

    encoded(document)

    assert repr(document) == before
