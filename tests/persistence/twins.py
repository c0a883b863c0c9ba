"""Owners that are each wrong in one way; the simulation must catch every one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mstream.control.jobs import Answer, JobManager, Order
from mstream.control.record import JobRecord
from mstream.control.startup import Startup
from mstream.domain.job import Intent, Job
from mstream.domain.plan import MarkerPhase, Plan
from mstream.domain.run import Outcome
from mstream.errors import RevisionConflict
from mstream.ports.documents import Document, Revision
from mstream.stores.markers import MarkerStore
from tests.persistence.instance import Make
from tests.persistence.network import Wire
from tests.persistence.runs import Run, WorkerRuntime
from tests.unit.control.lease_twins import CountsFromTheAnswer


class ActsFirst(JobManager):
    """Does what is ordered, and stores the intent when that is done."""

    async def _order(
        self, order: Order, name: str, decide: Callable[[Job], Intent], holds: Callable[[Job], bool], **wishes: Any
    ) -> Answer:
        record = self._commanded(name).record
        before, intent = record.job, decide(record.job)
        if intent is not before.intent:
            record._become(replace(before, intent=intent))
            self._supervisor(name).ordered(anew=True)
            await self._reached(record, holds, 5, before.run_id)
            record._become(replace(record.job, intent=before.intent))
        return await super()._order(order, name, decide, holds, **wishes)


class Retries(JobRecord):
    """Writes again whatever stands there, whoever wrote it."""

    async def _save(self, changed: Callable[[Job], Job], revision: Revision | None = None) -> Job:
        new = revision or secrets.token_hex(16)
        while True:
            job = changed(self._job)
            try:
                self._revision = await self._store.save(job, expect=self._revision, revision=new)
            except RevisionConflict:
                stored = await self._store.get(job.name)
                if stored is None:
                    raise
                self._revision = stored.revision
            else:
                self._is_stored = True
                return job


class ManagerOfRetries(JobManager):
    def _record(self, job: Job, revision: Revision, *, is_stored: bool = True) -> JobRecord:
        record = super()._record(job, revision, is_stored=is_stored)
        record.__class__ = Retries
        return record


class DeliversOn(WorkerRuntime):
    """Its runs do not ask whether the lease still holds."""

    heeds_lease = False


class Overwrites(Wire):
    """Puts what it has over whatever stands there."""

    async def put(
        self, key: str, document: Document, *, expect: Revision | None = None, revision: Revision | None = None
    ) -> Revision:
        return await super().put(key, document, expect=None, revision=revision)


class ByName(WorkerRuntime):
    """Takes the word of any run for that of its job's newest one."""

    def exited(self, run: Run, outcome: Outcome) -> None:
        newest = [each for each in self.runs if each.spec.job == run.spec.job][-1]
        newest.conclude(outcome)


class Eager(Startup):
    """Lets jobs run, and then says that the store is filled."""

    async def bring_up(self, manager: JobManager) -> Plan:
        assert self._markers is not None
        markers, self._markers = self._markers, Unfinished(self._markers)
        plan = await super().bring_up(manager)
        self._markers = markers
        marker, revision = await markers.read()
        if marker is not None and marker.phase is MarkerPhase.BEGUN:
            await markers.write(marker.finished(), expect=revision)
        return plan


class Unfinished(MarkerStore):
    """Does not write that it is done."""

    def __init__(self, markers: MarkerStore) -> None:
        super().__init__(markers._documents)

    async def write(self, marker: Any, expect: Revision) -> Revision:
        return expect if marker.phase is MarkerPhase.DONE else await super().write(marker, expect)


TWINS: Mapping[str, Make] = {
    "a manager that acts before the intent is stored": Make(manager=ActsFirst),
    "a record that retries without regard to epochs": Make(manager=ManagerOfRetries),
    "a run that ignores its lease": Make(runtime=DeliversOn),
    "a lease that is counted from the answer": Make(lease=CountsFromTheAnswer),
    "a checkpoint that is saved without a comparison": Make(wires={"places": Overwrites}),
    "an exit that concludes whatever run is the newest": Make(runtime=ByName),
    "a start that runs jobs before the store is filled": Make(startup=Eager),
}
