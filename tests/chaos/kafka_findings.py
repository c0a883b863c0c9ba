"""What must be true of records that have arrived by key."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Any

from tests.chaos import findings
from tests.chaos.kafka_feed import Offsets, Row, key_of


def faults(
    arrived: Sequence[dict[str, Any]], rows: Sequence[Row], count: int, *, is_once: bool
) -> dict[str, Sequence[object]]:
    """What is wrong with that which has arrived of so many records; `rows`: the same as messages, where they are."""
    numbers = [each["n"] for each in arrived]
    found: dict[str, Sequence[object]] = {
        "lost": findings.missing(arrived, count),
        "invented": invented(numbers, count),
        "altered": findings.altered(arrived),
        "out of order": out_of_order(numbers),
        "astray": astray(rows, numbers) if rows else (),
        "twice": twice(numbers) if is_once else (),
    }
    return {what: those for what, those in found.items() if those}


def out_of_order(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Of the same key, neighbours among the first occurrences that stand the wrong way round."""
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for each in dict.fromkeys(numbers):
        by_key[key_of(each)].append(each)
    return [(one, two) for those in by_key.values() for one, two in pairwise(those) if two < one]


def twice(numbers: Sequence[int]) -> list[int]:
    """Numbers that are there more than once."""
    return [number for number, count in Counter(numbers).items() if count > 1]


def invented(numbers: Sequence[int], count: int) -> list[int]:
    """Numbers that nobody has written."""
    return [each for each in numbers if not 0 <= each < count]


def astray(rows: Sequence[Row], numbers: Sequence[int]) -> list[int]:
    """Numbers whose message has another key than they were given, or stands in another partition than their key."""
    homes: dict[bytes, int] = {}
    return [
        number
        for row, number in zip(rows, numbers, strict=True)
        if row.key != key_of(number) or homes.setdefault(row.key, row.partition) != row.partition
    ]


def not_covered(source: Sequence[Row], numbers: Sequence[int], offsets: Offsets, there: AbstractSet[int]) -> list[int]:
    """Numbers before these offsets of the source that are not there; `numbers`: of the source's rows."""
    covered = {
        number for row, number in zip(source, numbers, strict=True) if row.offset < offsets.get(row.partition, 0)
    }
    return sorted(covered - there)
