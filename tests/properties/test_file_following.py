"""Whole lines come once and in order, whatever is done to the files meanwhile, or the source says that they cannot."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mstream.domain.checkpoint import Position
from mstream.errors import PositionLost
from mstream.providers.file.folder import Folder
from mstream.providers.file.following import GRACE_SECONDS, LOOK_SECONDS, Following

#: Short and long ones: some files are smaller than what identifies them, some chunks hold a single line.
widths = st.sampled_from([6, 6, 6, 40, 300])
#: What one call may read.
sizes = st.sampled_from([16, 100, 1 << 16])


@dataclass(eq=False)
class Written:
    """One file, as its writer knows it."""

    path: Path
    inode: int
    #: Whole lines that are in it or were.
    lines: list[bytes] = field(default_factory=list)
    #: Those which nobody can demand any more: they were cut off, or deleted, before they were read.
    excused: set[bytes] = field(default_factory=set)
    half: bytes = b""
    was_cut: bool = False
    was_deleted: bool = False


class FilesThatAreFollowed(RuleBasedStateMachine):
    """A writer that rotates, cuts and deletes; a reader that may be started again at any moment."""

    @initialize(grows=st.booleans())
    def begin(self, grows: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.log = self.folder / "log"
        #: Whether numbers of rotated files grow, as our sink's do, or shift, as those of logrotate.
        self.grows = grows
        self.count = self.rotations = 0
        self.moment = 1000
        self.files = [self._made()]
        self.came: list[bytes] = []
        self.now = 0.0
        self.position: Position | None = None
        #: The file in which the position is.
        self.at = self.files[0]
        self._open()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.following.close()
            shutil.rmtree(self.folder)

    # --------------------------------------------------------------------------------------------------- the writer

    @rule(count=st.integers(1, 8), width=widths)
    def append_whole_lines(self, count: int, width: int) -> None:
        file = self._current()
        for _ in range(count):
            line = file.half + self._line(width)
            self._append(file, line[len(file.half) :] + b"\n")
            file.lines.append(line)
            file.half = b""

    @rule(width=widths)
    def append_half_a_line(self, width: int) -> None:
        file = self._current()
        piece = self._line(width)
        self._append(file, piece)
        file.half += piece

    @precondition(lambda self: self.log.exists())
    @rule(times=st.sampled_from([1, 1, 2, 3]), is_same_tick=st.booleans(), width=widths)
    def rotate(self, times: int, is_same_tick: bool, width: int) -> None:
        for turn in range(times):
            if turn:
                self.append_whole_lines(1, width)
            self._put_aside(self._current(), is_same_tick=is_same_tick)

    @precondition(lambda self: self.log.exists() and len(self._asides()) > 0)
    @rule()
    def delete_the_oldest(self) -> None:
        oldest = self._asides()[0]
        oldest.path.unlink()
        oldest.was_deleted = True
        oldest.excused |= set(oldest.lines)

    @precondition(lambda self: self.log.exists())
    @rule()
    def cut(self) -> None:
        file = self._current()
        os.truncate(file.path, 0)
        file.was_cut = True
        file.excused |= set(file.lines)
        file.half = b""

    # --------------------------------------------------------------------------------------------------- the reader

    @rule(count=st.integers(1, 5), size=sizes, seconds=st.sampled_from([0.0, GRACE_SECONDS, LOOK_SECONDS]))
    def read_a_little(self, count: int, size: int, seconds: float) -> None:
        self.now += seconds
        for _ in range(count):
            self._step(size)

    @rule(size=sizes)
    def read_everything(self, size: int) -> None:
        quiet = 0
        while quiet < 4:
            quiet = 0 if self._step(size) else quiet + 1
            self.now += 0 if not quiet else LOOK_SECONDS
        missing = [line for line in self._wanted() if line not in set(self.came)]
        assert not missing, f"never came: {missing[:5]}"

    @rule()
    def start_again(self) -> None:
        self.following.close()
        try:
            self._open()
        except PositionLost:
            assert self.at.was_cut or self.at.was_deleted, "the file of the position is there, and whole"
            self._reset()

    # --------------------------------------------------------------------------------------------------- what holds

    @invariant()
    def nothing_comes_twice_and_all_in_order(self) -> None:
        if not hasattr(self, "came"):
            return
        order = {line: number for number, line in enumerate(line for file in self.files for line in file.lines)}
        numbers = [order[line] for line in self.came]
        assert all(one < two for one, two in pairwise(numbers)), numbers

    @invariant()
    def nothing_is_left_out(self) -> None:
        if not getattr(self, "came", None):
            return
        before = []
        for line in (line for file in self.files for line in file.lines):
            if line == self.came[-1]:
                break
            before.append(line)
        came, wanted = set(self.came), set(self._wanted())
        assert [line for line in before if line in wanted and line not in came] == []

    def _wanted(self) -> list[bytes]:
        return [line for file in self.files for line in file.lines if line not in file.excused]

    def _step(self, size: int) -> bool:
        chunk = self.following.step(size)
        if chunk is None:
            return False
        assert chunk.lane == "log"
        assert chunk.position is not None
        self.came += chunk.payloads
        self.position = chunk.position
        self.at = self._file_of(chunk.identity.inode)
        self.at.was_cut = False
        return True

    def _open(self) -> None:
        positions = {} if self.position is None else {"log": self.position}
        self.following = Following(
            Folder("files", self.folder), "log", from_end=False, positions=positions, seconds=lambda: self.now
        )
        # From the first look on the reader is answerable for what is in the file.
        self._step(16)

    def _reset(self) -> None:
        """What somebody does who was told that the position is lost: clean up, and read from the beginning.

        Files of earlier must go: one that is as old as the file that is read, to the tick, is taken for a later
        one once the latter is deleted, since nothing else tells them apart. Better twice than never.
        """
        current = self._current()
        for each in self._asides():
            each.path.unlink()
        current.lines = [line for line in self.log.read_bytes().split(b"\n")[:-1] if line]
        current.excused = set()
        self.files = [current]
        self.came = []
        self.position = None
        self._open()

    def _file_of(self, inode: int) -> Written:
        there = [each for each in self.files if not each.was_deleted and each.inode == inode]
        return there[0] if there else [each for each in self.files if each.inode == inode][-1]

    def _line(self, width: int) -> bytes:
        self.count += 1
        return f"{self.count:0{width}}".encode()

    def _append(self, file: Written, data: bytes) -> None:
        with file.path.open("ab") as opened:
            opened.write(data)

    def _current(self) -> Written:
        if not self.log.exists():
            self.files.append(self._made())
        return self.files[-1]

    def _made(self) -> Written:
        self.log.touch()
        return Written(self.log, self.log.stat().st_ino)

    def _asides(self) -> list[Written]:
        return [each for each in self.files if not each.was_deleted and each.path != self.log]

    def _put_aside(self, file: Written, *, is_same_tick: bool) -> None:
        self.rotations += 1
        self.moment += 0 if is_same_tick else 1
        if not self.grows:
            asides = self._asides()
            for number, each in zip(range(len(asides), 0, -1), asides, strict=True):
                self._move(each, f"log.{number + 1}")
        self._move(file, f"log-{self.rotations:06d}" if self.grows else "log.1")
        os.utime(file.path, (self.moment, self.moment))

    def _move(self, file: Written, name: str) -> None:
        file.path = file.path.rename(self.folder / name)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("machine", [FilesThatAreFollowed])
def test_every_line_comes_once_and_in_order_or_the_position_is_lost(machine: type[RuleBasedStateMachine]) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
