"""Live objects of services: one per definition and process, shared by the runs, counted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from mstream.domain.service import ServiceConfig
from mstream.errors import ServiceNotFound
from mstream.foundation.concurrency import background
from mstream.observability.logs import get_logger
from mstream.ports.provider import Catalog, Provider, provider_named
from mstream.runtimes.faults import as_ours

log = get_logger(__name__)


class SharedServices:
    """Opens at the first use, closes after the last; each live object has a task of its own that does both."""

    def __init__(self, catalog: Catalog, *, group: asyncio.TaskGroup, environ: Mapping[str, str] = os.environ) -> None:
        self.catalog = catalog
        self._group = group
        self._environ = environ
        self._entries: dict[bytes, _Entry] = {}

    def of_run(self, definitions: Mapping[str, ServiceConfig]) -> RunServices:
        """What one run sees of them; to be closed by it."""
        return RunServices(self, definitions)

    def acquire(self, config: ServiceConfig) -> _Entry:
        """The entry of this definition, one more user counted."""
        identity = _identity(config)
        entry = self._entries.get(identity)
        if entry is None:
            provider = provider_named(self.catalog, config.provider)
            entry = self._entries[identity] = _Entry(identity, config.name)
            self._group.create_task(entry.keep(provider, config, self._environ))
        entry.users += 1
        return entry

    def release(self, entry: _Entry) -> None:
        """One user less; after the last one it is closed."""
        entry.users -= 1
        if entry.users == 0:
            self.forget(entry)
            entry.unused.set()

    def forget(self, entry: _Entry) -> None:
        """Whoever comes next opens anew."""
        if self._entries.get(entry.identity) is entry:
            del self._entries[entry.identity]


class _Entry:
    """One live object, opened and closed by one task."""

    def __init__(self, identity: bytes, name: str) -> None:
        self.identity = identity
        self.name = name
        self.users = 0
        self.unused = asyncio.Event()
        self.ready = asyncio.Event()
        self.closed = asyncio.Event()
        self.live: Any = None
        self.error: BaseException | None = None

    async def keep(self, provider: Provider[Any, Any], config: ServiceConfig, environ: Mapping[str, str]) -> None:
        """Open, hold until nobody uses it, close. Never raises: what went wrong is told to the users."""
        try:
            async with background(self._hold(provider, config, environ)) as holding:
                async with background(self.unused.wait()) as unused:
                    await asyncio.wait({holding, unused}, return_when=asyncio.FIRST_COMPLETED)
                if self.ready.is_set():
                    await asyncio.wait({holding})
        except Exception as error:  # noqa: BLE001 - a driver may raise anything; its users hear of it
            self._failed(error)
        finally:
            self.ready.set()
            self.closed.set()

    async def _hold(self, provider: Provider[Any, Any], config: ServiceConfig, environ: Mapping[str, str]) -> None:
        async with provider.connect(config.with_references_resolved(environ)) as live:
            self.live = live
            self.ready.set()
            await self.unused.wait()

    def _failed(self, error: Exception) -> None:
        if not self.ready.is_set():
            self.error = error
            return
        told = as_ours(error)
        log.warning("service_close_failed", service=self.name, error_code=told.code, error=str(told))


class RunServices:
    """The services of one run, by name; implements the engine's `Services`."""

    def __init__(self, shared: SharedServices, definitions: Mapping[str, ServiceConfig]) -> None:
        self._shared = shared
        self._definitions = definitions
        self._used: dict[str, _Entry] = {}

    def config(self, name: str) -> ServiceConfig:
        """The definition, references unresolved. Raises ServiceNotFound."""
        if name not in self._definitions:
            message = f"service {name!r} is not defined; defined are {', '.join(sorted(self._definitions)) or 'none'}"
            raise ServiceNotFound(message)
        return self._definitions[name]

    def provider(self, name: str) -> Provider[Any, Any]:
        """The descriptor of its provider."""
        return provider_named(self._shared.catalog, self.config(name).provider)

    async def live(self, name: str) -> Any:  # noqa: ANN401 - each provider has its own
        """The live object, opened at the first call. Raises what went wrong while opening."""
        entry = self._used.get(name)
        if entry is None:
            entry = self._used[name] = self._shared.acquire(self.config(name))
        await entry.ready.wait()
        if entry.error is not None:
            self._shared.forget(entry)
            raise entry.error
        return entry.live

    async def close(self) -> None:
        """Give everything back; returns when what nobody else uses is closed."""
        used, self._used = list(self._used.values()), {}
        for each in used:
            self._shared.release(each)
        for each in used:
            if each.users == 0:
                await each.closed.wait()


def _identity(config: ServiceConfig) -> bytes:
    """Equal for equal definitions, and no place where a secret could be read."""
    text = json.dumps([type(config).__qualname__, config.sealed()], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).digest()
