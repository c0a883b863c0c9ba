"""JobRecord: one job's document, changed by one writer at a time and watched by many."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final, Protocol

from mstream.control.authority import Authority
from mstream.control.differences import definition_hash
from mstream.domain.audit import Actor, Change
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job
from mstream.errors import (
    DocumentDamaged,
    IllegalTransition,
    JobNotFound,
    RevisionConflict,
    StaleOwner,
    StoreError,
    StoreUnreachable,
)
from mstream.foundation.clock import Clock, timestamp
from mstream.foundation.concurrency import shielded
from mstream.observability.logs import get_logger
from mstream.ports.documents import Revision
from mstream.stores.jobs import JobStore, StoredJob

log = get_logger(__name__)

#: Times that a write is tried anew when somebody else was quicker.
_ATTEMPTS: Final = 5


class Trail(Protocol):
    """Where every change of a job is copied to; the copy is not needed before the change is gone."""

    async def changed(self, job: Job, change: Change) -> None:
        """A change is stored; does not raise."""

    async def caught_up(self, job: Job) -> None:
        """The job's last change is about to give way to another; does not raise."""

    async def completed(self, job: Job) -> None:
        """The job's last change is copied when this returns. Raises StoreError."""


class Forget(Protocol):
    """Takes away where a job stands, in the name of the owner of this epoch; None where there is one owner alone."""

    async def __call__(self, job: str, *, epoch: int | None) -> None:
        """Raises StaleOwner, StoreError."""


class JobRecord:
    """What is intended and what was observed of one job, in memory and in the store."""

    def __init__(
        self,
        job: Job,
        revision: Revision,
        store: JobStore,
        *,
        authority: Authority,
        clock: Clock,
        trail: Trail,
        is_stored: bool = True,
    ) -> None:
        self._job = job
        self._revision = revision
        self._store = store
        self._authority = authority
        self._clock = clock
        self._trail = trail
        #: What was observed is what is stored.
        self._is_stored = is_stored
        self._writing = asyncio.Lock()
        self._changed = asyncio.Event()
        #: The revision of a write whose answer was lost: it may be the stored one.
        self._perhaps: Revision | None = None
        #: Somebody else's definition or intent was taken over, and nobody was told yet.
        self._is_another = False

    @property
    def job(self) -> Job:
        """As it stands now."""
        return self._job

    @property
    def revision(self) -> Revision:
        """Of the document, as this process has last written or read it."""
        return self._revision

    async def intend(
        self,
        decide: Callable[[Job], Intent],
        *,
        verb: str,
        by: Actor,
        even_if_same: bool = False,
        reason: str = "",
        expect: Revision | None = None,
    ) -> Job:
        """Store a new intent; only then does it hold.

        `decide` sees the job as it is when its turn has come, and may raise IllegalTransition. `expect`: only if the
        job is still `defined_at` this. Raises RevisionConflict, and StoreError, with nothing changed, when the intent
        cannot be stored.
        """

        def changed(job: Job) -> Job:
            _require(job, expect)
            intent = decide(job)
            return job if intent is job.intent and not even_if_same else replace(job, intent=intent)

        return await shielded(self._change(changed, verb=verb, by=by, reason=reason, always=even_if_same))

    async def redefine(self, spec: ConnectorSpec, *, by: Actor, expect: Revision | None = None) -> Job:
        """Store a new definition; the intent stays.

        `expect`: only if the job is still `defined_at` this. Raises RevisionConflict, StoreError.
        """

        def changed(job: Job) -> Job:
            _require(job, expect)
            return replace(job, spec=spec, pipeline=None)

        return await shielded(self._change(changed, verb="replace", by=by))

    async def remove(self, *, by: Actor, forget: Forget | None = None, expect: Revision | None = None) -> None:
        """Take the document away, and with `forget` where the job stands; the trail keeps its last definition.

        The removal rides in a write of its own first: one that is cut off is completed at the next start.
        `expect`: only if the job is still `defined_at` this. Raises RevisionConflict, StoreError.
        """
        await shielded(self._remove(by, forget, expect))

    async def claim(self, **changes: Any) -> Job:  # noqa: ANN401 - fields of Job
        """Note the start of a run, before anything of it begins. Raises StoreError when it cannot be stored."""

        async def claimed() -> Job:
            async with self._writing:
                self._become(await self._save(lambda job: replace(job, **changes)))
                return self._job

        return await shielded(claimed())

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Job]:
        """Nothing of the job changes, and no run of it begins, while the body runs."""
        async with self._writing:
            yield self._job

    async def observe(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Job
        """Note what has happened; it has happened even when the store does not take it.

        The store then gets it with the next change, and until then has an older observation, which a boot resets.
        """
        await shielded(self._observe(changes))

    async def take_over(self, stored: StoredJob) -> bool:
        """Compare with what was read; True: somebody else has changed definition or intent since this was last asked.

        What was observed and could not be stored is stored now. Raises StaleOwner when a newer owner has claimed it.
        """
        return await shielded(self._take_over(stored))

    async def until(self, holds: Callable[[Job], bool]) -> Job:
        """Returns once this holds of the job."""
        while not holds(self._job):
            await self._changed.wait()
        return self._job

    # A write that is cut in half would leave us with a revision that nobody knows: all are shielded.

    async def _change(
        self, changed: Callable[[Job], Job], *, verb: str, by: Actor, reason: str = "", always: bool = False
    ) -> Job:
        async with self._writing:
            if self._job.removing:
                message = f"job {self._job.name!r}: its removal was begun; delete it again to complete it"
                raise IllegalTransition(message)
            # While it is not known whether a write has come through, nothing holds already.
            if changed(self._job) is self._job and not always and self._perhaps is None:
                # Whoever owns nothing any more does not know what holds.
                self._authority.require()
                return self._job
            return await self._write_change(changed, verb, by, reason)

    async def _write_change(self, changed: Callable[[Job], Job], verb: str, by: Actor, reason: str) -> Job:
        revision, at = secrets.token_hex(16), timestamp(self._clock.now())

        def with_change(job: Job) -> Job:
            new = changed(job)
            change = Change(
                at=at,
                by=by,
                verb=verb,
                revision=revision,
                revision_before=self._revision,
                intent=new.intent.value,
                intent_before=job.intent.value,
                reason=reason,
            )
            return replace(new, last_change=change)

        await self._trail.caught_up(self._job)
        # What was observed meanwhile waits for the lock: nothing of it is overwritten.
        self._become(await self._save(with_change, revision))
        if self._job.last_change:
            await self._trail.changed(self._job, self._job.last_change)
        return self._job

    async def _remove(self, by: Actor, forget: Forget | None, expect: Revision | None) -> None:
        def removing(job: Job) -> Job:
            _require(job, expect)
            return replace(job, intent=Intent.STOPPED, removing=True)

        async with self._writing:
            is_there = True
            try:
                await self._write_change(removing, "delete", by, "")
            except JobNotFound:
                # Taken away by somebody else, or by us when the answer was lost; `get` raises for a damaged one.
                is_there = await self._store.get(self._job.name) is not None
            if forget is not None:
                try:
                    await forget(self._job.name, epoch=self._authority.epoch or None)
                except StaleOwner as error:
                    self._authority.forfeit(str(error))
                    raise
            if not is_there:
                return
            # With the document goes the last that is known of the definition.
            await self._trail.completed(self._job)
            try:
                await self._store.delete(self._job.name, expect=self._revision)
            except StoreUnreachable:
                if await self._store.get(self._job.name) is not None:
                    raise

    async def _observe(self, changes: Mapping[str, Any]) -> None:
        async with self._writing:
            if self._is_stored and all(getattr(self._job, key) == value for key, value in changes.items()):
                return
            self._become(replace(self._job, **changes))
            self._is_stored = False
            try:
                self._become(await self._save(lambda job: replace(job, **changes)))
            except (StoreError, JobNotFound) as error:
                log.warning("job_state_not_stored", job=self._job.name, error_code=error.code, error=str(error))

    async def _take_over(self, stored: StoredJob) -> bool:
        async with self._writing:
            if stored.revision != self._revision:
                await self._reread("")
            if not self._is_stored:
                self._become(await self._save(lambda job: job))
            is_another, self._is_another = self._is_another, False
            return is_another

    async def _save(self, changed: Callable[[Job], Job], revision: Revision | None = None) -> Job:
        """Write the changed job; when somebody else has written meanwhile, change what they have written."""
        new = revision or secrets.token_hex(16)
        for _ in range(_ATTEMPTS):
            self._authority.require()
            job = changed(self._job)
            job = replace(job, epoch=max(job.epoch, self._authority.epoch))
            before, self._perhaps = self._perhaps, new
            try:
                self._revision = await self._store.save(job, expect=self._revision, revision=new)
            except RevisionConflict:
                self._perhaps = before
                await self._reread(new)
                continue
            except StoreUnreachable:
                if not await self._has_come_through(new):
                    raise
                self._revision = new
            self._perhaps = None
            self._is_stored = True
            return job
        message = f"job {self._job.name!r}: its document is changed by somebody else all the time"
        raise StoreError(message)

    async def _has_come_through(self, new: Revision) -> bool:
        """Whether a write whose answer was lost is there; False: it is not, or that cannot be told."""
        try:
            stored = await self._store.get(self._job.name)
        except StoreError:
            return False
        return stored is not None and stored.revision == new

    async def _reread(self, new: Revision) -> None:
        """Take over what stands in the store; raises StaleOwner when a newer owner has claimed it."""
        try:
            stored = await self._store.get(self._job.name)
        except DocumentDamaged:
            stored = None
        if stored is None:
            message = f"job {self._job.name!r}: its document was taken away or damaged by somebody else"
            raise JobNotFound(message)
        if stored.job.epoch > max(self._authority.epoch, self._job.epoch):
            message = f"job {self._job.name!r}: a newer owner (epoch {stored.job.epoch}) has claimed it"
            self._authority.forfeit(message)
            raise StaleOwner(message)
        if stored.revision not in {self._revision, new}:
            # Also what we have written ourselves and nobody has confirmed: what is stored holds.
            if stored.revision != self._perhaps:
                log.warning("job_changed_elsewhere", job=self._job.name, intent=stored.job.intent.value)
            self._is_another = (stored.job.spec, stored.job.intent) != (self._job.spec, self._job.intent)
            # Definition and intent are whoever's wrote last; what is observed is ours alone.
            self._become(
                replace(
                    self._job,
                    spec=stored.job.spec,
                    intent=stored.job.intent,
                    unknown=stored.job.unknown,
                    pipeline=stored.job.pipeline,
                    last_change=stored.job.last_change,
                )
            )
            # Whoever has made it may not have come to copying it, and the next change takes its place.
            await self._trail.caught_up(self._job)
        self._revision = stored.revision

    def _become(self, job: Job) -> None:
        self._job = job
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def defined_at(job: Job) -> Revision:
    """Another one after every change of definition or intent, and the same for all that is observed of the job.

    v0.47 leaves no trace of its changes: for its jobs definition and intent speak themselves.
    """
    return job.last_change.revision if job.last_change else f"{definition_hash(job.spec)}-{job.intent.value}"


def _require(job: Job, expect: Revision | None) -> None:
    """Raises RevisionConflict when it was changed since."""
    if expect is not None and expect != defined_at(job):
        message = f"job {job.name!r} was changed since it was read; read it again"
        raise RevisionConflict(message)
