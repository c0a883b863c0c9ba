"""Operations: what people and programs may ask of the owner of a store, beyond the commands of one job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mstream.config.connector import connector_of_request
from mstream.config.document import ConfigFile
from mstream.control.checkpoints import Checkpoints, require_at_rest, to_document
from mstream.control.jobs import Answer, JobManager, JobView
from mstream.control.planning import plan_of_apply, plan_start
from mstream.control.record import defined_at
from mstream.control.rotation import KeyStatus, status_of
from mstream.control.services import ServiceRegistry
from mstream.control.startup import Startup
from mstream.domain.audit import Actor, AuditEntry
from mstream.domain.history import RunEntry
from mstream.domain.orders import SnapshotOrder
from mstream.domain.plan import Action, JobAction, Plan
from mstream.domain.reset import Target
from mstream.errors import Conflict, JobExists, JobNotFound, NotFound, PlanStale, RevisionConflict, Unavailable
from mstream.observability.logs import get_logger
from mstream.ports.documents import Revision
from mstream.ports.provider import Catalog

log = get_logger(__name__)

#: Seconds in which a run says that an order is kept; records under way are delivered before.
_LONGEST_ORDER: Final = 60.0
#: Seconds that a job may take to stop before it is removed.
_LONGEST_DRAIN: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A plan of `apply`, and whether it was carried out."""

    plan: Plan
    is_done: bool


class Operations:
    """Everything that needs more than one job: definitions, plans, checkpoints, keys, history."""

    def __init__(
        self,
        *,
        manager: JobManager,
        services: ServiceRegistry,
        catalog: Catalog,
        read_file: Callable[[], ConfigFile],
    ) -> None:
        """`read_file`: the configuration file as it is now; raises ConfigError with its problems."""
        self.manager = manager
        self.services = services
        self._catalog = catalog
        self._read_file = read_file
        self._startup: Startup | None = None
        self._checkpoints: Checkpoints | None = None
        #: One file is applied at a time.
        self._applying = asyncio.Lock()

    def open(self, startup: Startup, checkpoints: Checkpoints | None) -> None:
        """The store is ours from now on."""
        self._startup, self._checkpoints = startup, checkpoints

    def close(self) -> None:
        """It is not any more."""
        self._startup = self._checkpoints = None

    async def create_job(self, body: Mapping[str, Any], *, by: Actor, wait_sec: float = 0) -> Answer:
        """Raises ConfigError with everything that is wrong with it, JobExists, StoreError."""
        spec = connector_of_request(body, self.services.services(), self._opened().file.system, self._catalog)
        return await self.manager.create(spec, by=by, wait_sec=wait_sec)

    async def replace_job(
        self, name: str, body: Mapping[str, Any], *, by: Actor, expect: Revision | None = None, wait_sec: float = 0
    ) -> Answer:
        """Raises ConfigError, JobNotFound, RevisionConflict, StoreError."""
        self.manager.view(name)
        table = {"name": name, **body}
        spec = connector_of_request(table, self.services.services(), self._opened().file.system, self._catalog)
        if spec.name != name:
            message = f"the definition names the job {spec.name!r}, not {name!r}; a job keeps its name"
            raise Conflict(message)
        return await self.manager.replace(name, spec, by=by, expect=expect, wait_sec=wait_sec)

    async def snapshot(self, job: str, order: SnapshotOrder, *, by: Actor) -> JobView:
        """What the job reads from is read once more, beside what happens, or no longer; its place says so then.

        Raises JobNotFound, IllegalTransition unless it runs, what its source has against it, and Unavailable when the
        run does not answer in time, though it may have heard.
        """
        log.info("snapshot_ordered", job=job, by=by.who, collection=order.collection, cancelled=order.cancels)
        try:
            async with asyncio.timeout(_LONGEST_ORDER):
                return await self.manager.snapshot(job, order)
        except TimeoutError:
            message = f"job {job!r} has not said within {_LONGEST_ORDER:g} s that it has heard; look at it later"
            raise Unavailable(message) from None

    async def plan(self) -> Plan:
        """What a start would do now, with the file as it is now. Raises ConfigError, StoreError."""
        startup = self._opened()
        survey = await startup.survey(await asyncio.to_thread(self._read_file))
        return await asyncio.to_thread(plan_start, survey.situation)

    async def apply(
        self, *, by: Actor, dry_run: bool = False, prune: bool = False, expect: str | None = None
    ) -> Applied:
        """Bring the file's definitions over; intents stay. `expect`: the hash of the plan that was shown.

        Raises PlanStale when another plan would be carried out, or when a job was changed before its turn came;
        ConfigError, StoreError.
        """
        async with self._applying:
            return await self._apply_now(by=by, dry_run=dry_run, prune=prune, expect=expect)

    async def _apply_now(self, *, by: Actor, dry_run: bool, prune: bool, expect: str | None) -> Applied:
        startup = self._opened()
        file = await asyncio.to_thread(self._read_file)
        survey = await startup.survey(file)
        plan = await asyncio.to_thread(plan_of_apply, survey.situation, prune=prune)
        require_same(plan, expect)
        if dry_run:
            return Applied(plan=plan, is_done=False)
        await startup.mark(plan, survey.marker_revision)
        startup.use(file)
        self.services.use(file)
        await self.services.carry_out([each for each in plan.services if each.action is not Action.REMOVE], by=by)
        for each in plan.actions:
            await self._apply(each, by)
        # Only when no job names them any more.
        await self.services.carry_out([each for each in plan.services if each.action is Action.REMOVE], by=by)
        return Applied(plan=plan, is_done=True)

    async def places(self, job: str) -> list[Mapping[str, object]]:
        """Where the job stands and stood, the newest first. Raises JobNotFound, NotFound, StoreError."""
        self.manager.view(job)
        try:
            return [to_document(each) for each in await self._kept_checkpoints().of(job)]
        except NotFound:
            return []

    async def reset(self, job: str, to: Target, *, by: Actor, reason: str = "") -> Mapping[str, object]:
        """Put a job elsewhere that does not run. Raises IllegalTransition while it does."""
        checkpoints = self._kept_checkpoints()
        async with self.manager.resting(job) as resting:
            require_at_rest(resting)
            await checkpoints.reset(resting.spec, to, by=by, reason=reason)
        return (await self.places(job))[0]

    async def keys(self) -> KeyStatus:
        """Which keys there are, and what is under them. Raises Conflict where services are not kept."""
        vault = self._opened().archive.vault
        if vault is None:
            message = "services are not kept: no key is used; set [system] state or [system.service_lifecycle]"
            raise Conflict(message)
        return await status_of(vault)

    async def reload_keys(self) -> KeyStatus:
        """Read the key ring again. Raises KeyUnusable, and uses the one before, when it is not the store's."""
        vault = self._opened().archive.vault
        if vault is not None:
            await vault.keys.reload()
            await self.services.reread()
        return await self.keys()

    async def runs(self, job: str) -> list[RunEntry]:
        """The job's ended runs, the newest first. Raises JobNotFound for a job that never was."""
        found = await self._opened().archive.chronicle.runs_of(job)
        if not found:
            await self.changes(job)
        return found

    async def changes(self, job: str) -> list[AuditEntry]:
        """Who changed the job's intent or definition, the newest first; also of one that was deleted.

        Raises JobNotFound for a job that never was.
        """
        found = await self._opened().archive.chronicle.changes_of(job)
        if not found and all(each.name != job for each in self.manager.damaged):
            self.manager.view(job)
        return found

    async def _apply(self, action: JobAction, by: Actor) -> None:
        """Only on the job that the plan was made of. Raises PlanStale, StoreError."""
        try:
            await self._carry_out(action, by)
        except (RevisionConflict, JobExists, JobNotFound):
            raise _overtaken(action) from None

    async def _carry_out(self, action: JobAction, by: Actor) -> None:
        spec = action.spec
        match action.action:
            case Action.START | Action.ADD if spec is not None:
                if action.stored is not None:
                    # Its removal was begun, and comes first.
                    await self.manager.remove(action.job, by=by, expect=_planned(action))
                await self.manager.create(spec, by=by, origin="file")
            case Action.REPLACE if spec is not None:
                await self.manager.replace(action.job, spec, by=by, expect=_planned(action))
            case Action.REMOVE:
                await self._remove(action.job, _planned(action), by)
            case _:
                return

    async def _remove(self, job: str, planned: Revision | None, by: Actor) -> None:
        """Stopped first; whoever changes it while it drains keeps it."""
        if not self.manager.view(job).job.removing:
            planned = (await self.manager.stop(job, by=by, expect=planned)).view.revision
            answer = await self.manager.stop(job, by=by, wait_sec=_LONGEST_DRAIN, expect=planned)
            if not answer.reached:
                message = f"job {job!r} has not stopped within {_LONGEST_DRAIN:g} s, and is left as it is: apply again"
                raise Unavailable(message)
        await self.manager.remove(job, by=by, expect=planned)

    def _kept_checkpoints(self) -> Checkpoints:
        self._opened()
        if self._checkpoints is None:
            message = "checkpoints are not kept; set [system] state or [system.checkpoints]"
            raise Conflict(message)
        return self._checkpoints

    def _opened(self) -> Startup:
        if self._startup is None:
            message = "not ready: the stores are not open yet"
            raise Unavailable(message)
        return self._startup


def require_same(plan: Plan, expect: str | None) -> None:
    """Raises PlanStale when this is not the plan that was shown under the hash `expect`."""
    if expect is not None and expect != plan.hash:
        message = (
            f"{expect[:12]} is not the hash of what would be done now: that has changed since, or the hash is that of"
            " a start (`mstream plan`); look again with `mstream apply --dry-run`"
        )
        raise PlanStale(message)


def _planned(action: JobAction) -> Revision | None:
    """Of the definition that the plan was made of; None: there was none."""
    return defined_at(action.stored) if action.stored else None


def _overtaken(action: JobAction) -> PlanStale:
    message = (
        f"job {action.job!r} was changed while the plan was carried out, and is left as it is; the steps before it"
        " are done: look at the plan again, and apply what is left"
    )
    return PlanStale(message)
