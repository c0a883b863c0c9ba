"""A sink that commits the places that its source's own system keeps: they are the truth, the owner has a copy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mstream.domain.batch import Batch, Form
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.errors import GuaranteeUnavailable, OutcomeUnknown, Unreachable
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.roles import Failure, Lanes
from tests.unit.engine.scripted import RememberingOwner, ScriptedSource, connector, numbers, refuse
from tests.unit.engine.ways import Near


@dataclass
class Cluster:
    """Records and places together; whatever joins or leaves its group begins another generation."""

    places: dict[str, Any] = field(default_factory=dict)
    rows: list[bytes | None] = field(default_factory=list)
    generation: int = 0
    fenced: list[tuple[str, int]] = field(default_factory=list)
    #: Questions that get no answer.
    silences: int = 0
    #: What the source tells of its lanes.
    lanes: Lanes | None = None
    #: What has happened, in order.
    deeds: list[str] = field(default_factory=list)


class SourceOf(ScriptedSource):
    """Reads there."""

    def __init__(self, cluster: Cluster, schedule: list[tuple[str, int]]) -> None:
        super().__init__(schedule)
        self._cluster = cluster

    async def read(self, limit: Any) -> Batch | None:
        self._cluster.lanes = self.lanes
        self._cluster.deeds.append("read")
        return await super().read(limit)

    async def handle(self) -> object:
        return self._cluster.generation

    async def has_committed(self, positions: Mapping[str, Any]) -> bool:
        if self._cluster.silences:
            self._cluster.silences -= 1
            message = "a transaction is open"
            raise Unreachable(message)
        return any(self._cluster.places.get(lane) == position for lane, position in positions.items())


@dataclass
class SinkOf:
    """Commits there, as the script says."""

    cluster: Cluster
    script: list[Any] = field(default_factory=list)
    accepts: Form = Form.PAYLOADS
    overlap: int = 1

    async def fence(self, job: str, member: int) -> None:
        self.cluster.deeds.append("fence")
        self.cluster.fenced.append((job, member))

    async def write(self, batch: Batch) -> Sequence[Failure]:
        raise AssertionError

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        assert not checkpoint.entries
        await asyncio.sleep(0.1)
        answer = self.script.pop(0) if self.script else "ok"
        if isinstance(answer, list):
            return answer
        if answer == "rebalance":
            self.cluster.generation += 1
        if checkpoint.source_handle != self.cluster.generation:
            message = "of another generation"
            raise Unreachable(message)
        if answer == "moved":
            await self._moved(batches, checkpoint)
        elif answer != "lost request":
            self.cluster.rows += [each for batch in batches for each in batch.payloads or ()]
            self.cluster.places.update(checkpoint.positions)
        if answer in {"lost request", "lost answer", "moved"}:
            message = "the answer was lost"
            raise OutcomeUnknown(message)
        return ()

    async def _moved(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> None:
        """Lane b goes to another member, which writes the same records and comes just as far; all else is given up."""
        assert self.cluster.lanes is not None
        await self.cluster.lanes.lost(["b"])
        self.cluster.rows += [each for batch in batches for each in batch.payloads or () if each and b'"b"' in each]
        self.cluster.places["b"] = checkpoint.positions["b"]


def run(near: Near, cluster: Cluster, schedule: list[tuple[str, int]], *script: Any, **keys: Any) -> RememberingOwner:
    owner = RememberingOwner()
    parts = {"src": SourceOf(cluster, schedule), "s0": SinkOf(cluster, list(script))}
    near.run(near.execute(spec(**keys), parts, owner=owner, control=RunControl(), meter=Meter()))
    return owner


def spec(**keys: Any) -> RunSpec:
    return RunSpec(
        job="job",
        run_id="run",
        epoch=1,
        connector=connector(1, **keys),
        services={},
        checkpoint=CheckpointMode.IN_SOURCE,
        transactional_sink=0,
        member=2,
    )


@pytest.mark.parametrize("fault", ["ok", "rebalance", "lost answer", "lost request"])
def test_every_record_is_there_once_whatever_becomes_of_an_answer(near: Near, fault: str) -> None:
    cluster = Cluster()

    run(near, cluster, [("a", 3), ("b", 2)] * 10, "ok", fault, "ok", fault, max_in_flight=2)

    assert numbers(cluster.rows, "a") == list(range(30))
    assert numbers(cluster.rows, "b") == list(range(20))
    assert cluster.places == {"a": 30, "b": 20}


@pytest.mark.parametrize("fault", ["lost answer", "lost request"])
def test_it_is_asked_until_there_is_an_answer(near: Near, fault: str) -> None:
    cluster = Cluster(silences=2)

    run(near, cluster, [("a", 3)] * 4, "ok", fault, max_in_flight=1)

    assert numbers(cluster.rows) == list(range(12))
    assert cluster.silences == 0


def test_a_lane_that_another_has_taken_as_far_does_not_tell_that_a_transaction_has_happened(near: Near) -> None:
    cluster = Cluster()

    run(near, cluster, [("a", 1), ("b", 2), ("a", 3)], "ok", "moved", max_in_flight=4)

    assert numbers(cluster.rows, "a") == [0, 1, 2, 3]
    assert numbers(cluster.rows, "b") == [0, 1]
    assert cluster.places == {"a": 4, "b": 2}


def test_the_owner_has_a_copy_in_the_end(near: Near) -> None:
    owner = run(near, Cluster(), [("a", 3), ("b", 2)])

    assert owner.positions == {"a": 3, "b": 2}


def test_the_sink_is_fenced_before_the_source_looks_for_its_places(near: Near) -> None:
    cluster = Cluster()

    run(near, cluster, [("a", 3)])

    assert cluster.fenced == [("job", 2)]
    assert cluster.deeds[:2] == ["fence", "read"]


def test_a_refused_record_is_buried_and_the_rest_is_committed(near: Near) -> None:
    cluster = Cluster()

    owner = run(near, cluster, [("a", 3)], [refuse(1)], on_error="dead_letter")

    assert numbers(cluster.rows) == [0, 2]
    assert [each.payload for each in owner.letters] == [b'{"lane":"a","n":1}']
    assert cluster.places == {"a": 3}


def test_a_source_that_keeps_no_places_is_refused(near: Near) -> None:
    parts = {"src": ScriptedSource([("a", 1)]), "s0": SinkOf(Cluster())}

    with pytest.raises(GuaranteeUnavailable, match="keeps no places"):
        near.run(near.execute(spec(), parts, owner=RememberingOwner(), control=RunControl(), meter=Meter()))
