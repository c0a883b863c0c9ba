"""Where two definitions differ, and their hashes."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.control.differences import changes, definition_hash, file_hash
from mstream.domain.connector import ConnectorSpec
from tests.unit.control.situations import connector

TWO_SINKS = [{"service_name": "files", "resource": name} for name in ("a-out", "more")]


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, ()),
        ({"enabled": False}, ()),
        ({"resource": "x"}, ("source.resource",)),
        ({"sinks": TWO_SINKS}, ("sinks.1",)),
        ({"batch": {"size": 10}, "on_error": "skip"}, ("batch", "on_error")),
        ({"retry": {"max_attempts": 3}}, ("retry.max_attempts",)),
        ({"sinks": [{**TWO_SINKS[0], "options": {"x": 1}}]}, ("sinks.0.options",)),
    ],
)
def test_changes_are_the_paths_that_differ(fields: dict[str, Any], wanted: tuple[str, ...]) -> None:
    before, after = connector("a"), connector("a", **fields)

    assert changes(before, after) == wanted
    assert changes(after, before) == wanted
    assert (definition_hash(before) == definition_hash(after)) == (not wanted)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), ("1", 1), ([1], [1, 2]), ({"x": None}, {"x": 0})])
def test_values_of_options_are_compared_as_they_are_written(one: object, other: object) -> None:
    def with_option(value: object) -> ConnectorSpec:
        return connector("a", sinks=[{**TWO_SINKS[0], "option": value}])

    assert changes(with_option(one), with_option(other)) != ()
    assert changes(with_option(one), with_option(one)) == ()


def test_null_is_the_same_as_absent() -> None:
    assert changes(connector("a", batch=None), connector("a")) == ()
    assert changes(connector("a", sinks=[{**TWO_SINKS[0], "option": None}]), connector("a")) == ()


def test_the_order_of_keys_is_of_no_account() -> None:
    one = connector("a", sinks=[{**TWO_SINKS[0], "x": 1, "y": 2}])
    other = connector("a", sinks=[{"y": 2, "x": 1, **TWO_SINKS[0]}])

    assert definition_hash(one) == definition_hash(other)


def test_the_hash_of_a_file_covers_enabled_and_not_the_order() -> None:
    a, b = connector("a"), connector("b")

    assert file_hash([a, b]) == file_hash([b, a])
    assert file_hash([a, b]) != file_hash([a, connector("b", enabled=False)])
    assert file_hash([a, b]) != file_hash([a])


def test_a_key_that_looks_like_a_value_is_not_shown() -> None:
    slipped = connector("a", sinks=[{**TWO_SINKS[0], "mongodb://u:s3cr3t@host": 1}])

    (path,) = changes(connector("a"), slipped)

    assert "s3cr3t" not in path
    assert path.startswith("sinks.0.")
