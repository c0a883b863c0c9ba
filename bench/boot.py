"""Start over a store that holds much, and write states, beside the driver alone."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from uuid import uuid4

from mstream.bootstrap.estate import Estate
from mstream.bootstrap.program import read
from mstream.config.document import ConfigFile
from mstream.control.jobs import JobManager, Parts
from mstream.control.launch import Launcher
from mstream.control.planning import plan_start
from mstream.control.services import ServiceRegistry
from mstream.domain.audit import Actor
from mstream.domain.connector import ConnectorSpec
from mstream.domain.job import Intent, Job, Phase
from mstream.foundation.clock import SystemClock
from mstream.providers import CATALOG
from mstream.providers.sql.config import SqlConfig
from mstream.runtimes.inline import InlineRuntime
from mstream.stores.jobs import JobStore, to_document

_ME = Actor(who="bench")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Seconds and bytes of a start."""

    #: From nothing open to the complete plan.
    planned_sec: float
    #: Of it, reading and validating the services, then the jobs.
    services_sec: float
    jobs_sec: float
    #: Every stored job under its supervisor, none of them running.
    supervised_sec: float
    bytes_per_job: float


def file_of(folder: Path, url: str | None) -> ConfigFile:
    """A configuration whose stores are in SQLite, or where the URL says."""
    path = folder / "mstream.toml"
    if url is None:
        system = f'[system]\nstate = "{folder}/mstream.db"\nencryption_key_path = "{folder}/mstream.key"\n'
    else:
        places = "".join(
            f'[system.{table}]\nservice_name = "db"\nresource = "{table}"\n'
            for table in ("job_lifecycle", "service_lifecycle", "checkpoints")
        )
        system = f'[system]\nencryption_key_path = "{folder}/mstream.key"\n{places}'
        system += f'[[services]]\nprovider = "sql"\nname = "db"\nurl = "{url}"\n'
    path.write_text(f'{system}[[services]]\nprovider = "file"\nname = "files"\npath = "{folder}"\n')
    return read(path, CATALOG, os.environ)


async def fill(file: ConfigFile, count: int) -> None:
    """So many stopped jobs and encrypted services, as the program stores them."""
    estate = _estate(file)
    async with estate.found() as found, estate.owned(found) as lease:
        services = ServiceRegistry(file=file, catalog=CATALOG, clock=estate.clock, naming=dict)
        startup = await estate.startup(found, lease, services)
        definitions = [
            (SqlConfig.model_validate({"name": f"db-{each:05}", "url": f"postgresql://u:secret-{each}@h/d"}), "api")
            for each in range(count)
        ]
        await services.take_in(definitions, by=_ME)
        for each in range(count):
            await startup.archive.jobs.create(Job(spec=_spec(each), intent=Intent.STOPPED, origin="api"))


async def start(file: ConfigFile) -> Boot:
    """What a start does before the first job runs."""
    estate = _estate(file)
    begun = time.perf_counter()
    manager = JobManager(clock=estate.clock, random=estate.random)
    services = ServiceRegistry(file=file, catalog=CATALOG, clock=estate.clock, naming=manager.naming)
    async with estate.found() as found, estate.owned(found) as lease, AsyncExitStack() as stack:
        at = time.perf_counter()
        startup = await estate.startup(found, lease, services)
        services_sec = time.perf_counter() - at
        at = time.perf_counter()
        survey = await startup.survey(file)
        plan_start(survey.situation)
        now = time.perf_counter()
        planned_sec, jobs_sec = now - begun, now - at
        count = len(survey.jobs)
        del survey
        before = _resident()
        runtime = await stack.enter_async_context(InlineRuntime(CATALOG))
        launcher = Launcher(
            system=file.system,
            service=services.service,
            catalog=CATALOG,
            runtime=runtime,
            stores=estate.stores(found, startup.archive.checkpoints, lease),
            clock=estate.clock,
            random=estate.random,
        )
        await stack.enter_async_context(manager)
        archive = startup.archive
        manager.open(
            Parts(
                store=archive.jobs,
                launcher=launcher,
                chronicle=archive.chronicle,
                authority=lease,
                checkpoints=archive.checkpoints,
            )
        )
        at = time.perf_counter()
        await startup.bring_up(manager)
        supervised_sec = time.perf_counter() - at
        per_job = (_resident() - before) / max(1, count)
    return Boot(
        planned_sec=planned_sec,
        services_sec=services_sec,
        jobs_sec=jobs_sec,
        supervised_sec=supervised_sec,
        bytes_per_job=per_job,
    )


def states(folder: Path, count: int, *, jobs: int) -> float:
    """State writes per second of so many jobs at once: each reads its document, and writes it if it is as it was."""
    file = file_of(folder, None)

    async def write(store: JobStore, number: int) -> None:
        job = Job(spec=_spec(number), intent=Intent.RUNNING)
        revision = await store.create(job)
        for each in range(count // jobs):
            await store.get(job.name)
            job = Job(spec=job.spec, intent=Intent.RUNNING, phase=Phase.RUNNING, attempts=each)
            revision = await store.save(job, expect=revision)

    async def written() -> float:
        estate = _estate(file)
        async with estate.found() as found:
            store = JobStore(found.collections["job_lifecycle"])
            begun = time.perf_counter()
            await asyncio.gather(*(write(store, each) for each in range(jobs)))
            return count / (time.perf_counter() - begun)

    return asyncio.run(written())


def bare_states(folder: Path, count: int) -> float:
    """The same two statements on the standard library's driver, with the same pragmas."""
    database = sqlite3.connect(folder / "bare.db", isolation_level=None)
    for each in ("journal_mode = WAL", "synchronous = FULL"):
        database.execute(f"PRAGMA {each}")
    database.execute("CREATE TABLE jobs (key TEXT PRIMARY KEY, revision TEXT NOT NULL, document TEXT NOT NULL)")
    spec, revision = _spec(0), uuid4().hex
    text = json.dumps(to_document(Job(spec=spec, intent=Intent.RUNNING)))
    database.execute("INSERT INTO jobs VALUES (?, ?, ?)", (spec.name, revision, text))
    begun = time.perf_counter()
    for each in range(count):
        row = database.execute("SELECT key, revision, document FROM jobs WHERE key = ?", (spec.name,)).fetchone()
        json.loads(row[2])
        job = Job(spec=spec, intent=Intent.RUNNING, phase=Phase.RUNNING, attempts=each)
        new = uuid4().hex
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "UPDATE jobs SET revision = ?, document = ? WHERE key = ? AND revision = ?",
            (new, json.dumps(to_document(job)), spec.name, revision),
        )
        database.execute("COMMIT")
        revision = new
    return count / (time.perf_counter() - begun)


def _spec(number: int) -> ConnectorSpec:
    name = f"db-{number:05}"
    return ConnectorSpec.model_validate(
        {
            "name": f"job-{number:05}",
            "source": {"service_name": "files", "resource": f"{name}.jsonl"},
            "sinks": [{"service_name": name, "resource": "copies", "write_mode": "upsert", "key_columns": ["id"]}],
        }
    )


def _estate(file: ConfigFile) -> Estate:
    return Estate(file, catalog=CATALOG, environ=os.environ, clock=SystemClock(), random=Random())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()
