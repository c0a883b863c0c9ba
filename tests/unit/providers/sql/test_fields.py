"""The records of a batch, field by field: all alike, or not."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.providers.sql.columns import Column, Kind, fitted
from mstream.providers.sql.config import Dialect
from mstream.providers.sql.planning import Fields


def test_records_with_the_same_fields_are_taken_together() -> None:
    fields = Fields.of([{"a": 1, "b": "x"}, {"b": None, "a": 2.5}])

    assert {name: list(each) for name, each in fields.values.items()} == {"a": [1, 2.5], "b": ["x", None]}
    assert fields.types == {"a": {int, float}, "b": {str, type(None)}}
    assert fields.uniform


@pytest.mark.parametrize(
    "records",
    [
        [{"a": 1, "b": 2}, {"a": 3}],
        [{"a": 1}, {"b": 2}],
        [{"a": 1, "b": 2}, {"a": 3, "c": 4}],
        [{}, {"a": 1}],
    ],
)
def test_records_with_different_fields_have_nothing_where_one_is_missing(records: list[dict[str, Any]]) -> None:
    fields = Fields.of(records)

    names = list(dict.fromkeys(name for each in records for name in each))
    assert list(fields.values) == names
    assert {name: list(each) for name, each in fields.values.items()} == {
        name: [each.get(name) for each in records] for name in names
    }
    assert not fields.uniform


def test_a_single_field_is_no_special_case() -> None:
    assert list(Fields.of([{"a": (1, 2)}, {"a": 3}]).values["a"]) == [(1, 2), 3]


def test_no_records_have_no_fields() -> None:
    assert dict(Fields.of([]).values) == {}


@pytest.mark.parametrize(("dialect", "expected"), [(Dialect.SQLITE, int), (Dialect.POSTGRESQL, bool)])
def test_booleans_go_to_the_driver_as_it_takes_them_fastest(dialect: Dialect, expected: type) -> None:
    values, misfits = fitted([True, None, False], {bool, type(None)}, Column(name="paid", kind=Kind.BOOLEAN), dialect)

    assert list(values) == [True, None, False]
    assert [type(each) for each in values if each is not None] == [expected, expected]
    assert not misfits
