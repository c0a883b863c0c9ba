"""Programs killed over their store, scaled to half a minute; `make chaos SUITE=persistence` is the full number.

Whatever the checks look for is shown to them once, by hand, so that they are known to find it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.chaos import image, invariants, persistence
from tests.chaos.image import Image
from tests.chaos.ledger import Kept, Ledger, Sealed
from tests.chaos.persistence import LEGS
from tests.chaos.trial import Sweep

#: Seconds of the whole, shared by the legs; and kills that a machine under load still manages in it.
SECONDS = 25.0
FLOOR = 10


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_nothing_that_was_acknowledged_is_lost_however_often_the_program_is_killed() -> None:
    seed = persistence.new_seed()

    reports = [
        persistence.one_leg(each, kills=FLOOR if each is LEGS[0] else 2, seconds=SECONDS * each.share, seed=seed)
        for each in LEGS
        if not each.is_postgres or persistence.has_postgres()
    ]

    assert [each["violations"] for each in reports] == [[] for _ in reports], f"seed {seed}"
    assert not any("cut_off_by" in each for each in reports)
    assert sum(each["kills"] for each in reports) >= FLOOR


def job(mark: int = 1, intent: str = "running", **more: Any) -> dict[str, Any]:
    return {
        "pipeline": {"max_in_flight": mark},
        "intent": intent,
        "desired_state": "running" if intent == "running" else "stopped",
        "removing": False,
        "epoch": 1,
        "last_change": {"revision": "r1", "by": {"who": "me"}},
        **more,
    }


LEDGER = Ledger(jobs={"one": frozenset({Kept(1, "running")})}, services={"a": frozenset({Sealed(1)})})


def stored(**jobs: dict[str, Any]) -> Image:
    return Image(jobs=jobs, system={"lease": {"epoch": 3, "instance": "x"}})


def test_what_was_ordered_is_no_finding() -> None:
    assert invariants.lost_or_changed(stored(one=job()), LEDGER) == []


def test_a_command_that_was_not_acknowledged_may_have_come_through_or_not() -> None:
    ledger = Ledger(jobs={"one": frozenset({Kept(1, "running"), Kept(1, "stopped"), None})})

    assert invariants.lost_or_changed(stored(one=job()), ledger) == []
    assert invariants.lost_or_changed(stored(one=job(intent="stopped")), ledger) == []
    assert invariants.lost_or_changed(stored(one=job(intent="stopped", removing=True)), ledger) == []
    assert invariants.lost_or_changed(stored(), ledger) == []


def test_a_lost_definition_is_found() -> None:
    assert invariants.lost_or_changed(stored(), LEDGER) != []


def test_an_older_definition_is_found() -> None:
    assert invariants.lost_or_changed(stored(one=job(mark=7)), LEDGER) != []


def test_a_changed_intent_is_found() -> None:
    assert invariants.lost_or_changed(stored(one=job(intent="stopped")), LEDGER) != []
    assert invariants.lost_or_changed(stored(one=job(desired_state="stopped")), LEDGER) != []


def test_a_job_that_nobody_made_is_found() -> None:
    assert invariants.lost_or_changed(stored(one=job(), two=job()), LEDGER) != []


def test_a_removal_that_nobody_ordered_is_found() -> None:
    assert invariants.lost_or_changed(stored(one=job(intent="stopped", removing=True)), LEDGER) != []


def test_a_lost_service_is_found() -> None:
    assert invariants.lost_or_changed_services(Image(), LEDGER) != []


def test_a_service_that_no_key_opens_is_found(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("ab" * 32 + "\n")
    wrong.write_text("cd" * 32 + "\n")
    body = AESGCM(b"\xab" * 32).encrypt(b"n" * 12, b'{"path": "folder-1"}', b'["mstream", 1, "mstream-services", "a"]')
    rows = {"services": [("a", image.tagged({"name": "a", "envelope": {"nonce": b"n" * 12, "ct": body}}))]}

    assert invariants.lost_or_changed_services(image.image_of(rows, right), LEDGER) == []
    assert invariants.lost_or_changed_services(image.image_of(rows, wrong), LEDGER) != []


def test_another_definition_of_a_service_is_found() -> None:
    found = Image(services={"a": {}}, opened={"a": {"path": "folder-2"}})

    assert invariants.lost_or_changed_services(found, LEDGER) != []


def test_a_filling_that_is_done_and_not_whole_is_found() -> None:
    marker = {"phase": "done", "connectors": []}
    found = Image(jobs={"one": job()}, system={"seed": marker})

    assert invariants.badly_seeded(found, ["one"]) == []
    assert invariants.badly_seeded(found, ["one", "two"]) != []


def test_a_filling_that_was_begun_without_all_definitions_is_found() -> None:
    marker = {"phase": "begun", "connectors": [{"name": "one"}]}

    assert invariants.badly_seeded(Image(system={"seed": marker}), ["one"]) == []
    assert invariants.badly_seeded(Image(system={"seed": marker}), ["one", "two"]) != []


def test_jobs_that_stand_there_before_the_marker_are_found() -> None:
    assert invariants.badly_seeded(Image(), ["one"]) == []
    assert invariants.badly_seeded(Image(jobs={"one": job()}), ["one"]) != []


def placed(epoch: int, sequence: int) -> Image:
    return Image(jobs={"one": job(epoch=0)}, checkpoints={"one": {"epoch": epoch, "sequence": sequence}})


def test_a_checkpoint_that_goes_back_is_found() -> None:
    assert invariants.order_going_back(placed(2, 5), placed(3, 5)) == []
    assert invariants.order_going_back(placed(2, 5), placed(2, 4)) != []
    assert invariants.order_going_back(placed(2, 5), placed(1, 9)) != []
    assert invariants.order_going_back(placed(2, 5), stored(one=job())) != []


def test_with_its_job_a_checkpoint_may_go() -> None:
    assert invariants.order_going_back(placed(2, 5), stored()) == []
    leaving = job(intent="stopped", removing=True)
    assert invariants.order_going_back(placed(2, 5), stored(one=leaving)) == []
    half_gone = Image(jobs={"one": leaving}, checkpoints=placed(2, 5).checkpoints)
    assert invariants.order_going_back(half_gone, stored(one=job())) == []


def owned(epoch: int, instance: str) -> Image:
    return Image(system={"lease": {"epoch": epoch, "instance": instance}})


def test_a_lease_whose_epoch_goes_back_is_found() -> None:
    assert invariants.order_going_back(owned(3, "x"), owned(4, "y")) == []
    assert invariants.order_going_back(owned(3, "x"), owned(2, "y")) != []


def test_two_owners_in_one_epoch_are_found() -> None:
    assert invariants.owners_in_one_epoch(owned(3, "x"), owned(3, "x")) == []
    assert invariants.owners_in_one_epoch(owned(3, "x"), owned(3, "y")) != []


def test_a_job_of_a_later_epoch_than_the_lease_is_found() -> None:
    assert invariants.order_going_back(Image(), stored(one=job(epoch=4))) != []


def test_a_change_that_the_trail_lacks_is_found() -> None:
    entry = {"kind": "job", "name": "one", "change": {"revision": "r1", "by": {"who": "me"}}}
    found = Image(jobs={"one": job()}, audit={"k": entry})
    carried = invariants.changes_in(found)

    assert invariants.missing_in_audit(found, carried, [("job", "one", "me")]) == []
    assert invariants.missing_in_audit(Image(), carried, []) != []
    assert invariants.missing_in_audit(found, [], [("job", "one", "you")]) != []
    assert invariants.missing_in_audit(found, [("service", "one", "r1")], []) != []


def view(**changes: Any) -> dict[str, Any]:
    return {"name": "one", "phase": "running", "state": "running", "run_id": "new", **changes}


def test_a_job_that_is_falsely_shown_as_running_is_found() -> None:
    assert invariants.falsely_shown([view()], ["old"], ["one"]) == []
    assert invariants.falsely_shown([view()], ["old"], []) != []
    assert invariants.falsely_shown([view(run_id="old")], ["old"], ["one"]) != []
    assert invariants.falsely_shown([view(run_id=None)], ["old"], ["one"]) != []
    assert invariants.falsely_shown([view(phase="stopped")], [], []) != []


def test_a_sweep_meets_every_write_before_and_after_it_is_done() -> None:
    sweep, met = Sweep(), []
    for _ in range(6):
        met.append((sweep.at, sweep.is_done))
        sweep.go_on(fell=sweep.at < 3)

    assert met == [(1, False), (1, True), (2, False), (2, True), (3, False), (1, False)]
