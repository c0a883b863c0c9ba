"""Masks for personal values: they show little, and nothing of what they do not understand.

Every function takes any value. None stays None. A value that is not what the function masks becomes `FIXED_MASK`:
what cannot be recognised is hidden, not passed on. With `strict=True` it raises ValueError instead, so that the
record is refused. The errors never repeat the value.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any, Final

#: Stands for a value that could not be recognised.
FIXED_MASK: Final = "****"

#: Digits of a telephone number that stay.
_PHONE_TAIL = 4
#: With fewer digits than this the tail would be most of the number.
_PHONE_MIN = 7
_PHONE = re.compile(r"[+(]?[\d\s().+/-]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
_DATE = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")


def mask_email(value: Any, *, strict: bool = False) -> str | None:
    """`john@example.com` becomes `j***@example.com`; the domain stays.

    A single character before the `@` is hidden too: `*@example.com`. What is not one address (no `@`, several of
    them, nothing on one side) becomes `****`.
    """
    if value is None:
        return None
    text = value.strip() if isinstance(value, str) else ""
    if not _EMAIL.fullmatch(text):
        return _unrecognised("an e-mail address", strict=strict)
    name, _, domain = text.partition("@")
    return f"*@{domain}" if len(name) == 1 else f"{name[0]}***@{domain}"


def mask_phone(value: Any, *, strict: bool = False) -> str | None:
    """`555-123-4567` becomes `********4567`: one `*` for each character, the last four digits stay.

    Counts characters, whatever their script. A whole number is taken as its digits. A number of fewer than seven
    digits is hidden altogether, character by character; what is no telephone number becomes `****`.
    """
    if value is None:
        return None
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _PHONE.fullmatch(text.strip()):
        return _unrecognised("a telephone number", strict=strict)
    text = text.strip()
    places = [at for at, each in enumerate(text) if each.isdigit()]
    if not places:
        return _unrecognised("a telephone number", strict=strict)
    shown = set(places[-_PHONE_TAIL:]) if len(places) >= _PHONE_MIN else set()
    return "".join(each if at in shown else "*" for at, each in enumerate(text))


def mask_year_only(value: Any, *, strict: bool = False) -> Any:
    """Keeps the year: `1990-05-15` becomes `1990-01-01`, a time becomes the year's first moment.

    The year is the one that the value itself says: `1990-01-01T00:30:00+02:00` stays in 1990 and becomes
    `1990-01-01T00:00:00+02:00`; the offset is kept as it was written. Times without an offset have none afterwards.
    Dates and times come back as such. `{"$date": ...}` comes back in the same shape, in UTC. A whole number could be
    anything and becomes `****`, as does every other notation.
    """
    if value is None:
        return None
    masked = _year_of(value)
    return _unrecognised("a date", strict=strict) if masked is None else masked


def _year_of(value: Any) -> Any:
    """The masked value in the shape of the given one; None: it is no date."""
    match value:
        case str():
            return _year_of_text(value.strip())
        case datetime():
            return value.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
        case date():
            return value.replace(month=1, day=1)
        case {"$date": inner} if len(value) == 1:
            masked = _year_of_extended(inner)
            return None if masked is None else {"$date": masked}
    return None


def _year_of_extended(inner: Any) -> Any:
    """What stands in `$date`: a text, milliseconds, or milliseconds in a `$numberLong`."""
    match inner:
        case str():
            return _year_of_text(inner)
        case {"$numberLong": str() as text} if len(inner) == 1:
            moment = _year_of_milliseconds(text)
            return None if moment is None else {"$numberLong": str(moment)}
        case bool():
            return None
        case int():
            return _year_of_milliseconds(inner)
    return None


def _year_of_text(text: str) -> str | None:
    found = _DATE.fullmatch(text)
    try:
        if found:
            year, month, day = map(int, found.groups())
            return date(year, month, day).replace(month=1, day=1).isoformat()
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if len(text) <= len("1990-05-15"):
        return None
    first = moment.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    masked = first.isoformat(sep=" " if " " in text else "T")
    return f"{masked.removesuffix('+00:00')}Z" if text[-1] in "zZ" else masked


def _year_of_milliseconds(value: str | int) -> int | None:
    try:
        moment = datetime.fromtimestamp(int(value) / 1000, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return int(datetime(moment.year, 1, 1, tzinfo=UTC).timestamp() * 1000)


def _unrecognised(what: str, *, strict: bool) -> str:
    if strict:
        message = f"the value is not {what}"
        raise ValueError(message)
    return FIXED_MASK
