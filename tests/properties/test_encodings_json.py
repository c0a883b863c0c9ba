"""Whatever JSON comes in leaves as it came: every type, value and the order of fields."""

import json
import math
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mstream.domain.batch import Encoding
from mstream.encodings import codec_for

CODEC = codec_for(Encoding.JSON)

SIGNS = st.sampled_from(["", "-"])
WHOLES = st.one_of(st.integers(0, 10**18), st.integers(0, 10**45), st.integers(10**300, 10**350)).map(str)
FRACTIONS = st.one_of(
    st.just(""),
    st.builds(".{}{}".format, st.integers(0, 330).map("0".__mul__), st.integers(0, 10**20)),
)
EXPONENTS = st.one_of(
    st.just(""), st.builds("{}{}".format, st.sampled_from(["e", "E", "e+", "e-"]), st.integers(0, 400))
)
NUMBERS = st.one_of(
    st.builds("{}{}{}{}".format, SIGNS, WHOLES, FRACTIONS, EXPONENTS),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.builds('"{}e{}"'.format, st.integers(0, 10**17), st.integers(0, 10**17)),
    st.sampled_from(
        ["NaN", "Infinity", "-Infinity", "1.0", "1", "-0.0", "0e0", "-0E-5", "1e400", "9007199254740993.0"]
    ),
)
TEXTS = st.text(st.characters(), max_size=12)
STRINGS = st.tuples(TEXTS, st.booleans()).map(lambda each: _spelled(*each))


def _spelled(text: str, escaped: bool) -> str:
    has_half_pairs = any("\ud800" <= each <= "\udfff" for each in text)
    return json.dumps(text, ensure_ascii=escaped or has_half_pairs)


def _object(fields: dict[str, str], blank: str) -> str:
    return "{" + ",".join(f"{blank}{json.dumps(key)}:{blank}{value}" for key, value in fields.items()) + blank + "}"


VALUES = st.recursive(
    st.one_of(NUMBERS, STRINGS, st.sampled_from(["true", "false", "null"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.tuples(st.dictionaries(TEXTS, inner, max_size=4), st.sampled_from(["", " "])).map(
            lambda each: _object(*each)
        ),
    ),
    max_leaves=6,
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, max_size=3).map(lambda fields: _object(fields, ""))


def meaning(payload: bytes | None) -> Any:
    """What a payload says, exactly, by the standard library alone."""
    assert payload is not None
    return json.loads(
        payload.decode("utf-8"),
        parse_float=_fraction,
        parse_int=lambda text: ("whole", int(text)),
        parse_constant=lambda text: ("constant", text),
        object_pairs_hook=lambda pairs: ("object", pairs),
    )


def _fraction(text: str) -> tuple[str, bool, Decimal]:
    value = Decimal(text)
    return "fraction", value.is_signed(), value


@given(st.lists(DOCUMENTS, max_size=3))
def test_documents_that_nobody_changed_leave_as_they_came(texts: list[str]) -> None:
    payloads: list[bytes | None] = [text.encode("utf-8") for text in texts]

    documents, refused = CODEC.decode(payloads)
    written, unwritten = CODEC.encode(documents)

    assert not refused
    assert not unwritten
    assert [meaning(each) for each in written] == [meaning(each) for each in payloads]


@given(st.lists(DOCUMENTS, min_size=1, max_size=3), st.data())
def test_changing_one_field_changes_no_other(texts: list[str], data: st.DataObject) -> None:
    payloads: list[bytes | None] = [text.encode("utf-8") for text in texts]
    documents, _ = CODEC.decode(payloads)
    for document in documents:
        document["changed by a script"] = data.draw(st.sampled_from([1, None, "x", float("nan")]))

    written, refused = CODEC.encode(documents)

    assert not refused
    for before, after in zip(payloads, written, strict=True):
        fields = [pair for pair in meaning(after)[1] if pair[0] != "changed by a script"]
        assert fields == meaning(before)[1]


@given(st.lists(st.one_of(st.binary(max_size=20), DOCUMENTS.map(str.encode), st.none()), max_size=8))
def test_any_bytes_are_a_document_or_a_failure_at_their_place(payloads: list[bytes | None]) -> None:
    documents, failures = CODEC.decode(payloads)

    assert len(documents) == len(payloads)
    failed = {each.index for each in failures}
    for index, payload in enumerate(payloads):
        alone, alone_failed = CODEC.decode([payload])
        assert bool(alone_failed) == (index in failed)
        assert repr(alone[0]) == repr(documents[index])


AWKWARD = st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 2**64, -(2**63) - 1, 10**30, "\ud800", None])
MADE = st.one_of(AWKWARD, st.integers(), st.floats(), TEXTS, st.lists(AWKWARD, max_size=2))


@given(st.lists(MADE, min_size=1, max_size=5))
def test_what_a_script_makes_is_read_back_as_it_was(values: list[Any]) -> None:
    documents = [{"value": each} for each in values]

    written, refused = CODEC.encode(documents)
    again, failures = CODEC.decode(written)

    assert not refused
    assert not failures
    assert repr(again) == repr(documents)
