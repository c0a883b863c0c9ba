"""The kafka sink on a real broker: order, outcomes by record, keys, headers, topics, and what an operator is told."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from zlib import crc32

import pytest
from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AclOperation, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from mstream.domain.batch import Batch, Operation
from mstream.domain.connector import SinkRef
from mstream.errors import AccessDenied, MstreamError, RecordRefused, ResourceMissing, ServiceError, Unreachable
from mstream.ports.provider import role_options
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.service import KafkaService
from mstream.providers.kafka.sink import KafkaSink
from tests.contracts.kafka_harness import Quiet, messages_of
from tests.servers.kafka import PASSWORD, KafkaServer, KafkaTopics
from tests.servers.process import free_port

SMALL = 10_000


@asynccontextmanager
async def opened(
    where: str | dict[str, str], resource: str, service: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[KafkaSink]:
    """The sink as production opens it."""
    assert PROVIDER.sink is not None
    given = {"bootstrap.servers": where} if isinstance(where, str) else where
    config = KafkaConfig.model_validate({"name": "bus", **given, **(service or {})})
    ref = SinkRef.model_validate({"service_name": "bus", "resource": resource, **options})
    role = role_options(PROVIDER.sink.options, config, ref)
    async with PROVIDER.connect(config) as live, PROVIDER.sink.open(live, ref, role) as sink:
        assert isinstance(live, KafkaService)
        assert isinstance(sink, KafkaSink)
        yield sink


def numbers(start: int, count: int, keys: int = 7) -> Batch:
    """Payloads that count, over a few keys."""
    span = range(start, start + count)
    return Batch(
        payloads=[b"%d" % each for each in span],
        keys=[b"key-%d" % (each % keys) for each in span],
        positions={"lane": start + count},
    )


async def delivered(sink: KafkaSink, batch: Batch) -> None:
    """Again and again, as the engine does; raises what is no passing error."""
    while True:
        try:
            failures = await sink.write(batch)
        except MstreamError as error:
            if not error.retryable:
                raise
        else:
            assert all(each.error.retryable for each in failures)
            if not failures:
                return
            batch = batch.pick([each.index for each in failures])
        await asyncio.sleep(0.05)


async def read(topics: KafkaTopics, topic: str) -> list[Any]:
    return await asyncio.to_thread(messages_of, topics.bootstrap, topic)


@pytest.mark.slow
async def test_each_key_keeps_its_order_over_a_broker_that_restarts(
    kafka_server: KafkaServer, kafka_topics: KafkaTopics
) -> None:
    topic = kafka_topics.create("orders", partitions=3)
    async with opened(kafka_topics.bootstrap, topic, {"reconnect.backoff.max.ms": "500"}) as sink:
        await sink.write(numbers(0, 50))
        room = asyncio.Semaphore(sink.overlap)
        async with asyncio.TaskGroup() as writes:
            for start in range(50, 4050, 50):
                await room.acquire()
                writes.create_task(delivered(sink, numbers(start, 50))).add_done_callback(lambda _: room.release())
                await asyncio.sleep(0)
                if start in {1050, 2050}:
                    kafka_server.crash()
                    kafka_server.start()

    found: dict[bytes, list[int]] = {}
    for each in await read(kafka_topics, topic):
        found.setdefault(each.key(), []).append(int(each.value()))
    assert sum(map(len, found.values())) == 4050
    assert all(values == sorted(values) for values in found.values())


async def test_what_is_late_is_taken_back_with_everything_behind_it(
    kafka_server: KafkaServer, kafka_topics: KafkaTopics
) -> None:
    topic = kafka_topics.create("orders")
    async with opened(kafka_topics.bootstrap, topic, {"delivery.timeout.ms": "1500"}) as sink:
        await sink.write(numbers(0, 10))
        kafka_server.stop()
        writes = [asyncio.ensure_future(sink.write(numbers(start, 10))) for start in (10, 20, 30)]
        errors = await asyncio.gather(*writes, return_exceptions=True)
        kafka_server.start()
        for start in (10, 20, 30):
            await delivered(sink, numbers(start, 10))

    assert all(isinstance(each, Unreachable) for each in errors)
    assert "delivery.timeout.ms" in str(errors[0])
    assert [int(each.value()) for each in await read(kafka_topics, topic)] == list(range(40))


async def check_only_who_was_first_may_come_again_first(sink: KafkaSink, topics: KafkaTopics, topic: str) -> None:
    """A write that comes in between is given back, too, though the producer could take it."""
    await sink.write(numbers(0, 1))
    first = asyncio.ensure_future(sink.write(numbers(1, 1)))
    await asyncio.sleep(0)
    sink._producing._spoil(Unreachable("gone"))
    sink._producing._poll()
    late = asyncio.ensure_future(sink.write(numbers(2, 1)))
    outcomes = await asyncio.gather(first, late, return_exceptions=True)
    for number, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, Unreachable):
            await delivered(sink, numbers(number, 1))

    assert [int(each.value()) for each in await read(topics, topic)] == [0, 1, 2]


@pytest.mark.any_kafka
async def test_only_who_was_first_may_come_again_first(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    async with opened(kafka_topics.bootstrap, topic, {"linger.ms": "200"}) as sink:
        await check_only_who_was_first_may_come_again_first(sink, kafka_topics, topic)


async def test_a_sink_that_lets_others_be_first_is_caught(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    async with opened(kafka_topics.bootstrap, topic, {"linger.ms": "200"}) as sink:
        sink._producing._order.is_settled = lambda: True  # type: ignore[method-assign]
        with pytest.raises(AssertionError):
            await check_only_who_was_first_may_come_again_first(sink, kafka_topics, topic)


@pytest.mark.any_kafka
async def test_a_record_that_is_too_large_fails_alone(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders", **{"max.message.bytes": str(SMALL)})
    payloads = [b"1", b"x" * (SMALL + 1), *[b"y" * 1000] * 50, b"2"]
    async with opened(kafka_topics.bootstrap, topic) as sink:
        failures = await sink.write(Batch(payloads=payloads, positions={"lane": 1}))

    assert [(each.index, type(each.error)) for each in failures] == [(1, RecordRefused)]
    assert "max.message.bytes" in str(failures[0].error)
    assert len(await read(kafka_topics, topic)) == len(payloads) - 1


async def test_a_record_that_only_the_broker_finds_too_large_fails_alone(kafka_topics: KafkaTopics) -> None:
    """The limit was lowered after the sink had asked for it."""
    topic = kafka_topics.create("orders")
    payloads = [b"1", b"x" * (SMALL + 1), *[b"y" * 100] * 50, b"2"]
    async with opened(kafka_topics.bootstrap, topic) as sink:
        await sink.write(Batch(payloads=[b"0"], positions={"lane": 0}))
        entry = ConfigEntry("max.message.bytes", str(SMALL), incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
        for each in kafka_topics.server.admin().incremental_alter_configs([resource]).values():
            each.result(30)
        failures = await sink.write(Batch(payloads=payloads, positions={"lane": 1}))

    assert [(each.index, type(each.error)) for each in failures] == [(1, RecordRefused)]
    found = [each.value() for each in await read(kafka_topics, topic)]
    assert found == [b"0", payloads[0], *payloads[2:]]


async def test_a_record_that_the_topic_does_not_take_fails_alone(kafka_topics: KafkaTopics) -> None:
    """A compacted topic takes no message without a key."""
    topic = kafka_topics.create("orders", **{"cleanup.policy": "compact"})
    keys = [b"a", b"b", None, b"c"]
    async with opened(kafka_topics.bootstrap, topic) as sink:
        writes = [sink.write(Batch(payloads=[b"0", b"1", b"2", b"3"], keys=keys, positions={"lane": 1}))]
        writes.append(sink.write(Batch(payloads=[b"4"], keys=[b"d"], positions={"lane": 2})))
        failures, behind = await asyncio.gather(*writes, return_exceptions=True)
        await delivered(sink, Batch(payloads=[b"4"], keys=[b"d"], positions={"lane": 2}))

    assert not isinstance(failures, BaseException)
    assert [(each.index, type(each.error)) for each in failures] == [(2, RecordRefused)]
    assert isinstance(behind, Unreachable)
    assert [each.value() for each in await read(kafka_topics, topic)] == [b"0", b"1", b"3", b"4"]


@pytest.mark.parametrize("settings", [{"acks": "1"}, {"enable.idempotence": "false"}], ids=str)
async def test_without_idempotence_a_bad_record_fails_alone_too(
    settings: dict[str, str], kafka_topics: KafkaTopics
) -> None:
    topic = kafka_topics.create("orders", **{"cleanup.policy": "compact"})
    batch = Batch(payloads=[b"0", b"1", b"2"], keys=[b"a", None, b"c"], positions={"lane": 1})
    async with opened(kafka_topics.bootstrap, topic, settings) as sink:
        failures = await sink.write(batch)

    assert [(each.index, type(each.error)) for each in failures] == [(1, RecordRefused)]
    assert [each.value() for each in await read(kafka_topics, topic)] == [b"0", b"2"]


async def test_a_sink_can_be_closed_while_nobody_answers(kafka_server: KafkaServer, kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    async with opened(kafka_topics.bootstrap, topic) as sink:
        await sink.write(numbers(0, 1))
        kafka_server.stop()
        write = asyncio.ensure_future(sink.write(numbers(1, 100)))
        await asyncio.sleep(0.5)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        begun = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - begun < 30


@pytest.mark.any_kafka
async def test_a_full_queue_is_waited_for_and_order_is_kept(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    settings = {"queue.buffering.max.messages": "10", "linger.ms": "0"}
    async with opened(kafka_topics.bootstrap, topic, settings) as sink:
        writes = [sink.write(numbers(start, 100)) for start in range(0, 500, 100)]
        assert [list(each) for each in await asyncio.gather(*writes)] == [[]] * 5

    assert [int(each.value()) for each in await read(kafka_topics, topic)] == list(range(500))


@pytest.mark.any_kafka
async def test_deletes_and_empty_records_are_tombstones(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    batch = Batch(
        payloads=[b'{"_id":1}', b'{"_id":1}', None, b'{"_id":2}'],
        keys=[b"1", b"1", b"2", None],
        operations=[Operation.INSERT, Operation.DELETE, Operation.INSERT, Operation.DELETE],
        positions={"lane": 1},
    )
    async with opened(kafka_topics.bootstrap, topic) as sink:
        assert list(await sink.write(batch)) == []

    found = [(each.key(), each.value()) for each in await read(kafka_topics, topic)]
    assert found == [(b"1", b'{"_id":1}'), (b"1", None), (b"2", None), (None, b'{"_id":2}')]


@pytest.mark.any_kafka
async def test_headers_keys_and_times_arrive(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    batch = Batch(
        payloads=[b'{"who":{"id":7}}', '{"who":{"id":"ö"}}'.encode()],
        headers=[{"operation_type": "insert", "note": "ü"}, None],
        times=[1_700_000_000_000, None],
        positions={"lane": 1},
    )
    options: dict[str, Any] = {"key_field": "who.id", "timestamp": "source", "compression.type": "lz4"}
    async with opened(kafka_topics.bootstrap, topic, **options) as sink:
        assert list(await sink.write(batch)) == []

    first, second = await read(kafka_topics, topic)
    assert (first.key(), second.key()) == (b"7", "ö".encode())
    assert first.headers() == [("operation_type", b"insert"), ("note", "ü".encode())]
    assert second.headers() is None
    assert first.timestamp()[1] == 1_700_000_000_000
    assert second.timestamp()[1] > 1_700_000_000_000


@pytest.mark.any_kafka
@pytest.mark.parametrize("partitioner", [None, "consistent_random"])
async def test_keys_lie_where_other_clients_put_them(kafka_topics: KafkaTopics, partitioner: str | None) -> None:
    """By the murmur2 of Apache Kafka's own client, or as librdkafka puts them by itself: by CRC-32."""
    murmur2 = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"abc": 479470107}
    topic = kafka_topics.create("orders", partitions=7)
    batch = Batch(payloads=[b"1"] * len(murmur2), keys=list(murmur2), positions={"lane": 1})
    options = {} if partitioner is None else {"partitioner": partitioner}
    async with opened(kafka_topics.bootstrap, topic, **options) as sink:
        assert list(await sink.write(batch)) == []

    found = {each.key(): each.partition() for each in await read(kafka_topics, topic)}
    wanted = {key: (crc32(key) if partitioner else value & 0x7FFFFFFF) % 7 for key, value in murmur2.items()}
    assert found == wanted


@pytest.mark.parametrize(("given", "idempotent"), [({}, True), ({"acks": "1"}, False)])
async def test_a_producer_repeats_nothing_unless_it_waits_for_one_broker_alone(
    given: dict[str, str], idempotent: bool
) -> None:
    async with opened("127.0.0.1:1", "orders", **given) as sink:
        settings = sink._producing._settings_for((1_000_000, 1_000_000))

    assert settings["enable.idempotence"] == str(idempotent).lower()
    assert settings.get("enable.gapless.guarantee") == ("true" if idempotent else None)
    assert settings.get("max.in.flight.requests.per.connection") == (None if idempotent else "1")


@pytest.mark.parametrize(
    ("settings", "codec"),
    [({}, 0), ({"compression.type": "gzip"}, 1), ({"compression.type": "lz4"}, 3), ({"compression.type": "zstd"}, 4)],
    ids=["none", "gzip", "lz4", "zstd"],
)
async def test_records_are_compressed_as_the_sink_says(
    kafka_topics: KafkaTopics, kafka_server: KafkaServer, settings: dict[str, str], codec: int
) -> None:
    """As it stands on the broker's disk: behind 21 bytes of a batch its attributes, the codec in their last bits."""
    topic = kafka_topics.create("orders")
    batch = Batch(payloads=[b"pack" * 1000] * 20, positions={"lane": 1})
    async with opened(kafka_topics.bootstrap, topic, **settings) as sink:
        assert list(await sink.write(batch)) == []

    (segment,) = (kafka_server.folder / "data" / f"{topic}-0").glob("*.log")
    stored = segment.read_bytes()
    assert int.from_bytes(stored[21:23]) & 0b111 == codec
    assert (len(stored) < 10_000) == (codec > 0)
    assert [each.value() for each in await read(kafka_topics, topic)] == [b"pack" * 1000] * 20


class Called:
    """What a message is given with."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    def __call__(self, error: KafkaError, message: Message) -> None:
        self.codes.append(error.code())


async def test_what_is_larger_than_the_queue_is_refused_and_the_rest_is_written(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    batch = Batch(payloads=[b"1", b"x" * 5000, b"3"], positions={"lane": 3})
    async with opened(kafka_topics.bootstrap, topic, **{"queue.buffering.max.kbytes": 1}) as sink:
        failures = await sink.write(batch)

    assert [(each.index, type(each.error)) for each in failures] == [(1, RecordRefused)]
    assert [each.value() for each in await read(kafka_topics, topic)] == [b"1", b"3"]


async def test_a_write_ends_when_nobody_takes_reports_any_more(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")

    def lost() -> None:
        raise SystemError("the client is lost")

    async def story() -> None:
        async with opened(kafka_topics.bootstrap, topic, **{"linger.ms": 500}) as sink:
            assert list(await sink.write(numbers(0, 3))) == []
            writing = asyncio.create_task(sink.write(numbers(3, 3)))
            await asyncio.sleep(0.05)
            sink._producing._poll = lost  # type: ignore[method-assign]
            await writing

    with pytest.raises(SystemError, match="the client is lost"):
        await story()


async def test_the_client_holds_what_it_would_call_until_it_is_done_with_the_message(kafka_topics: KafkaTopics) -> None:
    """What tells us that messages are delivered; nothing in the client's documentation says so."""
    topic = kafka_topics.create("orders", **{"max.message.bytes": "1000"})
    nowhere = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "message.timeout.ms": "1500"}
    there = {"bootstrap.servers": kafka_topics.bootstrap}
    purged = {**nowhere, "message.timeout.ms": "60000"}
    found: list[Any] = []
    for settings, value in ((there, b"small"), (there, b"large" * 1000), (nowhere, b"small"), (purged, b"small")):
        producer = Producer({**settings, "delivery.report.only.error": True, "linger.ms": "500", "logger": Quiet()})
        called = Called()
        codes, watch = called.codes, weakref.ref(called)
        for _ in range(2):
            producer.produce(topic, value, on_delivery=called)
        del called
        producer.poll(0)
        assert watch() is not None, "it is not sent yet"
        if settings is purged:
            producer.purge()
        assert producer.flush(20) == 0
        found.append(codes)
        assert watch() is None

    large, late, gone = KafkaError.MSG_SIZE_TOO_LARGE, KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_QUEUE
    assert found == [[], [large] * 2, [late] * 2, [gone] * 2]


async def test_each_record_goes_to_its_topic_and_topics_are_made(kafka_topics: KafkaTopics) -> None:
    prefix = kafka_topics.prefix
    payloads = [b'{"at":"eu","n":1}', b'{"at":"us","n":2}', b'{"n":3}', b'{"at":"e u"}', b'{"at":"eu","n":4}']
    wanted = {"partitions": 2, "replication_factor": 1, "config": {"retention.ms": "123456"}}
    async with opened(kafka_topics.bootstrap, prefix + "{at}-orders", create_topics=wanted) as sink:
        failures = await sink.write(Batch(payloads=payloads, positions={"lane": 1}))

    assert [(each.index, type(each.error)) for each in failures] == [(2, RecordRefused), (3, RecordRefused)]
    assert "'at'" in str(failures[0].error)
    values = [[each.value() for each in await read(kafka_topics, f"{prefix}{at}-orders")] for at in ("eu", "us")]
    assert [sorted(each) for each in values] == [[payloads[0], payloads[4]], [payloads[1]]]
    resource = ConfigResource(ResourceType.TOPIC, f"{prefix}eu-orders")
    (settings,) = kafka_topics.server.admin().describe_configs([resource]).values()
    assert settings.result(30)["retention.ms"].value == "123456"
    assert len(kafka_topics.server.admin().list_topics(timeout=10).topics[f"{prefix}eu-orders"].partitions) == 2


async def test_a_missing_topic_is_named_with_what_would_make_it(kafka_topics: KafkaTopics) -> None:
    async with opened(kafka_topics.bootstrap, kafka_topics.prefix + "nowhere") as sink:
        with pytest.raises(ResourceMissing, match=r"service 'bus', topic 'test-.*-nowhere'.*create_topics"):
            await sink.write(numbers(0, 1))


async def test_a_topic_that_is_deleted_while_it_is_written_ends_the_job(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    async with opened(kafka_topics.bootstrap, topic, {"topic.metadata.propagation.max.ms": "1000"}) as sink:
        await sink.write(numbers(0, 1))
        for each in kafka_topics.server.admin().delete_topics([topic]).values():
            each.result(30)
        with pytest.raises(ResourceMissing, match=topic):
            await delivered(sink, numbers(1, 1))


async def test_a_topic_that_may_be_made_is_made_anew_when_it_was_deleted(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    settings = {"topic.metadata.propagation.max.ms": "1000"}
    async with opened(kafka_topics.bootstrap, topic, settings, create_topics={}) as sink:
        await sink.write(numbers(0, 1))
        for each in kafka_topics.server.admin().delete_topics([topic]).values():
            each.result(30)
        await delivered(sink, numbers(1, 3))

    assert [int(each.value()) for each in await read(kafka_topics, topic)] == [1, 2, 3]


@pytest.mark.any_kafka
async def test_headers_that_cannot_be_written_are_that_records_failure(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("orders")
    headers = [{"a": "1"}, {"a": "\ud800"}, {"a": "3"}]
    async with opened(kafka_topics.bootstrap, topic) as sink:
        failures = await sink.write(Batch(payloads=[b"1", b"2", b"3"], headers=headers, positions={"lane": 1}))

    assert [(each.index, type(each.error)) for each in failures] == [(1, RecordRefused)]
    assert [each.value() for each in await read(kafka_topics, topic)] == [b"1", b"3"]


async def test_wrong_credentials_are_told_at_once_and_never_shown(kafka_topics: KafkaTopics) -> None:
    wrong = {**kafka_topics.server.sasl, "sasl.password": "hunter2-planted"}
    async with opened(wrong, kafka_topics.create("orders")) as sink:
        with pytest.raises(AccessDenied, match=r"service 'bus'.*_AUTHENTICATION.*check .*sasl\.password") as caught:
            await sink.write(numbers(0, 1))

    assert "hunter2" not in str(caught.value)


async def test_a_right_that_is_missing_is_told(kafka_topics: KafkaTopics) -> None:
    mine, foreign = kafka_topics.create("mine"), kafka_topics.create("foreign")
    kafka_topics.server.allow(mine, AclOperation.WRITE)
    async with opened(kafka_topics.server.sasl, mine) as sink:
        assert list(await sink.write(numbers(0, 3))) == []
    async with opened(kafka_topics.server.sasl, foreign) as sink:
        with pytest.raises(AccessDenied, match=f"topic '{foreign}'") as caught:
            await sink.write(numbers(0, 3))

    assert PASSWORD not in str(caught.value)
    assert len(await read(kafka_topics, mine)) == 3


async def test_a_right_that_is_taken_away_is_told(kafka_topics: KafkaTopics) -> None:
    """The user may still see the topic, and no longer write to it."""
    topic = kafka_topics.create("orders")
    kafka_topics.server.allow(topic, AclOperation.DESCRIBE)
    async with opened(kafka_topics.server.sasl, topic) as sink:
        with pytest.raises(AccessDenied, match=r"_AUTHORIZATION_FAILED.*grant"):
            await sink.write(numbers(0, 3))


async def test_a_broker_that_nobody_reaches_is_named() -> None:
    port = free_port()
    async with opened(f"127.0.0.1:{port}", "orders") as sink:
        with pytest.raises(Unreachable, match=r"service 'bus', topic 'orders'.*check bootstrap\.servers"):
            await sink.write(numbers(0, 1))


async def test_settings_that_cannot_be_used_are_told(kafka_topics: KafkaTopics) -> None:
    async with opened(kafka_topics.bootstrap, kafka_topics.create("orders"), {"linger.ms": "soon"}) as sink:
        with pytest.raises(ServiceError, match=r"linger\.ms|queue\.buffering"):
            await sink.write(numbers(0, 1))
