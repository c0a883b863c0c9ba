"""Models of the `[system]` tables, and where each store lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from pydantic import Field

from mstream.domain.connector import Model, Name

#: The hidden service that `[system] state` implies.
STATE_SERVICE: Final = "_state"

#: The stores that a table can place, and their resources where nothing says otherwise.
RESOURCES: Final[Mapping[str, str]] = {
    "job_lifecycle": "mstream-jobs",
    "service_lifecycle": "mstream-services",
    "checkpoints": "mstream-checkpoints",
    "schemas": "mstream-schemas",
    "test_suites": "mstream-test-suites",
    "workspaces": "mstream-workspaces",
    "runs": "mstream-runs",
    "audit": "mstream-audit",
    "dead_letters": "mstream-dead-letters",
}

#: Stores that stand beside the jobs, else the checkpoints, else the services.
#: `system` holds lease, markers and key check.
BESIDE: Final[Mapping[str, str]] = {
    "runs": "runs",
    "audit": "audit",
    "dead_letters": "dead-letters",
    "system": "system",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a store lives: a service, and its collection or table there."""

    service_name: str
    resource: str


class StartupState(StrEnum):
    """Who decides at a start which jobs run: the file, or what is stored."""

    SEED_FROM_FILE = "seed_from_file"
    FORCE_FROM_FILE = "force_from_file"
    KEEP = "keep"


class StoreTable(Model):
    """Where one store lives; with `[system] state` both may be left out."""

    service_name: Name | None = None
    resource: Name | None = None


class JobLifecycle(StoreTable):
    """Where jobs live, and how a start treats them."""

    startup_state: StartupState = StartupState.SEED_FROM_FILE


class DeadLettersTable(StoreTable):
    """Where records live that were given up, and how many."""

    max_documents: int = Field(default=100_000, ge=1)


class RunsTable(StoreTable):
    """Where ended runs live, and how many of each job."""

    #: Runs of each job.
    keep: int = Field(default=50, ge=1, le=10_000)


class AuditTable(StoreTable):
    """Where the audit trail lives, and how many changes of each job and service."""

    #: Changes of each job and each service.
    keep: int = Field(default=200, ge=1, le=100_000)


class Logs(Model):
    """The log lines that the program keeps for those who look at it."""

    buffer_capacity: int = Field(default=10_000, ge=0)
    stream_preload_count: int = Field(default=100, ge=0)


class Runtime(Model):
    """Where runs execute."""

    kind: Literal["process", "inline", "ray"] = "process"
    #: Worker processes; None: as many as there are cores.
    workers: int | None = Field(default=None, ge=1, le=1024)


class Api(Model):
    """The HTTP surface."""

    #: None: the environment decides, else the default.
    port: int | None = Field(default=None, ge=0, le=65_535)
    #: Environment variables that definitions from the API may refer to.
    env_allow: tuple[Name, ...] = ()
    #: Folders that definitions from the API may name, or lie below: of file services, of databases of SQLite.
    allowed_paths: tuple[Name, ...] = (".",)


class Instance(Model):
    """How instances of the program share a store."""

    #: An owner that has not renewed its lease for so long is taken over.
    lease_sec: float = Field(default=10, ge=1, le=3600)
    #: What a second instance does while there is a live owner.
    on_conflict: Literal["wait", "exit"] = "wait"


class System(Model):
    """The `[system]` table: where state lives, and how the program runs."""

    #: The path of one SQLite file for every store.
    state: Name | None = None
    #: Where the keys for stored services are, `./mstream.key` by default; it is made when it is first needed.
    encryption_key_path: Name | None = None
    #: A program, and its arguments, that prints the keys; it goes before the file.
    encryption_key_command: tuple[Name, ...] | None = Field(default=None, min_length=1)
    #: False: scripts in Python are refused.
    allow_python_scripts: bool = True
    job_lifecycle: JobLifecycle | None = None
    service_lifecycle: StoreTable | None = None
    checkpoints: StoreTable | None = None
    schemas: StoreTable | None = None
    test_suites: StoreTable | None = None
    workspaces: StoreTable | None = None
    runs: RunsTable | None = None
    audit: AuditTable | None = None
    dead_letters: DeadLettersTable | None = None
    logs: Logs = Logs()
    runtime: Runtime = Runtime()
    api: Api = Api()
    instance: Instance = Instance()

    def place(self, store: str) -> Place | None:
        """Where a store lives, by the name of its table (or `system`); None: nowhere, in memory at best."""
        table: StoreTable | None = getattr(self, store, None) if store in RESOURCES else None
        given = table or StoreTable()
        beside = self._anchor() if store in BESIDE else None
        service = given.service_name or (beside.service_name if beside else self._state_service())
        resource = given.resource or (self._beside(store) if store in BESIDE else self._own(store))
        if service is None or resource is None:
            return None
        return Place(service_name=service, resource=resource)

    @property
    def startup_state(self) -> StartupState:
        """Who decides which jobs run; without a store for jobs the file alone does."""
        if self.place("job_lifecycle") is None:
            return StartupState.FORCE_FROM_FILE
        return (self.job_lifecycle or JobLifecycle()).startup_state

    @property
    def schemas_resource(self) -> str:
        """The collection in which services that keep documents keep the schemas of connectors, as in v0.47."""
        return (self.schemas.resource if self.schemas else None) or "schemas"

    @property
    def max_dead_letters(self) -> int:
        """How many records that were given up are kept."""
        return (self.dead_letters or DeadLettersTable()).max_documents

    @property
    def kept_runs(self) -> int:
        """How many ended runs of each job are kept."""
        return (self.runs or RunsTable()).keep

    @property
    def kept_changes(self) -> int:
        """How many changes of each job and service are kept."""
        return (self.audit or AuditTable()).keep

    def _state_service(self) -> str | None:
        return STATE_SERVICE if self.state else None

    def _own(self, store: str) -> str | None:
        return RESOURCES.get(store) if self.state else None

    def _anchor(self) -> Place | None:
        return self.place("job_lifecycle") or self.place("checkpoints") or self.place("service_lifecycle")

    def _beside(self, store: str) -> str | None:
        """Named after the store that it stands beside, so that two programs can share a database."""
        for each in (self.job_lifecycle, self.checkpoints, self.service_lifecycle):
            if each and each.resource:
                return f"{each.resource}-{BESIDE[store]}"
        return RESOURCES.get(store, f"mstream-{BESIDE[store]}")
