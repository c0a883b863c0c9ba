"""Group records by count, bytes and linger time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

from mstream.domain.batch import Batch, concat
from mstream.domain.checkpoint import Lane
from mstream.domain.connector import BatchPolicy
from mstream.foundation.clock import Clock
from mstream.ports.roles import Limit, Source


class Batcher:
    """Reads batches of a source as the policy says; safe to cancel, as the source is."""

    def __init__(self, source: Source, policy: BatchPolicy | None, clock: Clock) -> None:
        self._source = source
        self._policy = policy
        self._clock = clock
        self._parts: list[Batch] = []
        self._began = 0.0
        self._ended = False
        #: How many batches have been given; the last of them may have no ticket yet.
        self.given = 0

    async def read(self) -> Batch | None:
        """The next batch; None: the stream has ended.

        A batch that is not full leaves `max_wait_ms` after its first record. Parts that were read before a cancellation
        are kept for the next call, see `rest`.
        """
        if self._policy is None:
            batch = await self._source.read(Limit())
            self.given += batch is not None
            return batch
        while not self._ended:
            count = sum(len(each) for each in self._parts)
            size = sum(each.size() for each in self._parts)
            room = self._policy.size - count
            space = (self._policy.bytes or 1 << 24) - size
            if room <= 0 or space <= 0:
                break
            wait = None
            if self._parts:
                wait = self._began + self._policy.max_wait_ms / 1000 - self._clock.monotonic()
                if wait <= 0:
                    break
            part = await self._part(Limit(records=room, bytes=max(1, space)), wait)
            if part is None:
                continue
            if not self._parts:
                self._began = self._clock.monotonic()
            self._parts.append(part)
            if not len(part) and len(self._parts) == 1:
                break
        return self.rest()

    def rest(self) -> Batch | None:
        """What has been read and not given yet; None: nothing."""
        parts, self._parts = self._parts, []
        self.given += bool(parts)
        return concat(parts) if parts else None

    def forget(self, lanes: Collection[Lane]) -> None:
        """What has been read of these lanes and not given yet will not be given."""
        gone = frozenset(lanes)
        kept = []
        for each in self._parts:
            part = each.without([n for n in range(len(each)) if each.lane_of(n) in gone])
            positions = {lane: at for lane, at in part.positions.items() if lane not in gone}
            if positions:
                kept.append(replace(part, positions=positions))
        self._parts = kept

    async def _part(self, limit: Limit, wait: float | None) -> Batch | None:
        try:
            async with asyncio.timeout(wait):
                part = await self._source.read(limit)
        except TimeoutError:
            return None
        if part is None:
            self._ended = True
        return part
