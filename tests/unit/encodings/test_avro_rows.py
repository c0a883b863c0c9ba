"""What v0.47 made of every value by every Avro schema, measured row by row, and where we do otherwise.

A row has what v0.47 wrote (null: it refused), and where ours differs also that, and the key of its reason in
docs/reference/encodings.md. `of_bson`: the values below by 23 types of field `x`. `of_json`: JSON in, JSON out of that.
`through`: records that an Avro schema is applied to on their way from and to something else. `named`: named types.
`untouched`: Avro in, Avro out by the same schema.
"""

import json
import re
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128, Int64, ObjectId, Timestamp, json_util
from bson.datetime_ms import DatetimeMS

from mstream.domain.batch import Encoding, JsonMode
from mstream.encodings import avro_codec, conversion_by
from mstream.errors import DecodeError, EncodeError, SchemaInvalid
from mstream.ports.encoding import Codec, Conversion
from mstream.ports.schemas import SchemaText

ROWS = json.loads(Path(__file__).with_name("avro_rows.json").read_text("utf-8"))
PAGE = Path(__file__).parents[3] / "docs/reference/encodings.md"
VALUES: dict[str, Any] = {
    "i32": 5,
    "i64": Int64(5),
    "i64big": Int64(5_000_000_000),
    "dbl": 5.0,
    "dbl.5": 5.5,
    "str": "12.50",
    "bool": True,
    "null": None,
    "oid": ObjectId("60002e5e19e23b5c08a6c03c"),
    "dt": DatetimeMS(1_700_000_000_123),
    "dec": Decimal128("12.50"),
    "bin": b"\x01\x02",
    "ts": Timestamp(1, 1),
    "arr": ["a"],
    "doc": {"k": "v"},
}


def codec_of(schema: Any) -> Codec:
    return avro_codec("rows", SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=json.dumps(schema)))


def conversion(codec: Codec, source: Encoding, target: Encoding, mode: JsonMode = JsonMode.FLAT) -> Conversion:
    found = conversion_by(codec, source, target, mode)
    assert found is not None
    return found


def converted(codec: Codec, source: Encoding, target: Encoding, payload: bytes, mode: JsonMode = JsonMode.FLAT) -> Any:
    """The payload; None: it was refused, as one record."""
    payloads, failures = conversion(codec, source, target, mode).of_payloads([payload])
    assert [type(each.error) for each in failures] in ([], [EncodeError], [DecodeError])
    assert (payloads == [None]) == bool(failures)
    return payloads[0]


def in_other_forms(codec: Codec, datum: bytes) -> dict[str, Any]:
    """The datum, and what it is in BSON and in flat JSON."""
    in_bson = converted(codec, Encoding.AVRO, Encoding.BSON, datum)
    in_json = converted(codec, Encoding.AVRO, Encoding.JSON, datum)
    typed = json_util.dumps(bson.decode(in_bson), json_options=json_util.CANONICAL_JSON_OPTIONS)
    return {"avro": datum.hex(), "bson": json.loads(typed), "json": in_json.decode()}


def name_of(row: dict[str, Any]) -> str:
    return f"{json.dumps(row['schema'])[:60]} {row.get('value') or row.get('json') or row.get('name')}"


@pytest.mark.parametrize("row", ROWS["of_bson"], ids=name_of)
def test_a_value_by_a_type(row: dict[str, Any]) -> None:
    codec = codec_of({"type": "record", "name": "T", "fields": [{"name": "x", "type": row["schema"]}]})

    datum = converted(codec, Encoding.BSON, Encoding.AVRO, bson.encode({"x": VALUES[row["value"]]}))

    assert (None if datum is None else in_other_forms(codec, datum)) == row.get("ours", row["v047"])


@pytest.mark.parametrize("row", ROWS["of_json"], ids=name_of)
def test_json_by_a_schema(row: dict[str, Any]) -> None:
    codec = codec_of(row["schema"])

    datum = converted(codec, Encoding.JSON, Encoding.AVRO, row["json"].encode())

    expected = row.get("ours", row["v047"])
    made = datum and {"avro": datum.hex(), "json": converted(codec, Encoding.AVRO, Encoding.JSON, datum).decode()}
    assert made == (expected and {key: expected[key] for key in ("avro", "json")})


@pytest.mark.parametrize("row", ROWS["through"], ids=name_of)
def test_a_schema_applied_on_the_way_to_json(row: dict[str, Any]) -> None:
    payload = row["json"].encode()
    if row["from"] == "bson":
        payload = bson.encode(json_util.loads(row["json"]))

    made = converted(codec_of(row["schema"]), Encoding(row["from"]), Encoding.JSON, payload)

    assert made.decode() == row.get("ours", row["v047"])


@pytest.mark.parametrize("row", ROWS["named"], ids=name_of)
def test_named_types(row: dict[str, Any]) -> None:
    expected = row.get("ours", row["v047"])
    if expected is None:
        with pytest.raises(SchemaInvalid, match="redefined named type: Address"):
            codec_of(row["schema"])
        return

    codec = codec_of(row["schema"])
    datum = converted(codec, Encoding.JSON, Encoding.AVRO, row["json"].encode())

    assert datum.hex() == expected
    assert json.loads(converted(codec, Encoding.AVRO, Encoding.JSON, datum)) == read_again(row["json"])


@pytest.mark.parametrize("row", ROWS["untouched"], ids=name_of)
def test_from_avro_to_avro_by_one_schema_whatever_it_is(row: dict[str, Any]) -> None:
    codec = codec_of(row["schema"])

    # Nothing converts it: the engine's test_avro.py shows that then the very same bytes come out.
    assert conversion_by(codec, Encoding.AVRO, Encoding.AVRO, JsonMode.FLAT) is None
    assert row["avro"] == row["v047"]
    _, failures = codec.decode([bytes.fromhex(row["avro"])])
    assert "bytes behind it" in str(failures[0].error)


OF_DECIMALS = [
    each["v047"] for each in ROWS["of_bson"] if each.get("because") == "decimals" and each["v047"]["json"] is not None
]


@pytest.mark.parametrize("row", OF_DECIMALS, ids=[each["avro"] for each in OF_DECIMALS])
def test_decimals_that_v047_wrote_can_be_read(row: dict[str, Any]) -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}
    definition = json.dumps({"type": "record", "name": "T", "fields": [{"name": "x", "type": decimal}]})
    text = SchemaText(id="", name=None, encoding=Encoding.AVRO, definition=definition)
    codec = avro_codec("rows", text, text_decimals=True)

    made = in_other_forms(codec, bytes.fromhex(row["avro"]))

    assert made["bson"] == row["bson"]
    assert json.loads(made["json"]) == {"x": row["bson"]["x"]["$numberDecimal"]}
    _, failures = codec.decode([b"\x06abc"])
    assert "$.x: a value that cannot be" in str(failures[0].error)


def read_again(text: str) -> Any:
    """Decimals come back as text."""
    document = json.loads(text)
    return {key: str(value) if isinstance(value, float) else value for key, value in document.items()}


def test_every_row_is_there_and_every_difference_has_its_reason_on_the_page() -> None:
    of_bson = ROWS["of_bson"]
    rows = [each for group in ROWS.values() for each in group]
    reasons = {each["because"] for each in rows if "ours" in each}
    told = re.findall(r"^\| `(\w+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)

    assert len({(json.dumps(each["schema"]), each["value"]) for each in of_bson}) == 23 * len(VALUES)
    assert reasons <= set(told)
    assert all(each["ours"] != each["v047"] for each in rows if "ours" in each)
