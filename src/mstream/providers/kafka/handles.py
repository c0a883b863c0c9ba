"""What a source gives to a sink that commits its places: who is in its group, and how a place is noted there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import TopicPartition

from mstream.domain.checkpoint import Lane, Position

from .offsets import offset_in


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHandle:
    """A member of a group, in one of its generations."""

    #: As the client has it.
    group: Any
    #: What is noted beside each offset.
    note: str | None

    def offsets(self, positions: Mapping[Lane, Position | None]) -> list[TopicPartition]:
        """What the group is to keep."""
        found = []
        for lane, position in positions.items():
            topic, _, partition = lane.rpartition("/")
            offset = offset_in(position)
            if offset is not None:
                found.append(noted_at(topic, int(partition), offset, self.note))
        return found


def noted_at(topic: str, partition: int, offset: int, note: str | None) -> TopicPartition:
    """An offset as it is committed."""
    if note is None:
        return TopicPartition(topic, partition, offset)
    return TopicPartition(topic, partition, offset, note)
