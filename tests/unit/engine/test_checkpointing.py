"""The order of a checkpoint: flush the sinks, save, acknowledge the source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from mstream.errors import StaleOwner
from tests.unit.engine.scripted import RememberingOwner, ScriptedSink, ScriptedSource, Trial, connector, numbers
from tests.unit.engine.ways import Near


@dataclass
class Told(ScriptedSource):
    """Looks at what is saved when it is told that it is."""

    owner: RememberingOwner = field(default_factory=RememberingOwner)

    async def ack(self, positions: Mapping[str, Any]) -> None:
        saved = self.owner.positions
        assert all(saved.get(lane, -1) >= at for lane, at in positions.items()), f"told {positions}, saved {saved}"
        await super().ack(positions)


@dataclass
class Buffering(ScriptedSink):
    """What it was given is safe after a flush."""

    safe: int = 0

    async def flush(self) -> None:
        await super().flush()
        self.safe = len(self.taken)


def test_a_source_is_told_only_of_what_is_saved(near: Near) -> None:
    owner = RememberingOwner()
    source = Told([("a", 2), ("b", 1)] * 100, delay=0.05, owner=owner)
    trial = Trial(connector(), source, [ScriptedSink()], owner=owner)

    near.run(trial.run(near))

    assert source.acked == owner.positions == {"a": 200, "b": 100}
    assert len(source.acks) > 3


def test_a_source_is_told_nothing_when_the_save_failed(near: Near) -> None:
    def refuse(positions: Mapping[str, Any]) -> None:
        message = "a newer owner has the job"
        raise StaleOwner(message)

    source = ScriptedSource([("a", 2)], ends=False)
    trial = Trial(connector(), source, [ScriptedSink()], owner=RememberingOwner(on_save=refuse))

    with pytest.raises(StaleOwner):
        near.run(trial.run(near))

    assert source.acks == []


def test_nothing_is_saved_that_was_not_flushed_before(near: Near) -> None:
    sinks = [Buffering(), Buffering(delay=0.3)]

    def flushed(positions: Mapping[str, Any]) -> None:
        assert min(each.safe for each in sinks) >= positions["a"]

    trial = Trial(
        connector(2), ScriptedSource([("a", 2)] * 50, delay=0.05), sinks, owner=RememberingOwner(on_save=flushed)
    )

    near.run(trial.run(near))

    assert numbers(sinks[0].taken) == list(range(100))
    assert trial.owner.positions == {"a": 100}


def test_a_save_leaves_lanes_as_they_are_that_did_not_move(near: Near) -> None:
    owner = RememberingOwner(positions={"a": 4, "b": 7})
    trial = Trial(connector(), ScriptedSource([("b", 10)]), [ScriptedSink()], owner=owner)

    near.run(trial.run(near))

    assert owner.positions == {"a": 4, "b": 10}


def test_a_source_that_cannot_be_told_keeps_no_save_waiting(near: Near) -> None:
    owner = RememberingOwner()
    saved: list[tuple[int, int]] = []

    @dataclass
    class Away(ScriptedSource):
        async def ack(self, positions: Mapping[str, Any]) -> None:
            before = owner.positions["a"]
            await asyncio.sleep(20)
            saved.append((before, owner.positions["a"]))
            await super().ack(positions)

    source = Away([("a", 1)] * 50, delay=1)

    near.run(Trial(connector(), source, [ScriptedSink()], owner=owner).run(near))

    assert saved[0][1] - saved[0][0] > 15
    assert source.acked == {"a": 50}
