"""BSON to flat JSON and back, exact: the engine's own way against the codecs alone, on the same documents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, NoReturn

import bson
import orjson

from mstream.domain.batch import Batch, Encoding, Form, JsonMode
from mstream.encodings import codec_for, conversion_between
from mstream.engine.meter import NoPage
from mstream.engine.stages import Encodings, Stage, Way
from mstream.engine.transforms import Transforms, Want
from mstream.foundation.clock import SystemClock

#: Records in a batch, for both.
BATCH: Final = 2000
#: The fields that only the second kind of document has as times.
TIMES: Final = ("placed_at", "paid_at", "shipped_at")
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)

Convert = Callable[[Sequence[bytes]], list[bytes]]


def order(chance: Random, number: int) -> dict[str, Any]:
    """About 600 bytes: nested, an array of documents, integers of both widths, fractions, a null."""
    return {
        "_id": f"order-{number:08}",
        "customer": {
            "name": f"Person {chance.randrange(100_000):06}",
            "email": f"person.{chance.randrange(100_000):06}@mail.example",
            "address": {"street": "12 Long Street", "city": "Hafnarfjörður", "zip": "220"},
        },
        "items": [
            {
                "sku": f"sku-{chance.randrange(10_000):05}",
                "quantity": each + 1,
                "price": chance.randrange(100, 9_999) / 100,
            }
            for each in range(4)
        ],
        "amount": chance.randrange(100, 400_000) / 4,
        "weight_mg": chance.randrange(1 << 33, 1 << 40),
        "paid": chance.random() < 0.9,
        "coupon": None,
        "tags": ["new", "gift", "fragile"],
        "note": f"{chance.getrandbits(280):x}",
    }


def plain(count: int, seed: int = 7) -> list[bytes]:
    """Documents without a type that JSON does not have."""
    chance = Random(seed)
    return [bson.encode(order(chance, number)) for number in range(count)]


def with_ids(count: int, seed: int = 7) -> list[bytes]:
    """The same with three ObjectIds and three times to the millisecond."""
    chance = Random(seed)

    def document(number: int) -> dict[str, Any]:
        ids = {name: bson.ObjectId(chance.randbytes(12)) for name in ("_id", "customer_id", "shop_id")}
        times = {name: _START + timedelta(milliseconds=chance.randrange(10**10)) for name in TIMES}
        return order(chance, number) | ids | times | {"note": f"{chance.getrandbits(80):x}"}

    return [bson.encode(document(number)) for number in range(count)]


def bare(payloads: Sequence[bytes]) -> list[bytes]:
    """The shortest there is. It writes times to six digits, and would write NaN as null."""
    options = orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
    return [orjson.dumps(bson.decode(each), str, options) for each in payloads]


def bare_back(payloads: Sequence[bytes]) -> list[bytes]:
    """The other way. It would read markers as documents, and round numbers that a double cannot hold."""
    return [bson.encode(orjson.loads(each)) for each in payloads]


def mstream(payloads: Sequence[bytes]) -> list[bytes]:
    """The transforms of a run, batch after batch, as a worker calls them."""
    return asyncio.run(_mstream(payloads, Encoding.BSON, Encoding.JSON))


def mstream_back(payloads: Sequence[bytes]) -> list[bytes]:
    """The same the other way."""
    return asyncio.run(_mstream(payloads, Encoding.JSON, Encoding.BSON))


async def _mstream(payloads: Sequence[bytes], source: Encoding, target: Encoding) -> list[bytes]:
    leg = (source, target, JsonMode.FLAT)
    conversion = conversion_between(*leg)
    assert conversion is not None  # noqa: S101 - of an encoding that is there
    stage = Stage(encoding=source)
    transforms = Transforms(
        way=Way(arrival=stage, source=stage, steps=[], sinks=[]),
        steps=[],
        wants=[Want(form=Form.PAYLOADS, stage=Stage(encoding=target))],
        encodings=Encodings(
            codecs={each: codec_for(each) for each in (Encoding.BSON, Encoding.JSON)}, conversions={leg: conversion}
        ),
        page=NoPage(),
        clock=SystemClock(),
        retry=_never,
    )
    found: list[bytes] = []
    for start in range(0, len(payloads), BATCH):
        batch = Batch(payloads=payloads[start : start + BATCH], encoding=source, positions={"": start})
        prepared, _ = await transforms.apply(batch)
        found += filter(None, prepared[0].batch.payloads or [])
    return found


def _never(what: str) -> NoReturn:
    raise AssertionError(what)


def seconds(convert: Convert, payloads: Sequence[bytes]) -> float:
    """Of the processor; both work in one thread."""
    begun = time.process_time()
    convert(payloads)
    return time.process_time() - begun


def meanings(payloads: Sequence[bytes]) -> list[dict[str, Any]]:
    """What they say, whatever the digits of their times."""
    documents = [orjson.loads(each) for each in payloads]
    for document in documents:
        document.update({name: datetime.fromisoformat(document[name]) for name in TIMES if name in document})
    return documents


KINDS: Final[dict[str, Callable[[int], list[bytes]]]] = {
    "plain documents": plain,
    "three ObjectIds, three times": with_ids,
}
CONTENDERS: Final[dict[str, Convert]] = {"mstream": mstream, "bare": bare, "mstream again": mstream}
BACK: Final[dict[str, Convert]] = {"mstream": mstream_back, "bare": bare_back, "mstream again": mstream_back}
