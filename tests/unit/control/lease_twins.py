"""Leases that are each wrong in one way; the tests must catch every one."""

from __future__ import annotations

from datetime import datetime

from mstream.control.lease import Lease
from mstream.control.standby import Standby
from mstream.stores.leases import LeaseStore, StoredLease


class CountsFromTheAnswer(Lease):
    """Believes that a renewal holds from when its answer came."""

    def renewed(self, sent_at: float) -> None:
        super().renewed(self._clock.monotonic())


class TrustsTheWallClock(Standby):
    """Compares the owner's time with its own."""

    def is_free(self, stored: StoredLease, *, has_lock: bool) -> bool:
        renewed_at = datetime.fromisoformat(stored.tenure.renewed_at)
        return (self._clock.now() - renewed_at).total_seconds() > stored.tenure.lease_sec


class CountsFromTheFirstLook(Standby):
    """Does not begin anew when the owner has renewed."""

    def is_free(self, stored: StoredLease, *, has_lock: bool) -> bool:
        self._first = getattr(self, "_first", self._clock.monotonic())
        return self._clock.monotonic() - self._first > stored.tenure.lease_sec * 1.1


class Overwrites(LeaseStore):
    """Writes without asking what stands there."""

    async def write(self, tenure: object, *, expect: str = "", revision: str) -> None:
        stored = await self.look()
        await super().write(tenure, expect=stored.revision if stored else "", revision=revision)  # type: ignore[arg-type]  # as it is
