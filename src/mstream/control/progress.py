"""One line per job and minute in the log: how much has moved, how fast, and how far behind it is."""

from __future__ import annotations

from mstream.control.jobs import JobManager
from mstream.domain.job import Phase
from mstream.foundation.clock import Clock
from mstream.observability.logs import get_logger

log = get_logger(__name__)

INTERVAL_SEC = 60.0
_UNDER_WAY = frozenset({Phase.RUNNING, Phase.RETRYING, Phase.STOPPING})


async def report(manager: JobManager, *, clock: Clock) -> None:
    """Without end; jobs that rest are not mentioned."""
    before: dict[str, tuple[str | None, int]] = {}
    while True:
        await clock.sleep(INTERVAL_SEC)
        for view in manager.views():
            job, status = view.job, view.status
            if job.phase not in _UNDER_WAY:
                continue
            run_id, count = before.get(job.name, (None, 0))
            # Counters begin anew with each run.
            moved = status.records_delivered - (count if run_id == job.run_id else 0)
            before[job.name] = (job.run_id, status.records_delivered)
            log.info(
                "job_progress",
                job=job.name,
                run=job.run_id,
                phase=job.phase.value,
                records=status.records_delivered,
                per_second=round(moved / INTERVAL_SEC, 1),
                lag_records=status.lag_records,
                lag_bytes=status.lag_bytes,
                lag_seconds=status.lag_seconds,
                errors=status.errors,
                dead_letters=status.records_dead_lettered,
            )
