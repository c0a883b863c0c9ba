"""A page of shared memory: which stage of a run is busy since when, readable without the writer's help."""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass

from mstream.foundation.clock import Clock

#: Runs that one worker can hold at the same time.
SLOTS = 1024

#: Sequence, since, deadline in seconds, stage; a slot that is idle has the stage "".
_SLOT = struct.Struct("<Qdd40s")
_STAGE_BYTES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyStage:
    """What a slot says while its run blocks the loop."""

    #: Counts the changes of the slot; the same number is the same piece of work.
    sequence: int
    stage: str
    #: Monotonic seconds.
    since: float
    deadline_sec: float


class SharedPage:
    """The owner's side: makes the page for one worker and reads it."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("mstream-stages")
        os.ftruncate(self.fd, SLOTS * _SLOT.size)
        self._memory = mmap.mmap(self.fd, SLOTS * _SLOT.size)

    def read(self, slot: int) -> BusyStage | None:
        """What is busy there; None: nothing. A reading in mid-write may be torn: believe what is read twice."""
        sequence, since, deadline, stage = _SLOT.unpack_from(self._memory, slot * _SLOT.size)
        name = stage.rstrip(b"\0").decode("utf-8", "replace")
        if not name:
            return None
        return BusyStage(sequence=sequence, stage=name, since=since, deadline_sec=deadline)

    def clear(self, slot: int) -> None:
        """For the next run that gets this slot."""
        _SLOT.pack_into(self._memory, slot * _SLOT.size, 0, 0.0, 0.0, b"")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
        os.close(self.fd)


class WorkerPage:
    """The worker's side of the same page."""

    def __init__(self, fd: int, clock: Clock) -> None:
        self._memory = mmap.mmap(fd, SLOTS * _SLOT.size)
        os.close(fd)
        self._clock = clock

    def slot(self, number: int) -> StageSlot:
        """Where one run writes."""
        return StageSlot(self._memory, number, self._clock)


class StageSlot:
    """One run's place in the page; implements the engine's `StagePage`."""

    def __init__(self, memory: mmap.mmap, number: int, clock: Clock) -> None:
        self._memory = memory
        self._offset = number * _SLOT.size
        self._clock = clock
        self._sequence = 0

    def busy(self, stage: str, deadline_sec: float) -> None:
        """From now on this stage works; it is overdue after so many seconds."""
        self._sequence += 1
        name = (stage or "?").encode()[:_STAGE_BYTES]
        _SLOT.pack_into(self._memory, self._offset, self._sequence, self._clock.monotonic(), deadline_sec, name)

    def idle(self) -> None:
        """It has returned."""
        self._sequence += 1
        _SLOT.pack_into(self._memory, self._offset, self._sequence, 0.0, 0.0, b"")
