"""What a source gives to a sink that commits its places: who is in its group, and how a place is noted there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from confluent_kafka import TopicPartition

from mstream.domain.checkpoint import Lane, Position

from .offsets import offset_in

_MARK: Final = b"CGMDv2:"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHandle:
    """A member of a group, in one of its generations."""

    #: As the client has it.
    group: bytes
    #: What is noted beside each offset.
    note: str | None

    @property
    def has_generation(self) -> bool:
        """Whether it is a member's at this moment.

        Between two generations it is nobody's, and offsets that nobody commits in a transaction a group takes without
        asking whose partitions those are by then.
        """
        return member_of(self.group) is not None

    def offsets(self, positions: Mapping[Lane, Position | None]) -> list[TopicPartition]:
        """What the group is to keep."""
        found = []
        for lane, position in positions.items():
            topic, _, partition = lane.rpartition("/")
            offset = offset_in(position)
            if offset is not None:
                found.append(noted_at(topic, int(partition), offset, self.note))
        return found


def member_of(group: bytes) -> tuple[int, str] | None:
    """The generation and the member in what the client tells of its group; None: it is in none.

    The client's own way of writing it down: a mark, the generation in four bytes, and texts that end with a zero: the
    group, the member.
    """
    if not group.startswith(_MARK):
        message = f"the client tells of its group in a way that is not known: {group[: len(_MARK)]!r}"
        raise ValueError(message)
    start = len(_MARK) + 4
    generation = int.from_bytes(group[len(_MARK) : start], sys.byteorder, signed=True)
    _, member, *_ = group[start:].split(b"\0")
    return (generation, member.decode()) if generation >= 0 and member else None


def noted_at(topic: str, partition: int, offset: int, note: str | None) -> TopicPartition:
    """An offset as it is committed."""
    if note is None:
        return TopicPartition(topic, partition, offset)
    return TopicPartition(topic, partition, offset, note)
