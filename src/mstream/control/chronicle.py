"""Chronicle: what was changed and what has run, written after the fact; never in anybody's way."""

from __future__ import annotations

from secrets import token_hex

from mstream.domain.audit import Actor, AuditEntry, Change, Subject
from mstream.domain.history import RunEntry
from mstream.domain.job import Job
from mstream.errors import StoreError
from mstream.foundation.clock import Clock, timestamp
from mstream.observability.logs import get_logger
from mstream.ports.documents import Revision
from mstream.stores.audit import AuditLog
from mstream.stores.runs import RunLog

log = get_logger(__name__)


class Chronicle:
    """Copies changes to the audit trail and ended runs to the history; without stores it keeps nothing.

    A copy that fails is logged and made good at the next start: the change itself stands in what it has changed.
    """

    def __init__(self, *, audit: AuditLog | None = None, runs: RunLog | None = None) -> None:
        self._audit = audit
        self._runs = runs
        #: The last change of each job that the trail is known to have.
        self._recorded: dict[str, Revision] = {}

    async def changed(self, job: Job, change: Change) -> None:
        """A job's intent or definition is another now."""
        log.info("job_changed", job=job.name, verb=change.verb, intent=job.intent.value, by=change.by.who)
        try:
            await self._copy(job, change)
        except StoreError as error:
            log.warning("change_not_recorded", job=job.name, error_code=error.code, error=str(error))

    async def caught_up(self, job: Job) -> None:
        """To be called before the job's last change gives way to another: a crash may have come before its copy."""
        try:
            await self.completed(job)
        except StoreError as error:
            log.warning("change_not_recorded", job=job.name, error_code=error.code, error=str(error))

    async def discarded(self, name: str, by: Actor, clock: Clock) -> None:
        """A document that could not be used is taken away; what was in it is lost. Raises StoreError."""
        log.info("job_discarded", job=name, by=by.who)
        if self._audit is None:
            return
        reason = "its document could not be used"
        change = Change(at=timestamp(clock.now()), by=by, verb="delete", revision=token_hex(16), reason=reason)
        await self._audit.record(Subject.JOB, name, change)

    async def completed(self, job: Job) -> None:
        """Record the job's last change unless it is recorded: a crash may have come between. Raises StoreError."""
        change = job.last_change
        if self._audit is None or change is None or self._recorded.get(job.name) == change.revision:
            return
        if await self._audit.has(Subject.JOB, job.name, change):
            self._recorded[job.name] = change.revision
        else:
            await self._copy(job, change)

    async def _copy(self, job: Job, change: Change) -> None:
        if self._audit is None:
            return
        definition = job.spec.model_dump(mode="json", exclude_none=True) if job.removing else None
        await self._audit.record(Subject.JOB, job.name, change, definition=definition)
        self._recorded[job.name] = change.revision

    async def ended(self, entry: RunEntry) -> None:
        """A run has come to its end."""
        if self._runs is None:
            return
        try:
            await self._runs.append(entry)
        except StoreError as error:
            log.warning("run_not_recorded", job=entry.job, run=entry.run_id, error_code=error.code, error=str(error))

    async def runs_of(self, job: str) -> list[RunEntry]:
        """The job's runs, the newest first. Raises StoreError."""
        return [] if self._runs is None else await self._runs.of(job)

    async def changes_of(self, job: str) -> list[AuditEntry]:
        """The job's changes, the newest first. Raises StoreError."""
        return [] if self._audit is None else await self._audit.of(Subject.JOB, job)
