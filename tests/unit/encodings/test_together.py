"""Long documents are cut apart, and looked through, in a way of their own."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mstream.encodings.conversions import BsonToFlatJson
from mstream.encodings.json import JsonCodec

PAD = "x" * 5000
NUMBERS = [number / 7 for number in range(2000)]


def written(documents: list[Any]) -> list[bytes | None]:
    payloads, failures = JsonCodec().encode(documents)
    assert not failures
    return payloads


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("pad", ["", "short", PAD, PAD * 100], ids=len)
def test_documents_of_any_length_come_back(count: int, pad: str) -> None:
    documents = [{"n": each, "text": f"{pad},\n,[]\\", "none": None} for each in range(count)]

    assert [json.loads(each or b"") for each in written(documents)] == documents


@pytest.mark.parametrize("strange", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("before", [[], NUMBERS, ["\u02cb\u02ff"]], ids=["alone", "many fractions", "letters like it"])
@pytest.mark.parametrize("pad", ["", PAD], ids=len)
def test_a_number_that_json_does_not_have_is_written_however_much_is_beside_it(
    pad: str, before: list[Any], strange: float
) -> None:
    documents: list[Any] = [{"pad": pad, "v": [*before, 1.5]}, {"pad": pad, "v": [*before, strange]}]

    found = json.loads(written(documents)[1] or b"")["v"][-1]

    assert repr(found) == repr(strange)


def test_long_bson_comes_out_as_json_line_by_line() -> None:
    documents = [{"n": each, "pad": PAD, "v": NUMBERS, "big": 1e22} for each in range(5)]

    payloads, failures = BsonToFlatJson().of_documents(documents)

    assert not failures
    assert [json.loads(each or b"") for each in payloads] == documents
    assert payloads[4] is not None
    assert b"1e22" in payloads[4]
