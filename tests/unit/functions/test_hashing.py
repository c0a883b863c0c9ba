"""Hashes are the same for the same value."""

import datetime as dt
import decimal
import hashlib
import uuid
from typing import Any

import pytest

from mstream.functions import hash_sha256, hmac_sha256

KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("abc", "abc"),
        (b"abc", "abc"),
        ("", ""),
        ("é", "é"),
        (5, "5"),
        ("5", "5"),
        (1.0, "1.0"),
        (1e20, "1e+20"),
        (-0.0, "0.0"),
        (2**70, str(2**70)),
        (True, "true"),
        ([1, "a", None], '[1,"a",null]'),
        ({"b": 1, "a": "é"}, '{"a":"é","b":1}'),
        ((1, 2), "[1,2]"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (decimal.Decimal("1.50"), "1.50"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ],
)
def test_a_value_is_hashed_as_its_canonical_text(value: Any, text: str) -> None:
    assert hash_sha256(value) == hashlib.sha256(text.encode()).hexdigest()


def test_a_known_hash_is_met() -> None:
    assert hash_sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_order_of_fields_does_not_matter_and_that_of_elements_does() -> None:
    assert hash_sha256({"a": {"x": 1, "y": 2}, "b": 3}) == hash_sha256({"b": 3, "a": {"y": 2, "x": 1}})
    assert hash_sha256([1, 2]) != hash_sha256([2, 1])


def test_a_keyed_hash_is_the_standard_one() -> None:
    known = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"

    assert hmac_sha256("Hi There", b"\x0b" * 20) == known


def test_a_keyed_hash_depends_on_its_key() -> None:
    assert hmac_sha256("5551234", KEY) != hmac_sha256("5551234", KEY[::-1])
    assert hmac_sha256("5551234", KEY) != hash_sha256("5551234")
    assert hmac_sha256(5551234, KEY) == hmac_sha256("5551234", KEY.encode())


def test_null_stays_null() -> None:
    assert hash_sha256(None) is None
    assert hmac_sha256(None, KEY) is None


@pytest.mark.parametrize("value", ["x", None])
def test_a_key_that_is_too_short_is_refused_and_not_shown(value: Any) -> None:
    with pytest.raises(ValueError, match="at least 16") as caught:
        hmac_sha256(value, "s3cr3t")

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("value", [object(), {1: 2}, {"a": {1, 2}}, 1j])
def test_what_has_no_canonical_text_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        hash_sha256(value)


@pytest.mark.parametrize("value", ["\ud800", {"\ud800": "\udc00"}, float("nan")])
def test_odd_values_have_a_hash_too(value: Any) -> None:
    assert len(hash_sha256(value) or "") == 64
