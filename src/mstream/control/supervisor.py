"""Supervisor: keep one job as its intent says, run after run; exits are matched by run id."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from random import Random
from uuid import uuid4

from mstream.control.chronicle import Chronicle
from mstream.control.launch import Launcher
from mstream.control.member import MemberView
from mstream.control.members import Members
from mstream.control.record import JobRecord
from mstream.control.recovery import AWAITED, GiveUp, Recovery, TryAgain
from mstream.domain.audit import Actor
from mstream.domain.history import RunEntry
from mstream.domain.job import Intent, Phase, RunFailure
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Ending, Outcome, RunStatus
from mstream.errors import Crashed, IllegalTransition, JobNotFound, MstreamError, StoreError
from mstream.foundation.clock import Clock, timestamp
from mstream.foundation.concurrency import any_set, background, first_of
from mstream.foundation.secrets import redacted
from mstream.observability.logs import get_logger

log = get_logger(__name__)

#: Seconds that a run has beyond its drain deadline to say how it ended.
_GRACE_SEC = 2.0
_WANTED = frozenset({Intent.RUNNING, Intent.FINISHING})
_ITSELF = Actor(who="supervisor")


class Supervisor:
    """One job's loop; it alone starts and ends the job's runs."""

    def __init__(
        self, record: JobRecord, launcher: Launcher, *, chronicle: Chronicle, clock: Clock, random: Random
    ) -> None:
        self.record = record
        self._launcher = launcher
        self._chronicle = chronicle
        self._clock = clock
        self._random = random
        self._recovery = Recovery(record.job.spec.retry, random)
        #: Something was ordered: the intent, or one of the wishes below, has changed.
        self._orders = asyncio.Event()
        #: The run that is being handed over, or is under way.
        self._members: Members | None = None
        self._last = RunStatus()
        self._restart = False
        #: Between a run's claim and its end.
        self._is_attempting = False
        self._closing = False
        #: It failed for good or came to its end: only an order begins anew.
        self._over = False
        #: The first start was told, or there is none to tell.
        self.settled = asyncio.Event()

    @property
    def status(self) -> RunStatus:
        """The last that the job's newest run has said of itself."""
        return self._members.status if self._members else self._last

    @property
    def members(self) -> Sequence[MemberView]:
        """The members of the run under way."""
        return self._members.views() if self._members else ()

    @property
    def script_versions(self) -> Mapping[str, str]:
        """Which versions of its scripts the run under way has, by service."""
        return self._members.spec.script_versions if self._members else {}

    @property
    def is_over(self) -> bool:
        """No run is under way, and none will begin without an order."""
        return self._over and self._members is None

    @property
    def has_run(self) -> bool:
        """A run is under way, or is being handed over."""
        return self._members is not None or self._is_attempting

    @property
    def is_under_way(self) -> bool:
        """A run is there, or will be without another order."""
        return not self._over

    def ordered(self, *, anew: bool = False, restart: bool = False) -> None:
        """The intent has changed, or is to be carried out from the beginning."""
        if anew or restart:
            self._over = False
            self._recovery = Recovery(self.record.job.spec.retry, self._random)
        self._restart = self._restart or restart
        self._orders.set()

    async def snapshot(self, order: SnapshotOrder) -> None:
        """Hand an order to the run under way; returns once it is kept. Raises as `RunHandle.snapshot` does.

        Raises IllegalTransition when there is no such run, or it is about to end.
        """
        job = self.record.job
        if self._members is None or job.phase is not Phase.RUNNING or self._is_disturbed():
            message = f"job {job.name!r} is {job.phase.value}; only a job that runs takes this order"
            raise IllegalTransition(message)
        await self._members.snapshot(order)

    async def refuse(self, failure: RunFailure) -> None:
        """The job cannot run as it is defined: it has failed, and its intent stays; an order tries it again."""
        self._over = True
        await self.record.observe(phase=Phase.FAILED, failure=failure)

    def close(self) -> None:
        """Drain, and let `supervise` return; the intent stays."""
        self._closing = True
        self._orders.set()

    def dismiss(self) -> None:
        """The job is gone: let `supervise` return without another word of it."""
        self._over = True
        self.close()

    def cut_short(self) -> None:
        """Abort what runs; with it everything ends at once."""
        self._closing = True
        self._orders.set()
        if self._members:
            self._members.abort()

    async def supervise(self) -> None:
        """Returns after `close`; nothing of the job runs then."""
        while not self._closing:
            self._orders.clear()
            self._restart = False
            if self._is_wanted() and not self._over:
                await self._attempt()
            else:
                await self._rest()
        if not self._over:
            await self._settle_down()

    def _is_wanted(self) -> bool:
        return self.record.job.intent in _WANTED and not self._closing

    def _is_disturbed(self) -> bool:
        return self._restart or not self._is_wanted()

    async def _rest(self) -> None:
        if not (self._over and self._is_wanted()):
            await self._settle_down()
        self.settled.set()
        await self._orders.wait()

    async def _settle_down(self) -> None:
        """What a job is called that does not run and is not meant to."""
        phase = Phase.PAUSED if self.record.job.intent is Intent.PAUSED else Phase.STOPPED
        await self.record.observe(phase=phase, next_attempt_at=None)

    async def _attempt(self) -> None:
        run_id = str(uuid4())
        begun, begun_at = self._clock.monotonic(), self._now()
        self._is_attempting = True
        try:
            outcome = await self._run(run_id, begun_at)
        finally:
            self._is_attempting = False
        members, self._members = self._members, None
        self._last = members.status if members else RunStatus()
        if outcome.reason not in AWAITED:
            await self._chronicle.ended(self._entry(run_id, begun_at, outcome, members))
        await self._conclude(run_id, outcome, members, seconds=self._clock.monotonic() - begun)

    async def _run(self, run_id: str, begun_at: str) -> Outcome:
        """One run, from its claim to its outcome; whatever goes wrong becomes an outcome."""
        try:
            await self.record.claim(
                phase=Phase.STARTING, run_id=run_id, started_at=begun_at, stopped_at=None, next_attempt_at=None
            )
            # An order ends the preparation, never the handing over: a run that nobody knows must not exist.
            prepared = await first_of(self._launcher.prepare(self.record.job, run_id), self._orders)
            if prepared is None or self._is_disturbed():
                # Also what is stored already and not ordered yet, as its copy for the trail is still being written.
                return Outcome(ending=Ending.DRAINED)
            self._members = members = self._launcher.members(prepared, self._recovery)
            async with background(self._note(members)), background(self._steer(members)):
                return await members.run()
        except MstreamError as error:
            return _failed(error)
        except Exception as error:
            log.exception("run_not_started", job=self.record.job.name, run=run_id)
            return _failed(Crashed(f"{type(error).__name__} while the run was started; the log has the details"))
        finally:
            self.settled.set()

    async def _note(self, members: Members) -> None:
        """Call the job what its members are: running when all of them are, retrying while one of them waits."""
        await members.handed_over.wait()
        if not members.are_there:
            return
        self.settled.set()
        log.info("run_started", job=self.record.job.name, run=members.run_id)
        epoch, noted = max(members.spec.epoch, self.record.job.epoch), None
        while not (members.ending.is_set() or self._is_disturbed()):
            changed, verdict = members.changed, members.verdict
            if isinstance(verdict, TryAgain) and verdict is not noted:
                await self._retrying(verdict, Phase.RETRYING)
            elif members.have_started:
                await self.record.observe(phase=Phase.RUNNING, epoch=epoch, failure=None, next_attempt_at=None)
            noted = verdict
            await changed.wait()

    async def _steer(self, members: Members) -> None:
        """Tell the run what is ordered, and end it when it does not come to an end itself."""
        await members.handed_over.wait()
        connector = self.record.job.spec
        is_finishing = self.record.job.intent is Intent.FINISHING
        if is_finishing:
            members.finish()
        while not (self._is_disturbed() or members.giving_up.is_set()):
            await any_set(self._orders, members.giving_up)
            self._orders.clear()
            if self.record.job.intent is Intent.FINISHING:
                is_finishing = True
                members.finish()
            elif is_finishing:
                # It shall go on after all, and a run cannot be told so: another one follows.
                self._restart = True
        members.drain()
        # The time runs from here, also while the store does not answer.
        async with background(self.record.observe(phase=Phase.STOPPING)):
            await self._clock.sleep(connector.drain_timeout_sec + _GRACE_SEC)
            log.warning("run_aborted", job=connector.name, run=members.run_id, seconds=connector.drain_timeout_sec)
            members.abort()

    async def _conclude(self, run_id: str, outcome: Outcome, members: Members | None, *, seconds: float) -> None:
        job = self.record.job
        failure = self._failure(outcome)
        level = log.warning if failure else log.info
        level(
            "run_ended",
            job=job.name,
            run=run_id,
            ending=outcome.ending.value,
            seconds=round(seconds, 3),
            records=self._last.records_delivered,
            errors=self._last.errors,
            error_code=outcome.reason,
        )
        if outcome.ending is Ending.FINISHED:
            await self._finish()
        elif self._is_disturbed() or outcome.ending is Ending.DRAINED:
            await self.record.observe(stopped_at=self._now(), failure=failure or job.failure)
        else:
            verdict = members.verdict if members else None
            moved = members is not None and members.moved
            await self._recover(verdict or self._recovery.after(outcome, seconds=seconds, moved=moved))

    async def _finish(self) -> None:
        """The source has ended: nothing is left to do until somebody starts the job again."""
        if not self._is_disturbed():
            self._over = True
        try:
            await self.record.intend(
                lambda job: Intent.STOPPED if job.intent is Intent.FINISHING else job.intent, verb="finish", by=_ITSELF
            )
        except (StoreError, JobNotFound) as error:
            # It stays `finishing`: the next start of the program ends it again.
            log.warning("job_state_not_stored", job=self.record.job.name, error_code=error.code, error=str(error))
        await self.record.observe(phase=Phase.STOPPED, stopped_at=self._now(), failure=None)

    async def _recover(self, verdict: GiveUp | TryAgain) -> None:
        if isinstance(verdict, GiveUp):
            self._over = True
            log.error("job_failed", job=self.record.job.name, error_code=verdict.reason, error=verdict.message)
            changes = {"attempts": self._recovery.attempts, "stopped_at": self._now()}
            await self.record.observe(phase=Phase.FAILED, failure=self._failure_of(verdict), **changes)
            return
        phase = Phase.WAITING if verdict.reason in AWAITED else Phase.RETRYING
        await self._retrying(verdict, phase, stopped_at=self._now())
        await first_of(self._clock.sleep(verdict.seconds), self._orders)

    async def _retrying(self, verdict: TryAgain, phase: Phase, **changes: str) -> None:
        log.warning(
            "job_retrying",
            job=self.record.job.name,
            attempt=self._recovery.attempts,
            seconds=round(verdict.seconds, 3),
            error_code=verdict.reason,
            error=verdict.message,
        )
        await self.record.observe(
            phase=phase,
            failure=self._failure_of(verdict),
            attempts=self._recovery.attempts,
            next_attempt_at=timestamp(self._clock.now() + timedelta(seconds=verdict.seconds)),
            **changes,
        )

    def _failure_of(self, verdict: GiveUp | TryAgain) -> RunFailure:
        may_pass = isinstance(verdict, TryAgain)
        return RunFailure(reason=verdict.reason, message=verdict.message, at=self._now(), retryable=may_pass)

    def _entry(self, run_id: str, begun_at: str, outcome: Outcome, members: Members | None) -> RunEntry:
        return RunEntry(
            job=self.record.job.name,
            run_id=run_id,
            epoch=self.record.job.epoch,
            started_at=begun_at,
            ended_at=self._now(),
            ending=outcome.ending.value,
            reason=outcome.reason,
            message=outcome.message,
            records=self._last.records_delivered,
            errors=self._last.errors,
            members=members.entries() if members else (),
        )

    def _failure(self, outcome: Outcome) -> RunFailure | None:
        if outcome.ending is not Ending.FAILED:
            return None
        return RunFailure(
            reason=outcome.reason or "failed",
            message=outcome.message or "",
            at=self._now(),
            retryable=outcome.retryable,
        )

    def _now(self) -> str:
        return timestamp(self._clock.now())


def _failed(error: MstreamError) -> Outcome:
    return Outcome(
        ending=Ending.FAILED,
        reason=error.code,
        message=redacted(str(error)),
        retryable=error.retryable,
    )
