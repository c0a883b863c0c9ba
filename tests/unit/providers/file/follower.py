"""A following in the hands of a test, and what happens to files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from mstream.domain.checkpoint import Lane, Position
from mstream.providers.file.folder import Folder
from mstream.providers.file.following import GRACE_SECONDS, Following

SIZE = 1 << 16


class Follower:
    """A following on a clock of its own, with what it brought so far."""

    def __init__(
        self,
        folder: Path,
        resource: str = "log",
        positions: Mapping[Lane, Position] | None = None,
        *,
        from_end: bool = False,
        within: Folder | None = None,
    ) -> None:
        self.now = 100.0
        self.positions: dict[Lane, Position | None] = dict(positions or {})
        self.following = Following(
            within or Folder("files", folder),
            resource,
            from_end=from_end,
            positions=self.positions,
            seconds=lambda: self.now,
        )

    def lines(self, *, seconds: float = 0.0) -> list[bytes]:
        """Everything that comes until nothing does."""
        self.now += seconds
        return [payload for _, payload in self.lines_by_lane()]

    def lines_by_lane(self) -> list[tuple[Lane, bytes]]:
        got = []
        for _ in range(4):
            while (chunk := self.following.step(SIZE)) is not None:
                self.positions[chunk.lane] = chunk.position
                got += [(chunk.lane, payload) for payload in chunk.payloads]
            self.now += GRACE_SECONDS
        return got

    def restarted(self, folder: Path, resource: str = "log") -> Follower:
        self.following.close()
        return Follower(folder, resource, {lane: at for lane, at in self.positions.items() if at is not None})


def add(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(each + "\n" for each in lines))


def rotate(path: Path, suffix: str = ".1", *, moment: int | None = None) -> None:
    """Put aside; `moment` stands in for the time that passes between two rotations."""
    aside = path.with_name(path.name + suffix)
    path.rename(aside)
    if moment is not None:
        os.utime(aside, (moment, moment))
