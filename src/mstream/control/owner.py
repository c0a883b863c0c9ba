"""JobOwner: the one writer of a job's checkpoint and dead letters, for one of its runs; MemberOwner: for one member."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from mstream.control.authority import Authority, SoleOwner
from mstream.domain.checkpoint import Checkpoint, Lane, Position
from mstream.domain.dead_letter import DeadLetter
from mstream.domain.run import CheckpointMode
from mstream.errors import StaleOwner, StoreError
from mstream.foundation.backoff import delays
from mstream.foundation.clock import Clock
from mstream.observability.logs import get_logger
from mstream.ports.documents import ABSENT
from mstream.ports.owner import LaneClaim
from mstream.stores.checkpoints import CheckpointStore
from mstream.stores.dead_letters import DeadLetterStore

log = get_logger(__name__)
T = TypeVar("T")

#: Milliseconds between attempts while the store does not answer.
_BASE_MS, _MAX_MS = 100, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What the owner of jobs writes to; None: nothing is configured for it."""

    checkpoints: CheckpointStore | None = None
    dead_letters: DeadLetterStore | None = None
    #: What is asked before every write; None: nobody else can own what is stored.
    authority: Authority | None = None


class JobOwner:
    """Implements `ports.owner.Owner` over the stores; waits out a store that does not answer."""

    def __init__(
        self,
        *,
        job: str,
        run_id: str,
        stores: Stores,
        clock: Clock,
        random: Random,
    ) -> None:
        self._authority: Authority = stores.authority or SoleOwner()
        self._job = job
        self._run_id = run_id
        self._stores = stores
        self._clock = clock
        self._random = random
        self._epoch = 0
        self._fingerprint = ""
        self._mode = CheckpointMode.OFF
        #: Whoever claims a lane waits for the saves that were asked for before.
        self._saving = asyncio.Lock()
        #: Where every lane stands, by the last save; not to be relied upon after one that was cut short.
        self.positions: Mapping[Lane, Position] = {}
        self._is_sure = True
        #: Which member has claimed a lane last.
        self.holders: dict[Lane, MemberOwner] = {}

    async def begin(self, mode: CheckpointMode, fingerprint: str) -> Checkpoint:
        """Claim the job's checkpoint for the run: in the owner's epoch, without a lease in the one after the last.

        Raises PositionOfAnotherSource, StaleOwner when a newer owner has claimed it, or a StoreError.
        """
        checkpoint = await self._begin(mode, fingerprint)
        self._mode, self.positions = mode, checkpoint.positions
        return checkpoint

    async def _begin(self, mode: CheckpointMode, fingerprint: str) -> Checkpoint:
        if mode is CheckpointMode.OFF:
            return Checkpoint(job=self._job, epoch=self._authority.epoch)
        checkpoints = self._checkpoints()
        self._epoch = self._authority.epoch
        if not self._epoch:
            last = await checkpoints.load(self._job)
            self._epoch = last.epoch + 1 if last else 1
        self._fingerprint = fingerprint
        checkpoint = await self._fenced(lambda: checkpoints.claim(self._job, self._run_id, self._epoch, fingerprint))
        lanes = await self._lane_positions(checkpoints)
        # Each mode clears what the other one has left: where both are there, the other one wrote last.
        if mode is not CheckpointMode.TRANSACTIONAL:
            if lanes:
                await self.save(lanes)
            await self._fenced(lambda: checkpoints.drop_lanes(self._job))
            return replace(checkpoint, positions={**checkpoint.positions, **lanes})
        left = checkpoint.positions
        if left:
            place = checkpoints.place_lanes
            await self._fenced(lambda: place(self._job, left, self._run_id, self._epoch, self._fingerprint))
            await self.save(dict.fromkeys(left))
        positions = {**lanes, **left}
        if positions:
            # A transaction tells nobody where it stands: its history is made of the starts.
            await self._fenced(lambda: checkpoints.note(self._job, positions, self._run_id, self._epoch))
        return replace(checkpoint, positions=positions)

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """Merged into the job's checkpoint; raises StaleOwner when another run has claimed it."""
        checkpoints = self._checkpoints()
        async with self._saving:
            self._is_sure = False
            saved = await self._patiently(lambda: checkpoints.save(self._job, positions, self._run_id, self._epoch))
            self.positions, self._is_sure = saved.positions, True

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """Where these lanes stand; where a sink commits that, their own documents are written in this run's name."""
        if self._mode is CheckpointMode.TRANSACTIONAL:
            return await self._claim(lanes)
        async with self._saving:
            if not self._is_sure:
                checkpoints = self._checkpoints()
                found = await self._patiently(lambda: checkpoints.load(self._job))
                self.positions, self._is_sure = found.positions if found else {}, True
            return {each: LaneClaim(position=self.positions.get(each), revision=ABSENT) for each in lanes}

    async def release(self, lanes: Collection[Lane]) -> None:
        """Nothing to write: who claims a lane next supersedes this run by itself."""

    async def lookup(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """The lanes' documents as they stand now."""
        checkpoints = self._checkpoints()
        return await self._patiently(lambda: checkpoints.lookup(self._job, lanes))

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Into the dead-letter collection."""
        store = self._stores.dead_letters
        if store is None:
            message = f"job {self._job!r}: no dead-letter collection is configured; set [system] state, or dead_letters"
            raise StoreError(message)
        await self._patiently(lambda: store.bury(letters))

    async def _claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        checkpoints = self._checkpoints()
        return await self._patiently(
            lambda: checkpoints.claim_lanes(self._job, lanes, self._run_id, self._epoch, self._fingerprint)
        )

    async def _lane_positions(self, checkpoints: CheckpointStore) -> dict[Lane, Position]:
        """Where the lanes' own documents stand, claimed: a transaction of an older run can no longer commit."""
        lanes = await checkpoints.load_lanes(self._job)
        if not lanes:
            return {}
        claims = await self._claim(list(lanes))
        return {lane: claim.position for lane, claim in claims.items() if claim.position is not None}

    async def _fenced(self, work: Callable[[], Awaitable[T]]) -> T:
        """While this process owns the store; whoever meets a newer owner says so to all of its runs."""
        self._authority.require()
        try:
            return await work()
        except StaleOwner as error:
            if self._authority.epoch and await self._is_superseded():
                self._authority.forfeit(str(error))
            raise

    async def _is_superseded(self) -> bool:
        """By a newer owner, and not by another run of this one."""
        checkpoints = self._checkpoints()
        with suppress(StoreError):
            found = [await checkpoints.load(self._job), *(await checkpoints.load_lanes(self._job)).values()]
            return any(each is not None and each.epoch > self._epoch for each in found)
        return False

    def _checkpoints(self) -> CheckpointStore:
        if self._stores.checkpoints is None:
            message = f"job {self._job!r}: no checkpoint store is configured"
            raise StoreError(message)
        return self._stores.checkpoints

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        """Again and again while the store does not answer; every other error passes through."""
        waits = delays(base_ms=_BASE_MS, max_ms=_MAX_MS, random=self._random)
        while True:
            try:
                return await self._fenced(work)
            except StoreError as error:
                if not error.retryable:
                    raise
                seconds = next(waits)
                log.warning(
                    "store_retried", job=self._job, run=self._run_id, seconds=round(seconds, 3), error_code=error.code
                )
                await self._clock.sleep(seconds)


class MemberOwner:
    """Implements `ports.owner.Owner` for one of the members that a run has; all of them share the job's."""

    def __init__(self, job: JobOwner) -> None:
        self._job = job
        #: It has saved a newer position.
        self.moved = False

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """As the job's, but for lanes that another member has claimed since: that one says where they stand."""
        holders = self._job.holders
        own = {lane: position for lane, position in positions.items() if holders.get(lane, self) is self}
        if own:
            await self._job.save(own)
            self.moved = True

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """They are this member's, from before the answer: a late save of the last one must not come after it."""
        self._job.holders.update(dict.fromkeys(lanes, self))
        return await self._job.claim(lanes)

    async def release(self, lanes: Collection[Lane]) -> None:
        """They are nobody's, unless another member has them already."""
        for lane in lanes:
            if self._job.holders.get(lane) is self:
                del self._job.holders[lane]

    async def lookup(self, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """The lanes' documents as they stand now."""
        return await self._job.lookup(lanes)

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Into the dead-letter collection."""
        await self._job.bury(letters)
