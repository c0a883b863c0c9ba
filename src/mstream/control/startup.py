"""Startup: read what is stored, plan, bring the store to the plan, and only then let jobs run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from mstream.config.document import ConfigFile
from mstream.control.authority import Authority
from mstream.control.chronicle import Chronicle
from mstream.control.jobs import JobManager
from mstream.control.planning import plan_start
from mstream.control.provisioning import Provisioner, Taken
from mstream.control.services import ServiceRegistry
from mstream.control.situation import KeptServices, Survey, marked_by, situation
from mstream.control.vault import Vault
from mstream.domain.plan import Action, Damaged, Plan, to_document
from mstream.errors import MstreamError, RevisionConflict, StoreError
from mstream.foundation.clock import Clock, timestamp
from mstream.observability.logs import get_logger
from mstream.ports.documents import Collection, Revision
from mstream.ports.provider import Catalog
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.jobs import JobStore
from mstream.stores.markers import MarkerStore

log = get_logger(__name__)

#: Differences that a start tells one by one; the plan has them all.
_MOST_DRIFT: Final = 20

#: Plans that are made anew because somebody else has written meanwhile.
_ATTEMPTS: Final = 5
#: Seconds between two looks at what others may have written.
_REREAD_SEC: Final = 60.0
#: The key of the last start's plan.
REPORT: Final = "plan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What outlives the program, as far as the file keeps it."""

    jobs: JobStore
    #: Where marker and report stand; None: jobs are not kept.
    system: Collection | None = None
    #: None: services are not kept.
    vault: Vault | None = None
    chronicle: Chronicle = field(default_factory=Chronicle)
    #: None: checkpoints are not kept.
    checkpoints: CheckpointStore | None = None


class Startup:
    """Everything between open stores and running jobs; a crash anywhere leaves what the next one goes on from."""

    def __init__(
        self,
        *,
        file: ConfigFile,
        catalog: Catalog,
        services: ServiceRegistry,
        archive: Archive,
        authority: Authority,
        clock: Clock,
    ) -> None:
        self.archive = archive
        self._file = file
        self._catalog = catalog
        self._services = services
        self._markers = MarkerStore(archive.system) if archive.system is not None else None
        self._authority = authority
        self._clock = clock
        self._taken: list[Taken] = []
        self._is_read = False

    async def bring_up(self, manager: JobManager) -> Plan:
        """Returns when every job that is to run was told to start. Raises StoreError."""
        plan, damaged = await self._provision()
        await self._report(plan)
        manager.set_aside(damaged)
        await manager.take_over(self._taken)
        return plan

    async def keep_up(self, manager: JobManager) -> None:
        """Make good what a crash has left, then look again and again at what others have written; cancel it to end."""
        await self.complete()
        while self.archive.system is not None:
            await self._clock.sleep(_REREAD_SEC)
            try:
                await self._services.reread()
                await manager.reread()
            except MstreamError as error:
                log.warning("jobs_not_reread", error_code=error.code, error=str(error))

    async def complete(self) -> None:
        """Record the changes that a crash has kept from the audit trail."""
        await self._services.complete()
        try:
            for each in self._taken:
                await self.archive.chronicle.completed(each.job)
        except StoreError as error:
            log.warning("changes_not_recorded", error_code=error.code, error=str(error))

    async def _report(self, plan: Plan) -> None:
        """Keep what was decided, for `plan --last`; a report that cannot be kept keeps nobody up."""
        if self.archive.system is None:
            return
        document = {"name": REPORT, "at": timestamp(self._clock.now()), "plan": to_document(plan)}
        try:
            self._authority.require()
            await self.archive.system.put(REPORT, document)
        except StoreError as error:
            log.warning("plan_not_stored", error_code=error.code, error=str(error))

    async def _provision(self) -> tuple[Plan, tuple[Damaged, ...]]:
        provisioner = Provisioner(
            jobs=self.archive.jobs,
            checkpoints=self.archive.checkpoints,
            markers=self._markers,
            chronicle=self.archive.chronicle,
            authority=self._authority,
            clock=self._clock,
        )
        for attempt in range(1, _ATTEMPTS + 1):
            survey = await self.survey(self._file)
            plan = plan_start(survey.situation)
            tell(plan)
            try:
                await self._services.carry_out(plan.services)
                self._taken = await provisioner.carry_out(plan, survey.jobs, survey.marker_revision)
            except RevisionConflict as error:
                log.warning("plan_overtaken", attempt=attempt, error=str(error))
            else:
                return plan, survey.situation.damaged_jobs
        message = "the stored jobs are changed by somebody else all the time; end the other program and start again"
        raise StoreError(message)

    @property
    def file(self) -> ConfigFile:
        """The file that holds now."""
        return self._file

    def use(self, file: ConfigFile) -> None:
        """From now on this file's services and connectors; how the program itself runs changes with a start."""
        self._file = self._file.model_copy(update={"services": file.services, "connectors": file.connectors})

    async def mark(self, plan: Plan, revision: Revision) -> None:
        """Write the marker of a plan that others carry out. Raises RevisionConflict, StoreError."""
        if self._markers is not None and plan.marker is not None:
            self._authority.require()
            await self._markers.write(plan.marker, expect=revision)

    async def survey(self, file: ConfigFile) -> Survey:
        """All that a plan with this file is made of. Raises StoreError."""
        if self._is_read:
            await self._services.reread()
        # Whoever has opened the services has just read them.
        self._is_read = True
        vault = self.archive.vault
        kept = KeptServices(
            definitions=self._services.stored, damaged=self._services.damaged, are_kept=vault is not None
        )
        if vault is not None:
            kept = replace(kept, mark=marked_by(vault.keys.ring))
        return await situation(file, self._catalog, jobs=self.archive.jobs, markers=self._markers, services=kept)


def tell(plan: Plan) -> None:
    """One line per action that does something, one for each note and difference."""
    log.info("plan_made", startup_state=plan.startup_state, hash=plan.hash, jobs=len(plan.actions))
    for each in plan.actions:
        level = log.debug if each.action is Action.LEAVE else log.warning if each.action is Action.INVALID else log.info
        level("plan_action", job=each.job, action=each.action.value, reason=each.reason)
    for difference in plan.drift[:_MOST_DRIFT]:
        log.warning("plan_drift", kind=difference.kind, resource=difference.name, reason=difference.reason)
    if (left := len(plan.drift) - _MOST_DRIFT) > 0:
        log.warning("plan_drift_more", count=left)
    for note in plan.notes:
        log.info("plan_note", note=note)
