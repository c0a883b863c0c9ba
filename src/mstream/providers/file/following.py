"""Follow the files of a resource: growth, rotation, truncation, deletion; blocking, for one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice

from mstream.domain.checkpoint import Lane, Position
from mstream.errors import PositionLost
from mstream.foundation.clock import monotonic
from mstream.observability.logs import get_logger
from mstream.providers.file.finding import Finder
from mstream.providers.file.folder import Folder, is_pattern
from mstream.providers.file.identity import FileIdentity, Stored
from mstream.providers.file.lines import Chunk
from mstream.providers.file.tracked import Tracked

log = get_logger(__name__)

#: A writer may still finish a line in a file that was put aside, or deleted.
GRACE_SECONDS = 0.5
#: New files and replaced ones are looked for at least this often while there is much to read.
LOOK_SECONDS = 1.0


class Following:
    """All files of one resource, a lane each; every call brings lines of one of them."""

    def __init__(
        self,
        folder: Folder,
        resource: str,
        *,
        from_end: bool,
        positions: Mapping[Lane, Position],
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        self._folder = folder
        self._finder = Finder(folder, resource)
        self._resource = resource
        self._from_end = from_end
        self._stored = dict(positions)
        self._seconds = seconds
        self._lanes: dict[Lane, Tracked] = {}
        self._turn = 0
        self._looked_at: float | None = None
        #: Where each lane's head was when the end was asked for.
        self._heads: dict[Lane, tuple[tuple[int, int], int]] | None = None
        #: Things to tell that are no lines: where a lane begins, that one has ended.
        self._news: list[Chunk] = []

    def step(self, size: int) -> Chunk | None:
        """Lines of the next file that has some; None: there is nothing now (or, after `finish`, nothing more)."""
        with self._folder.translating(self._resource):
            if self._looked_at is None or self._seconds() - self._looked_at >= LOOK_SECONDS:
                self._look()
            if self._news:
                return self._news.pop(0)
            for lane in self._in_turn():
                if chunk := self._advance(lane, size):
                    return chunk
            self._looked_at = None
            return None

    def finish(self) -> None:
        """From now on nothing is read beyond the head of this moment."""
        with self._folder.translating(self._resource):
            self._look()
            self._heads = {lane: self._finder.head(lane) for lane in self._lanes}

    def lag(self) -> dict[Lane, int]:
        """Bytes between what was handed out and the head, by lane."""
        with self._folder.translating(self._resource):
            return {lane: self._behind(tracked) for lane, tracked in self._lanes.items()}

    def close(self) -> None:
        """Give the descriptors back."""
        for each in self._lanes.values():
            each.close()
        self._lanes.clear()

    def _in_turn(self) -> list[Lane]:
        lanes = list(self._lanes)
        turn = self._turn % len(lanes) if lanes else 0
        return [*islice(lanes, turn, None), *islice(lanes, turn)]

    def _advance(self, lane: Lane, size: int) -> Chunk | None:
        tracked = self._lanes[lane]
        if not self._has_finished(tracked):
            chunk = tracked.read(size)
            is_left = chunk is None and not tracked.was_cut() and self._is_left(tracked)
            if is_left:
                # its writer may have said the rest while we decided to leave
                chunk = tracked.read(size)
            if chunk is not None:
                self._turn = list(self._lanes).index(lane) + 1
                return chunk
            if not tracked.was_cut():
                return self._followed(tracked) if is_left else None
            tracked.restart()
            return tracked.here()
        return None

    def _is_left(self, tracked: Tracked) -> bool:
        return tracked.left_at is not None and not self._may_grow(tracked, tracked.left_at)

    def _followed(self, tracked: Tracked) -> Chunk | None:
        """What comes after a file that was read to its end and put aside."""
        if self._is_gone(tracked):
            return self._ended(tracked)
        return self._next_file(tracked)

    def _may_grow(self, tracked: Tracked, left_at: float) -> bool:
        """Whether a late writer may still be at a file that was put aside; never at one before the last."""
        if self._heads is not None or self._seconds() - left_at >= GRACE_SECONDS:
            return False
        return not self._finder.put_aside_after(tracked, self._inodes())

    def _is_gone(self, tracked: Tracked) -> bool:
        """Whether neither the file nor anything that was written after it is there."""
        if not tracked.is_deleted or self._finder.is_there(tracked.lane):
            return False
        return not self._finder.put_aside_after(tracked, self._inodes())

    def _inodes(self) -> set[int]:
        return {each.identity.inode for each in self._lanes.values()}

    def _has_finished(self, tracked: Tracked) -> bool:
        if self._heads is None:
            return False
        head = self._heads.get(tracked.lane)
        if head is None:
            return True
        number, size = head
        return tracked.identity.number == number and tracked.offset >= size

    def _look(self) -> None:
        names = self._finder.names()
        for lane in dict.fromkeys([*self._stored, *names]):
            if lane not in self._lanes:
                self._begin(lane)
        for tracked in self._lanes.values():
            tracked.compare(self._finder.number(tracked.lane), self._seconds())
        # what comes later is read from its beginning
        self._from_end = False
        self._looked_at = self._seconds()

    def _begin(self, lane: Lane) -> None:
        stored = self._stored.get(lane)
        if stored is not None:
            # forgotten only now: what fails once is tried again from the same position
            self._resume(lane, stored)
            del self._stored[lane]
            return
        descriptor = self._finder.open(lane)
        if descriptor is None:
            return
        identity = FileIdentity.of(descriptor)
        if any(each.identity.number == identity.number for each in self._lanes.values()) or self._was_read(descriptor):
            os.close(descriptor)
            return
        tracked = Tracked(lane, descriptor, identity)
        self._lanes[lane] = tracked
        if self._from_end:
            tracked.skip_to_end()
        # known from now on, also if the file is put aside before a line of it has been settled
        self._news.append(tracked.here())

    def _was_read(self, descriptor: int) -> bool:
        texts = {text for each in self._lanes.values() for text in each.identity.read_before}
        return any(Stored.of({"file": text, "offset": 0}).belongs_to(descriptor) for text in texts)

    def _resume(self, lane: Lane, position: Position) -> None:
        try:
            stored = Stored.of(position)
        except ValueError as error:
            raise PositionLost(f"{self._where(lane)}: the stored position is not one of a file; {_ADVICE}") from error
        descriptor = self._finder.search(lane, stored)
        if descriptor is None:
            self._missing(lane)
            return
        identity = replace(FileIdentity.of(descriptor), read_before=stored.read_before)
        self._lanes[lane] = Tracked(lane, descriptor, identity.grown(descriptor, stored.offset), stored.offset)

    def _missing(self, lane: Lane) -> None:
        if is_pattern(self._resource) and not self._finder.is_there(lane) and not self._finder.has_rotated(lane):
            # who cleans up a folder deletes files that were read long ago
            log.warning("file_gone", service=self._folder.name, resource=lane)
            self._news.append(_end(lane, FileIdentity(device=0, inode=0)))
            return
        raise PositionLost(
            f"{self._where(lane)}: the file that was read is no longer there under this or a rotated name,"
            f" or its content was replaced; {_ADVICE}"
        )

    def _next_file(self, tracked: Tracked) -> Chunk | None:
        """Go on in what follows a file that was put aside; None: there is nothing yet."""
        descriptor = self._finder.successor(tracked, self._inodes(), self._was_read)
        if descriptor is None:
            return None
        self._report_rest(tracked)
        before = tracked.identity.read_before
        if self._finder.would_find(tracked.identity.number):
            before = (*before, tracked.identity.text(tracked.offset))
        before = tuple(each for each in before if self._finder.exists(each))
        log.info("file_rotated", service=self._folder.name, resource=tracked.lane)
        tracked.go_on_in(descriptor, replace(FileIdentity.of(descriptor), read_before=before))
        tracked.compare(self._finder.number(tracked.lane), self._seconds())
        return tracked.here()

    def _ended(self, tracked: Tracked) -> Chunk:
        self._report_rest(tracked)
        log.info("file_deleted", service=self._folder.name, resource=tracked.lane)
        del self._lanes[tracked.lane]
        tracked.close()
        return _end(tracked.lane, tracked.identity)

    def _report_rest(self, tracked: Tracked) -> None:
        if rest := tracked.size() - tracked.offset:
            log.warning("file_rest_unfinished", service=self._folder.name, resource=tracked.lane, bytes=rest)

    def _behind(self, tracked: Tracked) -> int:
        number, size = self._finder.head(tracked.lane)
        here = max(0, tracked.size() - tracked.offset)
        return here if number in {tracked.identity.number, (0, 0)} else here + size

    def _where(self, lane: Lane) -> str:
        return f"service {self._folder.name!r}: file {lane!r}"


_ADVICE = "put the file back, or reset the job's checkpoint to read what is there from its beginning"


def _end(lane: Lane, identity: FileIdentity) -> Chunk:
    return Chunk(lane=lane, identity=identity, start=0, end=0, payloads=[], last=True)
