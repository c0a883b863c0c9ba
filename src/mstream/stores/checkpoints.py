"""CheckpointStore: where every job stands and stood, and every lane that a transaction writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from mstream.domain.audit import Actor
from mstream.domain.checkpoint import (
    Begin,
    Checkpoint,
    Lane,
    Position,
    Waypoint,
    job_key,
    job_of,
    lane_key,
    merged,
    passed,
    waypoint,
)
from mstream.domain.plan import Damaged
from mstream.domain.reset import Target, placed
from mstream.errors import DocumentDamaged, PositionOfAnotherSource, StaleOwner
from mstream.foundation.clock import Clock
from mstream.ports import documents
from mstream.ports.owner import LaneClaim
from mstream.stores.checkpoint_documents import is_of_v047, read
from mstream.stores.checkpoint_order import Change, OrderedDocuments, refuse_stale

#: Seconds of running between two waypoints.
_BETWEEN: Final = 60.0


class CheckpointStore:
    """Checkpoints over any collection; only the owner of the jobs writes them.

    Whatever is written has a higher (epoch, sequence) than what stood there, or is not written. Every method raises
    DocumentDamaged for a document that cannot be used, and no error is ever taken for an empty answer.
    """

    def __init__(self, collection: documents.Collection, clock: Clock) -> None:
        self._documents = OrderedDocuments(collection, clock)
        self._clock = clock
        #: When the last waypoint of each job was kept, by the monotonic clock.
        self._kept: dict[str, float] = {}

    async def load(self, job: str) -> Checkpoint | None:
        """The job's checkpoint; None: it has none."""
        found = await self._documents.find(job, job_key(job))
        return found.checkpoint if found.exists else None

    async def claim(self, job: str, run_id: str, epoch: int, fingerprint: str) -> Checkpoint:
        """Make the job's checkpoint this run's, at the positions that it has.

        Raises StaleOwner when a newer owner has it, PositionOfAnotherSource when the positions are another source's.
        """
        change = _then_kept(_claim(run_id, fingerprint))
        checkpoint, _ = await self._documents.write(job, job_key(job), epoch, change)
        self._kept[job] = self._clock.monotonic()
        return await self._without_old_lanes(checkpoint) if checkpoint.voids_lanes else checkpoint

    async def save(self, job: str, positions: Mapping[Lane, Position | None], run_id: str, epoch: int) -> Checkpoint:
        """Put these positions over the stored ones; None ends a lane.

        Raises StaleOwner when a newer owner, or another run of this one, has claimed the job meanwhile.
        """
        now = self._clock.monotonic()
        is_due = now - self._kept.get(job, now - _BETWEEN) >= _BETWEEN
        # What is remembered of this write must not change with what the caller does to its own.
        change = _move(run_id, deepcopy(dict(positions)))
        checkpoint, _ = await self._documents.write(job, job_key(job), epoch, _then_kept(change) if is_due else change)
        if is_due:
            self._kept[job] = now
        return checkpoint

    async def note(self, job: str, positions: Mapping[Lane, Position], run_id: str, epoch: int) -> None:
        """Keep in the history where a job stands whose lanes have documents of their own. Raises as `save`."""

        def noted(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
            _refuse_unclaimed(stored, following, run_id)
            return replace(following, history=passed(following.history, waypoint(following, positions=positions)))

        await self._documents.write(job, job_key(job), epoch, noted)

    async def claim_lanes(
        self, job: str, lanes: Collection[Lane], run_id: str, epoch: int, fingerprint: str
    ) -> Mapping[Lane, LaneClaim]:
        """Write each lane's own document in this run's name; answers where it stands. Raises as `claim`."""
        refuse_stale((await self._documents.find(job, job_key(job))).checkpoint, epoch)
        claims: dict[Lane, LaneClaim] = {}
        for lane in lanes:
            change = _claim(run_id, fingerprint)
            claimed, revision = await self._documents.write(job, lane_key(job, lane), epoch, change)
            claims[lane] = LaneClaim(position=claimed.positions.get(lane), revision=revision, sequence=claimed.sequence)
        return claims

    async def place_lanes(
        self, job: str, positions: Mapping[Lane, Position], run_id: str, epoch: int, fingerprint: str
    ) -> None:
        """Put these positions into the lanes' own documents, in this run's name."""
        for lane, position in positions.items():
            change = _put({lane: position}, fingerprint, run_id)
            await self._documents.write(job, lane_key(job, lane), epoch, change)

    async def drop_lanes(self, job: str) -> None:
        """Forget the lanes' own documents: the job's document has their positions."""
        for each in await self._documents.lanes(job):
            await self._documents.remove(each.key, expect=each.revision)

    async def lookup(self, job: str, lanes: Collection[Lane]) -> Mapping[Lane, LaneClaim]:
        """The lanes' documents as they stand now; a lane without one is left out."""
        claims: dict[Lane, LaneClaim] = {}
        for lane in lanes:
            found = await self._documents.find(job, lane_key(job, lane))
            if found.exists:
                at = found.checkpoint
                claims[lane] = LaneClaim(position=at.positions.get(lane), revision=found.revision, sequence=at.sequence)
        return claims

    async def load_lanes(self, job: str) -> Mapping[Lane, Checkpoint]:
        """Every lane that has a document of its own, ended ones included."""
        prefix = lane_key(job, "")
        return {each.key.removeprefix(prefix): read(job, each.document) for each in await self._documents.lanes(job)}

    async def everything(self) -> tuple[list[Checkpoint], list[Damaged]]:
        """Every job's checkpoint by name, with what its lanes' own documents say, and those that cannot be used."""
        found: dict[str, Checkpoint] = {}
        lanes: dict[str, list[documents.Stored]] = {}
        damaged: dict[str, Damaged] = {}
        async for each in self._documents.scan():
            job, is_lane = _whose(each)
            if is_lane:
                lanes.setdefault(job, []).append(each)
                continue
            if job in found and is_of_v047(each.document):
                continue
            try:
                found[job] = read(job, each.document)
            except DocumentDamaged as error:
                damaged[job] = Damaged(name=job, reason=str(error))
        for job, own in lanes.items():
            if job in found:
                try:
                    found[job] = _with(found[job], own)
                except DocumentDamaged as error:
                    damaged[job] = Damaged(name=job, reason=str(error))
        return [each for name, each in found.items() if name not in damaged], list(damaged.values())

    async def history(self, job: str) -> list[Waypoint]:
        """Where the job stands, and where it stood before, the newest first; nothing is written.

        Standing still is one place, with the number of the first moment there.
        """
        found = await self._documents.find(job, job_key(job))
        if not found.exists:
            return []
        before = list(reversed(found.checkpoint.history))
        now = waypoint(_with(found.checkpoint, await self._documents.lanes(job)))
        return before if before and before[0].is_same_place(now) else [now, *before]

    async def reset(self, job: str, to: Target, *, epoch: int | None, by: Actor, reason: str = "") -> Checkpoint:
        """Put the job there; it must not run. Where it stood before stays in the history.

        `epoch`: None where nobody else can own the store: the one that stands there stays. Raises StaleOwner when a
        newer owner has the job, NotFound when there is no such entry. A damaged document is replaced.
        """
        if epoch is None:
            epoch = (await self._documents.find(job, job_key(job), mends=True)).checkpoint.epoch
        lanes = await self._documents.lanes(job)

        def put(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
            stood = _with(stored, lanes, mends=True)
            return replace(placed(to, stood, following, by=by, reason=reason), voids_lanes=bool(lanes))

        checkpoint, _ = await self._documents.write(job, job_key(job), epoch, put, mends=True)
        self._kept.pop(job, None)
        return await self._without_old_lanes(checkpoint) if lanes else checkpoint

    async def forget(self, job: str, *, epoch: int | None) -> None:
        """Remove all that is known of a job that is removed itself.

        `epoch`: None where nobody else can own the store. Raises StaleOwner when a newer owner has the job.
        """
        for each in await self._documents.lanes(job):
            await self._documents.discard(job, each.key, epoch)
        await self._documents.discard(job, job_key(job), epoch)
        self._kept.pop(job, None)

    async def _without_old_lanes(self, checkpoint: Checkpoint) -> Checkpoint:
        """Empty the lanes' own documents, then say so; what is cut off here is done again by the next claim.

        They stay, so that an older run, wherever it was frozen, finds a newer claim in its way.
        """
        job, epoch = checkpoint.job, checkpoint.epoch
        for each in await self._documents.lanes(job):
            await self._documents.write(job, each.key, epoch, _put({}, "", checkpoint.run_id), mends=True)

        def done(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
            _refuse_unclaimed(stored, following, checkpoint.run_id)
            return replace(following, voids_lanes=False)

        emptied, _ = await self._documents.write(job, job_key(job), epoch, done)
        return emptied


def _whose(stored: documents.Stored) -> tuple[str, bool]:
    """The job of a document, and whether it is one of its lanes'."""
    job = stored.key if is_of_v047(stored.document) else job_of(stored.key)
    return (job, False) if job is not None else (unquote(stored.key.partition("/")[0]), True)


def _with(checkpoint: Checkpoint, lanes: Iterable[documents.Stored], *, mends: bool = False) -> Checkpoint:
    """Also what the lanes' own documents say; `mends`: without the damaged ones."""
    if checkpoint.voids_lanes:
        return checkpoint
    positions = dict(checkpoint.positions)
    for each in lanes:
        try:
            positions.update(read(checkpoint.job, each.document).positions)
        except DocumentDamaged:
            if not mends:
                raise
    return replace(checkpoint, positions=positions)


def _claim(run_id: str, fingerprint: str) -> Change:
    def claimed(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
        # Without a fingerprint the positions are v0.47's, or were given by hand: they are the first source's.
        if stored.positions and stored.fingerprint not in {"", fingerprint}:
            message = (
                f"job {stored.job!r}: its stored position belongs to another source than the one that it reads now;"
                f" to begin anew: mstream checkpoints reset {stored.job}"
            )
            raise PositionOfAnotherSource(message)
        return replace(following, fingerprint=fingerprint, run_id=run_id)

    return claimed


def _move(run_id: str, positions: Mapping[Lane, Position | None]) -> Change:
    def moved(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
        _refuse_unclaimed(stored, following, run_id)
        both = merged(stored.positions, positions)
        return replace(following, positions=both, begin=Begin.CONFIGURED if both else stored.begin)

    return moved


def _put(positions: Mapping[Lane, Position], fingerprint: str, run_id: str) -> Change:
    def put(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
        return replace(following, positions=positions, fingerprint=fingerprint, run_id=run_id)

    return put


def _then_kept(change: Change) -> Change:
    """The change, and its result in the history."""

    def kept(stored: Checkpoint, following: Checkpoint) -> Checkpoint:
        changed = change(stored, following)
        return replace(changed, history=passed(changed.history, waypoint(changed)))

    return kept


def _refuse_unclaimed(stored: Checkpoint, following: Checkpoint, run_id: str) -> None:
    if stored.run_id != run_id or stored.epoch != following.epoch:
        message = f"job {stored.job!r}: run {run_id!r} is no longer the one that has claimed it; nothing was saved"
        raise StaleOwner(message)
