"""Lanes that come and go: stored positions out, settle or forget on the way in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Collection, Mapping
from math import inf

from mstream.domain.checkpoint import Lane, Position
from mstream.engine.batching import Batcher
from mstream.engine.checkpointing import Checkpointer, TransactionalCheckpoints
from mstream.engine.settlement import Settlement, Ticket
from mstream.ports.owner import Owner

#: Shares of a rebalance's time: what is on its way may be delivered, then saved, then the lanes are given up.
_TO_SETTLE, _TO_SAVE, _TO_RELEASE = 0.6, 0.25, 0.1


class LaneBook:
    """The `Lanes` of one run, and which of its records may still be delivered."""

    def __init__(
        self,
        *,
        settlement: Settlement,
        positions: Mapping[Lane, Position],
        owner: Owner,
        transactional: TransactionalCheckpoints | None,
        is_alone: bool = True,
    ) -> None:
        """`is_alone`: no other member of the job can have moved a lane since it was this run's."""
        self._settlement = settlement
        self._positions = dict(positions)
        self._owner = owner
        self._transactional = transactional
        self._is_alone = is_alone
        #: Records of the lane that were read up to this batch are forgotten; without end while it is another's.
        self._gone: dict[Lane, float] = {}
        self._settled = asyncio.Condition()
        self.checkpointer: Checkpointer | None = None
        #: What was read and has no ticket yet.
        self.batcher: Batcher | None = None

    def any_gone(self) -> bool:
        """Whether `is_gone` may be true for anything."""
        return bool(self._gone)

    def is_gone(self, sequence: int, lane: Lane) -> bool:
        """Whether records of this lane in that batch must not be written any more."""
        return sequence <= self._gone.get(lane, 0)

    def holds(self, sequence: int, lanes: Collection[Lane]) -> bool:
        """Whether none of these lanes has been given up since that batch was read."""
        return not any(self.is_gone(sequence, each) for each in lanes)

    def hold(self, ticket: Ticket) -> None:
        """Positions of lanes that were given up since this batch was read leave its ticket."""
        if self._gone:
            gone = [each for each in ticket.positions if self.is_gone(ticket.sequence, each)]
            for each in gone:
                del ticket.positions[each]

    async def settled(self) -> None:
        """A batch has settled; those who wait for lanes look again."""
        async with self._settled:
            self._settled.notify_all()

    async def until_safe(self, ticket: Ticket) -> None:
        """Returns once this batch and every earlier one have settled."""
        async with self._settled:
            await self._settled.wait_for(lambda: self._settlement.is_safe(ticket))

    async def assigned(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        """Claims new lanes for this run; answers their newest stored positions."""
        known = await self._stored(lanes)
        for lane in lanes:
            if lane in self._gone:
                # What was read of it before may still be on its way.
                self._gone[lane] = self.batcher.given if self.batcher else 0
        if self.checkpointer is not None:
            self.checkpointer.regain({lane: known.get(lane) for lane in lanes})
        return {lane: known[lane] for lane in lanes if lane in known}

    async def _stored(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        if self._transactional is not None:
            return await self._transactional.claim(lanes)
        if self._is_alone:
            return self.checkpointer.saved if self.checkpointer else self._positions
        claims = await self._owner.claim(lanes)
        return {lane: claim.position for lane, claim in claims.items() if claim.position is not None}

    async def revoked(self, lanes: Collection[Lane], deadline: float) -> Mapping[Lane, Position]:
        """Settles or forgets what is in flight from them, saves, answers what was saved."""
        try:
            await _at_most(deadline * _TO_SETTLE, self._all_settled(lanes))
        finally:
            # Also where who asked has given up: they are another's then.
            self._forget(lanes)
        saved: Mapping[Lane, Position] = {}
        if self.checkpointer is not None:
            if self._transactional is None:
                await _at_most(deadline * _TO_SAVE, self.checkpointer.save_for(lanes))
            self.checkpointer.forget(lanes)
            saved = self.checkpointer.saved
        await _at_most(deadline * _TO_RELEASE, self._release(lanes))
        return {lane: saved[lane] for lane in lanes if lane in saved}

    async def lost(self, lanes: Collection[Lane]) -> None:
        """Forgets them at once; saves nothing."""
        self._forget(lanes)
        if self.checkpointer is not None:
            self.checkpointer.forget(lanes)
        await self._release(lanes)

    async def _all_settled(self, lanes: Collection[Lane]) -> None:
        async with self._settled:
            await self._settled.wait_for(lambda: not self._settlement.is_open(lanes))

    async def _release(self, lanes: Collection[Lane]) -> None:
        if self._transactional is not None:
            await self._transactional.release(lanes)
        else:
            await self._owner.release(lanes)

    def _forget(self, lanes: Collection[Lane]) -> None:
        """Wherever they are: in the batcher, between it and the flow, on their way to a sink."""
        for lane in lanes:
            self._gone[lane] = inf
        self._settlement.forget(lanes)
        if self.batcher is not None:
            self.batcher.forget(lanes)


async def _at_most(seconds: float, work: Awaitable[None]) -> None:
    """Wait for it no longer than this."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work
