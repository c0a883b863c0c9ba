"""Where a job stands: positions by lane, the checkpoint that keeps them, and where the job stood before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote, unquote

from mstream.domain.audit import Actor

#: One independent order of a source: a file, a partition. "" where there is only one.
Lane = str

#: Where a source stands in one lane: a JSON value, opaque outside its provider.
Position = Any

#: How many waypoints a checkpoint keeps, and how large all of them together may become as JSON.
KEPT_WAYPOINTS: Final = 20
LARGEST_HISTORY: Final = 256 * 1024


class Begin(StrEnum):
    """Where a job without any position begins."""

    #: As the source's options say.
    CONFIGURED = ""
    BEGINNING = "beginning"
    #: With what comes after the start.
    NOW = "now"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waypoint:
    """Where a job stood once."""

    positions: Mapping[Lane, Position]
    fingerprint: str = ""
    epoch: int = 0
    #: Also the number by which it is called: it grows through the whole life of a job's checkpoint.
    sequence: int = 0
    run_id: str = ""
    #: RFC 3339, UTC.
    saved_at: str = ""
    begin: Begin = Begin.CONFIGURED
    #: Who put the job there, and why; None: it came there by running.
    by: Actor | None = None
    reason: str = ""

    def is_same_place(self, other: Waypoint) -> bool:
        """Whether a job would go on from the same positions of the same source."""
        return (self.positions, self.fingerprint, self.begin) == (other.positions, other.fingerprint, other.begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Positions that every sink has passed, with who wrote them and in which order."""

    job: str
    positions: Mapping[Lane, Position] = field(default_factory=dict)
    #: What the positions belong to; a checkpoint of another source is never used. "" with positions: not known yet.
    fingerprint: str = ""
    epoch: int = 0
    #: Grows with every write, whoever makes it; no clock decides what is newer.
    sequence: int = 0
    run_id: str = ""
    #: RFC 3339, UTC.
    saved_at: str = ""
    #: Holds while there are no positions.
    begin: Begin = Begin.CONFIGURED
    #: The lanes' own documents are older than a reset: what stands in them counts no more.
    voids_lanes: bool = False
    #: Grows whenever the job is put somewhere by hand: what was noted elsewhere under a lower number counts no more.
    resets: int = 0
    #: Where it stood before, the oldest first.
    history: tuple[Waypoint, ...] = ()


def merged(positions: Mapping[Lane, Position], newer: Mapping[Lane, Position | None]) -> dict[Lane, Position]:
    """Put newer positions over older ones; a lane that has ended is left out."""
    both = {**positions, **newer}
    return {lane: position for lane, position in both.items() if position is not None}


def waypoint(
    checkpoint: Checkpoint,
    *,
    positions: Mapping[Lane, Position] | None = None,
    by: Actor | None = None,
    reason: str = "",
) -> Waypoint:
    """Where the job stands now, as it is kept; `positions`: if they stand elsewhere."""
    return Waypoint(
        positions=dict(checkpoint.positions if positions is None else positions),
        fingerprint=checkpoint.fingerprint,
        epoch=checkpoint.epoch,
        sequence=checkpoint.sequence,
        run_id=checkpoint.run_id,
        saved_at=checkpoint.saved_at,
        begin=checkpoint.begin,
        by=by,
        reason=reason,
    )


def passed(history: Sequence[Waypoint], newest: Waypoint) -> tuple[Waypoint, ...]:
    """The history with one more, within its bounds; standing still, or nowhere, adds nothing.

    A job that fails again and again in one place would otherwise push out every place that it could be put back to.
    """
    if newest.by is None and (not newest.positions or (history and newest.is_same_place(history[-1]))):
        return tuple(history)
    kept = [*history, newest][-KEPT_WAYPOINTS:]
    sizes = [len(json.dumps(each.positions)) for each in kept]
    while len(kept) > 1 and sum(sizes) > LARGEST_HISTORY:
        del kept[0], sizes[0]
    return tuple(kept)


def to_document(checkpoint: Checkpoint) -> dict[str, Any]:
    """How a checkpoint is stored: JSON values, field names as on the wire; without its history."""
    document: dict[str, Any] = {
        "job_name": checkpoint.job,
        "positions": dict(checkpoint.positions),
        "fingerprint": checkpoint.fingerprint,
        "epoch": checkpoint.epoch,
        "sequence": checkpoint.sequence,
        "run_id": checkpoint.run_id,
        "saved_at": checkpoint.saved_at,
    }
    if checkpoint.begin:
        document["begin"] = checkpoint.begin.value
    if checkpoint.voids_lanes:
        document["voids_lanes"] = True
    if checkpoint.resets:
        document["resets"] = checkpoint.resets
    return document


def lane_key(job: str, lane: Lane) -> str:
    """The key of a lane's own document; transactions write one per lane.

    A `/` in the job's name is escaped, so that no job's lanes look like another job's.
    """
    return f"{quote(job, safe='')}/{lane}"


def job_key(job: str) -> str:
    """The key of a job's document: its name, escaped where it could be read as the key of another job's lane."""
    return quote(job, safe="") if "/" in job or "%" in job else job


def job_of(key: str) -> str | None:
    """Whose document has this key; None: it is a lane's."""
    if "/" in key:
        return None
    return unquote(key)
