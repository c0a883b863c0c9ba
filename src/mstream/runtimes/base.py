"""RunHandle and Runtime: what the supervisor sees of a run."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Outcome, RunSpec, RunStatus
from mstream.ports.owner import Owner


class RunHandle(Protocol):
    """A run under way."""

    @property
    def run_id(self) -> str:
        """The run's own id."""

    @property
    def status(self) -> RunStatus:
        """The last that it has said of itself."""

    async def started(self) -> None:
        """Returns once every role is open and reading begins; also when the run has ended before that."""

    def drain(self) -> None:
        """Read no more, deliver and save what was read, end."""

    def finish(self) -> None:
        """Deliver up to the head of this moment, then end."""

    async def snapshot(self, order: SnapshotOrder) -> None:
        """Returns once its saved place carries the order: what ends the run then does not end that.

        Raises what its source has against it, and Unavailable when the run ends first.
        """

    def abort(self) -> None:
        """End at once; nothing more is delivered or saved."""

    async def outcome(self) -> Outcome:
        """Waits for the end; never raises for a failed run."""


class Runtime(Protocol):
    """A place where runs execute; an async context manager."""

    async def __aenter__(self) -> Self:
        """Begin."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort what still runs; returns when nothing is left behind."""

    async def start(self, spec: RunSpec, owner: Owner) -> RunHandle:
        """Hand a run over; returns before it has opened anything. Raises MstreamError when there is no place for it."""
