"""The registry of services: what holds, who may change it, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mstream.config.document import ConfigFile
from mstream.config.file import load
from mstream.control.authority import SoleOwner
from mstream.control.services import ServiceRegistry
from mstream.domain.audit import Subject
from mstream.domain.plan import Action, ServiceAction
from mstream.errors import (
    ConfigError,
    Conflict,
    RevisionConflict,
    ServiceError,
    ServiceExists,
    ServiceInUse,
    ServiceNotFound,
    StaleOwner,
    StoreUnreachable,
    Unavailable,
)
from mstream.foundation.clock import SystemClock
from mstream.ports.documents import Collection, Stored
from mstream.providers import CATALOG
from mstream.stores.audit import AuditLog
from tests.unit.control.vaults import ME, SECRET, Faults, FaultyCollection, Home, Killed, body, change, service

FILE = f"""
[system]
state = "./mstream.db"
encryption_key_path = "k"

[system.checkpoints]
service_name = "host"

[system.api]
env_allow = ["ALLOWED"]

[[services]]
provider = "sql"
name = "host"
url = "sqlite:///host.db"

[[services]]
provider = "mongodb"
name = "of-file"
connection_string = "mongodb://u:{SECRET}@host/"
db_name = "app"
"""


@dataclass
class World:
    """A folder with a file, a store, and the jobs that name services."""

    home: Home
    file: ConfigFile
    jobs: dict[str, Sequence[str]] = field(default_factory=dict)
    audit_faults: Faults = field(default_factory=Faults)

    @property
    def audit(self) -> AuditLog:
        return AuditLog(FaultyCollection(self.home.documents.collection("audit"), self.audit_faults))

    async def registry(self, *, has_store: bool = True) -> ServiceRegistry:
        """As a program has it that has just begun."""
        registry = ServiceRegistry(file=self.file, catalog=CATALOG, clock=SystemClock(), naming=lambda: self.jobs)
        store = (await self.home.vault()).store if has_store else None
        await registry.open(store, audit=self.audit, authority=SoleOwner())
        return registry

    async def verbs(self, name: str) -> list[str]:
        return [each.change.verb for each in await self.audit.of(Subject.SERVICE, name)]

    @property
    def stored(self) -> Collection:
        return self.home.documents.collection("services")


@pytest.fixture
def world(tmp_path: Path) -> World:
    path = tmp_path / "m.toml"
    path.write_text(FILE)
    loaded = load(path, CATALOG, {})
    assert loaded.config is not None
    return World(Home(tmp_path), loaded.config)


def kafka(**options: object) -> dict[str, Any]:
    return {"provider": "kafka", "name": "bus", "bootstrap.servers": "b:9092", **options}


def pubsub(**auth: str) -> dict[str, Any]:
    return {"provider": "pubsub", "name": "topics", "project_id": "p", "auth": auth}


async def test_a_service_of_the_api_is_there_after_a_restart(world: World) -> None:
    view = await (await world.registry()).create(body(), by=ME)

    again = await world.registry()

    assert again.service("db") == service()
    assert again.view("db") == view
    assert view.origin == "api"
    [entry] = await world.audit.of(Subject.SERVICE, "db")
    assert (entry.change.verb, entry.change.by) == ("create", ME)


async def test_the_status_says_whether_jobs_can_use_it(world: World) -> None:
    registry = await world.registry()
    table = {"provider": "sql", "name": "q", "url": "sqlite:///q.db"}
    rhai = {"provider": "udf", "name": "u", "script_path": "s", "engine": {"kind": "rhai"}}

    assert (await registry.create(table, by=ME)).status.value == "unused"
    world.jobs["q"] = ["orders"]
    assert registry.view("q").status.value == "ready"
    view = await registry.create(rhai, by=ME)
    assert (view.status.value, "rhai" in (view.reason or "")) == ("error", True)


async def test_without_a_store_it_holds_until_the_end_and_the_log_says_so(world: World) -> None:
    with capture_logs() as logs:
        registry = await world.registry(has_store=False)
    await registry.create(body(), by=ME)
    await registry.replace("db", body(password="x"), by=ME)

    assert [each["event"] for each in logs] == ["services_not_kept"]
    assert registry.service("db") == service(password="x")
    await registry.remove("db", by=ME)
    with pytest.raises(ServiceNotFound):
        registry.service("db")


async def test_before_the_stores_are_open_the_files_services_are_there_and_nothing_can_be_changed(
    world: World,
) -> None:
    registry = ServiceRegistry(file=world.file, catalog=CATALOG, clock=SystemClock(), naming=dict)

    assert registry.service("of-file").name == "of-file"
    with pytest.raises(Unavailable):
        await registry.create(body(), by=ME)


@pytest.mark.parametrize("name", ["db", "of-file", "host"])
async def test_a_name_is_taken_once(world: World, name: str) -> None:
    registry = await world.registry()
    await registry.create(body(), by=ME)

    with pytest.raises(ServiceExists):
        await registry.create(body(name), by=ME)


async def test_of_two_that_make_the_same_service_together_one_wins(world: World) -> None:
    one, other = await world.registry(), await world.registry()
    await one.create(body(), by=ME)

    with pytest.raises(ServiceExists):
        await other.create(body(password="x"), by=ME)

    assert (await world.registry()).service("db") == service()


async def test_the_file_wins_for_equal_names(world: World) -> None:
    store = (await world.home.vault()).store
    await store.create(service("of-file", "stored"), origin="api", change=change("r"), epoch=0)

    registry = await world.registry()

    assert registry.service("of-file") == service("of-file")
    assert registry.view("of-file").origin == "file"


@pytest.mark.parametrize("name", ["of-file", "host"])
async def test_what_stands_in_the_file_is_changed_there(world: World, name: str) -> None:
    registry = await world.registry()

    with pytest.raises(Conflict, match="stands in the file"):
        await registry.replace(name, body(name), by=ME)
    with pytest.raises(Conflict, match="stands in the file"):
        await registry.remove(name, by=ME)


@pytest.mark.parametrize("name", ["_state", "missing"])
async def test_what_is_not_there_or_hidden_is_not_found(world: World, name: str) -> None:
    registry = await world.registry()

    for refused in (registry.replace(name, {**body(), "name": name}, by=ME), registry.remove(name, by=ME)):
        with pytest.raises(ServiceNotFound):
            await refused
    with pytest.raises(ServiceNotFound):
        registry.view(name)
    with pytest.raises(ConfigError, match="reserved"):
        await registry.create({**body(), "name": "_state"}, by=ME)


async def test_a_replaced_service_is_there_after_a_restart_and_keeps_its_name(world: World) -> None:
    registry = await world.registry()
    first = await registry.create(body(), by=ME)
    without_name = {key: value for key, value in body(password="x").items() if key != "name"}

    second = await registry.replace("db", without_name, by=ME, expect=first.revision)

    assert (await world.registry()).service("db") == service(password="x")
    assert second.revision != first.revision
    with pytest.raises(ConfigError, match="keeps its name"):
        await registry.replace("db", body("other"), by=ME)
    with pytest.raises(RevisionConflict):
        await registry.replace("db", body(), by=ME, expect=first.revision)
    assert await world.verbs("db") == ["replace", "create"]


async def test_a_service_that_a_job_names_stays_and_the_jobs_are_listed(world: World) -> None:
    registry = await world.registry()
    await registry.create(body(), by=ME)
    world.jobs["db"] = ["orders", "archive"]

    with pytest.raises(ServiceInUse, match="'archive', 'orders'"):
        await registry.remove("db", by=ME)

    assert registry.view("db").used_by == ["archive", "orders"]
    world.jobs.clear()
    await registry.remove("db", by=ME)
    assert await world.stored.scan() == []
    assert await world.verbs("db") == ["delete", "create"]
    [tombstone, _] = await world.audit.of(Subject.SERVICE, "db")
    assert tombstone.definition == {"name": "db", "origin": "api"}


async def test_a_service_that_is_being_removed_cannot_be_looked_up_any_more(world: World) -> None:
    registry = await world.registry()
    await registry.create(body(), by=ME)
    seen: list[bool] = []

    class Watching(Faults):
        def passes(self, *, after: bool) -> None:
            try:
                registry.service("db")
            except ServiceNotFound:
                seen.append(True)
            else:
                seen.append(False)

    world.home.faults.__class__ = Watching
    await registry.remove("db", by=ME)

    assert seen == [True] * 4


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("verb", ["create", "replace", "delete"])
async def test_a_change_killed_at_any_write_is_made_or_not_and_never_half(
    world: World, verb: str, at: int, after: bool
) -> None:
    registry = await world.registry()
    if verb != "create":
        await registry.create(body(password="old"), by=ME)
    world.home.faults.at, world.home.faults.after = world.home.faults.writes + at, after
    try:
        match verb:
            case "create":
                await registry.create(body(), by=ME)
            case "replace":
                await registry.replace("db", body(), by=ME)
            case _:
                await registry.remove("db", by=ME)
    except Killed:
        pass
    world.home.faults = Faults()

    again = await world.registry()
    await again.complete()

    is_done = at > 1 or after
    found = again.services().get("db")
    before = None if verb == "create" else service(password="old")
    wanted = {"create": service(), "replace": service(), "delete": None}[verb] if is_done else before
    assert found == wanted
    if is_done:
        assert (await world.verbs("db"))[0] == verb
    if wanted is None:
        assert await world.stored.scan() == []
        await again.create(body(), by=ME)


@pytest.mark.parametrize("verb", ["create", "replace", "delete"])
async def test_a_change_whose_trail_cannot_be_written_is_recorded_at_the_next_start(world: World, verb: str) -> None:
    registry = await world.registry()
    if verb != "create":
        await registry.create(body(), by=ME)
    world.audit_faults = Faults(at=1, error=StoreUnreachable)
    registry = await world.registry()
    match verb:
        case "create":
            await registry.create(body(), by=ME)
        case "replace":
            await registry.replace("db", body(password="x"), by=ME)
        case _:
            await registry.remove("db", by=ME)
    world.audit_faults = Faults()

    await (await world.registry()).complete()

    assert (await world.verbs("db"))[0] == verb
    assert len(await world.stored.scan()) == (verb != "delete")


async def test_a_write_whose_answer_was_lost_is_seen_by_the_next_command(world: World) -> None:
    registry = await world.registry()
    await registry.create(body(), by=ME)
    faults = world.home.faults
    faults.at, faults.after, faults.error = faults.writes + 1, True, StoreUnreachable
    with pytest.raises(StoreUnreachable):
        await registry.replace("db", body(password="x"), by=ME)

    await registry.replace("db", body(password="y"), by=ME)

    assert (await world.registry()).service("db") == service(password="y")


async def test_a_damaged_service_is_shown_and_can_be_replaced_or_removed(world: World) -> None:
    await world.home.vault()
    for name in ("bad", "worse"):
        await world.stored.put(name, {"name": name, "envelope": {}})
    registry = await world.registry()

    view = registry.view("bad")
    assert (view.status.value, view.config) == ("error", None)
    assert view.as_document()["reason"]
    with pytest.raises(ServiceError, match="cannot be used"):
        registry.service("bad")
    with pytest.raises(ServiceExists):
        await registry.create(body("bad"), by=ME)

    await registry.replace("bad", body("bad"), by=ME)
    await registry.remove("worse", by=ME)

    assert [each.name for each in (await world.registry()).views()] == ["bad", "of-file"]
    assert registry.service("bad") == service("bad")


async def test_views_hide_secrets_and_the_services_that_host_a_store(world: World) -> None:
    registry = await world.registry()
    await registry.create(kafka(**{"sasl.password": SECRET}), by=ME)
    world.jobs["bus"] = ["orders"]

    shown = [each.as_document() for each in registry.views()]

    assert [each["name"] for each in shown] == ["bus", "of-file"]
    assert [each.name for each in registry.views(with_system=True)] == ["bus", "host", "of-file"]
    assert [each.name for each in registry.views(provider="kafka")] == ["bus"]
    assert registry.views(provider="pigeon") == []
    assert SECRET not in str(shown)
    assert shown[0]["used_by_jobs"] == ["orders"]
    assert (shown[0]["is_system"], shown[0]["origin"], shown[0]["sasl.password"]) == (False, "api", "****")
    assert registry.view("host").as_document()["is_system"] is True


@pytest.mark.parametrize(
    ("definition", "told"),
    [
        (kafka(**{"client.id": "env:MSTREAM_ENC_KEY"}), "env_allow"),
        (kafka(**{"client.id": "file:/etc/shadow"}), "cannot refer to this file"),
        ({**body(), "connection_string": "env:OTHER"}, "env_allow"),
        ({"provider": "udf", "name": "u", "script_path": "s", "engine": {"kind": "python"}}, "scripts in Python"),
        (pubsub(kind="static_token", env_token_name="MSTREAM_ENC_KEY"), "auth.env_token_name: .* env_allow"),
        (pubsub(kind="service_account", account_key_path="/etc/shadow"), "auth.account_key_path: .* this file"),
        ({"provider": "udf", "name": "u", "script_path": "file:x", "engine": {"kind": "rhai"}}, "this file"),
        ({"provider": "pigeon", "name": "p", "password": SECRET}, "no such provider"),
        ({"name": "p"}, "provider"),
        ({**body(), "colour": SECRET}, "unknown key"),
        ({**body(), "db_name": 7}, "must be text"),
        ({**body(), "name": " "}, "blank"),
        ({**body(), "name": ""}, "name"),
    ],
)
async def test_what_the_api_may_not_say_is_refused_without_repeating_it(
    world: World, definition: Mapping[str, object], told: str
) -> None:
    registry = await world.registry()
    writes = world.home.faults.writes

    with pytest.raises(ConfigError, match=told) as caught:
        await registry.create(definition, by=ME)

    assert SECRET not in str(caught.value)
    assert world.home.faults.writes == writes


async def test_a_variable_that_the_file_allows_is_kept_as_a_reference(world: World) -> None:
    registry = await world.registry()

    await registry.create({**body(), "connection_string": "env:ALLOWED"}, by=ME)

    assert (await world.registry()).service("db").sealed()["connection_string"] == "env:ALLOWED"
    assert registry.view("db").as_document()["connection_string"] == "env:ALLOWED"


def action(name: str, what: Action) -> ServiceAction:
    return ServiceAction(service=name, action=what, origin="file", reason="planned")


async def test_a_plan_brings_the_files_services_into_the_store(world: World) -> None:
    registry = await world.registry()
    await registry.create(body(), by=ME)

    await registry.carry_out([action("of-file", Action.ADD), action("db", Action.LEAVE)])
    await registry.carry_out([action("of-file", Action.REPLACE), action("db", Action.REMOVE)])

    [stored] = (await world.registry()).stored
    assert (stored.name, stored.origin, stored.config) == ("of-file", "file", service("of-file"))
    assert stored.last_change is not None
    assert (stored.last_change.by.who, stored.last_change.reason) == ("plan", "planned")
    assert await world.verbs("of-file") == ["replace", "create"]
    assert await world.verbs("db") == ["delete", "create"]


async def test_a_service_taken_out_of_the_file_stays_as_the_files_and_can_be_changed(world: World) -> None:
    await (await world.registry()).carry_out([action("of-file", Action.ADD)])
    world.file = world.file.model_copy(update={"services": ()})

    registry = await world.registry()

    assert registry.view("of-file").origin == "file"
    assert registry.service("of-file") == service("of-file")
    await registry.replace("of-file", body("of-file", "x"), by=ME)
    assert registry.view("of-file").origin == "api"


async def test_a_plan_that_was_overtaken_is_refused(world: World) -> None:
    registry = await world.registry()
    await registry.carry_out([action("of-file", Action.ADD)])
    other = await world.registry()
    await other.carry_out([action("of-file", Action.REPLACE)])

    with pytest.raises(RevisionConflict):
        await registry.carry_out([action("of-file", Action.REPLACE)])


class Deposed(SoleOwner):
    """An owner whose lease has run out."""

    def require(self) -> None:
        raise StaleOwner("planted")


class InEpoch(SoleOwner):
    """An owner who is told by what it meets that there is a newer one."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.given_up: list[str] = []

    def forfeit(self, reason: str) -> None:
        self.given_up.append(reason)


async def test_an_owner_that_meets_a_newer_one_gives_up(world: World) -> None:
    async def registry_of(owner: InEpoch) -> ServiceRegistry:
        registry = ServiceRegistry(file=world.file, catalog=CATALOG, clock=SystemClock(), naming=dict)
        await registry.open((await world.home.vault()).store, audit=None, authority=owner)
        return registry

    older, newer = InEpoch(4), InEpoch(5)
    await (await registry_of(newer)).create(body(), by=ME)
    registry = await registry_of(older)

    for refused in (registry.replace("db", body(password="x"), by=ME), registry.remove("db", by=ME)):
        with pytest.raises(StaleOwner):
            await refused

    assert (len(older.given_up), newer.given_up) == (2, [])


async def test_an_owner_that_is_none_any_more_changes_nothing(world: World) -> None:
    await (await world.registry()).create(body(), by=ME)
    registry = ServiceRegistry(file=world.file, catalog=CATALOG, clock=SystemClock(), naming=dict)
    await registry.open((await world.home.vault()).store, audit=None, authority=Deposed())
    before = await world.stored.scan()

    for refused in (
        registry.create(body("other"), by=ME),
        registry.replace("db", body(password="x"), by=ME),
        registry.remove("db", by=ME),
        registry.carry_out([action("of-file", Action.ADD)]),
    ):
        with pytest.raises(StaleOwner):
            await refused

    assert await world.stored.scan() == before
    assert registry.service("db") == service()


@dataclass
class Slow(FaultyCollection):
    """A collection in which somebody changes something in the middle of a scan."""

    meanwhile: Any = None

    async def scan(self, *, after: str = "", limit: int = 1000) -> Sequence[Stored]:
        page = await super().scan(after=after, limit=limit)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return page


@pytest.mark.parametrize("verb", ["create", "replace", "delete"])
async def test_what_is_changed_while_the_store_is_read_again_holds(world: World, verb: str) -> None:
    registry = await world.registry()
    if verb != "create":
        await registry.create(body(password="old"), by=ME)

    async def meanwhile() -> None:
        match verb:
            case "create":
                await registry.create(body(), by=ME)
            case "replace":
                await registry.replace("db", body(), by=ME)
            case _:
                await registry.remove("db", by=ME)

    vault = await world.home.vault()
    slow = Slow(vault.store._documents, Faults(), meanwhile)
    vault.store._documents = slow
    registry._store = vault.store

    await registry.reread()

    assert slow.meanwhile is None
    assert registry.services().get("db") == (None if verb == "delete" else service())
    await registry.reread()
    assert registry.services().get("db") == (None if verb == "delete" else service())


async def test_a_removal_that_somebody_else_finishes_is_finished(world: World) -> None:
    registry, other = await world.registry(), await world.registry()
    await registry.create(body(), by=ME)

    class Finishing(Faults):
        def passes(self, *, after: bool) -> None:
            pass

    slow = Slow(world.home.services, Finishing())
    store = (await world.home.vault()).store
    store._documents = slow
    registry._store = store

    async def delete(key: str, *, expect: str | None = None) -> bool:
        await other.reread()
        return await FaultyCollection.delete(slow, key, expect=expect)

    slow.delete = delete  # type: ignore[method-assign]  # somebody is quicker
    await registry.remove("db", by=ME)

    assert await world.stored.scan() == []


async def test_a_service_brought_under_another_key_counts_as_unchanged(world: World) -> None:
    registry = await world.registry()
    shown = await registry.create(body(), by=ME)
    await (await world.home.rotation()).rotate()

    await registry.replace("db", body(password="x"), by=ME, expect=shown.revision)

    assert (await world.registry()).service("db") == service(password="x")


async def test_what_another_program_has_changed_is_seen_by_a_command_that_it_refuses(world: World) -> None:
    registry, other = await world.registry(), await world.registry()
    shown = await registry.create(body(), by=ME)
    await other.reread()
    await other.replace("db", body(password="x"), by=ME)

    with pytest.raises(RevisionConflict):
        await registry.replace("db", body(password="y"), by=ME, expect=shown.revision)

    assert registry.service("db") == service(password="x")
    await registry.replace("db", body(password="y"), by=ME, expect=registry.view("db").revision)


async def test_several_writes_that_somebody_else_was_quicker_with_are_one_conflict(world: World) -> None:
    registry = await world.registry()
    actions = [ServiceAction(service=name, action=Action.ADD, origin="file", reason="") for name in ("host", "of-file")]
    await world.stored.put("host", {"name": "host"})
    await world.stored.put("of-file", {"name": "of-file"})

    with pytest.raises(RevisionConflict):
        await registry.carry_out(actions)
