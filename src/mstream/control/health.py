"""Liveness, readiness, and the one word for how it goes."""

from __future__ import annotations

from mstream.control.jobs import JobManager
from mstream.domain.job import Phase
from mstream.foundation.clock import Clock


class Health:
    """What the program says of itself; never waits."""

    def __init__(self, manager: JobManager, *, version: str, clock: Clock) -> None:
        self._manager = manager
        self._clock = clock
        self._begun = clock.monotonic()
        self._ready = False
        self.version = version
        #: By which the store's lease knows this process; "": it has none yet.
        self.instance = ""

    def is_ready(self) -> bool:
        """All jobs whose intent is running were told to start."""
        return self._ready

    def become_ready(self) -> None:
        """Called once, by whoever told them."""
        self._ready = True

    def become_unready(self) -> None:
        """The jobs are ended, or another instance has them."""
        self._ready = False

    def status(self) -> str:
        """`degraded` when a job has failed or its stored document cannot be used, else `healthy`."""
        failed = bool(self._manager.damaged) or any(each.job.phase is Phase.FAILED for each in self._manager.views())
        return "degraded" if failed else "healthy"

    def phases(self) -> dict[str, str]:
        """Each job's phase."""
        return {each.job.name: each.job.phase.value for each in self._manager.views()}

    def uptime_seconds(self) -> int:
        """Whole seconds since the start."""
        return int(self._clock.monotonic() - self._begun)
