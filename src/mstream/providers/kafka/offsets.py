"""Where a partition begins: what is stored, what its group has noted, and what the options say; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from mstream.domain.checkpoint import Lane, Position

from .reading import KafkaSourceOptions, Start

#: Offsets that a group keeps carry a note: how often the job had been put somewhere by hand when they were noted.
_NOTE: Final = re.compile(r"mstream resets=(\d+)")
_NEXT: Final = "next_offset"
_TOPIC: Final = "topic_id"


class Edge(Enum):
    """An end of a partition, whose offset has to be asked for."""

    FIRST = "first"
    #: Behind the last message.
    END = "end"


@dataclass(frozen=True, slots=True)
class AtTime:
    """The first message of that time or later, else the end; milliseconds since the epoch."""

    ms: int


#: Where to begin: at an offset, or at a place that has one.
Place = int | Edge | AtTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What the group keeps for a partition."""

    offset: int
    #: Of the job, when it was noted; 0 for whoever else noted it.
    resets: int = 0


def noted(offset: int, metadata: str | None) -> Noted | None:
    """What a group's committed offset says; None: nothing is committed."""
    if offset < 0:
        return None
    found = _NOTE.fullmatch(metadata or "")
    return Noted(offset=offset, resets=int(found[1]) if found else 0)


def note(resets: int) -> str | None:
    """What is committed beside an offset; nothing for a job that nobody has put anywhere."""
    return f"mstream resets={resets}" if resets else None


def offset_in(position: Position) -> int | None:
    """The offset of a stored position; None: it is none of a partition."""
    match position:
        case {"next_offset": int(offset)} if not isinstance(offset, bool) and offset >= 0:
            return offset
    return None


def topic_in(position: Position) -> str | None:
    """The id of the topic that a stored position was in; None: nobody knew it."""
    found = position.get(_TOPIC) if isinstance(position, Mapping) else None
    return found if isinstance(found, str) else None


def beginning(
    lane: Lane,
    *,
    stored: int | None,
    group: Noted | None,
    resets: int,
    is_new: bool,
    is_copy: bool = False,
    options: KafkaSourceOptions,
    now_ms: int,
) -> Place:
    """The later of what is stored and what the group has noted; where there is neither, as the options say.

    What the group noted before the job was last put somewhere by hand counts no more, but shows that the partition was
    there. `is_new`: the job has read other partitions before; one that nobody knows was added since, and all of it is
    read. `is_copy`: what is stored is a copy of what the group had noted.
    """
    known = [stored] if stored is not None else []
    if group is not None and group.resets >= resets:
        known = [group.offset] if is_copy else [*known, group.offset]
    if known:
        return max(known)
    return Edge.FIRST if is_new and group is None else _as_told(lane, options, now_ms)


def _as_told(lane: Lane, options: KafkaSourceOptions, now_ms: int) -> Place:
    # Times before the epoch have a meaning of their own to brokers.
    if options.offset_seek_back_seconds is not None:
        return AtTime(max(0, now_ms - options.offset_seek_back_seconds * 1000))
    if options.start_timestamp is not None:
        return AtTime(max(0, int(options.start_timestamp.timestamp() * 1000)))
    if options.start is Start.LATEST:
        return Edge.END
    return options.start_offsets.get(lane, Edge.FIRST)


def refused(lane: Lane, position: Any) -> str | None:
    """Why this cannot be the stored position of that lane; None: it can."""
    topic, _, partition = lane.rpartition("/")
    if not topic or not partition.isdigit():
        return "its lanes are called TOPIC/PARTITION"
    if offset_in(position) is None or (isinstance(position, Mapping) and set(position) - {_TOPIC} != {_NEXT}):
        return 'it takes {"next_offset": N}, the offset of the first message that is to come'
    return None
