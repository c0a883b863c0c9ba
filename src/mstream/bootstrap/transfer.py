"""Exports and imports, as commands ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.stores import SYSTEM, Opened
from mstream.bootstrap.survey import Lookout
from mstream.config.definition import stored_definitions
from mstream.control.exports import ForV047, exported, exported_for_v047
from mstream.control.transfer import Holdings, Import, incoming
from mstream.domain.audit import Actor
from mstream.domain.service import ServiceConfig
from mstream.errors import Conflict, KeyUnusable
from mstream.stores import key_file
from mstream.stores.encryption import KeyRing


async def export(estate: Estate, *, encrypt_to: Path | None) -> dict[str, Any]:
    """Everything that is kept, read while whoever owns it goes on. Raises KeyUnusable, StoreError."""
    ring = _ring(encrypt_to)
    async with _read(estate) as (found, services):
        return await exported(_held(found), services, ring=ring, clock=estate.clock)


async def export_for_v047(estate: Estate) -> ForV047:
    """The same for v0.47, its services under the current key. Raises KeyUnusable, StoreError."""
    ring = await estate.keys().read()
    if ring is None:
        message = "there is no key to encrypt services under; make one with `mstream key generate`"
        raise KeyUnusable(message)
    async with _read(estate) as (found, services):
        known = {each.name: each for each in [*(config for config, _ in services), *estate.file.services]}
        return await exported_for_v047(_held(found), services, known=known, ring=ring, clock=estate.clock)


async def take(
    estate: Estate,
    bundle: Mapping[str, Any],
    *,
    answers: Mapping[str, str],
    decrypt_with: Path | None,
    overwrite: bool,
    by: Actor,
) -> dict[str, int]:
    """Put an export into the file's stores, as their owner; how much of what was new.

    Raises StoreOwned while a program runs on them, and what `incoming` and `Import.take` raise.
    """
    parse = stored_definitions(estate.catalog)
    bundled = incoming(bundle, answers=answers, ring=_ring(decrypt_with), parse=parse)
    async with estate.found() as found, estate.owned(found) as lease:
        services = estate.registry()
        await estate.startup(found, lease, services)
        taking = Import(_held(found), services, authority=lease, clock=estate.clock, by=by)
        return await taking.take(bundled, overwrite=overwrite)


@asynccontextmanager
async def _read(estate: Estate) -> AsyncIterator[tuple[Opened, list[tuple[ServiceConfig, str]]]]:
    """Stores to read, and their services. Raises KeyUnusable, Conflict when there are none or one cannot be used."""
    if not any(estate.file.system.place(each) for each in ("job_lifecycle", "service_lifecycle", "checkpoints")):
        message = "the file names no store: nothing is kept that could be exported; set [system] state"
        raise Conflict(message)
    async with Lookout(estate.file, estate.catalog, estate.environ).holdings() as (found, kept, refusal):
        if refusal is not None:
            raise KeyUnusable(refusal)
        if kept is not None and kept.damaged:
            names = ", ".join(repr(each.name) for each in kept.damaged)
            message = f"stored services cannot be used, and would be missing: {names}; restore or delete them first"
            raise Conflict(message)
        yield found, [(each.config, each.origin) for each in kept.definitions] if kept else []


def _held(found: Opened) -> Holdings:
    jobs = found.collections.get("job_lifecycle")
    return Holdings(
        jobs=jobs,
        checkpoints=found.collections.get("checkpoints"),
        system=found.collections.get(SYSTEM) if jobs is not None else None,
    )


def _ring(path: Path | None) -> KeyRing | None:
    if path is None:
        return None
    ring = key_file.read(path)
    if ring is None:
        message = f"there is no key file {str(path)!r}; make one with `openssl rand -hex 32`, mode 600"
        raise KeyUnusable(message)
    return ring
