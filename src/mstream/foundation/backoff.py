"""Exponential delays with jitter, as an iterator."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random


def delays(*, base_ms: int, max_ms: int, random: Random) -> Iterator[float]:
    """Seconds to wait before each next attempt, without end.

    Doubles from `base_ms` up to `max_ms`; each is cut at random by up to a half, so that
    many that failed together do not come back together.
    """
    ceiling = float(base_ms)
    while True:
        yield ceiling * (0.5 + random.random() / 2) / 1000
        ceiling = min(ceiling * 2, float(max_ms))
