"""Kills at random moments while a collection changes, scaled to a minute; `make chaos SUITE=mongodb` is more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos import mongodb
from tests.chaos.mongodb_feed import GONE
from tests.chaos.mongodb_flows import TARGETS, StreamTarget
from tests.servers import mongo_java, nx
from tests.servers.nx import NxServer

#: Of each flow.
KILLS = 2
RECORDS = 3000


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("target", TARGETS, ids=lambda each: each.name)
def test_no_change_is_lost_however_often_the_program_is_killed(target: type[StreamTarget], tmp_path: Path) -> None:
    module = nx if issubclass(target.server, NxServer) else mongo_java
    if not module.is_installed():
        pytest.skip(module.ADVICE)
    seed = random.SystemRandom().randrange(1_000_000)

    run = mongodb.run(
        target, tmp_path, records=RECORDS, per_second=RECORDS / 6, seed=seed, kills=KILLS, seconds=None, room=10
    )

    assert len(run.kills) >= KILLS
    assert run.records >= RECORDS
    assert run.arrived > 0


def test_a_document_that_is_missing_or_older_than_the_checkpoint_is_noticed() -> None:
    log = [("a", 0), ("b", 0), ("a", 1)]

    assert mongodb.not_covered(log, 3, [{"_id": "a", "version": 1}, {"_id": "b", "version": 0}]) == []
    assert mongodb.not_covered(log, 3, [{"_id": "a", "version": 1}]) == ["b in version 0: gone"]
    assert mongodb.not_covered(log, 3, [{"_id": "a", "version": 0}, {"_id": "b", "version": 0}]) != []
    assert mongodb.not_covered(log, 2, [{"_id": "a", "version": 0}, {"_id": "b", "version": 0}]) == []


def test_a_document_that_was_deleted_before_the_checkpoint_is_noticed() -> None:
    log = [("a", 0), ("a", GONE)]

    assert mongodb.not_covered(log, 2, [{"_id": "a", "version": 0}]) != []
    assert mongodb.not_covered(log, 2, []) == []
    assert mongodb.not_covered(log, 1, []) == []


def test_collections_that_differ_are_noticed() -> None:
    one = [{"_id": "a", "n": 1, "m": 2}]

    assert mongodb.differences(one, list(one)) == []
    assert mongodb.differences(one, []) == ["a"]
    assert mongodb.differences([], one) == ["a"]
    assert mongodb.differences(one, [{"_id": "a", "m": 2, "n": 1}]) == ["a"]
