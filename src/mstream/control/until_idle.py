"""When a program that is to end by itself has nothing left to do."""

from __future__ import annotations

from collections.abc import Iterable

from mstream.control.jobs import JobManager, JobView
from mstream.domain.job import Intent, Phase
from mstream.foundation.clock import Clock

#: Seconds between two looks.
_LOOK = 0.1


async def idle(manager: JobManager, *, seconds: float, clock: Clock, fail_fast: bool = False) -> None:
    """Returns once no job has seen anything new for so long and nothing is under way.

    `fail_fast`: also once a job has failed, whatever the others do.
    """
    while not all(_is_idle(each, seconds) for each in manager.views()):
        if fail_fast and has_failed(each for each in manager.views() if each.is_over):
            return
        await clock.sleep(_LOOK)


def has_failed(views: Iterable[JobView]) -> bool:
    """Whether one of them has failed, or could not finish what was under way."""
    return any(each.job.phase is Phase.FAILED or each.job.failure is not None for each in views)


def _is_idle(view: JobView, seconds: float) -> bool:
    if view.is_over or view.job.intent in {Intent.STOPPED, Intent.PAUSED}:
        return view.job.phase in {Phase.FAILED, Phase.STOPPED, Phase.PAUSED}
    status = view.status
    return (
        view.job.phase is Phase.RUNNING
        and not status.retrying
        and status.in_flight == 0
        and status.idle_seconds >= seconds
    )
