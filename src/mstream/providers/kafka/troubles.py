"""What a reader has to hear of, and what it cannot get over by waiting."""

from __future__ import annotations

from mstream.errors import MstreamError, PositionLost, ResourceMissing

from .service import KafkaService


class Trouble:
    """What has gone wrong last."""

    def __init__(self) -> None:
        self._error: MstreamError | None = None
        self._is_for_good = False

    def note(self, error: MstreamError, *, for_good: bool) -> None:
        """After one for good nothing else counts."""
        if not self._is_for_good:
            self._error, self._is_for_good = error, for_good

    def told(self) -> MstreamError | None:
        """What nobody was told yet; one for good is told again and again."""
        error = self._error
        if not self._is_for_good:
            self._error = None
        return error


def place_lost(service: KafkaService, topic: str, partition: int, offset: int | None) -> PositionLost:
    """A partition has no message with the offset at which it was to be read on."""
    where = service.named(f"topic {topic!r}, partition {partition}")
    message = (
        f"{where}: it has no message with offset {offset} any more, or not yet, and what came after is lost; reset the"
        " job's checkpoint, or set on_position_lost = 'earliest' or 'latest'"
    )
    return PositionLost(message)


def topic_made_anew(service: KafkaService, topic: str, partition: int, offset: int | None) -> PositionLost:
    """A topic was deleted, and another one has its name."""
    where = service.named(f"topic {topic!r}, partition {partition}")
    message = (
        f"{where}: the topic was made anew since offset {offset} of it was read, and what came after is lost; reset the"
        " job's checkpoint, or set on_position_lost = 'earliest' or 'latest'"
    )
    return PositionLost(message)


def no_such_topic(service: KafkaService, topic: str) -> ResourceMissing:
    """A topic is not there, or not any more."""
    where = service.named(f"topic {topic!r}")
    return ResourceMissing(f"{where}: there is no such topic; create it, or set on_missing_topic = 'wait'")
