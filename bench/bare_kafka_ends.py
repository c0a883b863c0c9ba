"""Bare loops, a topic at one end: `python -m bench.bare_kafka_ends sqlite|mongodb BOOTSTRAP SOURCE TARGET COUNT`."""

import sqlite3
import sys
import time
from itertools import islice
from tempfile import TemporaryFile

from bson import CodecOptions, decode
from bson.raw_bson import RawBSONDocument
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from orjson import dumps, loads
from pymongo import MongoClient

from bench.records import TABLE

kind, bootstrap, source, target, count = *sys.argv[1:5], int(sys.argv[5])
done, saved, interval = 0, time.monotonic(), 0.05  # places are noted as often as a checkpoint is saved
if kind == "sqlite":
    database = sqlite3.connect(target, isolation_level="IMMEDIATE")
    database.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")  # as the sink sets them
    database.execute(f"CREATE TABLE records ({', '.join(map(' '.join, TABLE.items()))})")
    insert = f"INSERT INTO records VALUES ({', '.join('?' * len(TABLE))})"  # noqa: S608 - names of our own
    group = {"group.id": target, "auto.offset.reset": "earliest", "enable.auto.commit": "false"}
    consumer = Consumer({"bootstrap.servers": bootstrap, **group, "fetch.queue.backoff.ms": "20"})
    consumer.subscribe([source])
    while done < count:
        if messages := consumer.consume(2000, 0) or consumer.consume(1, 0.1):
            with database:
                database.executemany(insert, [tuple(map(loads(each.value()).get, TABLE)) for each in messages])
            done += len(messages)
            if time.monotonic() - saved > interval:
                ends = {each.partition(): each.offset() + 1 for each in messages}
                consumer.commit(offsets=[TopicPartition(source, *each) for each in ends.items()], asynchronous=False)
                saved, interval = time.monotonic(), min(interval * 2, 1.0)
else:
    failed: list[KafkaError] = []

    def report(error: KafkaError | None, _: Message) -> None:  # noqa: D103 - as it says
        failed.extend([error] if error else [])

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": "true", "linger.ms": "5"})
    orders = MongoClient(source)["bench"]["orders"].with_options(CodecOptions(RawBSONDocument))
    with orders.watch(full_document="updateLookup") as stream, TemporaryFile() as file:
        while done < count:
            for each in islice(stream, 1000):
                key = dumps({"_id": str(each["documentKey"]["_id"])})
                producer.produce(target, dumps(decode(each["fullDocument"].raw), str), key, on_delivery=report)
                done += 1
            producer.poll(0)
            while len(producer) > 16_000:
                producer.poll(0.01)
            if time.monotonic() - saved > interval and producer.flush() == 0:
                file.write(bytes(stream.resume_token.raw))
                saved, interval = time.monotonic(), min(interval * 2, 1.0)
    producer.flush()
    sys.exit(bool(failed))
