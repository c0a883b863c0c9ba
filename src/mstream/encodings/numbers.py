"""Numbers in JSON that a double cannot hold, kept as they were written."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Self

#: A fraction of up to 15 digits and its point: it survives the way through a double.
_SURE = 16


class ExactNumber(float):
    """A fraction with more digits, or a larger exponent, than a double has.

    Scripts and typed sinks see the nearest double (which may be infinite); written as JSON
    again, it is the text that it came as.
    """

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """The number that the text spells."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __reduce__(self) -> tuple[type[ExactNumber], tuple[str]]:
        return ExactNumber, (self.text,)


def number(text: str) -> float:
    """A double where that says the same, else an ExactNumber; called for every fraction that is read."""
    value = float(text)
    if len(text) <= _SURE and "e" not in text and "E" not in text:
        return value
    return ExactNumber(text) if _differs(value, text) else value


def _differs(value: float, text: str) -> bool:
    shortest = repr(value)
    if shortest == text:
        return False
    try:
        return Decimal(shortest) != Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return True
