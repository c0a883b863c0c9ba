"""JobManager: make, start, stop, pause, resume, finish, restart, remove; commands of one job queue; intent first."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from types import TracebackType
from typing import Final, Self

from mstream.control.authority import Authority
from mstream.control.chronicle import Chronicle
from mstream.control.launch import Launcher
from mstream.control.member import MemberView
from mstream.control.provisioning import Taken, created
from mstream.control.record import JobRecord, defined_at
from mstream.control.supervisor import Supervisor
from mstream.domain.audit import Actor
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase
from mstream.domain.orders import SnapshotOrder
from mstream.domain.plan import Damaged
from mstream.domain.run import RunStatus
from mstream.errors import (
    DocumentDamaged,
    IllegalTransition,
    JobExists,
    JobNotFound,
    MstreamError,
    RevisionConflict,
    Unavailable,
)
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import background, shielded, within
from mstream.observability.logs import get_logger
from mstream.ports.documents import Revision
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.jobs import JobStore

log = get_logger(__name__)

#: Seconds that the jobs of a start have to be told so, before the others no longer wait for them.
_PATIENCE_SEC: Final = 60.0
#: Jobs that a line of the log names.
_MOST_NAMED: Final = 20
#: For those who embed the program and do not say who they are.
NOBODY = Actor(who="program")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as it is shown: what is stored of it, and what its run says."""

    job: Job
    status: RunStatus
    #: Neither runs nor will run without a command.
    is_over: bool
    #: Which versions of its scripts the run under way has, by service.
    script_versions: Mapping[str, str] = field(default_factory=dict)
    #: The members of the run under way.
    members: Sequence[MemberView] = ()

    @property
    def revision(self) -> Revision:
        """The token to change its definition with, if nobody else has done so meanwhile."""
        return defined_at(self.job)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a command: its intent is stored, and the state it asks for is reached or not yet."""

    view: JobView
    reached: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the manager needs as soon as there are stores."""

    store: JobStore
    launcher: Launcher
    chronicle: Chronicle
    authority: Authority
    #: Where jobs stand; None: that is not kept.
    checkpoints: CheckpointStore | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A command, who gave it, and how long it may wait for the state."""

    verb: str
    by: Actor
    wait_sec: float
    #: Only for the job as it was `defined_at` this; None: as it is.
    expect: Revision | None = None


class JobManager:
    """All jobs of this process, each with a supervisor of its own; nothing waits for another job."""

    def __init__(self, *, clock: Clock, random: Random) -> None:
        self._clock = clock
        self._random = random
        self._supervisors: dict[str, Supervisor] = {}
        self._tasks = asyncio.TaskGroup()
        self._closing = False
        self._parts: Parts | None = None
        #: Definitions that are being stored.
        self._coming: list[ConnectorSpec] = []
        #: Stored documents that cannot be used.
        self.damaged: tuple[Damaged, ...] = ()

    async def __aenter__(self) -> Self:
        """Begins with no jobs, also after another tenure has ended."""
        self._supervisors = {}
        self._tasks = asyncio.TaskGroup()
        self._closing = False
        self.damaged = ()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        # A failure of the body is its own: the jobs drain all the same, and it is raised as it is.
        await self._tasks.__aexit__(None, None, None)
        self._parts = None

    def open(self, parts: Parts) -> None:
        """From now on jobs can be taken over and made."""
        self._parts = parts

    async def take_over(self, taken: Sequence[Taken]) -> None:
        """Supervise stored jobs; returns when every one that is to run was told to start.

        One that cannot be told for long, as a file system hangs that its scripts lie in, is left to come to it later:
        the others, and commands, must not wait for it.
        """
        for each in taken:
            record = self._record(each.job, each.revision, is_stored=each.is_resting)
            supervisor = self._supervise(record)
            if each.fault is not None:
                await supervisor.refuse(each.fault)
        starts = [each.settled.wait() for each in self._supervisors.values()]
        async with background(self._clock.sleep(_PATIENCE_SEC)) as deadline:
            if not await within(deadline, *starts):
                late = sorted(name for name, each in self._supervisors.items() if not each.settled.is_set())
                log.warning("starts_delayed", jobs=late[:_MOST_NAMED], count=len(late), seconds=_PATIENCE_SEC)

    def set_aside(self, damaged: Sequence[Damaged]) -> None:
        """Documents that cannot be used are shown, and nothing else is done with them."""
        self.damaged = tuple(damaged)

    async def create(self, spec: ConnectorSpec, *, by: Actor, origin: str = "api", wait_sec: float = 0) -> Answer:
        """Store a new job, then run it if it is enabled. Raises JobExists, DocumentDamaged, StoreError."""
        parts = self._open_parts()
        if any(each.name == spec.name for each in self.damaged):
            message = f"job {spec.name!r}: a stored document of that name cannot be used; delete that job, or repair it"
            raise DocumentDamaged(message)
        if spec.name in self._supervisors:
            raise _exists(spec.name)
        intent = Intent.RUNNING if spec.enabled else Intent.STOPPED
        job, revision = created(spec, intent, by=by, origin=origin, clock=self._clock, epoch=parts.authority.epoch)
        parts.authority.require()
        with self._naming_also(spec):
            try:
                await shielded(parts.store.create(job, revision=revision))
            except RevisionConflict:
                # Perhaps an attempt of ours whose answer was lost.
                await self.reread()
                raise _exists(spec.name) from None
        # A look at the store may have found it before the answer came.
        supervisor = self._supervisors.get(spec.name) or self._supervise(self._record(job, revision))
        if job.last_change:
            await parts.chronicle.changed(job, job.last_change)
        wait_sec = wait_sec if spec.enabled and not self._closing else 0
        reached = await self._reached(supervisor.record, _is_running, wait_sec, None)
        return Answer(view=_view(supervisor), reached=reached or not spec.enabled)

    async def replace(
        self, name: str, spec: ConnectorSpec, *, by: Actor, expect: Revision | None = None, wait_sec: float = 0
    ) -> Answer:
        """Store another definition; the intent stays, and what runs is begun anew with it.

        Raises JobNotFound, RevisionConflict when `expect` is not the revision any more, StoreError.
        """
        supervisor = self._commanded(name)
        before = supervisor.record.job.run_id
        with self._naming_also(spec):
            job = await supervisor.record.redefine(spec, by=by, expect=expect)
        supervisor.ordered(restart=True)
        wanted = job.intent in {Intent.RUNNING, Intent.FINISHING}
        reached = await self._reached(
            supervisor.record,
            lambda job: job.run_id != before and _is_running(job),
            wait_sec if wanted else 0,
            before,
        )
        return Answer(view=_view(supervisor), reached=reached or not wanted)

    async def remove(self, name: str, *, by: Actor, expect: Revision | None = None) -> None:
        """Take the definition away; its trail stays. Raises JobNotFound, StoreError, IllegalTransition if it runs.

        A document that cannot be used can be taken away too. `expect`: only if this is still the job's revision, else
        RevisionConflict.
        """
        is_damaged = any(each.name == name for each in self.damaged)
        if is_damaged and name not in self._supervisors:
            await self._remove_damaged(name, by)
            return
        supervisor = self._commanded(name)
        job = supervisor.record.job
        if supervisor.has_run or (job.intent in {Intent.RUNNING, Intent.FINISHING} and not supervisor.is_over):
            message = f"job {name!r} is meant to be {job.intent.value}; stop it before it is deleted"
            raise IllegalTransition(message)
        places = self._open_parts().checkpoints
        if is_damaged:
            await self._remove_damaged(name, by)
        await supervisor.record.remove(by=by, forget=places.forget if places is not None else None, expect=expect)
        supervisor.dismiss()
        self._supervisors.pop(name, None)

    @asynccontextmanager
    async def resting(self, name: str) -> AsyncIterator[Job]:
        """The job; commands on it wait for the end of the body. Raises JobNotFound."""
        async with self._commanded(name).record.held() as job:
            yield job

    async def reread(self) -> None:
        """Take over what others have written: an older program, or an owner that did not know of its end yet.

        Raises StoreError. What was taken away stays under management until the next start.
        """
        parts = self._open_parts()
        stored, damaged = await parts.store.everything()
        self.damaged = tuple(damaged)
        for each in stored:
            supervisor = self._supervisors.get(each.job.name)
            if supervisor is None:
                await self._take_in(each.job.name)
            elif await supervisor.record.take_over(each):
                supervisor.ordered(restart=True)

    def close(self) -> None:
        """Drain every job; their intents stay. The end is awaited by leaving the context."""
        self._closing = True
        for each in self._supervisors.values():
            each.close()

    def cut_short(self) -> None:
        """Abort every run."""
        self._closing = True
        for each in self._supervisors.values():
            each.cut_short()

    def naming(self) -> dict[str, list[str]]:
        """The jobs that name each service, whatever they do."""
        found: dict[str, list[str]] = {}
        for name, supervisor in self._supervisors.items():
            for service in supervisor.record.job.spec.service_names:
                found.setdefault(service, []).append(name)
        for spec in self._coming:
            for service in spec.service_names:
                found.setdefault(service, []).append(spec.name)
        return found

    @contextmanager
    def _naming_also(self, spec: ConnectorSpec) -> Iterator[None]:
        """What a definition names must not be taken away while it is being stored."""
        self._coming.append(spec)
        try:
            yield
        finally:
            self._coming.remove(spec)

    def views(self) -> list[JobView]:
        """Every job, in the order in which they were made; never waits."""
        return [_view(each) for each in self._supervisors.values()]

    def view(self, name: str) -> JobView:
        """One job. Raises JobNotFound."""
        return _view(self._supervisor(name))

    async def start(self, name: str, *, by: Actor = NOBODY, wait_sec: float = 0) -> Answer:
        """The job shall run; one that has failed or came to its end begins anew."""
        return await self._order(Order("start", by, wait_sec), name, lambda job: Intent.RUNNING, _is_running, anew=True)

    async def stop(
        self, name: str, *, by: Actor = NOBODY, wait_sec: float = 0, expect: Revision | None = None
    ) -> Answer:
        """The job shall drain and hold nothing any more. `expect`: as in `remove`."""
        return await self._order(Order("stop", by, wait_sec, expect), name, lambda job: Intent.STOPPED, _is_stopped)

    async def pause(self, name: str, *, by: Actor = NOBODY, wait_sec: float = 0) -> Answer:
        """The job shall drain and keep its place. Raises IllegalTransition when it is stopped."""
        return await self._order(Order("pause", by, wait_sec), name, _paused, _is_paused)

    async def resume(self, name: str, *, by: Actor = NOBODY, wait_sec: float = 0) -> Answer:
        """A paused job shall go on. Raises IllegalTransition when it is stopped."""
        return await self._order(Order("resume", by, wait_sec), name, _resumed, _is_running, anew=True)

    async def finish(self, name: str, *, by: Actor = NOBODY, wait_sec: float = 0) -> Answer:
        """The job shall deliver up to the head of this moment, then stop.

        Raises IllegalTransition unless it is meant to run, and when its source never comes to an end.
        """
        supervisor = self._supervisor(name)
        if not self._open_parts().launcher.is_finite(supervisor.record.job.spec):
            service = supervisor.record.job.spec.source.service_name
            message = f"job {name!r} cannot finish: its source, service {service!r}, knows no end; stop it instead"
            raise IllegalTransition(message)
        return await self._order(Order("finish", by, wait_sec), name, _finishing, _is_stopped)

    async def restart(self, name: str, *, by: Actor = NOBODY, wait_sec: float = 0) -> Answer:
        """End the present run and begin another; a job that was stopped or paused is started, as was asked."""
        before = self._supervisor(name).record.job.run_id
        return await self._order(
            Order("restart", by, wait_sec),
            name,
            _restarted,
            lambda job: job.run_id != before and _is_running(job),
            restart=True,
        )

    async def snapshot(self, name: str, order: SnapshotOrder) -> JobView:
        """Hand an order to the job's run; returns once it is kept. Raises JobNotFound, and as the supervisor does."""
        supervisor = self._commanded(name)
        await supervisor.snapshot(order)
        return _view(supervisor)

    async def _order(
        self,
        order: Order,
        name: str,
        decide: Callable[[Job], Intent],
        holds: Callable[[Job], bool],
        *,
        anew: bool = False,
        restart: bool = False,
    ) -> Answer:
        supervisor = self._commanded(name)
        before = supervisor.record.job
        job = await supervisor.record.intend(decide, verb=order.verb, by=order.by, expect=order.expect)
        # A job that runs already needs no second beginning.
        anew = anew and not (before.intent is job.intent and supervisor.is_under_way)
        if anew or restart or before.intent is not job.intent:
            supervisor.ordered(anew=anew, restart=restart)
        log.info("job_ordered", job=name, intent=job.intent.value, verb=order.verb)
        reached = await self._reached(supervisor.record, holds, order.wait_sec, before.run_id)
        return Answer(view=_view(supervisor), reached=reached)

    async def _reached(
        self, record: JobRecord, holds: Callable[[Job], bool], wait_sec: float, run_before: str | None
    ) -> bool:
        if wait_sec > 0 and not holds(record.job):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_sec):
                    # A new run that has failed for good will not come where it should.
                    await record.until(
                        lambda job: holds(job) or (job.phase is Phase.FAILED and job.run_id != run_before)
                    )
        return holds(record.job)

    async def _take_in(self, name: str) -> None:
        """A job that was not made here; a look that is older than its removal must not bring it back."""
        stored = await self._open_parts().store.get(name)
        if stored is not None and not stored.job.removing and name not in self._supervisors:
            log.warning("job_appeared", job=name)
            self._supervise(self._record(stored.job, stored.revision, is_stored=False))

    async def _remove_damaged(self, name: str, by: Actor) -> None:
        parts = self._open_parts()
        parts.authority.require()
        noted = partial(parts.chronicle.discarded, name, by, self._clock)
        await shielded(parts.store.discard(name, noted=noted))
        self.damaged = tuple(each for each in self.damaged if each.name != name)

    def _record(self, job: Job, revision: Revision, *, is_stored: bool = True) -> JobRecord:
        parts = self._open_parts()
        return JobRecord(
            job,
            revision,
            parts.store,
            authority=parts.authority,
            clock=self._clock,
            trail=parts.chronicle,
            is_stored=is_stored,
        )

    def _supervise(self, record: JobRecord) -> Supervisor:
        parts = self._open_parts()
        supervisor = Supervisor(
            record, parts.launcher, chronicle=parts.chronicle, clock=self._clock, random=self._random
        )
        self._supervisors[record.job.name] = supervisor
        if self._closing:
            # It was being stored when the program began to end: the next start runs it.
            supervisor.close()
            supervisor.settled.set()
        else:
            self._tasks.create_task(supervisor.supervise(), name=f"job {record.job.name}")
        return supervisor

    def _open_parts(self) -> Parts:
        if self._parts is None:
            message = "not ready: the stores are not open yet"
            raise Unavailable(message)
        return self._parts

    def _commanded(self, name: str) -> Supervisor:
        supervisor = self._supervisor(name)
        if self._closing:
            message = f"job {name!r}: the program is ending and takes no commands any more"
            raise Unavailable(message)
        return supervisor

    def _supervisor(self, name: str) -> Supervisor:
        if name not in self._supervisors:
            message = f"there is no job {name!r}"
            raise JobNotFound(message)
        return self._supervisors[name]


def _view(supervisor: Supervisor) -> JobView:
    job, status = supervisor.record.job, supervisor.status
    if job.phase is Phase.RUNNING and status.retrying:
        job = replace(job, phase=Phase.RETRYING)
    return JobView(
        job=job,
        status=status,
        is_over=supervisor.is_over,
        script_versions=supervisor.script_versions,
        members=supervisor.members,
    )


def _is_running(job: Job) -> bool:
    return job.phase is Phase.RUNNING


def _is_stopped(job: Job) -> bool:
    return job.phase is Phase.STOPPED


def _is_paused(job: Job) -> bool:
    return job.phase is Phase.PAUSED


def _paused(job: Job) -> Intent:
    if job.intent is Intent.STOPPED:
        raise _refused(job, "pause", "start")
    return Intent.PAUSED


def _resumed(job: Job) -> Intent:
    if job.intent is Intent.STOPPED:
        raise _refused(job, "resume", "start")
    return Intent.RUNNING if job.intent is Intent.PAUSED else job.intent


def _finishing(job: Job) -> Intent:
    if job.intent not in {Intent.RUNNING, Intent.FINISHING}:
        raise _refused(job, "finish", "start")
    return Intent.FINISHING


def _restarted(job: Job) -> Intent:
    return job.intent if job.intent is Intent.FINISHING else Intent.RUNNING


def _refused(job: Job, verb: str, instead: str) -> MstreamError:
    message = f"job {job.name!r} is meant to be {job.intent.value}, it cannot {verb}; {instead} it instead"
    return IllegalTransition(message)


def _exists(name: str) -> MstreamError:
    message = f"there is a job {name!r} already; change it with PUT, or name the new one otherwise"
    return JobExists(message)
