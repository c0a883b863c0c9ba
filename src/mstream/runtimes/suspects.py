"""Jobs that have cost a worker: they run alone until they have been stable for a while."""

from __future__ import annotations


class Suspects:
    """Which jobs get a worker of their own."""

    def __init__(self, stable_sec: float) -> None:
        self._stable_sec = stable_sec
        #: When the job's run that is under way began; None: none runs.
        self._since: dict[str, float | None] = {}

    def __contains__(self, job: str) -> bool:
        return job in self._since

    def charge(self, job: str) -> None:
        """It has cost a worker."""
        self._since[job] = None

    def started(self, job: str, now: float) -> None:
        """A run of it begins."""
        if job in self._since:
            self._since[job] = now

    def ended(self, job: str) -> None:
        """A run of it has ended, uncharged: it counts anew next time."""
        if job in self._since:
            self._since[job] = None

    def cleared(self, now: float) -> list[str]:
        """The jobs that are suspects no longer."""
        stable = [job for job, since in self._since.items() if since is not None and now - since >= self._stable_sec]
        for job in stable:
            del self._since[job]
        return stable
