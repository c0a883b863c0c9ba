"""A provider whose source and sinks follow a script, and an owner that remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mstream.domain.batch import Batch, Form
from mstream.domain.checkpoint import merged
from mstream.domain.connector import ConnectorSpec
from mstream.domain.dead_letter import DeadLetter
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.errors import MstreamError, RecordRefused, Unreachable
from mstream.ports.owner import LaneClaim
from mstream.ports.roles import Failure, Lanes, Limit, Transformed
from tests.unit.engine.ways import Direct, Way


@dataclass
class ScriptedSource:
    """Lanes of numbered records, read in the order of `schedule`: (lane, count) for each read."""

    schedule: list[tuple[str, int]]
    ends: bool = True
    #: Raised at the reads of these numbers, once each.
    errors: dict[int, MstreamError] = field(default_factory=dict)
    delay: float = 0.0
    #: At most so many records a read.
    most: int = 1_000_000
    #: Raised by the next acknowledgements, once each.
    ack_errors: list[MstreamError] = field(default_factory=list)
    acked: dict[str, int | None] = field(default_factory=dict)
    acks: list[dict[str, int | None]] = field(default_factory=list)
    at: dict[str, int] = field(default_factory=dict)
    reads: int = 0
    finishing: asyncio.Event = field(default_factory=asyncio.Event)
    #: What it tells of its lanes, once it is open.
    lanes: Lanes | None = None

    def begin(self, positions: Mapping[str, Any]) -> None:
        """Go on from stored positions."""
        self.at = dict(positions)

    async def read(self, limit: Limit) -> Batch | None:
        await asyncio.sleep(self.delay)
        self.reads += 1
        if self.reads in self.errors:
            raise self.errors.pop(self.reads)
        done = dict.fromkeys({lane for lane, _ in self.schedule}, 0)
        for lane, count in self.schedule:
            first, done[lane] = done[lane], done[lane] + count
            here = self.at.get(lane, 0)
            if done[lane] <= here:
                continue
            stop = min(done[lane], max(here, first) + min(limit.records, self.most))
            numbers = range(max(here, first), stop)
            self.at[lane] = stop
            return Batch(
                payloads=[b'{"lane":"%s","n":%d}' % (lane.encode(), each) for each in numbers],
                marks=[each + 1 for each in numbers],
                positions={lane: stop},
            )
        if not self.ends:
            await self.finishing.wait()
        return None

    async def finish(self) -> None:
        self.finishing.set()

    def positions(self, batch: Batch, count: int) -> Mapping[str, Any]:
        assert batch.marks is not None
        if count == 0:
            return {batch.lane: batch.marks[0] - 1} if batch.marks else dict(batch.positions)
        return {batch.lane: batch.marks[count - 1]}

    async def ack(self, positions: Mapping[str, int | None]) -> None:
        self.acks.append(dict(positions))
        if self.ack_errors:
            raise self.ack_errors.pop(0)
        self.acked.update(positions)


@dataclass
class ScriptedSink:
    """Takes payloads; `answer(attempt, batch)` decides what becomes of each write."""

    answer: Callable[[int, Batch], Sequence[Failure] | MstreamError] = lambda attempt, batch: ()
    delay: float = 0.0
    overlap: int = 1
    accepts: Form = Form.PAYLOADS
    taken: list[bytes | None] = field(default_factory=list)
    attempts: int = 0
    under_way: int = 0
    most: int = 0
    flushes: int = 0
    #: Raised by the next flushes, once each.
    flush_errors: list[MstreamError] = field(default_factory=list)
    #: What each write was given.
    begun: list[list[bytes | None]] = field(default_factory=list)

    async def write(self, batch: Batch) -> Sequence[Failure]:
        self.attempts += 1
        self.begun.append(list(batch.payloads or ()))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            answer = self.answer(self.attempts, batch)
            await asyncio.sleep(self.delay)
        finally:
            self.under_way -= 1
        if isinstance(answer, MstreamError):
            raise answer
        refused = {each.index for each in answer}
        assert batch.payloads is not None
        self.taken += [each for index, each in enumerate(batch.payloads) if index not in refused]
        return answer

    async def flush(self) -> None:
        self.flushes += 1
        if self.flush_errors:
            raise self.flush_errors.pop(0)


@dataclass
class ScriptedMiddleware:
    """`change(document)` gives a list of outputs, or raises a MstreamError."""

    change: Callable[[Any], list[Any]]
    accepts: Form = Form.DOCUMENTS
    #: Raised for the next whole batches, once each.
    errors: list[MstreamError] = field(default_factory=list)

    async def apply(self, batch: Batch) -> Transformed:
        if self.errors:
            raise self.errors.pop(0)
        outputs: list[Any] = []
        origins: list[int] = []
        failures: list[Failure] = []
        for index, document in enumerate(batch.documents or ()):
            try:
                made = self.change(document)
            except MstreamError as error:
                failures.append(Failure(index=index, error=error))
                continue
            outputs += made
            origins += [index] * len(made)
        changed = batch.pick(origins)
        after = Batch(documents=outputs, encoding=batch.encoding, lanes=changed.lanes, positions=batch.positions)
        return Transformed(batch=after, origins=origins, failures=failures)


@dataclass
class RememberingOwner:
    """Keeps checkpoints and dead letters in memory; calls `on_save` before a save counts."""

    positions: dict[str, Any] = field(default_factory=dict)
    letters: list[DeadLetter] = field(default_factory=list)
    saves: list[dict[str, Any]] = field(default_factory=list)
    on_save: Callable[[Mapping[str, Any]], None] = lambda positions: None
    bury_error: MstreamError | None = None

    async def save(self, positions: Mapping[str, Any]) -> None:
        await asyncio.sleep(0)
        self.on_save(positions)
        self.positions = merged(self.positions, positions)
        self.saves.append(dict(self.positions))

    async def claim(self, lanes: Collection[str]) -> Mapping[str, LaneClaim]:
        return {each: LaneClaim(position=self.positions.get(each), revision="r") for each in lanes}

    async def release(self, lanes: Collection[str]) -> None:
        return

    async def lookup(self, lanes: Collection[str]) -> Mapping[str, LaneClaim]:
        return await self.claim(lanes)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        if self.bury_error is not None:
            raise self.bury_error
        self.letters += letters


def connector(sinks: int = 1, *, middleware: bool = False, **keys: Any) -> ConnectorSpec:
    """A connector over the scripted services."""
    return ConnectorSpec.model_validate(
        {
            "name": "job",
            "source": {"service_name": "src", "resource": "in"},
            "middlewares": [{"service_name": "mid", "resource": "step"}] if middleware else [],
            "sinks": [{"service_name": f"s{n}", "resource": "out"} for n in range(sinks)],
            **keys,
        }
    )


@dataclass
class Trial:
    """One run of scripted parts."""

    spec: ConnectorSpec
    source: ScriptedSource
    sinks: Sequence[ScriptedSink]
    owner: RememberingOwner = field(default_factory=RememberingOwner)
    middleware: ScriptedMiddleware | None = None
    control: RunControl = field(default_factory=RunControl)
    meter: Meter = field(default_factory=Meter)
    #: Other parts, by the names of their services.
    more: dict[str, Any] = field(default_factory=dict)

    async def run(self, way: Way | None = None) -> None:
        spec = RunSpec(
            job="job",
            run_id="run-1",
            epoch=1,
            connector=self.spec,
            services={},
            positions=dict(self.owner.positions),
            checkpoint=CheckpointMode.SAVED,
        )
        parts: dict[str, Any] = {"src": self.source, **{f"s{n}": each for n, each in enumerate(self.sinks)}}
        parts |= self.more
        if self.middleware is not None:
            parts["mid"] = self.middleware
        await (way or Direct()).execute(spec, parts, owner=self.owner, control=self.control, meter=self.meter)


def numbers(taken: Sequence[bytes | None], lane: str = "a") -> list[int]:
    """The record numbers of one lane, in the order in which a sink took them."""
    marked = [each for each in taken if each and b'"lane":"%s"' % lane.encode() in each]
    return [int(each.split(b'"n":')[1].rstrip(b"}")) for each in marked]


def refuse(index: int) -> Failure:
    return Failure(index=index, error=RecordRefused("does not fit"))


def not_now(index: int) -> Failure:
    return Failure(index=index, error=Unreachable("not now"))
