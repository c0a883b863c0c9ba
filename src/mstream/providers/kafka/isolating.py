"""Messages that failed together, sent once more and each alone: then only those fail that the cluster does not take."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from .faults import unwrapped
from .lots import Lot, Report
from .records import Messages

#: What a producer needs for it beside its other settings: no message shares its fate with others, none is overtaken.
SETTINGS: Final[Mapping[str, str]] = {
    "batch.num.messages": "1",
    "enable.gapless.guarantee": "false",
    "linger.ms": "0",
    "max.in.flight.requests.per.connection": "1",
}
#: Seconds between two looks at what the producer reports.
_PAUSE: Final = 0.001


async def each_alone(producer: Producer, messages: Messages, indexes: Collection[int], patience: float) -> Lot:
    """The lot of these messages, in their order, once its end is known; what is late is taken back."""
    wanted = frozenset(indexes)
    lot = Lot(messages, lambda error, topic: None)
    lot.is_exact = True
    lot.left_out = frozenset(range(len(messages.values))) - wanted
    report = Report(lot)
    until = lot.began + (patience or float("inf"))
    for index, topic, value, key, time, headers in messages.rows():
        while index in wanted:
            try:
                producer.produce(topic, value, key, -1, report, None, time, headers)  # type: ignore[arg-type]  # dict is invariant
            except BufferError:
                if len(producer):
                    await _report(producer, lot, until)
                    continue
                lot.refuse(index, KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)))
            except (KafkaException, TypeError, ValueError) as error:
                lot.refuse(index, error)
            break
    while len(producer):
        await _report(producer, lot, until)
    lot.done.set_result(None)
    return lot


async def _report(producer: Producer, lot: Lot, until: float) -> None:
    if asyncio.get_running_loop().time() > until:
        producer.purge(in_queue=True, in_flight=True, blocking=False)
    try:
        with unwrapped():
            producer.poll(0)
    except KafkaException:  # it can go no further
        producer.purge(in_queue=True, in_flight=True, blocking=False)
    await asyncio.sleep(_PAUSE)
