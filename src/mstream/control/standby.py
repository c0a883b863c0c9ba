"""Wait for a store's lease, judge whether its owner is gone, take it over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

from mstream.control.lease import MARGIN, Lease
from mstream.domain.lease import Identity, Tenure
from mstream.errors import RevisionConflict, StoreError, StoreOwned, StoreUnreachable
from mstream.foundation.backoff import delays
from mstream.foundation.clock import Clock
from mstream.foundation.concurrency import background, within
from mstream.foundation.locks import FileLock
from mstream.foundation.processes import Sighting, end_stopped, sighted
from mstream.observability.logs import get_logger
from mstream.ports.documents import ABSENT, Collection, Revision
from mstream.stores.leases import LeaseStore, StoredLease, new_revision

log = get_logger(__name__)

#: Seconds between two looks at an owner of this machine; at one of another at most, and at least.
_NEAR, _FAR, _NEAREST = 0.25, 1.0, 0.05
#: Seconds that a process of this machine must have been gone: its workers are killed with it, and have gone too.
_GONE = 1.5
#: Seconds after which a write counts as blocked by an owner that is stopped.
_BLOCKED = 2.0
#: Milliseconds between attempts while the store does not answer.
_BASE_MS, _MAX_MS = 100, 2_000

OnConflict = Literal["wait", "exit"]
HighestEpoch = Callable[[], Awaitable[int]]


async def acquire(
    system: Collection,
    identity: Identity,
    *,
    clock: Clock,
    lease_sec: float = 10,
    on_conflict: OnConflict = "wait",
    lock: FileLock | None = None,
    highest_epoch: HighestEpoch | None = None,
    random: Random | None = None,
) -> Lease:
    """Returns once the lease is ours; safe to cancel. `highest_epoch`: the highest that any stored document carries.

    Raises StoreOwned for a live owner when `on_conflict` is `exit`, DocumentDamaged, and what the store refuses;
    waits out a store that does not answer.
    """
    standby = Standby(
        LeaseStore(system, clock), identity, clock=clock, lease_sec=lease_sec, lock=lock, highest_epoch=highest_epoch
    )
    return await standby.acquire(on_conflict, random or Random())


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A lease as this process saw it, by its own clock alone: nobody else's can be trusted."""

    revision: Revision
    #: Monotonic seconds after the first look that showed this revision: it was written before.
    since: float
    sighting: Sighting
    #: Renewals that were seen since the first look.
    renewals: int = 0
    #: Monotonic seconds since when its process is known to be gone.
    gone_since: float | None = None


class Standby:
    """One instance that wants the lease."""

    def __init__(
        self,
        leases: LeaseStore,
        identity: Identity,
        *,
        clock: Clock,
        lease_sec: float,
        lock: FileLock | None = None,
        highest_epoch: HighestEpoch | None = None,
        kind: type[Lease] = Lease,
    ) -> None:
        self._kind = kind
        self._leases = leases
        self._identity = identity
        self._clock = clock
        self._lease_sec = lease_sec
        self._lock = lock
        self._highest_epoch = highest_epoch
        self._observed: Observed | None = None
        #: What the log has been told last.
        self._told: object = None

    async def acquire(self, on_conflict: OnConflict, random: Random) -> Lease:
        """Returns once it is ours."""
        waits = delays(base_ms=_BASE_MS, max_ms=_MAX_MS, random=random)
        try:
            while True:
                try:
                    lease = await self.attempt(on_conflict)
                except RevisionConflict:
                    continue  # somebody was quicker: look at what stands there now
                except StoreError as error:
                    if not error.retryable:
                        raise
                    self._tell(error.code, "lease_store_not_reached", error_code=error.code, error=str(error))
                    await self._clock.sleep(next(waits))
                    continue
                if lease is not None:
                    return lease
                await self._clock.sleep(self._pause())
        except BaseException:
            self._unlock()
            raise

    async def attempt(self, on_conflict: OnConflict = "wait") -> Lease | None:
        """One look, and the lease if it is to be had. Raises StoreOwned, RevisionConflict or another StoreError."""
        stored = await self._leases.look()
        has_lock = self._try_lock()
        if stored is None:
            return await self._take(None)
        self._observe(stored)
        if self.is_free(stored, has_lock=has_lock):
            return await self._take(stored)
        self._unlock()
        owner = stored.tenure.owner
        if on_conflict == "exit" and self._is_live():
            message = f"the store is owned by {owner}; end it first"
            raise StoreOwned(message)
        self._tell(stored.tenure.identity.instance, "lease_waited_for", owner=owner, on_conflict=on_conflict)
        return None

    def is_free(self, stored: StoredLease, *, has_lock: bool) -> bool:
        """Whether the owner has ended, or can no longer believe that it owns."""
        tenure, observed, now = stored.tenure, self._observed, self._clock.monotonic()
        if tenure.is_released or tenure.identity.instance == self._identity.instance:
            return True
        if has_lock and self._lock is not None and tenure.lock == self._lock.token:
            return True  # it held the lock as long as it or one of its workers lived
        if observed is None:
            return False
        if observed.gone_since is not None and now - observed.gone_since >= _GONE:
            return True
        return now - observed.since >= tenure.lease_sec * (1 + MARGIN)

    def _observe(self, stored: StoredLease) -> None:
        """After the answer has come: what was read was written before."""
        now, seen = self._clock.monotonic(), self._observed
        sighting = sighted(stored.tenure.identity.process, self._identity.process)
        gone_since = None if sighting is not Sighting.GONE else seen.gone_since if seen and seen.gone_since else now
        if seen is not None and seen.revision == stored.revision:
            self._observed = replace(seen, sighting=sighting, gone_since=gone_since)
        else:
            renewals = seen.renewals + 1 if seen else 0
            self._observed = Observed(
                revision=stored.revision, since=now, sighting=sighting, renewals=renewals, gone_since=gone_since
            )

    def _is_live(self) -> bool:
        """It runs beside us, or has renewed while we watched."""
        seen = self._observed
        return seen is not None and (seen.renewals > 0 or seen.sighting is Sighting.RUNNING)

    async def _take(self, stored: StoredLease | None) -> Lease:
        """In an epoch above everything that is stored; by compare-and-set, so that one of many gets it."""
        epoch = max(stored.tenure.epoch if stored else 0, await self._highest_epoch() if self._highest_epoch else 0) + 1
        lock = self._lock if self._lock is not None and self._lock.is_held else None
        tenure = Tenure(
            identity=self._identity, epoch=epoch, lease_sec=self._lease_sec, lock=lock.token if lock else ""
        )
        revision = new_revision()
        sent_at = self._clock.monotonic()
        work = self._leases.write(tenure, expect=stored.revision if stored else ABSENT, revision=revision)
        await self._past_a_stopped_owner(work, stored)
        previous = stored.tenure.owner if stored and not stored.tenure.is_released else None
        log.info("lease_acquired", epoch=epoch, previous=previous)
        taken = StoredLease(tenure=tenure, revision=revision)
        return self._kind(self._leases, taken, sent_at=sent_at, clock=self._clock, lock=lock)

    async def _past_a_stopped_owner(self, write: Coroutine[Any, Any, None], stored: StoredLease | None) -> None:
        """Write. An owner whose lease is over, and that was stopped inside a transaction, is ended if it blocks us.

        A server ends such a transaction by itself; where the store is a file, nobody else can.
        """
        seen = self._observed
        if stored is None or self._lock is None or seen is None or seen.sighting is not Sighting.STOPPED:
            await write
            return
        async with background(self._clock.sleep(_BLOCKED)) as deadline:
            if await within(deadline, write):
                return
        owner = stored.tenure
        if end_stopped(owner.identity.process, self._identity.process):
            log.warning("stopped_owner_ended", owner=owner.owner, advice="it held a lock of the store in its sleep")
        message = f"the lease cannot be written: {owner.owner} is stopped, and may hold a lock of the store"
        raise StoreUnreachable(message)

    def _try_lock(self) -> bool:
        if self._lock is None:
            return False
        try:
            return self._lock.acquire()
        except OSError as error:
            path = str(self._lock.path)
            self._tell(path, "lock_not_available", path=path, error_type=error.strerror or type(error).__name__)
            return False

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _pause(self) -> float:
        """Until the next look."""
        seen = self._observed
        near = self._lock is not None or (seen is not None and seen.sighting is not Sighting.ELSEWHERE)
        return _NEAR if near else max(_NEAREST, min(_FAR, self._lease_sec * MARGIN))

    def _tell(self, state: object, event: str, **fields: object) -> None:
        """Once per state."""
        if state != self._told:
            self._told = state
            log.warning(event, **fields)
