"""Provisioning: carry out a plan, step by step; a crash after any step leaves what the next start goes on from."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mstream.control.authority import Authority
from mstream.control.chronicle import Chronicle
from mstream.domain.audit import PLAN, Actor, Change
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase, RunFailure
from mstream.domain.plan import Action, JobAction, MarkerPhase, Plan
from mstream.foundation.clock import Clock, timestamp
from mstream.foundation.concurrency import finish_all
from mstream.observability.logs import get_logger
from mstream.ports.documents import Revision
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.jobs import JobStore, StoredJob
from mstream.stores.markers import MarkerStore

log = get_logger(__name__)

#: Writes that are under way at once.
_AT_ONCE: Final = 16
#: What can be true of a job of which nothing runs.
_RESTING: Final = frozenset({Phase.STOPPED, Phase.PAUSED, Phase.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A stored job that is to be supervised."""

    job: Job
    revision: Revision
    #: Why it must not run.
    fault: RunFailure | None = None
    #: What was last observed of it can still be true.
    is_resting: bool = True


class Provisioner:
    """Brings the store to what a plan says; nothing runs before all of it is stored."""

    def __init__(
        self,
        *,
        jobs: JobStore,
        checkpoints: CheckpointStore | None,
        markers: MarkerStore | None,
        chronicle: Chronicle,
        authority: Authority,
        clock: Clock,
        actor: Actor = PLAN,
    ) -> None:
        self._jobs = jobs
        self._checkpoints = checkpoints
        self._markers = markers
        self._chronicle = chronicle
        self._authority = authority
        self._clock = clock
        self._actor = actor

    async def carry_out(self, plan: Plan, stored: Sequence[StoredJob], marker_revision: Revision) -> list[Taken]:
        """The jobs as they are stored afterwards, in the order of the plan.

        Raises RevisionConflict when somebody else has changed what the plan was made of: read and plan anew.
        """
        known = {each.job.name: each for each in stored}
        if self._markers and plan.marker:
            # Whatever happens from here on, a filling is completed from these very definitions.
            self._authority.require()
            marker_revision = await self._markers.write(plan.marker, expect=marker_revision)
        taken: dict[str, Taken] = {}
        for start in range(0, len(plan.actions), _AT_ONCE):
            await self._some(plan.actions[start : start + _AT_ONCE], known, taken)
        if self._markers and plan.marker and plan.marker.phase is MarkerPhase.BEGUN:
            self._authority.require()
            await self._markers.write(plan.marker.finished(), expect=marker_revision)
        return [taken[each.job] for each in plan.actions if each.job in taken]

    async def _some(
        self, actions: Sequence[JobAction], known: Mapping[str, StoredJob], taken: dict[str, Taken]
    ) -> None:
        async def one(action: JobAction) -> None:
            if (found := await self._carry_out(action, known)) is not None:
                taken[action.job] = found

        try:
            await finish_all(*(one(each) for each in actions))
        except BaseExceptionGroup as several:
            raise several.exceptions[0] from several

    async def _carry_out(self, action: JobAction, known: Mapping[str, StoredJob]) -> Taken | None:
        stored = known.get(action.job)
        if stored is None:
            return await self._made(action)
        if stored.job.removing or action.action is Action.REMOVE:
            await self._remove(stored)
            return await self._made(action)
        if action.action is Action.INVALID:
            return self._taken(stored.job, stored.revision, fault=self._fault(action))
        job = stored.job
        if action.spec is not None and action.action in {Action.REPLACE, Action.START, Action.STOP}:
            job = replace(job, spec=action.spec, pipeline=None if action.spec != job.spec else job.pipeline)
        if action.intent is not None:
            job = replace(job, intent=action.intent)
        if (job.spec, job.intent) == (stored.job.spec, stored.job.intent):
            return self._taken(stored.job, stored.revision)
        return await self._changed(job, stored, action)

    async def _made(self, action: JobAction) -> Taken | None:
        """A job that was not stored; None: the plan only mentions it."""
        if action.action not in {Action.START, Action.ADD} or action.spec is None:
            return None
        intent = action.intent or Intent.STOPPED
        job, revision = created(
            action.spec,
            intent,
            by=self._actor,
            origin="file",
            clock=self._clock,
            epoch=self._authority.epoch,
            reason=action.reason,
        )
        self._authority.require()
        await self._jobs.create(job, revision=revision)
        return await self._noted(job, revision)

    async def _changed(self, job: Job, stored: StoredJob, action: JobAction) -> Taken:
        revision = secrets.token_hex(16)
        change = Change(
            at=timestamp(self._clock.now()),
            by=self._actor,
            verb=action.action.value,
            revision=revision,
            revision_before=stored.revision,
            intent=job.intent.value,
            intent_before=stored.job.intent.value,
            reason=action.reason,
        )
        job = replace(job, last_change=change, epoch=max(job.epoch, self._authority.epoch))
        await self._chronicle.caught_up(stored.job)
        self._authority.require()
        await self._jobs.save(job, expect=stored.revision, revision=revision)
        return await self._noted(job, revision)

    async def _remove(self, stored: StoredJob) -> None:
        job, revision = stored.job, stored.revision
        if job.removing:
            await self._chronicle.completed(job)
        else:
            removing = JobAction(job=job.name, action=Action.REMOVE, intent=Intent.STOPPED, reason="")
            gone = await self._changed(replace(job, intent=Intent.STOPPED, removing=True), stored, removing)
            revision = gone.revision
            # With the document goes the last that is known of the definition.
            await self._chronicle.completed(gone.job)
        self._authority.require()
        if self._checkpoints is not None:
            await self._checkpoints.forget(job.name, epoch=self._authority.epoch or None)
        await self._jobs.delete(job.name, expect=revision)

    async def _noted(self, job: Job, revision: Revision) -> Taken:
        if job.last_change:
            await self._chronicle.changed(job, job.last_change)
        return self._taken(job, revision)

    def _taken(self, job: Job, revision: Revision, fault: RunFailure | None = None) -> Taken:
        """Nothing runs at a start: what a process has last seen before it was killed is no longer true."""
        is_resting = job.phase in _RESTING
        phase = job.phase if is_resting else Phase.STOPPED
        return Taken(job=replace(job, phase=phase), revision=revision, fault=fault, is_resting=is_resting)

    def _fault(self, action: JobAction) -> RunFailure:
        return RunFailure(reason="invalid", message=action.reason, at=timestamp(self._clock.now()))


def created(
    spec: ConnectorSpec, intent: Intent, *, by: Actor, origin: str, clock: Clock, epoch: int, reason: str = ""
) -> tuple[Job, Revision]:
    """A new job and the revision under which it is to be stored."""
    revision = secrets.token_hex(16)
    change = Change(
        at=timestamp(clock.now()), by=by, verb="create", revision=revision, intent=intent.value, reason=reason
    )
    return Job(spec=spec, intent=intent, origin=origin, epoch=epoch, last_change=change), revision
