"""Files that are put aside at awkward moments."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mstream.errors import PositionLost, Unreachable
from mstream.providers.file.folder import Folder
from mstream.providers.file.following import LOOK_SECONDS
from tests.unit.providers.file.follower import SIZE, Follower, add, rotate


def test_a_file_that_was_begun_is_found_again_though_none_of_its_lines_was_settled(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    begun = follower.following.step(SIZE)
    rotate(log, "-000001", moment=1000)
    add(log, "2")

    assert begun is not None
    assert begun.payloads == []
    assert begun.position is not None
    assert Follower(tmp_path, positions={"log": begun.position}).lines() == [b"1", b"2"]


def test_a_new_file_that_is_still_quiet_is_known_before_the_old_one_is_deleted(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    rotate(log, ".1")
    log.touch()
    follower.lines(seconds=2 * LOOK_SECONDS)
    (tmp_path / "log.1").unlink()
    add(log, "2")

    assert follower.restarted(tmp_path).lines() == [b"2"]


def test_a_file_that_was_cut_and_is_still_empty_is_no_lost_position(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    log.write_text("")
    follower.lines()
    add(log, "2")

    assert follower.restarted(tmp_path).lines() == [b"2"]


def test_short_numbers_that_shift_are_told_apart_within_one_tick(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    for line in ("2", "3"):
        for number in (2, 1):
            if (tmp_path / f"log.{number}").exists():
                (tmp_path / f"log.{number}").rename(tmp_path / f"log.{number + 1}")
        rotate(log, ".1", moment=1000)
        add(log, line)

    assert follower.lines() == [b"2", b"3"]


def test_growing_numbers_hold_against_a_clock_that_was_set_back(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    rotate(log, "-000001", moment=9000)
    add(log, "2")
    follower = Follower(tmp_path)
    first = follower.lines()
    for number, moment in ((2, 5000), (3, 4000), (4, 3000)):
        rotate(log, f"-{number:06d}", moment=moment)
        add(log, str(number + 1))

    assert first == [b"2"]
    assert follower.lines() == [b"3", b"4", b"5"]


def test_what_was_put_aside_is_read_though_the_file_before_it_was_deleted(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    rotate(log, ".2", moment=1000)
    add(log, "2")
    rotate(log, ".1", moment=2000)
    (tmp_path / "log.2").unlink()

    assert follower.lines(seconds=2 * LOOK_SECONDS) == [b"2"]


def test_of_many_files_one_that_may_have_gone_on_under_a_rotated_name_is_a_lost_position(
    tmp_path: Path, log: Path
) -> None:
    add(log, "1")
    follower = Follower(tmp_path, "lo?")
    follower.lines()
    rotate(log, ".2", moment=1000)
    add(log, "2")
    rotate(log, ".1", moment=2000)
    (tmp_path / "log.2").unlink()

    with pytest.raises(PositionLost):
        follower.restarted(tmp_path, "lo?").lines()


class RacedFolder(Folder):
    """A folder in which something happens once, right before or after a file is opened."""

    def __init__(self, path: Path, *, before: Callable[[], None] | None, after: Callable[[], None] | None) -> None:
        super().__init__("files", path)
        self._before = before
        self._after = after
        self.is_armed = False

    def open_to_read(self, path: Path) -> int:
        is_time, self.is_armed = self.is_armed, False
        if is_time and self._before:
            self._before()
        descriptor = super().open_to_read(path)
        if is_time and self._after:
            self._after()
        return descriptor


@pytest.mark.parametrize("is_before", [True, False], ids=["before it is opened", "after it was opened"])
def test_rotations_while_the_next_file_is_being_chosen_leave_nothing_out(
    tmp_path: Path, log: Path, is_before: bool
) -> None:
    def rotate_twice() -> None:
        for number, line in ((2, "3"), (3, "4")):
            rotate(log, f"-{number:06d}", moment=number * 1000)
            add(log, line)

    folder = RacedFolder(
        tmp_path, before=rotate_twice if is_before else None, after=None if is_before else rotate_twice
    )
    follower = Follower(tmp_path, within=folder)
    add(log, "1")
    first = follower.lines()
    rotate(log, "-000001", moment=1000)
    add(log, "2")
    folder.is_armed = True

    assert first == [b"1"]
    assert follower.lines() == [b"2", b"3", b"4"]


class FaultyFolder(Folder):
    """A folder whose disk fails to open a file once."""

    fails = True

    def open_to_read(self, path: Path) -> int:
        if self.fails:
            self.fails = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().open_to_read(path)


def test_a_disk_that_fails_while_a_position_is_looked_up_does_not_cost_the_position(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    positions = {lane: at for lane, at in follower.positions.items() if at is not None}
    add(log, "2")
    again = Follower(tmp_path, positions=positions, within=FaultyFolder("files", tmp_path))

    with pytest.raises(Unreachable):
        again.lines()
    assert again.lines() == [b"2"]


def test_what_was_put_aside_before_the_first_look_is_not_read(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    rotate(log, "-000001", moment=1000)
    add(log, "2")

    assert Follower(tmp_path).lines() == [b"2"]


def test_a_cut_does_not_bring_back_what_the_pattern_finds_under_a_rotated_name(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path, "log*")
    follower.lines()
    rotate(log, ".1", moment=1000)
    add(log, "2")
    first = follower.lines(seconds=2 * LOOK_SECONDS)
    log.write_text("")
    add(log, "3")

    assert first == [b"2"]
    assert follower.lines(seconds=2 * LOOK_SECONDS) == [b"3"]
    assert follower.lines(seconds=2 * LOOK_SECONDS) == []
