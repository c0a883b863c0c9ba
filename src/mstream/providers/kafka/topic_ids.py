"""Which topic a name stands for: one that was deleted and made anew has another id."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import TopicCollection, TopicPartition, Uuid
from confluent_kafka.admin import AdminClient

from mstream.domain.checkpoint import Lane, Position
from mstream.foundation.clock import monotonic
from mstream.observability.logs import get_logger

from .bridge import Bridge
from .offsets import Edge, topic_in
from .reading import OnPositionLost
from .service import KafkaService
from .troubles import topic_made_anew

log = get_logger(__name__)

#: Seconds between two looks whether a topic was made anew.
_INTERVAL: Final = 10.0
#: Seconds for an answer of the cluster.
_PATIENCE: Final = 5.0
#: What clusters say that know no ids.
_NONE: Final = str(Uuid(0, 0))


class TopicIds:
    """Asked for through the loop, by the consumer's thread."""

    def __init__(self, service: KafkaService, bridge: Bridge, policy: OnPositionLost) -> None:
        self._service = service
        self._bridge = bridge
        self._policy = policy
        self._looking: Future[dict[str, Any]] | None = None
        self._next = monotonic() + _INTERVAL

    def of(self, topics: Collection[str]) -> dict[str, str] | None:
        """The ids of topics, as far as the cluster knows some; None: the source is closing, or nothing came in time.

        Raises ServiceError when waiting may help.
        """
        found = self._bridge.ask(self._asked(topics), 3 * _PATIENCE)
        if found is None:
            return None
        for each in found.values():
            if isinstance(each, BaseException) and (error := self._service.error(each)).retryable:
                raise error
        return _ids(found)

    def looked(self, topics: Callable[[], Collection[str]]) -> dict[str, str]:
        """The same from time to time, and without waiting; empty: there is nothing new to look at."""
        if self._looking is None:
            if monotonic() >= self._next and (wanted := topics()):
                self._looking = self._bridge.begin(self._asked(wanted))
            return {}
        if not self._looking.done():
            return {}
        looking, self._looking, self._next = self._looking, None, monotonic() + _INTERVAL
        failed = looking.cancelled() or looking.exception() is not None
        return {} if failed else _ids(looking.result())

    def hurry(self) -> None:
        """Look with the next occasion."""
        self._next = 0.0

    def beginning(self, partition: TopicPartition, offset: int | None) -> Edge:
        """Where one begins whose topic was made anew since that offset. Raises PositionLost where that must not be."""
        if self._policy is OnPositionLost.FAIL:
            raise topic_made_anew(self._service, partition.topic, partition.partition, offset)
        log.warning("position_lost", topic=partition.topic, partition=partition.partition, offset=offset)
        return Edge.FIRST if self._policy is OnPositionLost.EARLIEST else Edge.END

    async def _asked(self, topics: Collection[str]) -> dict[str, Any]:
        def asked(admin: AdminClient) -> dict[str, Future[Any]]:
            return admin.describe_topics(TopicCollection(sorted(topics)), request_timeout=_PATIENCE)

        return await self._service.answers(asked, patience=2 * _PATIENCE)


def _ids(found: Mapping[str, Any]) -> dict[str, str]:
    ids = {topic: str(each.topic_id) for topic, each in found.items() if not isinstance(each, BaseException)}
    return {topic: each for topic, each in ids.items() if each != _NONE}


def topics_in(partitions: Iterable[TopicPartition]) -> set[str]:
    """Their topics."""
    return {each.topic for each in partitions}


def made_anew(lane: Lane, position: Position, ids: Mapping[str, str]) -> bool:
    """Whether the position was in another topic, of the same name."""
    was, now = topic_in(position), ids.get(lane.rpartition("/")[0])
    return was is not None and now is not None and was != now
