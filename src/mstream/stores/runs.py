"""RunLog: runs that have ended, the newest few of each job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from mstream.domain.history import MemberEntry, RunEntry
from mstream.errors import DocumentDamaged
from mstream.observability.logs import get_logger
from mstream.ports.documents import Collection
from mstream.stores.trail import Trail, prefix_of

log = get_logger(__name__)

#: How many runs of a job are kept where nothing says otherwise.
KEPT_RUNS: Final = 50


class RunLog:
    """Ended runs over any collection, by job, start and run id."""

    def __init__(self, collection: Collection, *, keep: int = KEPT_RUNS) -> None:
        self._trail = Trail(collection, keep=keep)

    async def append(self, entry: RunEntry) -> None:
        """Returns once it is stored; appending a run again overwrites its entry."""
        await self._trail.add(prefix_of(entry.job), key_of(entry), to_document(entry))

    async def of(self, job: str) -> list[RunEntry]:
        """The job's runs, the newest first; also those of a job that was deleted. Unreadable ones are left out."""
        entries: list[RunEntry] = []
        for each in await self._trail.newest(prefix_of(job)):
            try:
                entries.append(from_document(each.document))
            except DocumentDamaged as error:
                log.warning("document_damaged", job=job, resource="runs", error=str(error))
        return entries

    async def forget(self, job: str) -> None:
        """Remove all of the job's runs."""
        await self._trail.forget(prefix_of(job))


def key_of(entry: RunEntry) -> str:
    """The same for the same run, and growing with its start."""
    return f"{prefix_of(entry.job)}{entry.started_at}/{entry.run_id}"


def to_document(entry: RunEntry) -> dict[str, Any]:
    """How a run is stored; members only where it had several."""
    document = asdict(entry)
    members = list(document.pop("members"))
    return document | ({"members": members} if members else {})


def from_document(document: Mapping[str, Any]) -> RunEntry:
    """Read back what `append` has stored; fields that we do not know are passed over."""
    try:
        members = tuple(MemberEntry(**_known(MemberEntry, each)) for each in document.get("members", ()))
        return RunEntry(**{**_known(RunEntry, document), "members": members})
    except (TypeError, AttributeError):
        message = f"a run's entry lacks one of its fields; it stays as it is: {document.get('key')!r}"
        raise DocumentDamaged(message) from None


def _known(kind: type[MemberEntry | RunEntry], document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in kind.__dataclass_fields__ if name in document}
