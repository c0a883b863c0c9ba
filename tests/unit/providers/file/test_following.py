from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from mstream.errors import AccessDenied, PositionLost
from mstream.providers.file.following import LOOK_SECONDS
from tests.unit.providers.file.follower import SIZE, Follower, add, rotate


def test_growth_is_followed(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    first = follower.lines()
    add(log, "2", "3")

    assert first == [b"1"]
    assert follower.lines() == [b"2", b"3"]


def test_a_file_that_comes_later_is_read_from_its_beginning(tmp_path: Path, log: Path) -> None:
    follower = Follower(tmp_path, from_end=True)
    nothing = follower.lines()
    add(log, "1")

    assert nothing == []
    assert follower.lines() == [b"1"]


def test_a_line_without_its_end_is_no_record_yet(tmp_path: Path, log: Path) -> None:
    log.write_text("1\n2")
    follower = Follower(tmp_path)
    first = follower.lines()
    add(log, "34")

    assert first == [b"1"]
    assert follower.lines() == [b"234"]


def test_a_long_line_that_grows_in_pieces_comes_once_and_whole(tmp_path: Path, log: Path) -> None:
    follower = Follower(tmp_path)
    for _ in range(5):
        with log.open("a") as file:
            file.write("x" * SIZE)
        assert follower.lines() == []
    add(log, "", "y")

    assert follower.lines() == [b"x" * SIZE * 5, b"y"]


def test_the_rest_of_a_file_that_was_put_aside_comes_first(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    first = follower.lines()
    add(log, "2")
    rotate(log)
    add(log, "4")
    writer_that_was_late = tmp_path / "log.1"
    second = [chunk.payloads for _ in range(3) if (chunk := follower.following.step(SIZE))]
    add(writer_that_was_late, "3")

    assert first == [b"1"]
    assert second == [[b"2"]]
    assert follower.lines() == [b"3", b"4"]
    assert set(follower.positions) == {"log"}


@pytest.mark.parametrize("moment", [1000, 2000], ids=["in the same moment", "later"])
@pytest.mark.parametrize("resource", ["log", "log*"])
@pytest.mark.parametrize("seconds", [0, 2 * LOOK_SECONDS], ids=["found as successor", "found by a look"])
def test_a_file_that_was_put_aside_twice_between_two_looks_is_read_whole_and_once(
    tmp_path: Path, log: Path, moment: int, resource: str, seconds: float
) -> None:
    add(log, "1")
    follower = Follower(tmp_path, resource)
    follower.lines()
    rotate(log, "-000001", moment=1000)
    add(log, "2")
    rotate(log, "-000002", moment=moment)
    add(log, "3")

    assert follower.lines(seconds=seconds) == [b"2", b"3"]


@pytest.mark.parametrize("suffix", [".1", "-000001", "-20261125"])
def test_a_rotation_while_nobody_reads_loses_nothing(tmp_path: Path, log: Path, suffix: str) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    add(log, "2")
    rotate(log, suffix, moment=1000)
    add(log, "3")

    assert follower.restarted(tmp_path).lines() == [b"2", b"3"]


def test_two_rotations_while_nobody_reads_lose_nothing(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    add(log, "2")
    rotate(log, "-000001", moment=1000)
    add(log, "3")
    rotate(log, "-000002", moment=2000)
    add(log, "4")

    assert follower.restarted(tmp_path).lines() == [b"2", b"3", b"4"]


def test_a_copy_beside_the_file_is_not_taken_for_a_rotated_one(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    rotate(log, ".1", moment=1000)
    add(tmp_path / "log.bak", "not ours")
    add(tmp_path / "log.2.gz", "packed")
    add(log, "2")

    assert follower.lines() == [b"2"]


def test_a_rotated_file_that_the_pattern_finds_again_is_not_read_twice(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path, "log*")
    first = follower.lines()
    rotate(log, "-000001", moment=1000)
    add(log, "2")
    second = follower.lines(seconds=2 * LOOK_SECONDS)
    again = follower.restarted(tmp_path, "log*")
    add(log, "3")

    assert first == [b"1"]
    assert second == [b"2"]
    assert again.lines(seconds=2 * LOOK_SECONDS) == [b"3"]


@pytest.mark.parametrize("content", [["3"], ["3" * 50, "4"]], ids=["shorter", "longer"])
def test_a_file_that_was_cut_is_read_from_its_new_beginning(tmp_path: Path, log: Path, content: list[str]) -> None:
    add(log, "1", "2")
    follower = Follower(tmp_path)
    follower.lines()
    log.write_text("")
    add(log, *content)

    assert follower.lines() == [each.encode() for each in content]


def test_a_deleted_file_is_read_to_its_end_and_its_lane_ends(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    add(log, "2")
    log.unlink()

    assert follower.lines() == [b"2"]
    assert follower.positions == {"log": None}
    add(log, "3")
    assert follower.lines(seconds=2 * LOOK_SECONDS) == [b"3"]


def test_a_file_that_was_deleted_and_made_anew_is_read_to_its_end_first(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    add(log, "2")
    log.unlink()
    add(log, "3")

    assert follower.lines() == [b"2", b"3"]


def test_each_file_of_a_pattern_is_a_lane(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.jsonl", "b.jsonl", "deep/c.jsonl", ".hidden.jsonl", "d.txt"):
        add(tmp_path / name, name)
    follower = Follower(tmp_path, "**/*.jsonl")

    assert sorted(follower.lines_by_lane()) == [
        (name, name.encode()) for name in ("a.jsonl", "b.jsonl", "deep/c.jsonl")
    ]


def test_lanes_take_turns(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        add(tmp_path / name, *["x" * 1000] * 200)
    follower = Follower(tmp_path, "?")

    chunks = [follower.following.step(SIZE) for _ in range(6)]

    assert [chunk.lane for chunk in chunks if chunk] == ["a", "b", "c", "a", "b", "c"]


def test_reading_from_the_end_begins_after_the_last_whole_line(tmp_path: Path, log: Path) -> None:
    log.write_text("1\n2\n3")
    follower = Follower(tmp_path, from_end=True)
    nothing = follower.lines()
    told = dict(follower.positions)
    add(log, "4")

    assert nothing == []
    assert told["log"] is not None
    assert follower.lines() == [b"34"]
    assert Follower(tmp_path, positions={"log": told["log"]}).lines() == [b"34"]


def test_a_file_that_was_replaced_while_nobody_read_is_not_mistaken_for_the_old_one(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    with log.open("r+") as same_inode:
        same_inode.write("other content\n")

    with pytest.raises(PositionLost, match="reset the job's checkpoint"):
        follower.restarted(tmp_path).lines()


def test_the_error_of_a_lost_position_stays_until_somebody_acts(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    log.unlink()
    again = follower.restarted(tmp_path)

    for _ in range(2):
        with pytest.raises(PositionLost):
            again.lines()


@pytest.mark.parametrize("position", [7, {"offset": 1}, {"file": "x", "offset": 0}, {"file": 1, "offset": "a"}])
def test_a_position_of_something_else_is_refused(tmp_path: Path, log: Path, position: Any) -> None:
    add(log, "1")

    with pytest.raises(PositionLost, match="not one of a file"):
        Follower(tmp_path, positions={"log": position}).lines()


def test_of_many_files_one_that_was_cleaned_up_ends_its_lane(tmp_path: Path) -> None:
    for name in ("a", "b"):
        add(tmp_path / name, name)
    follower = Follower(tmp_path, "?")
    follower.lines()
    (tmp_path / "a").unlink()
    add(tmp_path / "b", "more")
    again = follower.restarted(tmp_path, "?")

    assert again.lines() == [b"more"]
    assert again.positions["a"] is None


def test_the_end_of_the_moment_is_the_end(tmp_path: Path, log: Path) -> None:
    add(log, "1", "2")
    rest = tmp_path / "other"
    rest.write_text("3\nunfinished")
    follower = Follower(tmp_path, "*")
    follower.following.finish()
    first = follower.lines()
    add(log, "4")

    assert sorted(first) == [b"1", b"2", b"3"]
    assert follower.lines() == []


def test_the_end_of_the_moment_is_behind_a_rotation(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    add(log, "2")
    rotate(log)
    add(log, "3")
    follower.following.finish()

    chunks = [chunk for _ in range(5) if (chunk := follower.following.step(SIZE))]

    assert [each.payloads for each in chunks if each.payloads] == [[b"2"], [b"3"]]


def test_lag_counts_what_follows_a_rotation_too(tmp_path: Path, log: Path) -> None:
    add(log, "1")
    follower = Follower(tmp_path)
    follower.lines()
    add(log, "22")
    rotate(log)
    add(log, "333")

    assert follower.following.lag() == {"log": 3 + 4}


@pytest.mark.parametrize("resource", ["../secret", "/etc/passwd", "a/../../secret", "link/secret", "link", "."])
def test_nothing_outside_the_folder_is_read(tmp_path: Path, resource: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    add(tmp_path / "secret", "x")
    (inside / "link").symlink_to(tmp_path if "/" in resource else tmp_path / "secret")

    with pytest.raises(AccessDenied):
        Follower(inside, resource).lines()


def test_a_pattern_leaves_out_what_leads_outside(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    add(tmp_path / "secret", "x")
    (inside / "link").symlink_to(tmp_path / "secret")
    (inside / "folder").mkdir()
    os.mkfifo(inside / "pipe")
    add(inside / "plain", "1")

    assert Follower(inside, "*").lines() == [b"1"]
