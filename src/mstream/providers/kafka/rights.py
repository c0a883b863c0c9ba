"""What the service's user may do with topics and with its group, as far as the cluster tells."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # it is there

from mstream.errors import ServiceError

from .faults import Fault, fault_of
from .service import KafkaService

#: Topics that are asked for.
_MOST: Final = 200
#: Topics that Kafka keeps for itself.
INTERNAL: Final = "__"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Counts of topics, and what is known of the group."""

    topics: int
    readable: int
    writable: int
    #: None: no group is named, or nothing is told of it.
    group: bool | None = None

    def __str__(self) -> str:
        """In one line."""
        return f"of {self.topics} topics {self.readable} may be read and {self.writable} written"

    def missing(self) -> list[str]:
        """What a source or a sink would lack."""
        found = []
        if not self.topics:
            found.append("no topic is shown to this user")
        if self.group is False:
            found.append("the group may not be used")
        if self.topics and not self.readable and not self.writable:
            found.append("none of them is of use")
        return found


async def rights(service: KafkaService, group: str | None, *, patience: float) -> Rights:
    """Asks the cluster. Raises ServiceError."""
    metadata = await service.metadata(None, "", patience=patience)
    names = sorted(each for each in metadata.topics if not each.startswith(INTERNAL))[:_MOST]
    described: dict[Any, Any] = {}
    if names:
        described = await service.answers(
            lambda admin: admin.describe_topics(
                TopicCollection(names), include_authorized_operations=True, request_timeout=patience
            ),
            patience=patience,
        )
    told = [_operations(each) for each in described.values()]
    if names and all(each is None for each in told):
        message = f"{service.named('')}: nothing is told of rights"
        raise ServiceError(message)
    return Rights(
        topics=len(names),
        readable=sum(each is not None and AclOperation.READ in each for each in told),
        writable=sum(each is not None and AclOperation.WRITE in each for each in told),
        group=None if group is None else await _of_group(service, group, patience),
    )


async def _of_group(service: KafkaService, group: str, patience: float) -> bool | None:
    ask = partial(_described, group=group, patience=patience)
    (answer,) = (await service.answers(ask, patience=patience)).values()
    if isinstance(answer, BaseException):
        return False if fault_of(answer) is Fault.AUTHORISATION else None
    operations = _operations(answer)
    return None if operations is None else AclOperation.READ in operations


def _described(admin: Any, group: str, patience: float) -> dict[Any, Any]:
    found: dict[Any, Any] = admin.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=patience
    )
    return found


def _operations(answer: Any) -> Collection[AclOperation] | None:
    found: Collection[AclOperation] | None = getattr(answer, "authorized_operations", None)
    return found or None
