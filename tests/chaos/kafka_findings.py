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
    arrived: Sequence[dict[str, Any]], rows: Sequence[Row], written: Sequence[int], *, is_once: bool
) -> dict[str, Sequence[object]]:
    """What is wrong with that which has arrived of these numbers; `rows`: the same as messages, where they are."""
    numbers = [each["n"] for each in arrived]
    found: dict[str, Sequence[object]] = {
        "lost": lost(numbers, written, is_once=is_once),
        "invented": sorted(set(numbers) - set(written)),
        "altered": findings.altered(arrived),
        "out of order": out_of_order(numbers),
        "astray": astray(rows, numbers) if rows else (),
        "twice": twice(numbers, written) if is_once else (),
    }
    return {what: those for what, those in found.items() if those}


def lost(numbers: Sequence[int], written: Sequence[int], *, is_once: bool) -> list[int]:
    """Numbers that are not there, or where each must be there once, less often than they were written."""
    if not is_once:
        return sorted(set(written) - set(numbers))
    return sorted(Counter(written) - Counter(numbers))


def out_of_order(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Of the same key, neighbours among the first occurrences that stand the wrong way round."""
    by_key: dict[bytes, list[int]] = defaultdict(list)
    for each in dict.fromkeys(numbers):
        by_key[key_of(each)].append(each)
    return [(one, two) for those in by_key.values() for one, two in pairwise(those) if two < one]


def twice(numbers: Sequence[int], written: Sequence[int]) -> list[int]:
    """Numbers that are there more often than they were written: a producer may write one twice when leaders change."""
    more = Counter(numbers) - Counter(written)
    return sorted(set(more) & set(written))


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
