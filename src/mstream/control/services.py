"""ServiceRegistry: the file's services and the stored ones; make, replace, remove, and what is known of each."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mstream.config.availability import reason_unavailable
from mstream.config.definition import definition_of_request
from mstream.config.document import ConfigFile
from mstream.config.system import STATE_SERVICE
from mstream.control.authority import Authority
from mstream.control.keys import KeySource
from mstream.control.service_views import ServiceView, system_services, view_of
from mstream.domain.audit import PLAN, Actor, Change, Subject
from mstream.domain.plan import Action, Damaged, ServiceAction
from mstream.domain.service import ServiceConfig
from mstream.errors import (
    ConfigError,
    Conflict,
    DocumentDamaged,
    RevisionConflict,
    ServiceError,
    ServiceExists,
    ServiceInUse,
    ServiceNotFound,
    StaleOwner,
    StoreError,
    Unavailable,
)
from mstream.foundation.clock import Clock, timestamp
from mstream.foundation.concurrency import finish_all, shielded
from mstream.observability.logs import get_logger
from mstream.ports.documents import Revision
from mstream.ports.provider import Catalog, provider_named
from mstream.stores.audit import AuditLog
from mstream.stores.services import Removal, ServiceStore, Standing, StoredDefinition

log = get_logger(__name__)

#: Writes that are under way at once.
_AT_ONCE: Final = 16

#: The names of the jobs that name each service.
Naming = Callable[[], Mapping[str, Sequence[str]]]


class ServiceRegistry:
    """Every service by name; for equal names the file's, whatever is stored.

    Before `open` the file's are there and nothing can be changed. Between the check that no job names a service and
    its removal the service counts as gone already: whoever makes a job must look its services up in the same step in
    which the job becomes visible to `naming`.
    """

    def __init__(
        self, *, file: ConfigFile, catalog: Catalog, clock: Clock, naming: Naming, path: Path | str | None = None
    ) -> None:
        """`path`: where the file stands; None: nowhere."""
        self._path = path
        self._of_file = {each.name: each for each in file.services}
        self._file = file
        self._catalog = catalog
        self._clock = clock
        self._naming = naming
        self._system = system_services(file.system)
        self._store: ServiceStore | None = None
        self._audit: AuditLog | None = None
        self._authority: Authority | None = None
        self._stored: dict[str, StoredDefinition] = {}
        self._damaged: dict[str, Damaged] = {}
        self._leaving: set[str] = set()
        #: How many changes were made here, and the last one of each name.
        self._changes = 0
        self._changed: dict[str, int] = {}

    def use(self, file: ConfigFile) -> None:
        """From now on this file's services win."""
        self._of_file = {each.name: each for each in file.services}

    async def open(self, store: ServiceStore | None, *, audit: AuditLog | None, authority: Authority) -> None:
        """From now on services can be made; those that are stored are there. Raises StoreError.

        Without a store what is made through the API is gone with this process.
        """
        self._store, self._audit, self._authority = store, audit, authority
        if store is None:
            log.info("services_not_kept", advice="what is defined through the API holds until the program ends")
        await self.reread()

    async def reread(self) -> None:
        """Take over what is stored, by whomever it was written. Raises StoreError."""
        if self._store is None:
            return
        before = self._changes
        contents = await self._store.contents()
        # What was changed here while it was read is known better than it was read.
        newer = {name for name, change in self._changed.items() if change > before}
        kept = {name: each for name, each in self._stored.items() if name in newer}
        self._stored = {each.name: each for each in contents.definitions if each.name not in newer} | kept
        damaged = [each for each in contents.damaged if each.name not in newer]
        for each in damaged:
            if each.name not in self._damaged:
                log.error("document_damaged", service=each.name, error=each.reason)
        self._damaged = {each.name: each for each in damaged}
        for removal in contents.removals:
            await self._finish(removal)

    async def complete(self) -> None:
        """Record the changes that a crash has kept from the audit trail."""
        await self._catch_up(list(self._stored.values()))

    def service(self, name: str) -> ServiceConfig:
        """The definition that holds. Raises ServiceNotFound, ServiceError for one that cannot be read."""
        if name in self._of_file:
            return self._of_file[name]
        if name in self._stored and name not in self._leaving:
            return self._stored[name].config
        if name in self._damaged:
            message = f"service {name!r} cannot be used: {self._damaged[name].reason}"
            raise ServiceError(message)
        message = f"there is no service {name!r}"
        raise ServiceNotFound(message)

    def services(self) -> dict[str, ServiceConfig]:
        """Every definition that can be used, the hidden one of `[system] state` included."""
        kept = {name: each.config for name, each in self._stored.items() if name not in self._leaving}
        return {**kept, **self._of_file}

    @property
    def stored(self) -> Sequence[StoredDefinition]:
        """What is in the store, as it was last read or written."""
        return tuple(self._stored.values())

    @property
    def damaged(self) -> Sequence[Damaged]:
        """Stored documents that cannot be used."""
        return tuple(self._damaged.values())

    def views(self, *, provider: str | None = None, with_system: bool = False) -> list[ServiceView]:
        """All services by name; those that host a store only on request, `_state` never."""
        naming = self._naming()
        names = {*self._of_file, *self._stored, *self._damaged} - self._leaving - {STATE_SERVICE}
        found = [self._view(name, naming) for name in sorted(names)]
        return [
            each
            for each in found
            if (with_system or not each.is_system) and (provider is None or each.provider == provider)
        ]

    def view(self, name: str) -> ServiceView:
        """One service. Raises ServiceNotFound."""
        if name in {STATE_SERVICE, *self._leaving} or not self._is_known(name):
            raise _not_found(name)
        return self._view(name, self._naming())

    async def create(self, body: Mapping[str, Any], *, by: Actor) -> ServiceView:
        """Store a new service of the API's. Raises ConfigError, ServiceExists, StoreError."""
        self._opened()
        config = definition_of_request(body, self._file.system, self._catalog, self._reserved())
        if self._is_known(config.name):
            raise _exists(config.name)
        try:
            with self._owning():
                await shielded(self._create(config, "api", self._change("create", by)))
        except RevisionConflict:
            raise _exists(config.name) from None
        return self.view(config.name)

    async def replace(
        self, name: str, body: Mapping[str, Any], *, by: Actor, expect: Revision | None = None
    ) -> ServiceView:
        """Store another definition, also over a damaged one; runs take it with their next beginning.

        Raises ServiceNotFound, ConfigError, Conflict for one that stands in the file, StoreError, RevisionConflict
        when `expect` is not its revision any more.
        """
        self._opened()
        self._require_changeable(name)
        table = {"name": name, **body}
        config = definition_of_request(table, self._file.system, self._catalog, self._reserved())
        if config.name != name:
            message = f"the definition names the service {config.name!r}, not {name!r}; a service keeps its name"
            raise ConfigError(message)
        before = await self._standing(name)
        if before is None:
            raise _not_found(name)
        if expect is not None and expect != before.defined_at:
            message = f"service {name!r} was changed meanwhile; read it again"
            raise RevisionConflict(message)
        with self._owning():
            await shielded(self._replace(before, config, "api", self._change("replace", by, before.revision)))
        return self.view(name)

    async def remove(self, name: str, *, by: Actor) -> None:
        """Take a service away. Raises ServiceNotFound, ServiceInUse with the jobs that name it, Conflict or StoreError.

        An unreadable one can be taken away too.
        """
        self._opened()
        self._require_changeable(name)
        jobs = self._naming().get(name)
        if jobs:
            message = f"service {name!r} is named by the jobs {', '.join(map(repr, sorted(jobs)))}; remove those first"
            raise ServiceInUse(message)
        self._leaving.add(name)
        try:
            before = await self._standing(name)
            if before is None:
                raise _not_found(name)
            with self._owning():
                await shielded(self._remove(before, self._change("delete", by, before.revision)))
        finally:
            self._leaving.discard(name)

    def require_room(self, definitions: Sequence[tuple[ServiceConfig, str]], *, overwrite: bool = False) -> None:
        """Raises Conflict where `take_in` would have to change what is there, or has nowhere to keep it."""
        new = [config.name for config, _ in definitions if not self._has(config)]
        ours = [each for each in new if each in self._of_file]
        if ours and not overwrite:
            message = (
                f"the file has services of these names, they differ from the export's, and the file wins at every"
                f" start: {', '.join(map(repr, ours))}; make them equal, take them out of the file, or import the rest"
                " with --overwrite"
            )
            raise Conflict(message)
        new = [each for each in new if each not in ours]
        others = [each for each in new if each in self._stored]
        if others and not overwrite:
            message = f"there are services of these names already, and they differ: {', '.join(map(repr, others))}"
            raise Conflict(message)
        if new and self._store is None:
            message = "the export has services, and the file names no store for them; set [system] state"
            raise Conflict(message)

    async def take_in(
        self, definitions: Sequence[tuple[ServiceConfig, str]], *, by: Actor, overwrite: bool = False
    ) -> int:
        """Store definitions that come from another store, with their origins; how many are new here.

        What is there and the same is left alone, and so is what the file names. Raises Conflict as `require_room`;
        nothing was written then.
        """
        self._opened()
        self.require_room(definitions, overwrite=overwrite)
        new = [
            (config, origin)
            for config, origin in definitions
            if config.name not in self._of_file and not self._has(config)
        ]
        for config, origin in new:
            before = await self._standing(config.name)
            change = self._change("import", by, before.revision if before else "")
            with self._owning():
                if before is None:
                    await shielded(self._create(config, origin, change))
                else:
                    await shielded(self._replace(before, config, origin, change))
        return len(new)

    def _has(self, config: ServiceConfig) -> bool:
        stored = self._stored.get(config.name)
        return (stored is not None and stored.config == config) or self._of_file.get(config.name) == config

    async def carry_out(self, actions: Sequence[ServiceAction], *, by: Actor = PLAN) -> None:
        """Bring the stored copies to what a plan says.

        Raises StoreError, RevisionConflict when somebody else has changed what the plan was made of.
        """
        if self._store is None:
            return
        for start in range(0, len(actions), _AT_ONCE):
            try:
                await finish_all(*(self._carry_out(each, by) for each in actions[start : start + _AT_ONCE]))
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from several

    async def _carry_out(self, action: ServiceAction, by: Actor) -> None:
        name, before = action.service, self._stored.get(action.service)
        change = replace(self._change(action.action.value, by), reason=action.reason)
        match action.action:
            case Action.ADD:
                with self._owning():
                    await self._create(self._of_file[name], "file", replace(change, verb="create"))
            case Action.REPLACE if before is not None:
                change = replace(change, revision_before=before.revision)
                with self._owning():
                    await self._replace(before, self._of_file[name], "file", change)
            case Action.REMOVE if before is not None:
                with self._owning():
                    await self._remove(before, replace(change, verb="delete", revision_before=before.revision))
            case _:
                return

    async def _create(self, config: ServiceConfig, origin: str, change: Change) -> None:
        if self._store is None:
            self._stored[config.name] = _held(config, origin, change)
        else:
            if removal := await self._store.removal(config.name):
                await self._finish(removal)
            self._stored[config.name] = await self._store.create(
                config, origin=origin, change=change, epoch=self._opened().epoch
            )
        self._mark(config.name)
        await self._note(config.name, change)

    async def _replace(self, before: Standing, config: ServiceConfig, origin: str, change: Change) -> None:
        await self._catch_up([before])
        if self._store is None:
            self._stored[config.name] = _held(config, origin, change)
        else:
            self._stored[config.name] = await self._store.replace(
                before, config, origin=origin, change=change, epoch=self._opened().epoch
            )
        self._damaged.pop(config.name, None)
        self._mark(config.name)
        await self._note(config.name, change)

    async def _remove(self, before: Standing, change: Change) -> None:
        removal = Removal(name=before.name, origin=before.origin, change=change, revision=change.revision)
        await self._catch_up([before])
        if self._store is not None:
            removal = await self._store.begin_removal(before, change=change, epoch=self._opened().epoch)
        self._stored.pop(before.name, None)
        self._damaged.pop(before.name, None)
        self._mark(before.name)
        await self._finish(removal)

    async def _finish(self, removal: Removal) -> None:
        """The definition is gone already; its document goes once the trail has it, if not now, then at a next start."""
        tombstone = {"name": removal.name, "origin": removal.origin}
        is_noted = await self._note(removal.name, removal.change, tombstone)
        if is_noted and self._store is not None:
            self._opened().require()
            with suppress(RevisionConflict):  # somebody else has finished it
                await self._store.delete(removal.name, expect=removal.revision)

    async def _catch_up(self, stored: Iterable[Standing]) -> None:
        """What a crash has kept from the trail is recorded, at the latest before another change takes its place."""
        if self._audit is None:
            return
        try:
            for each in stored:
                if each.last_change and not await self._audit.has(Subject.SERVICE, each.name, each.last_change):
                    await self._audit.record(Subject.SERVICE, each.name, each.last_change)
        except StoreError as error:
            log.warning("changes_not_recorded", error_code=error.code, error=str(error))

    def _mark(self, name: str) -> None:
        self._changes += 1
        self._changed[name] = self._changes

    async def _note(self, name: str, change: Change, definition: Mapping[str, Any] | None = None) -> bool:
        """Whether the trail has it."""
        log.info("service_changed", service=name, verb=change.verb, by=change.by.who)
        try:
            if self._audit is not None:
                await self._audit.record(Subject.SERVICE, name, change, definition=definition)
        except StoreError as error:
            log.warning("change_not_recorded", service=name, error_code=error.code, error=str(error))
            return False
        return True

    async def _standing(self, name: str) -> Standing | None:
        """As it is stored now: a write whose answer was lost may have come through, and others may have written."""
        if self._store is None:
            return self._stored.get(name)
        standing = await self._store.standing(name)
        known = self._stored.get(name)
        if standing is not None and known is not None and known.revision != standing.revision:
            with suppress(DocumentDamaged):
                if found := await self._store.get(name):
                    self._stored[name] = found
        return standing

    @contextmanager
    def _owning(self) -> Iterator[None]:
        """What the body writes is this owner's to write; whoever meets a newer one gives up everything.

        Raises StaleOwner.
        """
        authority = self._opened()
        authority.require()
        try:
            yield
        except StaleOwner as error:
            authority.forfeit(str(error))
            raise

    def _reserved(self) -> dict[str, str]:
        """Paths by which somebody could have the program do as he likes, by what is there."""
        found = {"the key file": str(KeySource(self._file.system, {}).path)}
        if self._path is not None:
            found["the configuration file"] = str(self._path)
        for name, config in self.services().items():
            if folder := config.script_folder():
                found[f"the folder of scripts of service {name!r}"] = folder
            if name in self._system:
                found |= {f"what mstream keeps in service {name!r}": path for _, path in config.paths()}
        return found

    def _opened(self) -> Authority:
        if self._authority is None:
            message = "not ready: the stores are not open yet"
            raise Unavailable(message)
        return self._authority

    def _require_changeable(self, name: str) -> None:
        if name == STATE_SERVICE or not self._is_known(name):
            raise _not_found(name)
        if name in self._of_file:
            hosts = ", and a store lives there" if name in self._system else ""
            message = f"service {name!r} stands in the file{hosts}: change it there; the file wins at every start"
            raise Conflict(message)

    def _is_known(self, name: str) -> bool:
        return name in self._of_file or name in self._stored or name in self._damaged

    def _view(self, name: str, naming: Mapping[str, Sequence[str]]) -> ServiceView:
        damaged = None if name in self._of_file else self._damaged.get(name)
        config = None if damaged else self.service(name)
        used_by = sorted(naming.get(name, ()))
        # What keeps a store alone need not do what jobs would ask of it.
        reason = None if name in self._system and not used_by else self._unavailable(config)
        return view_of(
            name,
            config,
            self._stored.get(name),
            is_of_file=name in self._of_file,
            is_system=name in self._system,
            used_by=used_by,
            reason=damaged.reason if damaged else reason,
        )

    def _unavailable(self, config: ServiceConfig | None) -> str | None:
        if config is None:
            return None
        provider = provider_named(self._catalog, config.provider)
        allowed = self._file.system.allow_python_scripts
        return reason_unavailable(provider, config, allow_python_scripts=allowed)

    def _change(self, verb: str, by: Actor, before: Revision = "") -> Change:
        return Change(
            at=timestamp(self._clock.now()),
            by=by,
            verb=verb,
            revision=secrets.token_hex(16),
            revision_before=before,
        )


def _held(config: ServiceConfig, origin: str, change: Change) -> StoredDefinition:
    """What is kept in memory alone."""
    return StoredDefinition(
        config=config,
        name=config.name,
        origin=origin,
        revision=change.revision,
        updated_at=change.at,
        last_change=change,
    )


def _not_found(name: str) -> ServiceNotFound:
    return ServiceNotFound(f"there is no service {name!r}")


def _exists(name: str) -> ServiceExists:
    return ServiceExists(f"there is a service {name!r} already; replace it, or choose another name")
