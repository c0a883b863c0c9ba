"""One member of a run of a job, over all its starts, and how it is shown and kept."""

from __future__ import annotations

from dataclasses import dataclass

from mstream.control.owner import MemberOwner
from mstream.domain.history import MemberEntry
from mstream.domain.job import Phase
from mstream.domain.run import Ending, Outcome, RunStatus, together
from mstream.runtimes.base import RunHandle


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member as it is shown."""

    member: int
    run_id: str
    phase: Phase
    restarts: int
    #: Why it has failed last; None: it has not, or reads again since.
    reason: str | None
    message: str | None
    status: RunStatus


class Member:
    """One of the runs that share the lanes of a source."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.starts = 0
        self.run_id = ""
        self.handle: RunHandle | None = None
        #: How its last start ended; None: it goes on.
        self.outcome: Outcome | None = None
        self.reads = False
        #: It will be begun anew.
        self.waits = False
        #: Why its start before this one has failed.
        self._setback: Outcome | None = None
        #: The counters of the starts before this one.
        self.before = RunStatus()
        self._owner: MemberOwner | None = None

    def begin(self, run_id: str, owner: MemberOwner) -> None:
        """Another start of it."""
        self.before = together((), (self.before, self.status))
        self._setback, self.outcome = self.outcome, None
        self.starts += 1
        self.run_id, self.handle, self.reads, self._owner = run_id, None, False, owner

    def end(self, outcome: Outcome) -> None:
        """The start has come to its end."""
        self.outcome, self.reads = outcome, False

    @property
    def status(self) -> RunStatus:
        """What its present or last start has said."""
        return self.handle.status if self.handle is not None else RunStatus()

    @property
    def is_done(self) -> bool:
        """It has come to its end, and will not be begun again."""
        return self.outcome is not None and self.outcome.ending is Ending.FINISHED

    @property
    def moved(self) -> bool:
        """Whether it has a newer position: a sink that commits positions tells the run alone."""
        return self.status.checkpoints_saved > 0 or (self._owner is not None and self._owner.moved)

    def view(self) -> MemberView:
        """As it is shown."""
        why = self.outcome or (None if self.reads else self._setback)
        return MemberView(
            member=self.index,
            run_id=self.run_id,
            phase=self._phase(),
            restarts=max(0, self.starts - 1),
            reason=why.reason if why else None,
            message=why.message if why else None,
            status=together([self.status], [self.before]),
        )

    def entry(self) -> MemberEntry:
        """As it is kept."""
        outcome, status = self.outcome or Outcome(ending=Ending.ABORTED), together([self.status], [self.before])
        return MemberEntry(
            member=self.index,
            run_id=self.run_id,
            restarts=max(0, self.starts - 1),
            ending=outcome.ending.value,
            reason=outcome.reason,
            message=outcome.message,
            records=status.records_delivered,
            errors=status.errors,
        )

    def _phase(self) -> Phase:
        if self.waits:
            return Phase.RETRYING
        if self.outcome is not None:
            return Phase.FAILED if self.outcome.ending is Ending.FAILED else Phase.STOPPED
        if not self.reads:
            return Phase.STARTING
        return Phase.RETRYING if self.status.retrying else Phase.RUNNING
