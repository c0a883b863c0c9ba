"""Program: one run of the whole, from logs to the last saved position."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

from mstream import __version__
from mstream.api.app import application
from mstream.api.server import bound, chosen_port, serving
from mstream.bootstrap.estate import Estate
from mstream.bootstrap.stores import Opened
from mstream.config.document import ConfigFile
from mstream.config.file import load
from mstream.config.problems import Severity
from mstream.control.health import Health
from mstream.control.interruption import Interruption
from mstream.control.jobs import JobManager, Parts
from mstream.control.launch import Launcher
from mstream.control.lease import Ownership, kept
from mstream.control.operations import Operations
from mstream.control.progress import report
from mstream.control.rotation import Rotation
from mstream.control.services import ServiceRegistry
from mstream.control.until_idle import has_failed, idle
from mstream.domain.service import ServiceConfig
from mstream.errors import ConfigError, MstreamError, ProviderUnavailable, StaleOwner
from mstream.foundation.backoff import delays
from mstream.foundation.clock import Clock, SystemClock
from mstream.foundation.concurrency import background, first_of
from mstream.observability.logs import get_logger
from mstream.ports.documents import DocumentStore
from mstream.ports.provider import Catalog
from mstream.providers import CATALOG
from mstream.runtimes.base import Runtime
from mstream.runtimes.inline import InlineRuntime
from mstream.runtimes.process import ProcessRuntime

log = get_logger(__name__)

#: Milliseconds between attempts to reach a store at the start.
_BASE_MS, _MAX_MS = 200, 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a program run differs from what the file says."""

    #: End once nothing new came for so many seconds.
    until_idle: float | None = None
    log_level: str = "info"
    #: End at once when a store does not answer at the start; with --until-idle also when a job has failed.
    fail_fast: bool = False


async def run(config: ConfigFile | str, *, until_idle: float | None = None, log_level: str = "info") -> int:
    """Run a configuration, or the file at a path, until a signal or until it is idle; the exit code.

    For embedders. Raises ConfigError when the file is not valid, and whatever keeps the program from beginning.
    Cancelling it drains the jobs.
    """
    path = config if isinstance(config, str) else None
    if isinstance(config, str):
        config = read(config, CATALOG, os.environ)
    return await Program(config, Options(until_idle=until_idle, log_level=log_level), path=path).run()


def read(path: Path | str, catalog: Catalog, environ: Mapping[str, str]) -> ConfigFile:
    """A file that is valid. Raises ConfigError with everything that is wrong with it."""
    loaded = load(path, catalog, environ)
    if loaded.config is None:
        errors = [each for each in loaded.problems if each.severity is Severity.ERROR]
        raise ConfigError("; ".join(f"{each.path or each.file}: {each.message}" for each in errors))
    return loaded.config


class Program:
    """One run of the program, from logs to the last saved position."""

    def __init__(
        self,
        file: ConfigFile,
        options: Options,
        *,
        path: Path | str | None = None,
        catalog: Catalog = CATALOG,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        """`path`: where the file stands, so that it can be read again; None: it stands nowhere."""
        self._file = file
        self._path = path
        self._options = options
        self._catalog = catalog
        self._environ = environ
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._estate = Estate(file, catalog=catalog, environ=environ, clock=self._clock, random=self._random)
        self.manager = JobManager(clock=self._clock, random=self._random)
        self.services = ServiceRegistry(
            file=file, catalog=catalog, clock=self._clock, naming=self.manager.naming, path=path
        )
        self._operations = Operations(
            manager=self.manager, services=self.services, catalog=catalog, read_file=self._read_file
        )
        self.health = Health(self.manager, version=__version__, clock=self._clock)
        self.interruption = Interruption()
        #: Where the API answers; "" before it does.
        self.address = ""
        self._lease: Ownership | None = None
        #: A stored job cannot be used: it does not run, and nobody must think that all is well.
        self._has_damaged = False

    async def run(self) -> int:
        """The exit code, once everything is stopped again. Raises MstreamError when it cannot begin."""
        log.info("program_started", version=__version__, pid=os.getpid())
        try:
            async with AsyncExitStack() as stack:
                stack.enter_context(self.interruption.listening(self.manager.cut_short))
                address = await self._listen(stack)
                self._tell_what_is_not_kept()
                found = await self._estate.opened(stack, self._reached)
                if found is not None:
                    await self._own(found, address)
        finally:
            log.info("program_ended", signal=self.interruption.signal)
        return self._exit_code()

    def forfeit(self, reason: str) -> None:
        """Give the store up, for embedders who know of a newer owner; the program stands by until it has it again."""
        if self._lease is not None:
            self._lease.forfeit(reason)

    async def _listen(self, stack: AsyncExitStack) -> str:
        """The API answers from here on, `not ready` at first; gives its address."""
        listener = bound(chosen_port(self._file.system.api.port, self._environ))
        port = await stack.enter_async_context(serving(application(self._operations, self.health), listener))
        self.address = address = f"http://127.0.0.1:{port}"
        log.info("api_listening", address=address, port=port)
        return address

    async def _own(self, found: Opened, address: str) -> None:
        """Run the jobs for as long as the store is ours; lost, or away for too long, it is waited for again."""
        identity = self._estate.identity(address)
        self.health.instance = identity.instance
        waits = delays(base_ms=_BASE_MS, max_ms=_MAX_MS, random=self._random)
        while not self.interruption.drain.is_set():
            lease = await first_of(self._estate.acquired(found, identity), self.interruption.drain)
            if lease is None:
                return
            reason = await self._hold(found, lease)
            if reason is None:
                return
            log.warning("program_standing_by", reason=reason)
            await first_of(self._clock.sleep(next(waits)), self.interruption.drain)

    async def _hold(self, found: Opened, lease: Ownership) -> str | None:
        """One tenure; why it ended before its time, or None when it was to end. Raises MstreamError."""
        reason: str | None = None
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(kept(lease))
            self._lease = lease
            try:
                await self._begin(stack, found, lease)
                await self._wait(lease)
            except StaleOwner as error:
                lease.forfeit(str(error))
            except MstreamError as error:
                if not error.retryable or self._options.fail_fast:
                    raise
                reason = str(error)
            self.health.become_unready()
            self._operations.close()
            if lease.lost.is_set():
                self.manager.cut_short()
                return lease.reason or reason
            log.info("program_draining", signal=self.interruption.signal)
            self.manager.close()
        return reason

    async def _begin(self, stack: AsyncExitStack, found: Opened, lease: Ownership) -> None:
        """Everything that is entered here is left in reverse order, before the lease is given back."""
        startup = await self._estate.startup(found, lease, self.services)
        # What `apply` has brought over holds in the next tenure too.
        stack.callback(lambda: self._estate.use(startup.file))
        runtime = await stack.enter_async_context(self._runtime(lease))
        launcher = Launcher(
            system=self._file.system,
            service=self.services.service,
            catalog=self._catalog,
            runtime=runtime,
            stores=self._estate.stores(found, startup.archive.checkpoints, lease),
            clock=self._clock,
            random=self._random,
            log_level=self._options.log_level,
        )
        await stack.enter_async_context(background(report(self.manager, clock=self._clock)))
        await stack.enter_async_context(self.manager)
        archive = startup.archive
        self.manager.open(
            Parts(
                store=archive.jobs,
                launcher=launcher,
                chronicle=archive.chronicle,
                authority=lease,
                checkpoints=archive.checkpoints,
            )
        )
        self._operations.open(
            startup, self._estate.checkpoints(found, lease, self.services.service, archive.checkpoints)
        )
        await first_of(startup.bring_up(self.manager), self.interruption.drain, lease.lost)
        if not self.interruption.drain.is_set() and not lease.lost.is_set():
            self.health.become_ready()
            self._has_damaged = bool(self.manager.damaged)
            log.info("program_ready", jobs=len(self.manager.views()))
            await stack.enter_async_context(background(startup.keep_up(self.manager)))
            if archive.vault is not None:
                rotation = Rotation(archive.vault, lease)
                await stack.enter_async_context(background(rotation.attend(clock=self._clock, random=self._random)))
                await stack.enter_async_context(background(self._reload_on_request()))

    async def _reload_on_request(self) -> None:
        """Read the keys again at each SIGHUP; cancel it to end."""
        while True:
            await self.interruption.reload.wait()
            self.interruption.reload.clear()
            try:
                await self._operations.reload_keys()
            except MstreamError as error:
                log.warning("keys_not_reloaded", error_code=error.code, error=str(error))

    async def _wait(self, lease: Ownership) -> None:
        """Until a signal, until there is nothing left to do, or until the store is no longer ours."""
        seconds = self._options.until_idle
        if seconds is None:
            await first_of(lease.lost.wait(), self.interruption.drain)
            return
        work = idle(self.manager, seconds=seconds, clock=self._clock, fail_fast=self._options.fail_fast)
        await first_of(work, self.interruption.drain, lease.lost)

    def _read_file(self) -> ConfigFile:
        return self._file if self._path is None else read(self._path, self._catalog, self._environ)

    def _exit_code(self) -> int:
        if self.interruption.is_cut:
            return 128 + (self.interruption.signal or signal.SIGTERM)
        if self._options.until_idle is not None and (self._has_damaged or has_failed(self.manager.views())):
            return 1
        return 0

    def _runtime(self, lease: Ownership) -> Runtime:
        chosen = self._file.system.runtime
        match chosen.kind:
            case "inline":
                return InlineRuntime(self._catalog, clock=self._clock, lease=lease.remaining)
            case "process":
                return ProcessRuntime(
                    workers=chosen.workers, clock=self._clock, lease=lease.remaining, inherited=lease.inherited
                )
            case "ray":
                message = "runtime 'ray' is not available in this version; set [system.runtime] kind = \"process\""
                raise ProviderUnavailable(message)

    def _tell_what_is_not_kept(self) -> None:
        system = self._file.system
        if system.place("checkpoints") is None:
            log.warning(
                "checkpoints_not_kept",
                advice="a restart begins every job anew; set [system] state to keep positions",
            )
        if system.place("job_lifecycle") is None:
            log.info("commands_not_kept", advice="what is ordered through the API holds until the program ends")

    async def _reached(self, stack: AsyncExitStack, config: ServiceConfig) -> DocumentStore | None:
        """Wait for a store that is not there yet; the API says `not ready` meanwhile. None: told to end before."""
        waits = delays(base_ms=_BASE_MS, max_ms=_MAX_MS, random=self._random)
        while not self.interruption.drain.is_set():
            try:
                store = await first_of(self._estate.connected(stack, config), self.interruption.drain)
            except MstreamError as error:
                if not error.retryable or self._options.fail_fast:
                    raise
                log.warning("store_not_reached", service=config.name, error_code=error.code, error=str(error))
            else:
                return store
            await first_of(self._clock.sleep(next(waits)), self.interruption.drain)
        return None
