"""The script stage alone, decode, edit three fields, encode: mstream against mq-bridge's Python handler."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import orjson

from mstream.domain.batch import Batch, Encoding, Form
from mstream.domain.connector import MiddlewareRef, RetryPolicy
from mstream.encodings import codec_for
from mstream.engine.attempts import Retry
from mstream.engine.meter import Meter, NoPage
from mstream.engine.stages import Encodings, Stage, Way
from mstream.engine.transforms import Step, Transforms, Want
from mstream.foundation.clock import SystemClock
from mstream.providers.udf import PROVIDER
from mstream.providers.udf.config import UdfConfig, UdfOptions

SCRIPTS = Path(__file__).parent / "scripts"
#: Records in a batch, for both.
BATCH = 2000


def digest(payloads: Sequence[bytes]) -> str:
    """The hash of what came out, whatever order several threads gave it."""
    return hashlib.sha256(b"\n".join(sorted(payloads))).hexdigest()


def mq_bridge(payloads: Sequence[bytes], *, raw: bool = False) -> tuple[float, list[bytes]]:
    """Seconds, and what came out: memory to memory through a route with a Python handler.

    `raw`: the handler takes bytes and uses orjson by itself, instead of the route's own `json` and `with_json`.
    """
    from mq_bridge import Consumer, Message, Publisher, Route  # noqa: PLC0415 - installed for this set alone

    count, topic = len(payloads), f"bench-{time.monotonic_ns()}"
    source = {"memory": {"topic": f"{topic}-in", "capacity": count + 1}}
    target = {"memory": {"topic": f"{topic}-out", "capacity": count + 1}}
    Publisher.from_config(source).send_batch([Message(each) for each in payloads])
    done = 0

    def with_json(message: Message) -> Message:
        nonlocal done
        data = message.json()
        data["email"] = "***"
        data["amount"] = data["amount"] * 2
        data["note"] = "checked"
        done += 1
        return message.with_json(data)

    def with_payload(message: Message) -> Message:
        nonlocal done
        data = orjson.loads(message.payload)
        data["email"] = "***"
        data["amount"] = data["amount"] * 2
        data["note"] = "checked"
        done += 1
        return message.with_payload(orjson.dumps(data))

    config = {"routes": {"bench": {"input": source, "output": target, "batch_size": BATCH}}}
    route = Route.from_config(config, "bench").with_handler(with_payload if raw else with_json)
    begun = time.perf_counter()
    with route:
        while done < count:
            time.sleep(0.0005)
        taken = time.perf_counter() - begun
        consumer = Consumer.from_config(target)
        found: list[bytes] = []
        while len(found) < count and (batch := consumer.poll(max=5000, timeout_ms=2000)):
            found += [message.payload for message in batch]
    return taken, found


def mstream(payloads: Sequence[bytes], script: str) -> tuple[float, list[bytes]]:
    """Seconds, and what came out: the transforms of a run, batch after batch, as a worker calls them."""
    return asyncio.run(_mstream(payloads, script))


def _once(what: str) -> Retry:
    """A script that fails ends the measurement."""
    policy, clock = RetryPolicy(max_attempts=1), SystemClock()
    return Retry(policy, what=what, meter=Meter(), clock=clock, random=Random(), halted=asyncio.Event())


async def _mstream(payloads: Sequence[bytes], script: str) -> tuple[float, list[bytes]]:
    config = UdfConfig.model_validate(
        {"name": "scripts", "script_path": str(SCRIPTS), "engine": {"kind": "python"}, "provider": "udf"}
    )
    ref = MiddlewareRef(service_name="scripts", resource=script)
    role = PROVIDER.middleware
    assert role is not None  # noqa: S101 - the descriptor of our own provider
    async with PROVIDER.connect(config) as live, role.open(live, ref, UdfOptions()) as middleware:
        json = Stage(encoding=Encoding.JSON)
        transforms = Transforms(
            way=Way(arrival=json, source=json, steps=[json], sinks=[json]),
            steps=[Step(name="edit", middleware=middleware, output=json, deadline_sec=30)],
            wants=[Want(form=Form.PAYLOADS, stage=json)],
            encodings=Encodings(codecs={Encoding.JSON: codec_for(Encoding.JSON)}),
            page=NoPage(),
            clock=SystemClock(),
            retry=_once,
        )
        found: list[bytes] = []
        begun = time.perf_counter()
        for start in range(0, len(payloads), BATCH):
            prepared, _ = await transforms.apply(Batch(payloads=payloads[start : start + BATCH], positions={"": start}))
            found += filter(None, prepared[0].batch.payloads or [])
        return time.perf_counter() - begun, found


def contenders() -> dict[str, Callable[[Sequence[bytes]], tuple[float, list[bytes]]]]:
    """By name."""
    return {
        "transform_batch": lambda payloads: mstream(payloads, "edit_batch.py"),
        "transform": lambda payloads: mstream(payloads, "edit.py"),
        "mq-bridge": mq_bridge,
        "mq-bridge, orjson": lambda payloads: mq_bridge(payloads, raw=True),
    }
