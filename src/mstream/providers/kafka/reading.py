"""Options of a source: what is read, and where a job begins that has no position."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, Field, field_validator, model_validator

from mstream.domain.connector import SourceRef
from mstream.domain.service import RoleOptions

#: What the name of a topic is made of.
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
#: What other regular expressions have and POSIX extended ones, which the client reads, have not.
_FOREIGN = re.compile(r"\\[A-Za-z0-9]|\(\?|[*+?}][?+]|\[[:.=]")


class Start(StrEnum):
    """Where a partition begins that neither the job nor its group has a place in."""

    EARLIEST = "earliest"
    LATEST = "latest"
    TIMESTAMP = "timestamp"
    OFFSETS = "offsets"


class OnPositionLost(StrEnum):
    """What happens when a partition no longer has what came after a stored position."""

    FAIL = "fail"
    EARLIEST = "earliest"
    LATEST = "latest"


class OnMissingTopic(StrEnum):
    """What happens when a topic is not there, or goes."""

    FAIL = "fail"
    WAIT = "wait"


class KafkaSourceOptions(RoleOptions):
    """How topics are read."""

    #: Where a job begins that has no position, in partitions in which its group has none either; without a word at the
    #: earliest message, or as `auto.offset.reset` of the service says.
    start: Start | None = None
    #: With start = "timestamp": the first message of that time or later.
    start_timestamp: AwareDatetime | None = None
    #: With start = "offsets": by TOPIC/PARTITION; partitions that are not there begin at the earliest message.
    start_offsets: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    #: Instead: the first message that is not older than so long before the start.
    offset_seek_back_seconds: int | None = Field(default=None, ge=0)
    #: When a partition no longer has what came after the stored position: the job fails, or goes on at its earliest
    #: message or behind its latest, with a warning.
    on_position_lost: OnPositionLost = OnPositionLost.FAIL
    #: When a topic is not there, or goes: the job fails, or waits for it.
    on_missing_topic: OnMissingTopic = OnMissingTopic.FAIL
    #: The group remembers a member that is away for a short time: a restart moves no partitions.
    static_membership: bool = False

    @property
    def begins_everywhere_at_the_first(self) -> bool:
        """Whether a partition begins at its first message anyway."""
        return self.start in {None, Start.EARLIEST} and self.offset_seek_back_seconds is None

    @field_validator("start_timestamp", mode="before")
    @classmethod
    def _is_a_time(cls, value: Any) -> Any:
        if value is not None and not isinstance(value, str | datetime):
            message = "write a time with its zone, as 2026-01-31T08:00:00Z"
            raise ValueError(message)
        return value

    @field_validator("start_offsets")
    @classmethod
    def _are_partitions(cls, offsets: dict[str, int]) -> dict[str, int]:
        for each in offsets:
            topic, _, partition = each.rpartition("/")
            if not _NAME.fullmatch(topic) or not partition.isdigit():
                message = f"{each!r} is no partition; write them as TOPIC/PARTITION"
                raise ValueError(message)
        return offsets

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        for start, name in ((Start.TIMESTAMP, "start_timestamp"), (Start.OFFSETS, "start_offsets")):
            if (self.start is start) != bool(getattr(self, name)):
                message = f"start = {start.value!r} and {name} go together"
                raise ValueError(message)
        return self


def topics_of(resource: str) -> list[str]:
    """The topics that a ref names: one, several with commas between them, or `^patterns`, regular expressions."""
    return [each for part in resource.split(",") if (each := part.strip())]


def reads(ref: SourceRef, topic: str) -> bool:
    """Whether a topic of that name is among those that the ref names."""
    return any(re.match(each, topic) if each.startswith("^") else each == topic for each in topics_of(ref.resource))


def check(ref: SourceRef, options: KafkaSourceOptions) -> Sequence[tuple[str, str]]:
    """What single fields cannot tell."""
    found: list[tuple[str, str]] = []
    topics = topics_of(ref.resource)
    for each in topics:
        if each.startswith("^"):
            if problem := _problem_of(each):
                found.append(("resource", f"{each!r}: {problem}"))
        elif not _NAME.fullmatch(each):
            found.append(("resource", f"{each!r} is no name of a topic; a pattern begins with ^"))
    if not topics:
        found.append(("resource", "name a topic, several with commas between them, or a ^pattern"))
    return found


def _problem_of(pattern: str) -> str | None:
    """Why the client cannot read it; None: it can, and finds what we find by it."""
    if foreign := _FOREIGN.search(pattern):
        return (
            f"the client reads POSIX extended regular expressions, in which {foreign[0]!r} means nothing or something"
            r" else; write [0-9] for \d, [A-Za-z0-9_] for \w, and no look-arounds"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        return f"it is no regular expression: {error}"
    return None
