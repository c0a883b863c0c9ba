"""What a reader cannot get over by waiting, and what to do."""

from __future__ import annotations

from mstream.errors import PositionLost, ResourceMissing

from .service import KafkaService


def place_lost(service: KafkaService, topic: str, partition: int, offset: int | None) -> PositionLost:
    """A partition has no message with the offset at which it was to be read on."""
    where = service.named(f"topic {topic!r}, partition {partition}")
    message = (
        f"{where}: it has no message with offset {offset} any more, or not yet, and what came after is lost; reset the"
        " job's checkpoint, or set on_position_lost = 'earliest' or 'latest'"
    )
    return PositionLost(message)


def no_such_topic(service: KafkaService, topic: str) -> ResourceMissing:
    """A topic is not there, or not any more."""
    where = service.named(f"topic {topic!r}")
    return ResourceMissing(f"{where}: there is no such topic; create it, or set on_missing_topic = 'wait'")
