"""What a run notes in the shared page is what the owner reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mstream.foundation.clock import SystemClock
from mstream.runtimes.page import SLOTS, SharedPage, WorkerPage


@pytest.fixture
def page() -> Iterator[SharedPage]:
    page = SharedPage()
    yield page
    page.close()


def worker_side(page: SharedPage) -> WorkerPage:
    return WorkerPage(os.dup(page.fd), SystemClock())


def test_a_busy_stage_is_seen_until_it_is_idle(page: SharedPage) -> None:
    before = SystemClock().monotonic()
    slot = worker_side(page).slot(3)
    slot.busy("masks/mask.py", 30.0)
    busy = page.read(3)
    slot.idle()

    assert busy is not None
    assert (busy.stage, busy.deadline_sec) == ("masks/mask.py", 30.0)
    assert before <= busy.since <= SystemClock().monotonic()
    assert page.read(3) is None


def test_slots_do_not_touch_each_other(page: SharedPage) -> None:
    worker = worker_side(page)
    worker.slot(0).busy("first", 1)
    worker.slot(SLOTS - 1).busy("last", 2)

    assert [(page.read(each) or pytest.fail("nothing")).stage for each in (0, SLOTS - 1)] == ["first", "last"]
    assert page.read(1) is None


def test_the_same_stage_busy_again_is_another_piece_of_work(page: SharedPage) -> None:
    slot = worker_side(page).slot(0)
    slot.busy("s", 1)
    first = page.read(0)
    slot.idle()
    slot.busy("s", 1)
    second = page.read(0)

    assert first is not None
    assert second is not None
    assert first.sequence != second.sequence


@pytest.mark.parametrize("name", ["x" * 500, "ü" * 39, ""])
def test_a_stage_of_any_name_is_busy(page: SharedPage, name: str) -> None:
    worker_side(page).slot(0).busy(name, 1)

    assert page.read(0) is not None
    assert page.read(1) is None


def test_a_slot_that_was_cleared_is_idle(page: SharedPage) -> None:
    worker_side(page).slot(0).busy("old run", 1)
    page.clear(0)

    assert page.read(0) is None
