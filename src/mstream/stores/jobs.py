"""JobStore: job documents, intent and last state, with revision and epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import ValidationError

from mstream.domain import audit
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase, RunFailure
from mstream.domain.plan import Damaged
from mstream.errors import DocumentDamaged, RevisionConflict
from mstream.ports.documents import ABSENT, Collection, Revision, Stored
from mstream.stores.strays import Strays

_PAGE: Final = 1000
#: Reading so many takes a few milliseconds; the loop is free between them.
_AT_ONCE: Final = 50
#: The names under which the last four parts of a phase were known to v0.47.
_PHASES: Final = {"running": Phase.RUNNING, "stopped": Phase.STOPPED, "failed": Phase.FAILED}
_KNOWN: Final = frozenset(
    {
        "name",
        "state",
        "desired_state",
        "linked_services",
        "pipeline",
        "intent",
        "phase",
        "run_id",
        "epoch",
        "attempts",
        "started_at",
        "stopped_at",
        "next_attempt_at",
        "last_error",
        "origin",
        "last_change",
        "removing",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredJob:
    """A job as it stands in the store."""

    job: Job
    revision: Revision


class JobStore:
    """Every job's document, by name."""

    def __init__(self, documents: Collection) -> None:
        self._documents = documents
        self._strays = Strays(documents, "job")

    async def create(self, job: Job, *, revision: Revision | None = None) -> Revision:
        """Store a new job. Raises RevisionConflict when there is one of that name."""
        return await self._documents.put(job.name, to_document(job), expect=ABSENT, revision=revision)

    async def save(self, job: Job, *, expect: Revision, revision: Revision | None = None) -> Revision:
        """Store a changed job, under this revision if one is given.

        Raises RevisionConflict when somebody else has changed it.
        """
        return await self._documents.put(job.name, to_document(job), expect=expect, revision=revision)

    async def delete(self, name: str, *, expect: Revision) -> bool:
        """Take a job's document away; False: there was none. Raises RevisionConflict."""
        return await self._documents.delete(name, expect=expect)

    async def discard(self, name: str, *, noted: Callable[[], Awaitable[None]]) -> None:
        """Take a document away that cannot be used, once `noted` has told of it; nothing is done if there is none.

        Raises RevisionConflict when it can be used after all, or was changed meanwhile.
        """
        stored: Stored | None = None
        try:
            stored = await self._documents.get(name)
            if stored is None:
                return
            _read(stored)
        except DocumentDamaged:
            await noted()
            # What the store cannot read has no revision.
            await self._documents.delete(name, expect=stored.revision if stored else None)
        else:
            message = f"job {name!r}: its document can be used again; look at the job before it is deleted"
            raise RevisionConflict(message)

    async def get(self, name: str) -> StoredJob | None:
        """One job; None: there is none. Raises DocumentDamaged."""
        stored = await self._documents.get(name)
        return None if stored is None else StoredJob(job=_read(stored), revision=stored.revision)

    async def everything(self) -> tuple[list[StoredJob], list[Damaged]]:
        """All jobs by name, and the documents that cannot be used."""
        jobs: list[StoredJob] = []
        damaged = await self._strays.damaged()
        after = ""
        while True:
            page = await self._documents.scan(after=after, limit=_PAGE)
            for number, each in enumerate(page):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                try:
                    jobs.append(StoredJob(job=_read(each), revision=each.revision))
                except DocumentDamaged as error:
                    damaged.append(Damaged(name=each.key, reason=str(error)))
            if len(page) < _PAGE:
                return jobs, damaged
            after = page[-1].key


def to_document(job: Job) -> dict[str, Any]:
    """How a job is stored; the first seven names are those of v0.47."""
    pipeline = job.spec.model_dump(mode="json", exclude_none=True) if job.pipeline is None else dict(job.pipeline)
    return {
        **job.unknown,
        "name": job.name,
        "started_at": job.started_at,
        "stopped_at": job.stopped_at,
        "state": job.state,
        "desired_state": job.desired_state,
        "linked_services": list(job.spec.service_names) if job.state == "running" else [],
        "pipeline": pipeline,
        "intent": job.intent.value,
        "phase": job.phase.value,
        "run_id": job.run_id,
        "epoch": job.epoch,
        "attempts": job.attempts,
        "next_attempt_at": job.next_attempt_at,
        "last_error": asdict(job.failure) if job.failure else None,
        "origin": job.origin,
        "last_change": audit.to_document(job.last_change) if job.last_change else None,
        "removing": job.removing,
    }


def from_document(document: Mapping[str, Any]) -> Job:
    """Read back what `to_document`, or v0.47, made; what we do not know is kept.

    Raises ValueError, TypeError or KeyError when it was neither.
    """
    if document.get("pipeline") is None:
        raise _Unusable("it has no pipeline")
    spec = _spec({"name": document["name"], **document["pipeline"]})
    if spec.name != document["name"]:
        raise _Unusable("its pipeline has another name")
    failure, change = document.get("last_error"), document.get("last_change")
    return Job(
        spec=spec,
        intent=_intent(document),
        phase=Phase(document["phase"]) if document.get("phase") else _PHASES[document["state"]],
        run_id=document.get("run_id"),
        epoch=int(document.get("epoch", 0)),
        attempts=int(document.get("attempts", 0)),
        started_at=document.get("started_at"),
        stopped_at=document.get("stopped_at"),
        next_attempt_at=document.get("next_attempt_at"),
        failure=RunFailure(**failure) if failure else None,
        origin=str(document.get("origin", "file")),
        last_change=audit.from_document(change) if change else None,
        removing=bool(document.get("removing", False)),
        unknown={key: value for key, value in document.items() if key not in _KNOWN},
        pipeline=document["pipeline"],
    )


class _Unusable(ValueError):
    """A document that is no job, in words that can be shown."""


def _read(stored: Stored) -> Job:
    try:
        return from_document({**stored.document, "name": stored.key})
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors())
        reason = f"its pipeline is not valid: {faults}"
    except _Unusable as error:
        reason = str(error)
    except (ValueError, TypeError, KeyError, AttributeError):
        # Never in the words of the error: they may hold a value.
        reason = "a field is missing, or has a value that it cannot have"
    message = f"the document of job {stored.key!r} cannot be used ({reason}); repair it, or delete the job"
    raise DocumentDamaged(message) from None


def _intent(document: Mapping[str, Any]) -> Intent:
    """What an older program has written into `desired_state` since wins over our finer intent."""
    wanted = document["desired_state"] == "running"
    if text := document.get("intent"):
        intent = Intent(text)
        if (intent in {Intent.RUNNING, Intent.FINISHING}) == wanted:
            return intent
    return Intent.RUNNING if wanted else Intent.STOPPED


def _spec(pipeline: Mapping[str, Any]) -> ConnectorSpec:
    """The definition, without the parts of it that we do not know."""
    try:
        return ConnectorSpec.model_validate(pipeline)
    except ValidationError as error:
        strange = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
        if not strange:
            raise
    known = deepcopy(dict(pipeline))
    for path in strange:
        _take_out(known, path)
    return ConnectorSpec.model_validate(known)


def _take_out(tree: Any, path: Iterable[str | int]) -> None:
    *parents, last = path
    for each in parents:
        tree = tree[each]
    del tree[last]
