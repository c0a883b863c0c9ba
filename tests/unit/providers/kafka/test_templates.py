"""Names of topics that are put together from records."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.providers.kafka.templates import Misfit, problem_of, template_of, value_at


def test_a_name_without_braces_is_fixed() -> None:
    template = template_of("orders")

    assert template.is_fixed
    assert template.topic(None, None) == "orders"


def test_fields_and_headers_stand_in_a_name() -> None:
    template = template_of("{header:tenant}.orders-{at.region}-{n}")

    assert template.topic({"at": {"region": "eu"}, "n": 7}, {"tenant": "acme"}) == "acme.orders-eu-7"
    assert template.needs_fields
    assert not template_of("orders-{header:tenant}").needs_fields


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "no field 'region'"),
        (None, "no field 'region'"),
        ([1], "no field 'region'"),
        ({"region": None}, "neither text nor a whole number"),
        ({"region": True}, "neither text nor a whole number"),
        ({"region": 1.5}, "neither text nor a whole number"),
        ({"region": "e/u"}, "no name of a topic"),
        ({"region": "x" * 250}, "no name of a topic"),
    ],
)
def test_a_record_that_gives_no_name_is_told_why(document: Any, told: str) -> None:
    with pytest.raises(Misfit, match=told):
        template_of("orders-{region}").topic(document, None)


def test_a_header_that_is_missing_is_told() -> None:
    with pytest.raises(Misfit, match="no header 'tenant'"):
        template_of("orders-{header:tenant}").topic({}, {})


@pytest.mark.parametrize("resource", ["orders", "{a}", "a-{b.c}-{header:d}", "a.b_c-D"])
def test_what_can_be_a_topic(resource: str) -> None:
    assert problem_of(resource) is None


@pytest.mark.parametrize("resource", ["a b", "ä", "{", "a}", "{}", "{header:}", "{{a}}", "x" * 250, ".", "a/{b}"])
def test_what_can_be_none(resource: str) -> None:
    assert problem_of(resource)


def test_a_field_with_dots_in_its_name_comes_before_one_inside_of_others() -> None:
    assert value_at({"a.b": 1, "a": {"b": 2}}, "a.b") == 1
    assert value_at({"a": {"b": {"c": 3}}}, "a.b.c") == 3
