"""Checkpoints: what operators do with them; look at where jobs stand and stood, and put one elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from mstream.control.authority import Authority
from mstream.control.beginning import require_begin
from mstream.control.wiring import Lookup
from mstream.domain.audit import Actor, Change, Subject
from mstream.domain.checkpoint import Checkpoint, Waypoint
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Job, Phase
from mstream.domain.plan import Damaged
from mstream.domain.reset import Target, described
from mstream.errors import IllegalTransition, NotFound, StoreError
from mstream.foundation.clock import Clock, timestamp
from mstream.observability.logs import get_logger
from mstream.ports.provider import Catalog
from mstream.stores.audit import AuditLog
from mstream.stores.checkpoints import CheckpointStore

log = get_logger(__name__)

_AT_REST = frozenset({Phase.STOPPED, Phase.PAUSED, Phase.FAILED})


class Checkpoints:
    """The checkpoints of all jobs, for those who look and for the owner of the store."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        service: Lookup,
        catalog: Catalog,
        authority: Authority,
        clock: Clock,
        audit: AuditLog | None = None,
    ) -> None:
        self._store = store
        self._service = service
        self._catalog = catalog
        self._authority = authority
        self._clock = clock
        self._audit = audit

    async def everything(self) -> tuple[list[Checkpoint], list[Damaged]]:
        """Where every job stands, by name, and the documents that cannot be used. Raises StoreError."""
        found, damaged = await self._store.everything()
        return sorted(found, key=_name), damaged

    async def of(self, job: str) -> list[Waypoint]:
        """Where the job stands, and where it stood before, the newest first.

        Raises NotFound when it has no checkpoint, DocumentDamaged, StoreError.
        """
        places = await self._store.history(job)
        if not places:
            message = f"job {job!r} has no checkpoint"
            raise NotFound(message)
        return places

    async def reset(self, connector: ConnectorSpec, to: Target, *, by: Actor, reason: str = "") -> Checkpoint:
        """Put a job there that does not run; see `require_at_rest`.

        Raises UsageError when its source cannot be put there, NotFound when there is no such entry, StaleOwner,
        StoreError.
        """
        job = connector.name
        require_begin(connector, to, self._service(connector.source.service_name), self._catalog)
        before = await self._revision(job)
        self._authority.require()
        epoch = self._authority.epoch or None
        checkpoint = await self._store.reset(job, to, epoch=epoch, by=by, reason=reason)
        log.info("checkpoint_reset", job=job, by=by.who, reason=reason or described(to))
        await self._record(job, checkpoint, by, before, reason or described(to))
        return checkpoint

    async def _revision(self, job: str) -> str:
        try:
            stored = await self._store.load(job)
        except StoreError:
            return ""
        return "" if stored is None else _revision(stored)

    async def _record(self, job: str, checkpoint: Checkpoint, by: Actor, before: str, reason: str) -> None:
        """The checkpoint's own history says it too, so that a copy which fails loses nothing."""
        if self._audit is None:
            return
        change = Change(
            at=timestamp(self._clock.now()),
            by=by,
            verb="reset",
            revision=_revision(checkpoint),
            revision_before=before,
            reason=reason,
        )
        try:
            await self._audit.record(Subject.JOB, job, change)
        except StoreError as error:
            log.warning("change_not_recorded", job=job, error_code=error.code, error=str(error))


def require_at_rest(job: Job) -> None:
    """Raises IllegalTransition while the job runs, or may begin to by itself."""
    if job.phase not in _AT_REST:
        message = f"job {job.name!r} is {job.phase.value}; stop or pause it, then reset its checkpoint"
        raise IllegalTransition(message)


def to_document(place: Waypoint) -> Mapping[str, object]:
    """A place as it is shown, by the commands and by the API."""
    shown: dict[str, object] = {
        "entry": place.sequence,
        "saved_at": place.saved_at,
        "positions": dict(place.positions),
        "fingerprint": place.fingerprint,
        "epoch": place.epoch,
        "run_id": place.run_id,
    }
    if place.begin:
        shown["begin"] = place.begin.value
    if place.by is not None:
        shown["by"] = {"who": place.by.who, "where": place.by.where}
        shown["reason"] = place.reason
    return shown


def _revision(checkpoint: Checkpoint) -> str:
    return f"{checkpoint.epoch}.{checkpoint.sequence}"


def _name(checkpoint: Checkpoint) -> str:
    return checkpoint.job
