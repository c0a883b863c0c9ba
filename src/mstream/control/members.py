"""Members: the runs that one run of a job is made of, seen as one; one that fails is begun anew while others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from operator import methodcaller
from typing import Final

from mstream.control.member import Member, MemberView
from mstream.control.owner import JobOwner, MemberOwner
from mstream.control.recovery import GiveUp, Recovery, TryAgain
from mstream.domain.history import MemberEntry
from mstream.domain.orders import SnapshotOrder
from mstream.domain.run import Ending, Outcome, RunSpec, RunStatus, together
from mstream.errors import IllegalTransition, MstreamError, StaleCheckpoint
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import background, finish_all, first_of
from mstream.observability.logs import get_logger
from mstream.runtimes.base import RunHandle, Runtime
from mstream.runtimes.faults import failed

log = get_logger(__name__)

#: What is said of several members that have ended: the first of these that one of them has come to.
_GRAVEST: Final = (Ending.FAILED, Ending.ABORTED, Ending.DRAINED, Ending.FINISHED)


class Members:
    """One run of a job; a job with `parallelism = 1` has one member, and what becomes of that becomes of the run."""

    def __init__(self, spec: RunSpec, owner: JobOwner, *, runtime: Runtime, recovery: Recovery, clock: Clock) -> None:
        self.spec = spec
        self._owner = owner
        self._runtime = runtime
        self._recovery = recovery
        self._clock = clock
        self._members = [Member(each) for each in range(spec.members)]
        self._begun_at = clock.monotonic()
        #: What every member is told, those that begin later too.
        self._orders: list[Callable[[RunHandle], None]] = []
        #: No member is begun any more.
        self.ending = asyncio.Event()
        #: Every member was handed over, or could not be.
        self.handed_over = asyncio.Event()
        #: One has failed for good: the others are to be drained.
        self.giving_up = asyncio.Event()
        #: Set at the next change, whatever it is.
        self.changed = asyncio.Event()
        #: What follows the last failure, until that has followed.
        self.verdict: GiveUp | TryAgain | None = None
        self._fatal: Outcome | None = None

    @property
    def run_id(self) -> str:
        """The run's own id; the members' begin with it."""
        return self.spec.run_id

    @property
    def are_there(self) -> bool:
        """Whether any of them could be handed over."""
        return any(each.handle is not None for each in self._members)

    @property
    def have_started(self) -> bool:
        """Whether all of them read, or have read to the end."""
        return all(each.reads or each.is_done for each in self._members)

    @property
    def moved(self) -> bool:
        """Whether one of them has a newer position than it began with."""
        return any(each.moved for each in self._members)

    @property
    def status(self) -> RunStatus:
        """The last that they have said of themselves."""
        on = [each for each in self._members if each.outcome is None] or self._members
        over = [each.status for each in self._members if each not in on]
        return together([each.status for each in on], [*over, *(each.before for each in self._members)])

    def views(self) -> Sequence[MemberView]:
        """Each of them."""
        return [each.view() for each in self._members]

    def entries(self) -> Sequence[MemberEntry]:
        """What is kept of them where they are several."""
        return [each.entry() for each in self._members] if self.spec.members > 1 else ()

    def drain(self) -> None:
        """Read no more, deliver and save what was read, end; who waits to be begun anew is not."""
        self.ending.set()
        self._order("drain")

    def finish(self) -> None:
        """Deliver up to the head of this moment, then end."""
        self._order("finish")

    def abort(self) -> None:
        """End at once."""
        self.ending.set()
        self._order("abort")

    async def snapshot(self, order: SnapshotOrder) -> None:
        """Hand an order to each of them; returns once all have kept it. Raises as `RunHandle.snapshot` does.

        Raises IllegalTransition when one of them does not read now: it would never hear of it.
        """
        if not all(each.reads and each.outcome is None for each in self._members):
            message = f"job {self.spec.job!r} is not under way as a whole; give the order once it is"
            raise IllegalTransition(message)
        for each in self._members:
            if each.handle is not None:
                await each.handle.snapshot(order)

    async def run(self) -> Outcome:
        """Returns when all of them have ended; the outcome is the gravest, of those the one that ended the others."""
        await finish_all(*(self._keep(each) for each in self._members))
        if self._fatal is not None:
            return self._fatal
        outcomes = [each.outcome for each in self._members if each.outcome is not None]
        return min(outcomes, key=lambda each: _GRAVEST.index(each.ending))

    def _order(self, verb: str) -> None:
        order = methodcaller(verb)
        self._orders.append(order)
        for each in self._members:
            if each.outcome is None and each.handle is not None:
                order(each.handle)

    async def _keep(self, member: Member) -> None:
        """One member, start after start."""
        try:
            while True:
                member.end(self._judged(await self._once(member)))
                pause = self._pause_after(member)
                self._told(member)
                if pause is None or not await self._waited(member, pause):
                    return
        except BaseException:
            self.abort()
            raise

    async def _once(self, member: Member) -> Outcome:
        owner = MemberOwner(self._owner)
        spec = replace(
            self.spec,
            run_id=self._run_id_of(member),
            member=member.index,
            positions=dict(self._owner.positions),
        )
        member.begin(spec.run_id, owner)
        self._begun_at = self._clock.monotonic()
        try:
            handle = await self._runtime.start(spec, owner)
        except MstreamError as error:
            return failed(error)
        member.handle = handle
        for order in self._orders:
            order(handle)
        self._note()
        async with background(self._note_start(member, handle)):
            return await handle.outcome()

    def _judged(self, outcome: Outcome) -> Outcome:
        """Where another member has taken a lane over, who had it may begin anew."""
        is_overtaken = self.spec.members > 1 and outcome.reason == StaleCheckpoint.code
        return replace(outcome, retryable=True) if is_overtaken else outcome

    async def _note_start(self, member: Member, handle: RunHandle) -> None:
        await handle.started()
        now = asyncio.Event()
        now.set()
        if await first_of(handle.outcome(), now) is None:
            member.reads = True
            self._note()

    def _pause_after(self, member: Member) -> TryAgain | None:
        """What it waits for before it is begun anew; None: it is not.

        Who fails while another one waits joins it: what stops them all at once is one failure.
        """
        outcome = member.outcome
        if outcome is None or outcome.ending in {Ending.DRAINED, Ending.FINISHED} or self.ending.is_set():
            return None
        may_pass = outcome.retryable or outcome.ending is not Ending.FAILED
        if self.verdict is None or not may_pass:
            seconds = self._clock.monotonic() - self._begun_at
            self.verdict = self._recovery.after(outcome, seconds=seconds, moved=member.moved)
        go_on = any(each.outcome is None for each in self._members)
        if isinstance(self.verdict, GiveUp):
            self._fatal = self._fatal or outcome
            if go_on:
                self.giving_up.set()
        if isinstance(self.verdict, TryAgain) and go_on:
            member.waits = True
            return self.verdict
        # Without any member the run is over: if another attempt follows, it is another run.
        self.ending.set()
        return None

    async def _waited(self, member: Member, pause: TryAgain) -> bool:
        """Whether its time has come; False: no member is begun any more."""
        await first_of(self._clock.sleep(pause.seconds), self.ending)
        member.waits = False
        if self.ending.is_set():
            return False
        if self.verdict is pause:
            self.verdict = None
        return True

    def _told(self, member: Member) -> None:
        self._note()
        outcome = member.outcome
        if self.spec.members == 1 or outcome is None:
            return
        level = log.warning if outcome.ending is Ending.FAILED else log.info
        level(
            "member_ended",
            job=self.spec.job,
            run=member.run_id,
            ending=outcome.ending.value,
            records=member.status.records_delivered,
            errors=member.status.errors,
            error_code=outcome.reason,
            error=outcome.message,
        )

    def _note(self) -> None:
        if all(each.handle is not None or each.outcome is not None for each in self._members):
            self.handed_over.set()
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _run_id_of(self, member: Member) -> str:
        """Of each start another one; the run's own where it has one member."""
        if self.spec.members == 1:
            return self.run_id
        return ".".join(str(each) for each in (self.run_id, member.index, *([member.starts] if member.starts else ())))
