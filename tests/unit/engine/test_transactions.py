"""Records and checkpoint in one transaction: all or nothing, in order, never twice.

The sink and the owner share one database in memory, so none of these runs goes to another process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mstream.domain.batch import Batch, Form
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.control import RunControl
from mstream.engine.meter import Meter
from mstream.errors import OutcomeUnknown, RecordStopped, StaleCheckpoint, Unreachable
from mstream.ports.checkpoints import PendingCheckpoint
from mstream.ports.owner import LaneClaim
from mstream.ports.roles import Failure
from tests.unit.engine.scripted import (
    RememberingOwner,
    ScriptedSink,
    ScriptedSource,
    connector,
    numbers,
    refuse,
)
from tests.unit.engine.ways import Near, Way


@dataclass
class Database(RememberingOwner):
    """Records and lane documents in one place, with compare-and-set."""

    lanes: dict[str, tuple[int | None, str]] = field(default_factory=dict)
    rows: list[bytes | None] = field(default_factory=list)

    async def claim(self, lanes: Collection[str]) -> Mapping[str, LaneClaim]:
        for lane in lanes:
            position, _ = self.lanes.get(lane, (None, ""))
            self.lanes[lane] = (position, f"claimed-{lane}")
        return await self.lookup(lanes)

    async def lookup(self, lanes: Collection[str]) -> Mapping[str, LaneClaim]:
        return {each: LaneClaim(position=self.lanes[each][0], revision=self.lanes[each][1]) for each in lanes}


@dataclass
class TransactionalScriptedSink:
    """Commits into the database, as the script says: "ok", "down", "lost answer", "lost request", a refusal."""

    database: Database
    script: list[Any] = field(default_factory=list)
    accepts: Form = Form.PAYLOADS
    overlap: int = 1
    commits: int = 0

    async def write(self, batch: Batch) -> Sequence[Failure]:
        raise AssertionError

    async def write_with(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> Sequence[Failure]:
        await asyncio.sleep(0.1)
        answer = self.script.pop(0) if self.script else "ok"
        if isinstance(answer, list):
            return answer
        if answer == "down":
            message = "down"
            raise Unreachable(message)
        if answer != "lost request":
            self._commit(batches, checkpoint)
        if answer != "ok":
            message = "the answer was lost"
            raise OutcomeUnknown(message)
        return ()

    def _commit(self, batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> None:
        for (lane, position), entry in zip(checkpoint.positions.items(), checkpoint.entries, strict=True):
            if self.database.lanes.get(lane, (None, ""))[1] != entry.expect:
                message = "moved"
                raise StaleCheckpoint(message)
            self.database.lanes[lane] = (position, entry.revision)
        self.database.rows += [each for batch in batches for each in batch.payloads or ()]
        self.commits += 1


async def _run(
    way: Way, database: Database, sinks: Sequence[Any], schedule: list[tuple[str, int]], **keys: Any
) -> None:
    positions = {lane: position for lane, (position, _) in database.lanes.items() if position is not None}
    spec = RunSpec(
        job="job",
        run_id="run",
        epoch=1,
        connector=connector(len(sinks), **keys),
        services={},
        positions=positions,
        checkpoint=CheckpointMode.TRANSACTIONAL,
        checkpoint_resource="checkpoints",
        transactional_sink=0,
    )
    parts = {"src": ScriptedSource(schedule), **{f"s{n}": each for n, each in enumerate(sinks)}}
    await way.execute(spec, parts, owner=database, control=RunControl(), meter=Meter())


@pytest.mark.parametrize("fault", ["ok", "down", "lost answer", "lost request"])
def test_every_record_is_there_once_whatever_becomes_of_an_answer(near: Near, fault: str) -> None:
    database = Database()
    sink = TransactionalScriptedSink(database, ["ok", fault, "ok", fault])

    near.run(_run(near, database, [sink], [("a", 3), ("b", 2)] * 10, max_in_flight=2))

    assert numbers(database.rows) == list(range(30))
    assert numbers(database.rows, "b") == list(range(20))
    assert database.lanes["a"][0] == 30


def test_one_transaction_takes_what_has_gathered(near: Near) -> None:
    database = Database()
    sink = TransactionalScriptedSink(database)

    near.run(_run(near, database, [sink], [("a", 1)] * 40, max_in_flight=20))

    assert sink.commits < 10


def test_a_transaction_is_bounded_by_its_bytes(near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mstream.engine.transactions._BYTES", 40)
    database = Database()
    sink = TransactionalScriptedSink(database)

    near.run(_run(near, database, [sink], [("a", 1)] * 40, max_in_flight=20))

    assert numbers(database.rows) == list(range(40))
    assert sink.commits >= 40 / 3


def test_a_refused_record_is_buried_before_the_rest_is_committed(near: Near) -> None:
    database = Database()
    sink = TransactionalScriptedSink(database, [[refuse(1)]])

    near.run(_run(near, database, [sink], [("a", 3)], on_error="dead_letter"))

    assert numbers(database.rows) == [0, 2]
    assert [each.payload for each in database.letters] == [b'{"lane":"a","n":1}']
    assert database.lanes["a"][0] == 3


def test_stop_commits_what_came_before_the_refused_record(near: Near) -> None:
    database = Database()
    sink = TransactionalScriptedSink(database, ["ok", [refuse(2)]])

    with pytest.raises(RecordStopped):
        near.run(_run(near, database, [sink], [("a", 4)] * 3, max_in_flight=1))

    assert numbers(database.rows) == list(range(6))
    assert database.lanes["a"][0] == 6


def test_a_checkpoint_that_another_run_has_moved_ends_the_run_without_a_row(near: Near) -> None:
    database = Database()
    sink = TransactionalScriptedSink(database, ["ok", "steal"])
    commit = sink._commit

    def stolen(batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> None:
        if sink.commits == 1:
            database.lanes["a"] = (4, "another run")
        commit(batches, checkpoint)

    sink._commit = stolen  # type: ignore[method-assign]  # a rival strikes between two commits
    sink.script = []

    with pytest.raises(StaleCheckpoint):
        near.run(_run(near, database, [sink], [("a", 4)] * 3, max_in_flight=1))

    assert numbers(database.rows) == list(range(4))


def test_a_plain_sink_that_stops_the_run_leaves_the_transaction_what_came_before(near: Near) -> None:
    database = Database()
    plain = ScriptedSink(answer=lambda attempt, batch: [refuse(0)] if attempt == 3 else ())

    with pytest.raises(RecordStopped):
        near.run(_run(near, database, [TransactionalScriptedSink(database), plain], [("a", 1)] * 9))

    assert numbers(database.rows) == [0, 1]
    assert database.lanes["a"][0] == 2


def test_a_commit_waits_for_the_other_sinks(near: Near) -> None:
    database = Database()
    slow = ScriptedSink(delay=5.0)

    sink = TransactionalScriptedSink(database)
    commit = sink._commit

    def check(batches: Sequence[Batch], checkpoint: PendingCheckpoint) -> None:
        assert len(slow.taken) >= checkpoint.positions["a"]  # type: ignore[operator]  # positions are numbers here
        commit(batches, checkpoint)

    sink._commit = check  # type: ignore[method-assign]  # looks on

    near.run(_run(near, database, [sink, slow], [("a", 2)] * 5))

    assert numbers(database.rows) == list(range(10))
