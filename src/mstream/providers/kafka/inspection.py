"""Topics of a cluster, and what the newest messages in one look like."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from mstream.domain.batch import Encoding
from mstream.encodings import codec_for, reason_unavailable
from mstream.errors import ResourceMissing
from mstream.foundation.clock import monotonic
from mstream.ports.inspection import Resource, Variant
from mstream.schemas.introspect import infer

from .faults import FAILURES
from .options import Client
from .rights import INTERNAL
from .service import PATIENCE, KafkaService

#: Nothing is ever committed with it.
_GROUP: Final = "mstream-inspection"
_LOOK: Final = 0.2


class KafkaInspection:
    """One cluster; joins no group and writes nothing."""

    def __init__(self, service: KafkaService) -> None:
        self._service = service

    async def resources(self) -> Sequence[Resource]:
        """Topics that the service's user may see, without those that Kafka keeps for itself."""
        found = await self._service.metadata(None, "")
        return [Resource(name=each, kind="topic") for each in sorted(found.topics) if not each.startswith(INTERNAL)]

    async def variants(self, resource: str, *, sample: int, shows_values: bool) -> Sequence[Variant]:
        """Of the newest messages of every partition, those in JSON or BSON."""
        what = f"topic {resource!r}"
        # Of all topics, since a cluster may make one that is asked for.
        if resource not in (await self._service.metadata(None, what)).topics:
            message = f"{self._service.named(what)}: it is not there; `mstream services resources` lists what is"
            raise ResourceMissing(message)
        try:
            payloads = await asyncio.to_thread(self._newest, resource, sample)
        except FAILURES as error:
            raise self._service.error(error, what) from None
        documents = documents_of(payloads)
        if not documents:
            message = f"{self._service.named(what)}: there is no message in JSON or BSON to look at"
            raise ResourceMissing(message)
        return infer(documents[:sample], shows_values=shows_values)

    def _newest(self, topic: str, count: int) -> list[bytes]:
        own = {"group.id": _GROUP, "enable.auto.commit": "false", "enable.partition.eof": "true"}
        consumer = Consumer({**self._service.options(Client.CONSUMER), **own})
        try:
            return _read(consumer, topic, count)
        finally:
            consumer.close()


def documents_of(payloads: Sequence[bytes]) -> list[Mapping[str, Any]]:
    """Those that are objects, in whichever of the two encodings."""
    left: Sequence[Any] = payloads
    found: list[Mapping[str, Any]] = []
    for encoding in (Encoding.JSON, Encoding.BSON):
        if reason_unavailable(encoding) is not None:
            continue
        documents, failures = codec_for(encoding).decode(left)
        failed = {each.index for each in failures}
        found += [each for each in documents if isinstance(each, Mapping)]
        left = [each for index, each in enumerate(left) if index in failed]
    return found


def _read(consumer: Consumer, topic: str, count: int) -> list[bytes]:
    """The last messages of each partition, as many of each; what comes later is left."""
    partitions = sorted(consumer.list_topics(topic, timeout=PATIENCE).topics[topic].partitions)
    share = -(-count // max(1, len(partitions)))
    ends: dict[int, int] = {}
    begins: list[TopicPartition] = []
    for each in partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, each), timeout=PATIENCE)
        if high > low:
            ends[each] = high
            begins.append(TopicPartition(topic, each, max(low, high - share)))
    consumer.assign(begins)
    return list(_until(consumer, ends))


def _until(consumer: Consumer, ends: dict[int, int]) -> Iterator[bytes]:
    """Values up to these offsets, or up to where each partition ends before them."""
    over = monotonic() + PATIENCE
    while ends and monotonic() < over:
        for each in consumer.consume(1000, _LOOK):
            partition, offset, error, value = each.partition(), each.offset(), each.error(), each.value()
            if partition is None or offset is None or partition not in ends:
                continue
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's name for it
                    del ends[partition]
                continue
            if offset + 1 >= ends[partition]:
                del ends[partition]
            if value is not None:
                yield value
