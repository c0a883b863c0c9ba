"""Transfer: what an export holds, and putting it into another store."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mstream.control.authority import Authority
from mstream.control.services import ServiceRegistry
from mstream.control.withheld import questions_of, with_answers
from mstream.domain.audit import Actor, Change
from mstream.domain.audit import to_document as change_document
from mstream.domain.plan import MarkerPhase, SeedMarker
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError, Conflict, DocumentDamaged, UsageError
from mstream.foundation.clock import Clock, timestamp
from mstream.ports.documents import ABSENT, Collection, Document, Revision, Stored
from mstream.stores.encryption import KeyRing
from mstream.stores.jobs import from_document
from mstream.stores.markers import MarkerStore

#: Raised with every change that an older program could not read.
FORMAT: Final = 1
#: What envelopes in a file are bound to, beside the service's name.
BOUND_TO: Final = "mstream export"
_PAGE: Final = 500
#: What an owner has observed, and nobody else can know; an import begins without it.
_OBSERVED: Final[Mapping[str, Any]] = {
    "state": "stopped",
    "linked_services": [],
    "phase": "stopped",
    "run_id": None,
    "next_attempt_at": None,
}
#: What two documents may differ in and still say the same: by whom they were written, when, and what was observed.
_ASIDE: Final = frozenset(
    {*_OBSERVED, "epoch", "revision", "last_change", "last_error", "attempts", "started_at", "stopped_at"}
)

Parse = Callable[[Mapping[str, Any]], ServiceConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Where an export comes from and an import goes to; None: that is not kept there."""

    jobs: Collection | None
    checkpoints: Collection | None
    #: Where the seed marker stands.
    system: Collection | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An export that can be used."""

    #: With the origin of each.
    services: Sequence[tuple[ServiceConfig, str]]
    jobs: Mapping[str, Document]
    #: Jobs that cannot be used, and could not where they were.
    damaged: frozenset[str]
    checkpoints: Mapping[str, Document]


async def every(collection: Collection | None) -> AsyncIterator[Stored]:
    """All of its documents, by key."""
    after = ""
    while collection is not None and (page := await collection.scan(after=after, limit=_PAGE)):
        for each in page:
            yield each
        after = page[-1].key


def is_job(document: Document) -> bool:
    """Whether it can be used."""
    try:
        from_document(document)
    except (ValueError, TypeError, KeyError, AttributeError):
        return False
    return True


def questions(bundle: Mapping[str, Any]) -> list[str]:
    """The secrets that were left out, as `service/path`. Raises ConfigError when it is no export."""
    services = _entries(bundle, "services", "name")
    return [each for name, entry in services.items() for each in questions_of(name, entry.get("definition"))]


def incoming(bundle: Mapping[str, Any], *, answers: Mapping[str, str], ring: KeyRing | None, parse: Parse) -> Incoming:
    """What is in an export. Raises ConfigError when it cannot be used, UsageError for a question without an answer."""
    services = _entries(bundle, "services", "name")
    jobs = _entries(bundle, "jobs", "name")
    damaged = frozenset(map(str, bundle.get("damaged") or ()))
    for name, document in jobs.items():
        if name not in damaged and not is_job(document):
            raise ConfigError(f"job {name!r} of the export cannot be used; take it out, or repair it")
    return Incoming(
        services=[_definition(name, each, answers, ring, parse) for name, each in services.items()],
        jobs=jobs,
        damaged=damaged,
        checkpoints=_entries(bundle, "checkpoints", "job_name"),
    )


class Import:
    """Puts an export into stores that are ours; cut off anywhere, it can be done again."""

    def __init__(
        self, held: Holdings, services: ServiceRegistry, *, authority: Authority, clock: Clock, by: Actor
    ) -> None:
        self._held = held
        self._services = services
        self._authority = authority
        self._clock = clock
        self._by = by

    async def take(self, found: Incoming, *, overwrite: bool = False) -> dict[str, int]:
        """How much of what is new here. What is there already and the same is left alone.

        Raises Conflict for what is there and differs (unless `overwrite`), and for what the file names no store for:
        nothing was written then. Raises StoreError.
        """
        self._services.require_room(found.services, overwrite=overwrite)
        await self._require_room("jobs", self._held.jobs, found.jobs, overwrite=overwrite)
        await self._require_room("checkpoints", self._held.checkpoints, found.checkpoints, overwrite=overwrite)
        await self._mark()
        # A job that is there finds its services and its place.
        count = {"services": await self._services.take_in(found.services, by=self._by, overwrite=overwrite)}
        count["checkpoints"] = await self._write(self._held.checkpoints, found.checkpoints, self._placed)
        count["jobs"] = await self._write(
            self._held.jobs, found.jobs, lambda *job: self._changed(*job, is_damaged=job[0]["name"] in found.damaged)
        )
        return count

    async def _require_room(
        self, what: str, collection: Collection | None, wanted: Mapping[str, Document], *, overwrite: bool
    ) -> None:
        if collection is None:
            if wanted:
                raise Conflict(f"the export has {what}, and the file names no store for them; set [system] state")
            return
        others = [each.key async for each in every(collection) if _is_in_the_way(each, wanted)]
        if others and not overwrite:
            names = ", ".join(map(repr, others))
            raise Conflict(f"there are {what} of these names already, and they differ: {names}; see --overwrite")

    async def _mark(self) -> None:
        """From here on the file does not fill this store, however much of the import has come."""
        if self._held.system is None:
            return
        markers = MarkerStore(self._held.system)
        marker, revision = await markers.read()
        if marker is None:
            self._authority.require()
            await markers.write(SeedMarker(phase=MarkerPhase.DONE, origin="imported"), expect=revision)

    async def _write(
        self,
        collection: Collection | None,
        wanted: Mapping[str, Document],
        written: Callable[[Document, Revision, Revision], Mapping[str, Any]],
    ) -> int:
        """Whatever differs was found to be overwritten; what would add to it goes last."""
        if collection is None:
            return 0
        count = 0
        for key, document in wanted.items():
            stored = await collection.get(key)
            if stored is not None and not _differs(stored, document):
                continue
            before, revision = stored.revision if stored else ABSENT, secrets.token_hex(16)
            self._authority.require()
            await collection.put(key, written(document, before, revision), expect=before, revision=revision)
            count += 1
        for each in [each async for each in every(collection) if _is_lane_in_the_way(each, wanted)]:
            self._authority.require()
            await collection.delete(each.key, expect=each.revision)
        return count

    def _placed(self, document: Document, before: Revision, revision: Revision) -> Mapping[str, Any]:
        """In this store's own count of owners: with another's epoch nobody here could write it any more."""
        return {**document, "epoch": self._authority.epoch}

    def _changed(
        self, document: Document, before: Revision, revision: Revision, *, is_damaged: bool
    ) -> Mapping[str, Any]:
        """Without what was observed elsewhere; the import is its last change."""
        if is_damaged:
            return document
        change = Change(
            at=timestamp(self._clock.now()),
            by=self._by,
            verb="import",
            revision=revision,
            revision_before=before,
            intent=from_document(document).intent.value,
        )
        mine = {"epoch": self._authority.epoch, "last_change": change_document(change)}
        return {**document, **_OBSERVED, **mine}


def _definition(
    name: str, entry: Mapping[str, Any], answers: Mapping[str, str], ring: KeyRing | None, parse: Parse
) -> tuple[ServiceConfig, str]:
    envelope = entry.get("envelope")
    table: Any
    if envelope is None:
        table = with_answers(name, entry.get("definition"), answers)
    elif ring is None:
        raise UsageError(f"service {name!r} is encrypted; name the key file that it was encrypted to: --decrypt-with")
    else:
        table = _unsealed(name, envelope, ring)
    if not isinstance(table, Mapping) or table.get("name") != name:
        raise ConfigError(f"service {name!r} of the export: it has no definition, or one of another name")
    try:
        return parse(table), str(entry.get("origin", "api"))
    except ConfigError as error:
        raise ConfigError(f"service {name!r} of the export: {error}") from None


def _unsealed(name: str, envelope: object, ring: KeyRing) -> object:
    try:
        sealed = envelope if isinstance(envelope, Mapping) else {}
        return json.loads(ring.unseal(sealed, collection=BOUND_TO, name=name))
    except DocumentDamaged as error:
        raise ConfigError(f"service {name!r} of the export: {error}") from None


def _entries(bundle: Mapping[str, Any], what: str, key: str) -> dict[str, Mapping[str, Any]]:
    """By name. Raises ConfigError when it is no export, or one of a newer version."""
    kind, entries = bundle.get("format"), bundle.get(what)
    if isinstance(kind, int) and kind > FORMAT:
        raise ConfigError(f"it is of format {kind}, of a newer version; this one reads up to format {FORMAT}")
    if kind != FORMAT or not isinstance(entries, list):
        raise ConfigError("it is no export of mstream")
    if not all(isinstance(each, Mapping) and isinstance(each.get(key), str) and each[key] for each in entries):
        raise ConfigError(f"it is no export of mstream: among its {what} is one without a name")
    found = {each[key]: each for each in entries}
    if len(found) < len(entries):
        raise ConfigError(f"it is no export of mstream: of its {what} two have one name")
    return found


def _is_in_the_way(stored: Stored, wanted: Mapping[str, Document]) -> bool:
    if stored.key in wanted:
        return _differs(stored, wanted[stored.key])
    return _is_lane_in_the_way(stored, wanted)


def _is_lane_in_the_way(stored: Stored, wanted: Mapping[str, Document]) -> bool:
    """What a lane of an imported job has said here would be added to what the import says."""
    job, slash, _ = stored.key.partition("/")
    return bool(slash) and stored.key not in wanted and job in wanted and "positions" in stored.document


def _differs(stored: Stored, wanted: Document) -> bool:
    """In what an operator or a run has decided; not in what was observed, by whom, and when."""
    ours, theirs = (
        {key: value for key, value in each.items() if key not in _ASIDE} for each in (stored.document, wanted)
    )
    return ours != theirs
