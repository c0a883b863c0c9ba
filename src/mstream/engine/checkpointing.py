"""Have positions saved by interval and on drain, then acknowledge the source."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any

from mstream.domain.checkpoint import Checkpoint, Lane, Position, lane_key, to_document
from mstream.domain.run import CheckpointMode, RunSpec
from mstream.engine.attempts import Retry, persistently
from mstream.engine.meter import Meter
from mstream.errors import MstreamError, NotYetSafe, OutcomeUnknown, StaleCheckpoint
from mstream.foundation.clock import Clock, timestamp
from mstream.foundation.concurrency import any_set, first_of, settling
from mstream.observability.logs import get_logger
from mstream.ports.checkpoints import CheckpointEntry, PendingCheckpoint
from mstream.ports.documents import ABSENT
from mstream.ports.owner import LaneClaim, Owner
from mstream.ports.roles import Flushed, Sink, Source, TransactionHandle

log = get_logger(__name__)

#: Seconds before a run's first save; the wait doubles up to the interval. A run that is killed early and often
#: would otherwise never move.
_FIRST = 0.05


class Checkpointer:
    """Keeps the newest safe positions and has them saved: flush the sinks, save, acknowledge; in this order."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        source: Source,
        sinks: Sequence[Sink],
        owner: Owner,
        meter: Meter,
        clock: Clock,
        retry: Callable[[str], Retry],
    ) -> None:
        policy = spec.connector.checkpoint
        self._interval = (policy.interval_ms if policy else 1000) / 1000
        self._mode = spec.checkpoint
        self._source = source
        self._flushes = [_Flush(each, retry) for each in sinks if isinstance(each, Flushed)]
        self._owner = owner
        self._meter = meter
        self._clock = clock
        self._retry = retry
        self._safe: dict[Lane, Position | None] = {}
        #: On their way to the owner.
        self._leaving: dict[Lane, Position | None] = {}
        self._unacked: dict[Lane, Position | None] = {}
        #: Given up: whoever took them from this run acknowledges them.
        self._strangers: set[Lane] = set()
        self._saving = asyncio.Lock()
        self._acking = asyncio.Lock()
        #: Somebody waits for the next save.
        self._hurry = asyncio.Event()
        #: There is something to acknowledge.
        self._news = asyncio.Event()
        #: Saves that have begun, and the newest of them that has gone well.
        self._begun = self._done = 0
        self._kept = asyncio.Condition()
        #: Begins a piece of work beside the saves by interval; None while there are none.
        self._begin: Callable[[Coroutine[Any, Any, None]], None] | None = None
        #: Everything that was saved by this run or before it.
        self.saved: dict[Lane, Position] = dict(spec.positions)

    def advance(self, positions: Mapping[Lane, Position | None]) -> None:
        """These have become safe."""
        self._safe.update(positions)

    def drop(self, positions: Mapping[Lane, Position | None]) -> None:
        """These need no save of their own any more: a transaction has carried them."""
        for lane, position in positions.items():
            if lane in self._safe and self._safe[lane] == position:
                del self._safe[lane]

    def forget(self, lanes: Collection[Lane]) -> None:
        """These are another's now: what is not saved or acknowledged yet of them will not be."""
        self._strangers.update(lanes)
        for lane in lanes:
            for positions in (self._safe, self._leaving, self._unacked):
                positions.pop(lane, None)

    def regain(self, lanes: Mapping[Lane, Position | None]) -> None:
        """These are this run's again, and stand here."""
        self._strangers.difference_update(lanes)
        self._note(lanes)

    async def save_now(self) -> None:
        """Returns once everything that is safe now is saved and acknowledged."""
        await self._save()
        await self._acknowledge()

    async def kept(self) -> None:
        """Returns once everything that is safe now is saved; who stops waiting for it stops no save."""
        wanted = self._begun + 1
        self._hurry.set()
        async with self._kept:
            await self._kept.wait_for(lambda: self._done >= wanted)

    async def save_for(self, lanes: Collection[Lane]) -> None:
        """Returns once everything that is safe now is saved; these lanes are the caller's to acknowledge.

        Who stops waiting for it stops nothing: a flush that is cut short would make everything unsafe.
        """
        self._strangers.update(lanes)
        if self._begin is None:
            async with self._saving:  # there is nothing to save yet, or the last save is under way
                return
        ended = asyncio.Event()
        self._begin(self._saved(ended))
        await ended.wait()

    def committed(self, positions: Mapping[Lane, Position | None]) -> None:
        """A sink has committed these together with its records; they are acknowledged with the next save.

        The source may be waiting for what comes behind them.
        """
        self._note(positions)
        self._meter.checkpoints_saved += 1
        self._unacked.update(positions)

    async def run(self, done: asyncio.Event) -> None:
        """Save every interval until `done`; the last save is the caller's."""
        wait = min(_FIRST, self._interval)
        try:
            async with settling() as self._begin:
                while not done.is_set():
                    await first_of(self._clock.sleep(wait), done, self._hurry)
                    self._hurry.clear()
                    if not done.is_set():
                        await self._save()
                        self._news.set()
                    wait = min(wait * 2, self._interval)
        finally:
            self._begin = None

    async def acknowledge(self, done: asyncio.Event) -> None:
        """Tell the source of every save until `done`; a source that is away keeps no save waiting."""
        while not done.is_set():
            await any_set(done, self._news)
            self._news.clear()
            if not done.is_set():
                await self._acknowledge()

    async def _saved(self, ended: asyncio.Event) -> None:
        """Acknowledgements come with the next save: the source's own thread may be waiting for this one.

        So does an error that lasts.
        """
        try:
            await self._save()
        except MstreamError as error:
            log.warning("lanes_not_saved", error_code=error.code, error=str(error))
        finally:
            ended.set()

    async def _save(self) -> None:
        async with self._saving:
            self._begun += 1
            self._leaving, self._safe = self._safe, {}
            try:
                if self._leaving:
                    for each in self._flushes:
                        await each.flush()
                await self._store()
            finally:
                self._safe = {**self._leaving, **self._safe}
                self._leaving = {}
            self._done = self._begun
        async with self._kept:
            self._kept.notify_all()

    async def _store(self) -> None:
        # Lanes that were given up during the flush are not among them any more.
        positions = dict(self._leaving)
        if not positions:
            return
        if self._mode in {CheckpointMode.SAVED, CheckpointMode.IN_SOURCE}:
            await self._owner.save(positions)
            self._meter.checkpoints_saved += 1
        self._note(positions)
        self._unacked.update(self._leaving)
        self._leaving = {}

    async def _acknowledge(self) -> None:
        """One after the other, the newest of each lane: a late attempt must not take the source back."""
        if not self._unacked:
            return
        async with self._acking:
            await persistently(self._attempt_to_acknowledge, lambda: self._retry("source"))

    async def _attempt_to_acknowledge(self) -> None:
        positions = {lane: at for lane, at in self._unacked.items() if lane not in self._strangers}
        self._unacked = dict(positions)
        if positions:
            await self._source.ack(positions)
        for lane, position in positions.items():
            if lane in self._unacked and self._unacked[lane] == position:
                del self._unacked[lane]

    def _note(self, positions: Mapping[Lane, Position | None]) -> None:
        for lane, position in positions.items():
            if position is None:
                self.saved.pop(lane, None)
            else:
                self.saved[lane] = position


class _Flush:
    """One sink's flushes; after one that may have lost something there is no other."""

    def __init__(self, sink: Flushed, retry: Callable[[str], Retry]) -> None:
        self._sink = sink
        self._retry = retry
        #: Why nothing may be saved any more.
        self._unsafe: Exception | None = None

    async def flush(self) -> None:
        """Returns once what was written is safe; only NotYetSafe is tried again."""
        if self._unsafe is not None:
            raise self._unsafe
        await persistently(self._attempt, lambda: self._retry("flush"), only=NotYetSafe)

    async def _attempt(self) -> None:
        # Until it has returned: cut short, it may fail unseen in a thread, and the next one would not say so.
        self._unsafe = OutcomeUnknown("a flush was cut short; whether what was written is safe is not known")
        try:
            await self._sink.flush()
        except NotYetSafe:
            self._unsafe = None
            raise
        except Exception as error:
            self._unsafe = error
            raise
        self._unsafe = None


class TransactionalCheckpoints:
    """The checkpoint of a run whose sink commits it: one document per lane, each with its revision."""

    #: What a transaction has carried needs no other save.
    spares_saves = True

    def __init__(self, spec: RunSpec, *, owner: Owner, clock: Clock) -> None:
        self._spec = spec
        self._owner = owner
        self._clock = clock
        self._claims: dict[Lane, LaneClaim] = {}

    async def claim(self, lanes: Collection[Lane]) -> Mapping[Lane, Position]:
        """Make these lanes this run's; answers their stored positions."""
        new = [each for each in lanes if each not in self._claims]
        if new:
            self._claims.update(await self._owner.claim(new))
        return {lane: self._claims[lane].position for lane in lanes if self._claims[lane].position is not None}

    async def release(self, lanes: Collection[Lane]) -> None:
        """Give them up."""
        for lane in lanes:
            self._claims.pop(lane, None)
        await self._owner.release(lanes)

    async def save(self, positions: Mapping[Lane, Position | None]) -> None:
        """Through the owner, outside of any transaction."""
        await self._owner.save(positions)

    async def prepare(
        self, positions: Mapping[Lane, Position | None], source_handle: object = None
    ) -> PendingCheckpoint:
        """What a transaction must carry; lanes that are not claimed yet are claimed first."""
        new = [each for each in positions if each not in self._claims]
        for lane, position in (await self.claim(new)).items():
            if position != self._spec.positions.get(lane):
                message = f"job {self._spec.job!r}: another run has moved lane {lane!r} since this one began"
                raise StaleCheckpoint(message)
        entries = [self._entry(lane, position) for lane, position in positions.items()]
        return PendingCheckpoint(positions=dict(positions), entries=entries, source_handle=source_handle)

    def committed(self, pending: PendingCheckpoint) -> None:
        """The transaction that carried it has happened: the next one expects its revisions."""
        for (lane, position), entry in zip(pending.positions.items(), pending.entries, strict=True):
            claim = self._claims.get(lane)
            if claim is None:
                continue  # given up while the transaction was under way
            self._claims[lane] = LaneClaim(position=position, revision=entry.revision, sequence=claim.sequence + 1)

    async def has_happened(self, pending: PendingCheckpoint, held: Collection[Lane]) -> bool:
        """Ask the store whether a transaction whose answer was lost has happened.

        One lane tells it, as all of them commit together; another may have a new owner already. Its revisions are of
        this transaction alone, so that a lane tells it by them also when it is not `held` any more.
        """
        if not pending.entries:
            return True
        stored = await self._owner.lookup(list(pending.positions))
        lanes = zip(pending.positions, pending.entries, strict=True)
        return any(lane in stored and stored[lane].revision == entry.revision for lane, entry in lanes)

    def again(self, pending: PendingCheckpoint) -> PendingCheckpoint | None:
        """What the next attempt carries: the same, so that one whose answer was lost is recognised."""
        return pending

    def _entry(self, lane: Lane, position: Position | None) -> CheckpointEntry:
        spec, claim = self._spec, self._claims[lane]
        checkpoint = Checkpoint(
            job=lane_key(spec.job, lane),
            positions={} if position is None else {lane: position},
            fingerprint=spec.fingerprint,
            epoch=spec.epoch,
            sequence=claim.sequence + 1,
            run_id=spec.run_id,
            saved_at=timestamp(self._clock.now()),
        )
        return CheckpointEntry(
            resource=spec.checkpoint_resource,
            database=spec.checkpoint_database,
            key_field="job_name",
            key=lane_key(spec.job, lane),
            document=to_document(checkpoint),
            expect=claim.revision or ABSENT,
            revision=secrets.token_hex(16),
        )


class CheckpointsInSource:
    """The checkpoint of a run whose sink commits it in the source's own system; the owner saves copies by interval."""

    spares_saves = False

    def __init__(self, source: TransactionHandle) -> None:
        self._source = source

    async def prepare(
        self, positions: Mapping[Lane, Position | None], source_handle: object = None
    ) -> PendingCheckpoint:
        """What a transaction must carry."""
        return PendingCheckpoint(positions=dict(positions), entries=(), source_handle=source_handle)

    def again(self, pending: PendingCheckpoint) -> PendingCheckpoint | None:
        """None: who is in the source's group, and in which of its generations, is asked for anew."""

    def committed(self, pending: PendingCheckpoint) -> None:
        """The copy is saved with the next interval."""

    async def has_happened(self, pending: PendingCheckpoint, held: Collection[Lane]) -> bool:
        """Ask the source's system; such a source gives no position that stands there already.

        Of lanes that are `held`: whoever has one by now may have come just as far.
        """
        return bool(held) and await self._source.has_committed({lane: pending.positions[lane] for lane in held})
