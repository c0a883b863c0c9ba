"""Files that are still what they were, and files that only look like it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mstream.errors import PositionLost
from mstream.providers.file.identity import HEAD, TAIL, FileIdentity
from tests.unit.providers.file.follower import Follower, add


def cut_and_grown(log: Path, *, keep: int) -> None:
    """Longer than it was, and as it was up to `keep`."""
    size = log.stat().st_size
    os.truncate(log, keep)
    add(log, "", *["new" * 10] * (size // 31 + 1))


@pytest.mark.parametrize("keep", [HEAD + 1, HEAD + 100, 999 - TAIL])
def test_a_cut_between_the_first_bytes_and_the_offset_is_noticed_though_the_file_has_grown_again(
    tmp_path: Path, log: Path, keep: int
) -> None:
    add(log, *[f"{each:09}" for each in range(100)])
    follower = Follower(tmp_path)
    follower.lines()
    cut_and_grown(log, keep=keep)

    assert follower.lines() == [each for each in log.read_bytes().splitlines() if each]


def test_a_cut_between_the_first_bytes_and_the_offset_while_nobody_reads_is_a_lost_position(
    tmp_path: Path, log: Path
) -> None:
    add(log, *[f"{each:09}" for each in range(100)])
    follower = Follower(tmp_path)
    follower.lines()
    cut_and_grown(log, keep=HEAD + 100)

    with pytest.raises(PositionLost):
        follower.restarted(tmp_path).lines()


def test_a_file_with_the_same_bytes_in_the_place_of_the_old_one_is_not_taken_for_it(tmp_path: Path, log: Path) -> None:
    add(log, "header")
    follower = Follower(tmp_path)
    follower.lines()
    before = log.stat().st_ino
    with log.open("rb") as opened:
        if FileIdentity.of(opened.fileno()).generation is None:
            pytest.skip("this file system does not number the files of an inode")
    again = follower.restarted(tmp_path)
    log.unlink()
    add(log, "header", "other")
    if log.stat().st_ino != before:
        pytest.skip("this file system did not give the same inode again")

    with pytest.raises(PositionLost):
        again.lines()


def test_a_position_of_an_earlier_version_still_holds(tmp_path: Path, log: Path) -> None:
    add(log, *[f"{each:09}" for each in range(100)], "last")
    follower = Follower(tmp_path)
    follower.lines()
    position = dict(follower.positions["log"] or {})
    del position["tail"]
    position["file"] = ":".join(position["file"].split(":")[:4])
    add(log, "more")

    assert Follower(tmp_path, positions={"log": position}).lines() == [b"more"]


@pytest.mark.parametrize("content", ["2\n", "x" * 50 + "2\nhalf"], ids=["shorter", "longer"])
def test_half_a_line_that_was_cut_off_before_it_was_whole_is_forgotten(tmp_path: Path, log: Path, content: str) -> None:
    log.write_text("x" * 40)
    follower = Follower(tmp_path)
    follower.lines()
    log.write_text(content)

    assert follower.lines() == [content.splitlines()[0].encode()]
