"""The engine over the kafka sink, with failures at any moment: nothing lost, each key in order, bad records refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from confluent_kafka import Message

from mstream.domain.batch import Batch
from mstream.domain.connector import ConnectorSpec
from mstream.domain.run import RunSpec
from mstream.domain.service import ServiceConfig
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter, NoPage
from mstream.engine.run import run
from mstream.errors import Unreachable
from mstream.foundation.clock import SystemClock
from mstream.ports.provider import Provider, SourceRole
from mstream.ports.roles import Limit, Sink
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.sink import KafkaSink
from tests.contracts.kafka_harness import messages_of
from tests.servers.kafka import KafkaServer, KafkaTopics
from tests.unit.providers.kafka.made import message

BATCHES, SIZE, KEYS = 200, 40, 11
LANE = "lane"


class Counting:
    """A source of numbers, some of them without the key that a compacted topic asks for."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._given = 0
        self.keyless: set[int] = set()

    async def read(self, limit: Limit) -> Batch | None:
        if self._given >= BATCHES * SIZE:
            return None
        await asyncio.sleep(0.01)
        numbers = range(self._given, self._given + SIZE)
        self._given += SIZE
        if self._random.random() < 0.03:
            self.keyless.add(self._random.choice(numbers))
        keys = [None if each in self.keyless else b"key-%d" % (each % KEYS) for each in numbers]
        return Batch(payloads=[b"%d" % each for each in numbers], keys=keys, positions={LANE: self._given})

    def positions(self, batch: Batch, count: int) -> Any:
        return batch.positions

    async def ack(self, positions: Any) -> None:
        """Nobody asks."""


class NumbersConfig(ServiceConfig):
    provider: str = "numbers"


class Nobody:
    """The owner of a job that saves nothing."""

    async def _done(self, *_: Any) -> None:
        return None

    def __getattr__(self, name: str) -> Any:
        return self._done


class Two:
    """The services of this run."""

    def __init__(
        self, providers: dict[str, Provider[Any, Any]], configs: dict[str, Any], lives: dict[str, Any]
    ) -> None:
        self._providers, self._configs, self._lives = providers, configs, lives

    def config(self, name: str) -> ServiceConfig:
        found: ServiceConfig = self._configs[name]
        return found

    def provider(self, name: str) -> Provider[Any, Any]:
        return self._providers[name]

    async def live(self, name: str) -> Any:
        return self._lives[name]


async def carried(
    topics: KafkaTopics, topic: str, source: Counting, trouble: Callable[[KafkaSink], Awaitable[None]]
) -> int:
    """Runs it to its end with that trouble beside it; how many records were refused."""

    @asynccontextmanager
    async def opened_source(*_: Any) -> AsyncIterator[Counting]:
        yield source

    @asynccontextmanager
    async def nothing(config: Any) -> AsyncIterator[None]:
        yield None

    @asynccontextmanager
    async def opened_sink(*given: Any) -> AsyncIterator[Sink]:
        assert PROVIDER.sink is not None
        async with PROVIDER.sink.open(*given) as sink:
            assert isinstance(sink, KafkaSink)
            task = asyncio.ensure_future(trouble(sink))
            try:
                yield sink
            finally:
                task.cancel()

    assert PROVIDER.sink is not None
    numbers = Provider(
        name="numbers",
        config=NumbersConfig,
        connect=nothing,
        source=SourceRole(open=opened_source, fingerprint=lambda *_: "numbers"),
    )
    bus = replace(PROVIDER, sink=replace(PROVIDER.sink, open=opened_sink))
    configs = {
        "numbers": NumbersConfig(name="numbers"),
        "bus": KafkaConfig.model_validate({"name": "bus", "bootstrap.servers": topics.bootstrap}),
    }
    connector = {
        "name": "job",
        "max_in_flight": 16,
        "on_error": "skip",
        "retry": {"base_ms": 2, "max_ms": 100},
        "source": {"service_name": "numbers", "resource": "all", "input_encoding": "json"},
        "sinks": [{"service_name": "bus", "resource": topic}],
    }
    spec = RunSpec(
        job="job", run_id="run", epoch=1, connector=ConnectorSpec.model_validate(connector), services=configs
    )
    meter = Meter()
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(PROVIDER.connect(configs["bus"]))
        services = Two({"numbers": numbers, "bus": bus}, configs, {"numbers": None, "bus": live})
        await run(
            spec,
            services=services,
            owner=Nobody(),
            control=RunControl(),
            meter=meter,
            page=NoPage(),
            clock=SystemClock(),
            random=Random(1),
        )
    return meter.records_skipped


def check(messages: list[Any], source: Counting) -> None:
    """Everything is there, and of each key neither the first nor the last of two is ever the later one."""
    values: dict[bytes, list[int]] = {}
    for each in messages:
        values.setdefault(each.key(), []).append(int(each.value()))
    for key, found in values.items():
        number = int(key.removeprefix(b"key-"))
        wanted = [each for each in range(number, BATCHES * SIZE, KEYS) if each not in source.keyless]
        assert list(dict.fromkeys(found)) == wanted
        assert list(dict.fromkeys(reversed(found))) == wanted[::-1]
    assert len(values) == KEYS


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_failures_at_any_moment_lose_nothing_and_keep_order(seed: int, kafka_topics: KafkaTopics) -> None:
    random = Random(seed)
    source = Counting(random)
    topic = kafka_topics.create("numbers", partitions=3, **{"cleanup.policy": "compact"})

    async def trouble(sink: KafkaSink) -> None:
        for _ in range(5):
            await asyncio.sleep(random.uniform(0.3, 2))
            sink._producing._spoil(Unreachable("a connection is gone"))

    refused = await carried(kafka_topics, topic, source, trouble)

    check(await asyncio.to_thread(messages_of, kafka_topics.bootstrap, topic), source)
    assert refused == len(source.keyless) > 0


@pytest.mark.slow
async def test_brokers_that_crash_lose_nothing_and_keep_order(
    kafka_server: KafkaServer, kafka_topics: KafkaTopics
) -> None:
    source = Counting(Random(4))
    topic = kafka_topics.create("numbers", partitions=3, **{"cleanup.policy": "compact"})

    async def trouble(sink: KafkaSink) -> None:
        for _ in range(2):
            await asyncio.sleep(1)
            kafka_server.crash()
            kafka_server.start()

    refused = await carried(kafka_topics, topic, source, trouble)

    check(await asyncio.to_thread(messages_of, kafka_topics.bootstrap, topic), source)
    assert refused == len(source.keyless) > 0


def everything() -> list[Message]:
    """What stands in the topic when nothing went wrong."""
    return [message(each, b"%d" % each, key=b"key-%d" % (each % KEYS)) for each in range(BATCHES * SIZE)]


def test_repeats_are_no_fault() -> None:
    found = everything()

    check(found, Counting(Random(1)))
    check([*found[:60], *found[20:]], Counting(Random(1)))


@pytest.mark.parametrize("wrong", ["lost", "overtaken", "old ones behind"])
def test_a_topic_that_is_wrong_is_caught(wrong: str) -> None:
    found = everything()
    match wrong:
        case "lost":
            del found[100]
        case "overtaken":
            found[100], found[100 + KEYS] = found[100 + KEYS], found[100]
        case _:
            found.append(found[100])

    with pytest.raises(AssertionError):
        check(found, Counting(Random(1)))
