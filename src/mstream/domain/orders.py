"""What a run is asked for while it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOrder:
    """Read what is there once more, beside what happens; or do so no longer."""

    #: The part of the resource, as its source calls it; "": all of it.
    collection: str = ""
    #: Which of it, as a JSON object that the source understands; "": all of it.
    filter: str = ""
    #: What is being read on such an order is read no further; the fields above say nothing then.
    cancels: bool = False
