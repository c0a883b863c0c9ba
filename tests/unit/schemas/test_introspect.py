"""Schemas of sampled documents: which variants there are, in which order, and that no value shows unasked."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mstream.schemas.introspect import DEEPEST, infer

Document = dict[str, Any]

NAMES = st.sampled_from(["a", "b", "c", "a.b"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4), min_size=1, max_size=8)


def only(documents: list[Document], **options: Any) -> Document:
    """The schema of documents that have one form."""
    (variant,) = infer(documents, **options)
    assert variant.count == len(documents)
    return dict(variant.schema)


def field(*values: Any, name: str = "x", **options: Any) -> Document:
    found: Document = only([{name: each} for each in values], **options)["properties"][name]
    return found


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (True, {"type": "boolean"}),
        (7, {"type": "integer"}),
        (1.5, {"type": "number"}),
        ("a", {"type": "string"}),
        (None, {"type": "null"}),
        ([], {"type": "array"}),
        ([1], {"type": "array", "items": {"type": "integer"}}),
        ([1, None], {"type": "array", "items": {"type": ["integer", "null"]}}),
        ([1, "a"], {"type": "array", "items": {"oneOf": [{"type": "integer"}, {"type": "string"}]}}),
        ({}, {"type": "object", "properties": {}, "required": []}),
        ({"y": 1}, {"type": "object", "properties": {"y": {"type": "integer"}}, "required": ["y"]}),
    ],
)
def test_what_each_type_is(value: Any, schema: Document) -> None:
    assert field(value) == schema


def test_a_field_that_is_not_always_there_is_not_required() -> None:
    schema = only([{"a": 1, "b": 1}, {"a": 2}])

    assert schema["required"] == ["a"]
    assert list(schema["properties"]) == ["a", "b"]


def test_inside_of_a_document_that_is_not_always_there_fields_are_required_of_it() -> None:
    schema = only([{"inner": {"a": 1}}, {"inner": {"a": 2}}, {}])

    assert schema["required"] == []
    assert schema["properties"]["inner"]["required"] == ["a"]


def test_null_beside_another_type_is_no_variant() -> None:
    assert field(1, None) == {"type": ["integer", "null"]}
    assert field({"a": 1}, None)["oneOf"][1] == {"type": "null"}


def test_documents_of_several_types_at_one_path_are_variants_by_their_share() -> None:
    documents = [{"a": {"b": 1}}] * 3 + [{"a": {"b": "x"}}] * 5 + [{"a": {}}] * 2

    found = infer(documents)

    assert [each.count for each in found] == [5, 3, 2]
    inner = [each.schema["properties"]["a"]["properties"] for each in found]
    assert inner == [{"b": {"type": "string"}}, {"b": {"type": "integer"}}, {}]


def test_a_name_with_a_dot_is_no_path() -> None:
    found = infer([{"a.b": 1, "a": {"b": "x"}}])

    assert len(found) == 1
    assert list(found[0].schema["properties"]) == ["a", "a.b"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("customer_id", "60002e5e19e23b5c08a6c03c", "objectid"),
        ("customer", "60002e5e19e23b5c08a6c03c", None),
        ("at", "2026-01-02T03:04:05.678Z", "date-time"),
        ("contact", "ann@example.com", "email"),
        ("contact", "ann", None),
    ],
)
def test_what_texts_are_is_told_where_all_of_them_are(name: str, value: str, told: str | None) -> None:
    assert field(value, value, name=name).get("format") == told
    assert "format" not in field(value, "other", name=name)


def test_values_show_where_they_are_asked_for() -> None:
    assert field("new", "paid", "new", "paid", shows_values=True)["enum"] == ["new", "paid"]
    assert field("new", "paid", "new", "paid", None, shows_values=True)["enum"] == ["new", "paid", None]
    assert field(3, 1, 2, shows_values=True) == {"type": "integer", "minimum": 1, "maximum": 3}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("state", ["new", "paid", "once"]),
        ("state", [f"value {each // 2}" for each in range(22)]),
        ("state", ["60002e5e19e23b5c08a6c03c", "60002e5e19e23b5c08a6c03d"] * 2),
        ("state", ["x" * 51, "y"] * 2),
        ("LastName", ["Ann", "Tim"] * 2),
        ("salary", [1000, 2000]),
    ],
)
def test_values_that_are_rare_or_tell_of_people_never_show(name: str, values: list[Any]) -> None:
    assert set(field(*values, name=name, shows_values=True)) == {"type"}


def test_what_lies_too_deep_is_not_looked_into() -> None:
    document: Document = {}
    inner = document
    for _ in range(3 * DEEPEST):
        inner["a"] = {}
        inner = inner["a"]

    assert json.dumps(only([document])).count('"a"') <= 2 * DEEPEST


@given(DOCUMENTS, st.integers())
def test_the_same_documents_have_the_same_schemas_in_whatever_order(documents: list[Document], seed: int) -> None:
    shuffled = list(documents)
    random.Random(seed).shuffle(shuffled)

    found = infer(documents)

    assert sum(each.count for each in found) == len(documents)
    assert [each.count for each in found] == sorted((each.count for each in found), reverse=True)
    assert json.dumps([each.schema for each in found]) == json.dumps([each.schema for each in infer(shuffled)])


@given(DOCUMENTS)
def test_a_path_has_one_type_in_a_variant(documents: list[Document]) -> None:
    def check(schema: Document) -> None:
        for inner in schema.get("properties", {}).values():
            kinds = [each for each in inner.get("oneOf", [inner]) if each["type"] != "null"]
            assert len(kinds) <= 1
            for each in kinds:
                check(each)

    for each in infer(documents):
        check(dict(each.schema))


@given(
    st.lists(st.dictionaries(NAMES, st.integers(10**12, 10**13) | st.text("xyz", min_size=9), max_size=4), min_size=1)
)
def test_no_value_shows_unasked(documents: list[Document]) -> None:
    told = json.dumps([each.schema for each in infer(documents)])

    assert not any(str(value) in told for each in documents for value in each.values())
