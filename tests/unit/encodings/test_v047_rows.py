"""What v0.47 made of every type, measured row by row: flat JSON, and BSON out of JSON."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import bson
import orjson
import pytest

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import codec_for, conversion_between
from mstream.ports.encoding import Conversion
from mstream.ports.roles import Failure

ROWS = json.loads(Path(__file__).with_name("v047_rows.json").read_text("utf-8"))
TO_JSON, TO_BSON = ROWS["bson_to_json"], ROWS["json_to_bson"]
Outcome = tuple[Sequence[bytes | None], Sequence[Failure]]


def conversion(source: Encoding, target: Encoding) -> Conversion:
    found = conversion_between(source, target, JsonMode.FLAT)
    assert found is not None
    return found


def of_documents(payload: bytes) -> Outcome:
    """By way of a document, as after a script."""
    documents, failures = codec_for(Encoding.BSON).decode([payload])
    assert not failures
    return conversion(Encoding.BSON, Encoding.JSON).of_documents(documents)


def of_payloads(payload: bytes) -> Outcome:
    return conversion(Encoding.BSON, Encoding.JSON).of_payloads([payload])


def beside_another(payload: bytes) -> Outcome:
    """As one of a batch, the others of which are ordinary."""
    other = bson.encode({"other": 1})
    payloads, failures = conversion(Encoding.BSON, Encoding.JSON).of_payloads([other, payload, other])
    assert payloads[0] == payloads[2] == b'{"other":1}'
    return payloads[1:2], failures


def check(row: dict[str, Any], convert: Callable[[bytes], Outcome]) -> None:
    payloads, failures = convert(bytes.fromhex(row["bson"]))

    assert not failures
    assert payloads == [row["json"].encode()]


@pytest.mark.parametrize("convert", [of_payloads, of_documents, beside_another])
@pytest.mark.parametrize("row", TO_JSON, ids=[each["name"] for each in TO_JSON])
def test_flat_json_is_what_v047_wrote(row: dict[str, Any], convert: Callable[[bytes], Outcome]) -> None:
    check(row, convert)


@pytest.mark.parametrize("row", TO_BSON, ids=[each["json"] for each in TO_BSON])
def test_bson_out_of_json_is_what_v047_made(row: dict[str, Any]) -> None:
    payloads, failures = conversion(Encoding.JSON, Encoding.BSON).of_payloads([row["json"].encode()])

    assert payloads == [row["bson"] and bytes.fromhex(row["bson"])]
    assert bool(failures) == (row["bson"] is None)


def decoded_and_dumped(payload: bytes) -> Outcome:
    """The twin: what is near at hand, and changes values without a word."""
    return [orjson.dumps(bson.decode(payload), str, orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC)], ()


def test_the_rows_tell_such_json_from_what_lies_near() -> None:
    wrong = []
    for row in TO_JSON:
        try:
            check(row, decoded_and_dumped)
        except (AssertionError, bson.errors.BSONError):
            wrong.append(row["name"])

    assert {"nan", "inf", "ninf", "bin", "uuid", "regex", "jsws", "ts", "dt", "dtmax", "min", "max"} <= set(wrong)
