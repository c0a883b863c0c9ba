"""One document of every type that BSON has, as bytes, and bytes that are none."""

import struct

import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

OID = ObjectId("60002e5e19e23b5c08a6c03c")


def framed(body: bytes) -> bytes:
    """A document of these elements."""
    return struct.pack("<i", len(body) + 5) + body + b"\x00"


def string(text: bytes) -> bytes:
    return struct.pack("<i", len(text) + 1) + text + b"\x00"


#: Each as the value of the field `v`.
TYPES: dict[str, bytes] = {
    **{
        name: bson.encode({"v": value})
        for name, value in {
            "double": 1.5,
            "whole double": 2.0,
            "large double": 1e300,
            "negative zero": -0.0,
            "infinity": float("-inf"),
            "string": 'hé"\n\x00\U0001f600',
            "empty string": "",
            "document": {"z": 1, "a": {}, "_id": 2},
            "array": [1, [], {"a": None}],
            "binary": b"\x01\x02\x03",
            "old binary": Binary(b"abc", 2),
            "old uuid": Binary(bytes(range(16)), 3),
            "uuid": Binary(bytes(range(16)), 4),
            "binary of a user's subtype": Binary(b"", 0x80),
            "objectid": OID,
            "true": True,
            "false": False,
            "datetime": DatetimeMS(1_700_000_000_123),
            "datetime, ten milliseconds": DatetimeMS(1_700_000_000_120),
            "datetime before the epoch": DatetimeMS(-1),
            "datetime in the year 0": DatetimeMS(-62_167_219_200_000),
            "datetime before the year 0": DatetimeMS(-62_167_219_200_001),
            "earliest datetime": DatetimeMS(-(1 << 63)),
            "latest datetime": DatetimeMS((1 << 63) - 1),
            "null": None,
            "regex": Regex("^a", "imsx"),
            "code": Code("f()"),
            "code with a scope": Code("f()", {"a": OID, "b": {}}),
            "int32": 7,
            "negative int32": -7,
            "timestamp": Timestamp(1_700_000_000, 5),
            "small int64": Int64(7),
            "large int64": Int64((1 << 63) - 1),
            "decimal128": Decimal128("123.4500"),
            "decimal128 that is no number": Decimal128("NaN"),
            "minkey": MinKey(),
            "maxkey": MaxKey(),
        }.items()
    },
    "NaN": framed(b"\x01v\x00" + struct.pack("<d", float("nan"))),
    "NaN with a payload": framed(b"\x01v\x00\x01\x02\x03\x04\x05\x06\xf7\x7f"),
    "undefined": framed(b"\x06v\x00"),
    "symbol": framed(b"\x0ev\x00" + string(b"s")),
    "dbpointer": framed(b"\x0cv\x00" + string(b"db.c") + OID.binary),
    "regex with odd options": framed(b"\x0bv\x00a\x00gi\x00"),
    "regex with options out of order": framed(b"\x0bv\x00a\x00xi\x00"),
    "dbref": bson.encode({"v": {"$ref": "c", "$id": OID, "$db": "d", "x": 1}}),
    "dbref out of order": bson.encode({"v": {"x": 1, "$id": OID, "$ref": "c"}}),
    "undefined in an array in a scope": framed(
        b"\x0fv\x00" + struct.pack("<i", 26) + string(b"f") + framed(b"\x04a\x00" + framed(b"\x060\x00"))
    ),
}

#: Documents whose field names are unusual.
NAMES: dict[str, bytes] = {
    "_id is not first": bson.encode({"": {"a": 1, "_id": 2}})[6:-1],
    "dots": bson.encode({"a.b": 1, ".": 2, "a": {"b": 3}}),
    "dollars": bson.encode({"$set": 1, "a$b": 2, "v": {"$foo": 3}}),
    "empty": bson.encode({"": 1, "v": {"": {"": 2}}}),
    "not ascii": bson.encode({"ключ": 1, "\u0001": 2}),
    "as long as a page": bson.encode({"n" * 5000: float("inf"), "a": None}),
}

#: What is no BSON, and at which byte.
BROKEN: dict[str, tuple[bytes, int]] = {
    "nothing": (b"", 0),
    "less than a length": (b"\x05\x00", 0),
    "a length alone": (b"\x05\x00\x00\x00", 0),
    "a length that is too small": (b"\x04\x00\x00\x00\x00", 0),
    "a negative length": (b"\xff\xff\xff\xff\x00", 0),
    "bytes behind the document": (b"\x05\x00\x00\x00\x00\x00", 5),
    "two documents": (framed(b"") * 2, 5),
    "no NUL at the end": (b"\x05\x00\x00\x00\x01", 4),
    "a name that does not end": (framed(b"\x10abc"), 5),
    "a value that is cut off": (framed(b"\x10a\x00\x01\x02"), 7),
    "a string that is cut off": (framed(b"\x02a\x00\x09\x00\x00\x00abc\x00"), 7),
    "a string of no length": (framed(b"\x02a\x00\x00\x00\x00\x00"), 7),
    "a string without a NUL": (framed(b"\x02a\x00\x02\x00\x00\x00ab"), 12),
    "a string that is not UTF-8": (framed(b"\x02a\x00" + string(b"ab\xff")), 13),
    "a name that is not UTF-8": (framed(b"\x0a\xfe\x00"), 5),
    "a type that there is not": (framed(b"\x20a\x00"), 4),
    "a boolean that is neither": (framed(b"\x08a\x00\x02"), 7),
    "a document that is longer than its place": (framed(b"\x03a\x00\x09\x00\x00\x00\x00"), 7),
    "binary of a negative length": (framed(b"\x05a\x00\xff\xff\xff\xff\x00"), 7),
    "code with a scope of another length": (
        framed(b"\x0fa\x00\x10\x00\x00\x00" + string(b"f") + framed(b"") + b"\x00"),
        22,
    ),
}


def nested(levels: int, kind: bytes = b"\x03") -> bytes:
    """Documents, or arrays in one (kind 4), so many inside each other."""
    sizes = range(5 + 8 * levels, 5, -8)
    return b"".join(struct.pack("<i", each) + kind + b"0\x00" for each in sizes) + framed(b"") + b"\x00" * levels
