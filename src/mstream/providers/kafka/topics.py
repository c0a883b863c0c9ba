"""Topics that a sink writes to: are they there, shall they be made, and how large may a message be?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any, Final

from confluent_kafka import KafkaError
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # the package does not say that it exports them
    ConfigResource,
    NewTopic,
    ResourceType,
)

from mstream.errors import ResourceMissing, ServiceError, Unreachable

from .faults import Fault, fault_of
from .service import KafkaService
from .writing import NewTopics

#: How often a topic is looked for that the cluster may just be making, and seconds between two looks.
_LOOKS: Final = 8
_PAUSE: Final = 0.25
_LIMIT: Final = "max.message.bytes"
#: What the cluster is asked to decide.
_BY_CLUSTER: Final = -1


class Topics:
    """What is known of them; asked for once."""

    def __init__(self, service: KafkaService, create: NewTopics | None) -> None:
        self._service = service
        self._create = create
        #: Bytes of the largest message of each topic that is known; None: the cluster does not tell.
        self.limits: dict[str, int | None] = {}

    async def know(self, names: Collection[str]) -> None:
        """Returns once all of them are there. Raises ResourceMissing, AccessDenied, Unreachable."""
        unknown = sorted(each for each in names if each not in self.limits)
        if not unknown:
            return
        missing = await self._missing(unknown, looks=1)
        if missing and self._create is not None:
            await self._make(missing, self._create)
        if missing:
            missing = await self._missing(missing, looks=_LOOKS)
        if missing:
            raise self.missing(missing[0])
        self.limits.update(await self._limits(unknown))

    def missing(self, name: str) -> ServiceError:
        """The error of a topic that is not there; where it may be made, the next write does so."""
        self.limits.pop(name, None)
        where = self._service.named(f"topic {name!r}")
        if self._create is not None:
            return Unreachable(f"{where}: it is gone; it is made anew")
        return ResourceMissing(f"{where}: it is not there; create it, or let the sink do so: create_topics = {{}}")

    async def _missing(self, names: Iterable[str], *, looks: int) -> list[str]:
        """Those that are not there. A cluster may make a topic because somebody asks for it."""
        missing = list(names)
        for look in range(looks):
            if look:
                await asyncio.sleep(_PAUSE)
            errors = {each: await self._error(each) for each in missing}
            for name, error in errors.items():
                if error is not None and fault_of(error) not in {Fault.MISSING, Fault.UNREACHABLE}:
                    raise self._service.error(error, f"topic {name!r}")
            missing = [name for name, error in errors.items() if error is not None]
            if not missing:
                break
        return missing

    async def _error(self, name: str) -> KafkaError | None:
        found = await self._service.metadata(name, f"topic {name!r}")
        error: KafkaError | None = found.topics[name].error
        return error

    async def _make(self, names: Iterable[str], wanted: NewTopics) -> None:
        made = await self._service.answers(
            lambda admin: admin.create_topics(
                [
                    NewTopic(
                        name,
                        num_partitions=wanted.partitions or _BY_CLUSTER,
                        replication_factor=wanted.replication_factor or _BY_CLUSTER,
                        config=wanted.config,
                    )
                    for name in names
                ]
            )
        )
        for name, answer in made.items():
            if isinstance(answer, BaseException) and fault_of(answer) is not Fault.EXISTS:
                raise self._service.error(answer, f"topic {name!r} cannot be made")

    async def _limits(self, names: Iterable[str]) -> dict[str, int | None]:
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        found = await self._service.answers(lambda admin: admin.describe_configs(resources))
        for answer in found.values():
            if isinstance(answer, BaseException) and (error := self._service.error(answer)).retryable:
                raise error
        return {each.name: _limit(answer) for each, answer in found.items()}


def _limit(answer: Any) -> int | None:
    """Who may not look at settings of a topic is left without it."""
    if isinstance(answer, BaseException) or _LIMIT not in answer:
        return None
    return int(answer[_LIMIT].value)
