"""What stands in a collection beside its documents, counted by key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mstream.ports.documents import Stray

from .shape import Found


class Census:
    """Takes the documents of a collection, key by key."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, counting: Found, others: Sequence[Found]) -> None:
        """The one that counts, and the others that bear its key."""
        if not counting.key:
            self._counts["", "keyless"] += 1
            return
        if counting.content is None:
            self._counts[counting.key, "damaged"] += 1
        for each in others:
            self._counts[each.key, "newer" if _is_newer(each, counting) else "older"] += 1

    def strays(self) -> list[Stray]:
        """All that were found, by key."""
        return [Stray(key=key, reason=reason, count=count) for (key, reason), count in sorted(self._counts.items())]


def _is_newer(each: Found, counting: Found) -> bool:
    """v0.47 has run again since we have taken over: it goes by this field alone."""
    one, other = each.fields.get("updated_at"), counting.fields.get("updated_at")
    try:
        return one is not None and other is not None and bool(one > other)
    except TypeError:
        return False
