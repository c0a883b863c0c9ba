"""Any document comes back from BSON as it was given, and tells when somebody else has changed it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import bson
import pytest
from bson import CodecOptions
from hypothesis import given
from hypothesis import strategies as st

from mstream.errors import DocumentDamaged, StoreError
from mstream.providers.mongodb.shape import found, written

NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.sampled_from(["_time", "_int", "_plain", "_document", "_added", "_digest", "revision", "_id", "name", "$ref"]),
    st.sampled_from(["$id", "$set", "a.b", "", "\0", "updated_at"]),
)
TIMES = st.datetimes(timezones=st.just(UTC)).map(lambda each: each.replace(fold=0))
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**31, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1]),
        st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.binary(max_size=8),
        TIMES,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
UTC_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)


def stored(document: dict[str, Any], *, key: str = "x", revision: str = "r") -> bytes:
    return bson.encode({"_id": key, **written("name", key, document, revision, "collection 'c'")})


@given(DOCUMENTS)
def test_a_document_comes_back_as_it_was_given(document: dict[str, Any]) -> None:
    there = found(stored(document), "name")

    assert there.content == document
    assert list(there.content) == list(document)
    assert repr(there.content) == repr(document)  # 1.0 is not 1, and True is neither
    assert (there.key, there.revision, there.is_ours) == ("x", "r", True)


@given(DOCUMENTS, DOCUMENTS)
def test_a_document_that_somebody_else_has_changed_has_another_revision(
    document: dict[str, Any], changes: dict[str, Any]
) -> None:
    raw = stored(document)
    fields = bson.decode(raw, UTC_AWARE)
    changed = {**fields, "state": "changed by somebody else", "more": len(changes)}

    one, other = found(raw, "name"), found(bson.encode(changed), "name")

    assert one.revision == "r"
    assert other.revision.startswith("r+")


@given(DOCUMENTS)
def test_a_document_without_a_revision_is_known_by_what_it_holds(document: dict[str, Any]) -> None:
    fields = {name: each for name, each in bson.decode(stored(document), UTC_AWARE).items() if name != "revision"}
    backwards = dict(reversed(fields.items()))

    one, same = found(bson.encode(fields), "name"), found(bson.encode(backwards), "name")
    other = found(bson.encode({**fields, "state": "another"}), "name")

    assert not one.is_ours
    assert one.revision == same.revision
    assert one.revision != other.revision


def test_a_digest_can_be_missing() -> None:
    raw = bson.encode({"_id": "x", "name": "x", "v": 1, "revision": "r"})

    assert found(raw, "name").revision == "r"


@pytest.mark.parametrize(
    "fields",
    [
        {"at": {"_time": "never"}},
        {"n": {"_int": "1.5"}},
        {"in": {"_plain": [["a"]]}},
        {"in": {"_plain": [1]}},
        {"_document": "text"},
    ],
)
def test_what_only_looks_as_if_we_had_written_it_is_damaged(fields: dict[str, Any]) -> None:
    there = found(bson.encode({"_id": "x", "name": "x", "revision": "r", **fields}), "name")

    with pytest.raises(DocumentDamaged, match="'x'"):
        there.stored("collection 'c'")


def test_a_text_that_is_none_is_damaged_and_keeps_its_key() -> None:
    raw = bson.encode({"_id": "x", "name": "x", "text": "abc"}).replace(b"abc", b"\xff\xfe\xfd")

    there = found(raw, "name")

    assert there.content is None
    assert there.key == "x"


def test_a_moment_between_two_milliseconds_is_kept_and_a_whole_one_stays_a_date() -> None:
    whole = datetime(2026, 11, 25, 12, 0, 0, 5000, tzinfo=timezone(timedelta(hours=1)))
    document = {"name": "x", "whole": whole, "between": whole + timedelta(microseconds=1)}

    raw = stored(document)

    assert bson.decode(raw, UTC_AWARE)["whole"] == whole
    assert found(raw, "name").content == document


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: 2}, 1j, datetime(2026, 1, 1)])  # noqa: DTZ001 - it is refused
def test_what_a_document_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(StoreError):
        stored({"v": [value]})


def test_only_plain_fields_are_compared_before_a_document_is_replaced() -> None:
    fields = {"name": "x", "n": 1, "no": None, "yes": True, "f": 0.5, "list": [1], "in": {}, "long": "x" * 2000}
    there = found(bson.encode({"_id": 7, **fields, "a.b": 1}), "name")

    assert there.unchanged() == {
        "_id": 7,
        "revision": {"$exists": False},
        "name": {"$eq": "x"},
        "n": {"$eq": 1},
        "no": {"$eq": None},
        "yes": {"$eq": True},
    }
