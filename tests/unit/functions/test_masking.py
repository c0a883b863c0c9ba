"""Masks hide, above all what they do not recognise."""

import datetime as dt
from typing import Any

import pytest

from mstream.functions import FIXED_MASK, mask_email, mask_phone, mask_year_only

MASKS = [mask_email, mask_phone, mask_year_only]


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("john@example.com", "j***@example.com"),
        ("jo@example.com", "j***@example.com"),
        ("j@example.com", "*@example.com"),
        ("é@example.com", "*@example.com"),
        ("élan@example.com", "é***@example.com"),
        ("  john@example.com ", "j***@example.com"),
        ("a@b@c", FIXED_MASK),
        ("john.example.com", FIXED_MASK),
        ("@example.com", FIXED_MASK),
        ("john@", FIXED_MASK),
        ("John Doe <john@example.com>", FIXED_MASK),
        ("", FIXED_MASK),
        (["john@example.com"], FIXED_MASK),
        (5, FIXED_MASK),
    ],
)
def test_an_email_keeps_its_first_character_and_domain(value: Any, masked: str) -> None:
    assert mask_email(value) == masked


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("555-123-4567", "********4567"),
        ("+372 5123 4567", "**********4567"),
        ("(020) 7946 0958", "***********0958"),
        ("5551234", "***1234"),
        (5551234567, "******4567"),
        ("020 7946 0958 ext 12", FIXED_MASK),
        ("12345", "*****"),
        ("112", "***"),
        ("12é456", FIXED_MASK),
        ("\uff15\uff15\uff15\uff11\uff12\uff13\uff14\uff15\uff16\uff17", "******\uff14\uff15\uff16\uff17"),
        ("call me", FIXED_MASK),
        ("", FIXED_MASK),
        ("---", FIXED_MASK),
        (True, FIXED_MASK),
        (5.5, FIXED_MASK),
        ({"number": "555"}, FIXED_MASK),
    ],
)
def test_a_telephone_number_keeps_its_last_four_digits(value: Any, masked: str) -> None:
    assert mask_phone(value) == masked


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        ("1990-05-15", "1990-01-01"),
        ("1990-5-1", "1990-01-01"),
        ("1990-05-15T10:20:30Z", "1990-01-01T00:00:00Z"),
        ("1990-05-15 10:20:30+00:00", "1990-01-01 00:00:00+00:00"),
        ("1990-01-01T00:30:00+02:00", "1990-01-01T00:00:00+02:00"),
        ("1990-05-15T10:20:30.123456", "1990-01-01T00:00:00"),
        (dt.date(1990, 5, 15), dt.date(1990, 1, 1)),
        (dt.datetime(1990, 5, 15, 3, 4, 5, 6, tzinfo=dt.UTC), dt.datetime(1990, 1, 1, tzinfo=dt.UTC)),
        ({"$date": {"$numberLong": "642766830000"}}, {"$date": {"$numberLong": "631152000000"}}),
        ({"$date": 642766830000}, {"$date": 631152000000}),
        ({"$date": "1990-05-15T10:20:30Z"}, {"$date": "1990-01-01T00:00:00Z"}),
        ({"$date": {"$numberLong": "-1"}}, {"$date": {"$numberLong": "-31536000000"}}),
        ({"$date": {"$numberLong": "9" * 30}}, FIXED_MASK),
        ({"$date": True}, FIXED_MASK),
        ({"$date": "1990-05-15", "more": 1}, FIXED_MASK),
        ("05/15/1990", FIXED_MASK),
        ("1990-02-30", FIXED_MASK),
        ("19900515", FIXED_MASK),
        ("born in 1990", FIXED_MASK),
        (19900515, FIXED_MASK),
        ("", FIXED_MASK),
    ],
)
def test_a_date_keeps_its_year(value: Any, masked: Any) -> None:
    assert mask_year_only(value) == masked


@pytest.mark.parametrize("mask", MASKS)
def test_null_stays_null(mask: Any) -> None:
    assert mask(None) is None
    assert mask(None, strict=True) is None


@pytest.mark.parametrize("mask", MASKS)
def test_a_strict_mask_raises_and_does_not_repeat_the_value(mask: Any) -> None:
    with pytest.raises(ValueError, match="the value is not") as caught:
        mask("s3cr3t", strict=True)

    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(
    "value", ["s3cr3t", 5.5, b"s3cr3t", ["s3cr3t"], {"a": "s3cr3t"}, True, float("nan"), "٣٤" * 3, "\ud800"]
)
def test_what_is_not_recognised_never_comes_through(mask: Any, value: Any) -> None:
    assert set(mask(value)) == {"*"}
