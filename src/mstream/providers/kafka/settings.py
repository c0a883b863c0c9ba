"""What a source's consumer is made of, and where it begins by its service's word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mstream.ports.roles import Resume

from .options import Client
from .reading import KafkaSourceOptions, Start
from .service import KafkaService, Listener

_COOPERATIVE: Final = "cooperative-sticky"
_STRATEGY: Final = "partition.assignment.strategy"
_INSTANCE: Final = "group.instance.id"
#: Of the client, in milliseconds: who does not poll for so long is no member any more.
_MAX_POLL: Final = 300_000
#: What delivery rests on: no service can set it otherwise.
_ALWAYS: Final[Mapping[str, str]] = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",
    "enable.partition.eof": "true",
    "allow.auto.create.topics": "false",
}


def options_of(service: KafkaService, heard: Listener, resume: Resume, reading: KafkaSourceOptions) -> dict[str, Any]:
    """What the consumer is made of: ours below, the service's above, and what delivery rests on above all."""
    member = f"mstream-{resume.job}-{resume.member}"
    ours: dict[str, Any] = {
        "client.id": member,
        "group.id": f"mstream-{resume.job}",
        "queued.min.messages": "20000",
        "queued.max.messages.kbytes": "16384",
        "fetch.queue.backoff.ms": "20",
    }
    given = service.options(Client.CONSUMER, heard)
    if given.get("group.protocol", "classic") == "classic":
        ours[_STRATEGY] = _COOPERATIVE
        # So long the partitions of one that was killed rest; the client's own is 45 seconds.
        ours["session.timeout.ms"] = "10000"
    if reading.static_membership:
        ours[_INSTANCE] = member
    if _INSTANCE in given and resume.member:
        # The service names one member; others of the same name would throw it out.
        given[_INSTANCE] = f"{given[_INSTANCE]}-{resume.member}"
    always = dict(_ALWAYS)
    if resume.are_copies:
        # Or a place would be taken for the last one while a transaction moves it.
        always["isolation.level"] = "read_committed"
    return {**ours, **given, **always}


def is_eager(options: Mapping[str, Any]) -> bool:
    """Whether a change takes all partitions from everybody, and gives them out anew."""
    return str(options.get(_STRATEGY, _COOPERATIVE)) != _COOPERATIVE


def patience_of(options: Mapping[str, Any]) -> float:
    """Seconds for which the consumer may not poll before the group thinks it gone."""
    return int(options.get("max.poll.interval.ms", _MAX_POLL)) / 1000


def started(reading: KafkaSourceOptions, settings: Mapping[str, str]) -> KafkaSourceOptions:
    """The options with a start: where they say none, as the service's `auto.offset.reset` does, else the earliest."""
    if reading.start is not None:
        return reading
    ends = {"latest", "largest", "end"}
    start = Start.LATEST if settings.get("auto.offset.reset") in ends else Start.EARLIEST
    return reading.model_copy(update={"start": start})
