"""The bare loop from topic to topic: `python -m bench.bare_kafka BOOTSTRAP SOURCE TARGET COUNT [script]`."""

import sys
import time

from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from orjson import dumps, loads

from bench.scripts.edit import transform

bootstrap, source, target, count = *sys.argv[1:4], int(sys.argv[4])
scripted = sys.argv[5:] == ["script"]
group = {"group.id": target, "auto.offset.reset": "earliest", "enable.auto.commit": "false"}
fetching = {"queued.min.messages": "20000", "fetch.queue.backoff.ms": "20"}
consumer = Consumer({"bootstrap.servers": bootstrap, **group, **fetching})
sending = {"enable.idempotence": "true", "acks": "all", "linger.ms": "5", "batch.size": "1000000"}
producer = Producer({"bootstrap.servers": bootstrap, **sending, "queue.buffering.max.messages": "1000000"})
consumer.subscribe([source])
failed: list[KafkaError] = []
done, taken, saved, interval = 0, 0, time.monotonic(), 0.05
offsets: dict[int, int] = {}


def report(error: KafkaError | None, _: Message) -> None:  # noqa: D103 - as it says
    global done  # noqa: PLW0603 - the plainest way
    done += 1
    failed.extend([error] if error else [])


while taken < count:
    for each in consumer.consume(1000, 0) or consumer.consume(1, 0.1):
        value = dumps(transform(loads(each.value()))) if scripted else each.value()
        producer.produce(target, value, each.key(), on_delivery=report, headers=each.headers())
        offsets[each.partition()] = each.offset() + 1
        taken += 1
    producer.poll(0)
    while len(producer) > 16_000 or (time.monotonic() - saved > interval and producer.flush()):
        producer.poll(0.01)
    if offsets and time.monotonic() - saved > interval:  # as often as a checkpoint is saved
        consumer.commit(offsets=[TopicPartition(source, *each) for each in offsets.items()], asynchronous=False)
        saved, interval = time.monotonic(), min(interval * 2, 1.0)
producer.flush()
sys.exit(bool(failed) or done != count)
