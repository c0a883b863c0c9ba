"""No delivery overtakes an older one that must be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

from mstream.domain.batch import Batch, Form
from mstream.domain.connector import RetryPolicy
from mstream.engine.control import RunControl
from mstream.engine.delivery import Deliverer
from mstream.engine.meter import Meter
from mstream.engine.transforms import Prepared
from mstream.errors import Unreachable
from mstream.ports.roles import Failure
from tests import virtual


class Cut:
    """Its first write is under way until somebody cuts it off."""

    accepts: Form = Form.PAYLOADS
    overlap = 4

    def __init__(self) -> None:
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun: list[bytes | None] = []

    async def write(self, batch: Batch) -> Sequence[Failure]:
        self.begun += batch.payloads or []
        if not self.first.done():
            await self.first
        return ()


def prepared(payload: bytes) -> Prepared:
    return Prepared(batch=Batch(payloads=[payload], positions={"": 1}), origins=None)


def test_one_that_was_let_in_before_an_older_one_failed_waits_for_it() -> None:
    async def story() -> list[bytes | None]:
        sink, clock = Cut(), virtual.VirtualClock()
        deliverer = Deliverer(
            sink,
            index=0,
            name="it",
            policy=RetryPolicy(),
            control=RunControl(),
            meter=Meter(),
            clock=clock,
            random=Random(1),
            halted=asyncio.Event(),
            is_gone=lambda sequence, lane: False,
            may_be_gone=lambda: False,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(deliverer.deliver(1, prepared(b"1")))
            await asyncio.sleep(0)
            await deliverer.has_room()
            sink.first.set_exception(Unreachable("cut off"))
            group.create_task(deliverer.deliver(2, prepared(b"2")))
        return sink.begun

    assert virtual.run(story()) == [b"1", b"1", b"2"]
