"""The kafka source in the hands of the conformance suite, on a real broker."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from confluent_kafka import Producer

from mstream.domain.checkpoint import Lane, Position
from mstream.domain.connector import SourceRef
from mstream.errors import Unreachable
from mstream.ports.provider import role_options
from mstream.ports.roles import Resume, Source
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.source import KafkaSource
from tests.contracts.lanes import NoLanes
from tests.contracts.source_checks import PLANTED
from tests.servers.kafka import KafkaTopics


class KafkaSourceHarness:
    """One topic with one partition; each opening is a group of its own, whose offsets say nothing yet."""

    can_end = False
    can_fail = True

    def __init__(self, topics: KafkaTopics) -> None:
        self.topic = topics.create("records", **{"max.message.bytes": "20000000"})
        #: It takes a transaction.
        self.can_progress = topics.server.is_apache
        self._bootstrap = topics.bootstrap
        self._producer: Producer | None = None
        self._source: KafkaSource | None = None
        self.config = self._config()

    @asynccontextmanager
    async def open(self, positions: Mapping[Lane, Position] | None = None) -> AsyncIterator[Source]:
        assert PROVIDER.source is not None
        self.config = self._config()
        ref = SourceRef.model_validate({"service_name": "bus", "resource": self.topic, "input_encoding": "json"})
        options = role_options(PROVIDER.source.options, self.config, ref)
        resume = Resume(positions=positions or {}, job="checked")
        async with (
            PROVIDER.connect(self.config) as live,
            PROVIDER.source.open(live, ref, options, resume, NoLanes()) as source,
        ):
            assert isinstance(source, KafkaSource)
            self._source = source
            yield self.wrapped(source)

    def wrapped(self, source: KafkaSource) -> Source:
        """The source itself; wrong ones are made here."""
        return source

    async def append(self, *payloads: bytes) -> None:
        await asyncio.to_thread(self._append, payloads)

    async def progress(self) -> None:
        """Messages of a transaction that was given up are nobody's."""
        await asyncio.to_thread(self._given_up)

    async def end(self) -> None:
        raise NotImplementedError

    def fail_next_read(self) -> None:
        assert self._source is not None
        trouble = Unreachable("service 'bus': the test has cut it off")
        self._source._consuming._report(trouble, for_good=False)

    def acked(self) -> Sequence[Mapping[Lane, Position | None]] | None:
        return None

    def shown(self) -> str:
        return f"{self.config!r} {self.config}"

    def lost_positions(self, positions: Mapping[Lane, Position]) -> Mapping[Lane, Position]:
        return {lane: {"next_offset": 10**9} for lane in positions}

    def _config(self) -> KafkaConfig:
        return KafkaConfig.model_validate(
            {
                "name": "bus",
                "bootstrap.servers": self._bootstrap,
                "group.id": f"{self.topic}-{secrets.token_hex(4)}",
                "sasl.password": PLANTED,
            }
        )

    def _append(self, payloads: Sequence[bytes]) -> None:
        producer = self._producer or Producer(
            {"bootstrap.servers": self._bootstrap, "queue.buffering.max.messages": "200000", "linger.ms": "1"}
            | {"message.max.bytes": "20000000"}
        )
        self._producer = producer
        errors: list[object] = []
        for each in payloads:
            producer.produce(self.topic, each, on_delivery=lambda error, _: errors.append(error))
        assert producer.flush(30) == 0
        assert not any(errors)

    def _given_up(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "transactional.id": secrets.token_hex(4)})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce(self.topic, b'"never"')
        producer.flush(30)
        producer.abort_transaction(30)
