"""Records that are given up: every one is counted, and each kind is logged once a minute."""

from __future__ import annotations

import asyncio
from typing import Any

from structlog.testing import capture_logs

from mstream.domain.batch import Batch
from mstream.engine.meter import Meter
from mstream.engine.policy import FailurePolicy
from mstream.engine.transforms import Refusal
from mstream.errors import DecodeError, MstreamError, RecordRefused
from tests.unit.engine.scripted import connector
from tests.virtual import VirtualClock, run


class Nowhere:
    """Dead letters that are never asked for."""

    async def bury(self, batch: Batch, refusals: Any) -> None:
        raise AssertionError


def _refused(index: int, error: MstreamError, stage: str = "sink s0/out") -> Refusal:
    return Refusal(index=index, error=error, stage=stage)


async def _given_up(meter: Meter) -> None:
    policy = FailurePolicy(connector(on_error="skip"), dead_letters=Nowhere(), meter=meter, clock=VirtualClock())
    batch = Batch(payloads=[b"{}"] * 3, positions={"a": 3})
    for _ in range(90):
        await policy.give_up(batch, [_refused(0, RecordRefused("no")), _refused(2, RecordRefused("no"))])
        await asyncio.sleep(1)
    await policy.give_up(batch, [_refused(1, DecodeError("no"), "decode")])


def test_every_record_is_counted_and_each_kind_logged_once_a_minute() -> None:
    meter = Meter()

    with capture_logs() as logs:
        run(_given_up(meter))

    told = [(each["stage"], each["error_code"], each["count"]) for each in logs if each["event"] == "records_given_up"]
    assert told == [
        ("sink s0/out", "record_refused", 2),
        ("sink s0/out", "record_refused", 120),
        ("decode", "record_undecodable", 1),
    ]
    assert meter.records_skipped == meter.errors == 181
    assert meter.last_error_code == "record_undecodable"
