"""Lease: that this process alone owns a store, for how long, and since which epoch; an `Authority`.

To wire it, after the stores are open and before anything is written:

    lease = await acquire(system_collection, identity, clock=clock, lease_sec=…, on_conflict=…, lock=…, highest_epoch=…)
    await stack.enter_async_context(kept(lease))            # renews beside the body, releases after it
    runtime = ProcessRuntime(…, lease=lease.remaining, inherited=lease.inherited)

What comes later on the stack (runtime, manager) has ended before the lease is released. Once `lease.lost` is set
every run must be aborted; the owner may then `acquire` again with the same identity, which needs no waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf
from typing import Any

from mstream.control.authority import SoleOwner
from mstream.domain.lease import Tenure
from mstream.errors import MstreamError, RevisionConflict, StaleOwner
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import background, first_of, shielded, within
from mstream.foundation.locks import FileLock
from mstream.observability.logs import get_logger
from mstream.ports.documents import Collection
from mstream.stores.leases import LeaseStore, StoredLease, new_revision

log = get_logger(__name__)

#: The part of a lease that its owner does not use, and that an observer waits beyond it.
MARGIN = 0.1
#: Renewals in the time of a lease, and attempts in that time while the store does not answer.
_RENEWALS, _ATTEMPTS = 3, 20
#: Seconds that a release may take; after them the next owner has to wait for the lease's end.
_LAST_WORD = 5.0


class Lease:
    """Held from before its last renewal was sent for `lease_sec`, less a margin, by our own clock."""

    def __init__(
        self,
        store: LeaseStore,
        stored: StoredLease,
        *,
        sent_at: float,
        clock: Clock,
        lock: FileLock | None = None,
    ) -> None:
        """`sent_at`: monotonic seconds at which the write was begun that made it ours."""
        self._store = store
        self._tenure = stored.tenure
        self._revision = stored.revision
        self._clock = clock
        self._lock = lock
        self._ends_at = 0.0
        self._doubted = asyncio.Event()
        #: The last attempt has failed, and the log was told so.
        self._is_troubled = False
        #: It is over for good; every run of this process must end.
        self.lost = asyncio.Event()
        #: Why it was lost.
        self.reason: str | None = None
        self.renewed(sent_at)

    @property
    def epoch(self) -> int:
        """Higher than that of every owner before."""
        return self._tenure.epoch

    @property
    def tenure(self) -> Tenure:
        """What the document says."""
        return self._tenure

    @property
    def inherited(self) -> tuple[int, ...]:
        """Descriptors that worker processes must hold: the store is not free while one of them lives."""
        fd = self._lock.fd if self._lock else None
        return () if fd is None else (fd,)

    @property
    def is_valid(self) -> bool:
        """Nobody else can own the store at this moment."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """Seconds for which nobody else can own the store; 0: perhaps somebody does."""
        return 0.0 if self.lost.is_set() else max(0.0, self._ends_at - self._clock.monotonic())

    def require(self) -> None:
        """Ask before every command and every write. Raises StaleOwner once the lease is over."""
        if not self.is_valid:
            self.lose("it was not renewed in time")
            message = f"this instance does not own the store any more: {self.reason}"
            raise StaleOwner(message)

    def doubt(self) -> None:
        """A write met a newer owner: look at once whether the lease is still ours."""
        self._doubted.set()

    def forfeit(self, reason: str) -> None:
        """A document of a newer owner was met: nothing more may be written by this process."""
        self.lose(reason)

    def lose(self, reason: str) -> None:
        """Over, for this reason; the first one counts."""
        if not self.lost.is_set():
            self.reason = reason
            self.lost.set()
            log.error("lease_lost", reason=reason, epoch=self.epoch)

    def renewed(self, sent_at: float) -> None:
        """A write that was begun then has come through."""
        self._ends_at = sent_at + self._tenure.lease_sec * (1 - MARGIN)

    async def renewing(self) -> None:
        """Renew until the lease is lost; cancel it to end."""
        try:
            wait = self._tenure.lease_sec / _RENEWALS
            while not self.lost.is_set():
                await first_of(self._clock.sleep(min(wait, self.remaining())), self._doubted, self.lost)
                self._doubted.clear()
                if not self.lost.is_set():
                    wait = self._tenure.lease_sec / (_RENEWALS if await self._renew() else _ATTEMPTS)
        except Exception as error:
            self.lose(f"its renewal has failed: {type(error).__name__}")
            raise

    async def release(self) -> None:
        """Give it back, so that nobody has to wait for its end; call it when no run is left."""
        if self._lock is not None:
            self._lock.release()
        self.lost.set()
        try:
            await self._limited(_LAST_WORD, self._release())
        except MstreamError as error:
            log.warning("lease_not_released", error_code=error.code, error=str(error))

    async def _renew(self) -> bool:
        """One attempt; False: try again soon."""
        sent_at = self._clock.monotonic()
        left = self._ends_at - sent_at
        if left <= 0:
            self.lose("it was not renewed in time")
            return False
        revision = new_revision()
        write = self._store.write(self._tenure, expect=self._revision, revision=revision)
        try:
            if not await self._limited(min(left, self._tenure.lease_sec / _RENEWALS), write):
                return False
        except RevisionConflict:
            return await self._look()
        except MstreamError as error:
            tell = log.debug if self._is_troubled else log.warning
            tell("lease_not_renewed", error_code=error.code, error=str(error), seconds=round(left, 1))
            self._is_troubled = True
            return False
        self._revision = revision
        self._is_troubled = False
        self.renewed(sent_at)
        return True

    async def _look(self) -> bool:
        """Another revision stands there: a renewal of ours whose answer was lost, or another owner's."""
        try:
            stored = await self._store.look()
        except MstreamError:
            return False
        if stored is None:
            self.lose("its document was deleted")
        elif (owner := stored.tenure).epoch != self.epoch or owner.identity.instance != self._tenure.identity.instance:
            self.lose(f"{owner.owner} has taken it over")
        else:
            self._revision = stored.revision
            self._doubted.set()  # renew at once: what came through then must not count from now
        return False

    async def _release(self) -> None:
        while (stored := await self._store.look()) is not None:
            now = stored.tenure
            if now.epoch != self.epoch or now.identity.instance != self._tenure.identity.instance or now.is_released:
                return
            try:
                released = replace(now, is_released=True, lock="")
                await self._store.write(released, expect=stored.revision, revision=new_revision())
            except RevisionConflict:
                continue

    async def _limited(self, seconds: float, work: Coroutine[Any, Any, None]) -> bool:
        """False: it did not end in time; it may still happen."""
        async with background(self._clock.sleep(seconds)) as deadline:
            return await within(deadline, work)


class NoLease(SoleOwner):
    """Nothing is stored, so nobody else can own it; each run takes the epoch after its job's last one."""

    is_valid = True
    inherited: tuple[int, ...] = ()

    def __init__(self) -> None:
        #: Never set.
        self.lost = asyncio.Event()
        self.reason: str | None = None

    def remaining(self) -> float:
        """For ever."""
        return inf

    def doubt(self) -> None:
        """Nobody else is there."""


Ownership = Lease | NoLease


@asynccontextmanager
async def kept(lease: Ownership) -> AsyncIterator[Ownership]:
    """Renewed while the body runs, released after it, however it ends."""
    if isinstance(lease, NoLease):
        yield lease
        return
    try:
        async with background(lease.renewing()):
            yield lease
    finally:
        await shielded(lease.release())


async def present_owner(system: Collection, clock: Clock) -> Tenure | None:
    """Who owns the store now, as far as its document says; None: nobody. Only reads."""
    stored = await LeaseStore(system, clock).look()
    return None if stored is None or stored.tenure.is_released else stored.tenure
