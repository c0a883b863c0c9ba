"""mq-bridge from topic to topic: `python -m bench.mq_kafka BOOTSTRAP SOURCE TARGET [script]`; ends when it is told."""

import sys
import time

from mq_bridge import Message, Route
from orjson import dumps, loads

from bench.scripts.edit import transform

bootstrap, source, target = sys.argv[1:4]
start = [["auto.offset.reset", "earliest"]]
sure = [["acks", "all"], ["enable.idempotence", "true"], ["compression.type", "none"]]  # by default it compresses
config = {
    "routes": {
        "bench": {
            "input": {"kafka": {"url": bootstrap, "topic": source, "group_id": target, "consumer_options": start}},
            "output": {"kafka": {"url": bootstrap, "topic": target, "producer_options": sure}},
            "batch_size": 1000,
        }
    }
}


def edited(message: Message) -> Message:
    """As the script of mstream."""
    return message.with_payload(dumps(transform(loads(message.payload))))


route = Route.from_config(config, "bench")
if sys.argv[4:] == ["script"]:
    route = route.with_handler(edited)
with route:
    time.sleep(600)
