"""What must be true of that which arrived."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.chaos.stream import record


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and how far the flow was."""

    whom: str
    #: The extent was growing just before.
    mid_flow: bool
    #: How many records were there a few intervals earlier, and right after it.
    earlier: int
    after: int


def missing(arrived: Sequence[dict[str, Any]], count: int) -> list[int]:
    """Numbers that did not arrive."""
    return sorted(set(range(count)) - {each["n"] for each in arrived})


def altered(arrived: Sequence[dict[str, Any]]) -> list[int]:
    """Numbers whose content, or the order of whose fields, is not what was written."""
    return [each["n"] for each in arrived if list(each.items()) != list(record(each["n"]).items())]


def out_of_order(arrived: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Neighbours among the first occurrences that stand the wrong way round."""
    firsts = list(dict.fromkeys(each["n"] for each in arrived))
    return [(one, two) for one, two in pairwise(firsts) if two < one]


def repeated(arrived: Sequence[dict[str, Any]]) -> int:
    """How many arrived more than once, counted as often."""
    return len(arrived) - len({each["n"] for each in arrived})


def unbounded(arrived: Sequence[dict[str, Any]], kills: Sequence[Kill], window: int) -> list[str]:
    """Kills that were followed by more repeats than the flow of a few intervals and the in-flight window."""
    found = []
    ends = [*(each.after for each in kills[1:]), len(arrived)]
    for number, (kill, end) in enumerate(zip(kills, ends, strict=True)):
        before = {each["n"] for each in arrived[: kill.after]}
        repeats = sum(each["n"] in before for each in arrived[kill.after : end])
        allowed = kill.after - kill.earlier + window
        if repeats > allowed:
            found.append(f"kill {number} ({kill.whom}): {repeats} repeats, {allowed} allowed")
    return found


def ahead(checkpoint: int, numbers: AbstractSet[int]) -> list[int]:
    """Numbers that a checkpoint covers, as so many records, and that are not there."""
    return sorted(set(range(checkpoint)) - numbers)
