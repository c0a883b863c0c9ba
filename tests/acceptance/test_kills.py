"""Kills at random moments, scaled to a minute; `make chaos SUITE=delivery` is the full number."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos import findings
from tests.chaos.delivery import Delivery
from tests.chaos.findings import Kill
from tests.chaos.flows import TARGETS, Target
from tests.chaos.stream import record

SECONDS = 14.0
RECORDS = 50_000
KILLS = 8


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", TARGETS, ids=lambda each: each.name)
def test_nothing_is_lost_however_often_the_program_is_killed(target: type[Target], tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1_000_000)
    # The bound itself is shown on the virtual clock, and by `make chaos` on a machine of its own.
    delivery = Delivery(target(tmp_path), records=RECORDS, per_second=RECORDS / SECONDS, seed=seed, room=10)

    run = delivery.run(kills=KILLS, seconds=SECONDS)

    assert len(run.kills) >= KILLS
    assert run.records >= RECORDS


def test_a_record_that_is_missing_is_noticed() -> None:
    assert findings.missing([record(0), record(2)], 3) == [1]


def test_a_record_that_was_changed_is_noticed() -> None:
    reordered = dict(reversed(record(1).items()))

    assert findings.altered([record(0), record(1) | {"text": "other"}]) == [1]
    assert findings.altered([reordered]) == [1]


def test_records_in_the_wrong_order_are_noticed() -> None:
    assert findings.out_of_order([record(0), record(2), record(1)]) == [(2, 1)]


def test_a_repeat_is_no_wrong_order_but_is_counted() -> None:
    arrived = [record(0), record(1), record(2), record(1), record(2), record(3)]

    assert findings.out_of_order(arrived) == []
    assert findings.repeated(arrived) == 2


def test_more_repeats_than_a_kill_explains_are_noticed() -> None:
    arrived = [record(each) for each in (0, 1, 2, 3, 0, 1, 2, 3, 4)]
    kill = Kill("owner", mid_flow=True, earlier=3, after=4)

    assert findings.unbounded(arrived, [kill], window=2) != []
    assert findings.unbounded(arrived, [kill], window=3) == []


def test_a_checkpoint_ahead_of_the_records_is_noticed() -> None:
    assert findings.ahead(3, {0, 1}) == [2]
    assert findings.ahead(2, {0, 1}) == []
