"""Which step of a test fails, and that nothing secret is told; the servers here are scripted, where none is real."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from mstream.ports.probe import Outcome, ProbeStep
from mstream.providers.mongodb import PROVIDER
from mstream.providers.mongodb.config import MongodbConfig
from tests.servers.certificates import self_signed
from tests.servers.mongodb import MongoDatabase
from tests.servers.process import free_port
from tests.servers.replica import Answer, Replica, default_answer, refusal, replica

PLANTED = "hunter2-planted"
STEPS = ["settings", "names", "tcp", "tls", "replica set", "authentication", "privileges"]


async def probed(url: str, **settings: Any) -> dict[str, ProbeStep]:
    config = MongodbConfig.model_validate({"name": "it", "connection_string": url, "db_name": "shop", **settings})
    assert PROVIDER.probe is not None
    steps = await PROVIDER.probe(config)

    assert [each.name for each in steps] == STEPS
    assert PLANTED not in str(steps)
    return {each.name: each for each in steps}


def outcomes(steps: dict[str, ProbeStep]) -> list[str]:
    """The first letter of each outcome: ok, warning, failed, skipped."""
    return [each.outcome.value[0] for each in steps.values()]


def url_of(member: Replica, *, user: str = "", options: str = "") -> str:
    return f"mongodb://{user}127.0.0.1:{member.port}/?directConnection=true&timeoutMS=3000{options}"


def with_status(**info: Any) -> Any:
    def answer(asked: dict[str, Any]) -> Answer:
        return {"ok": 1, "authInfo": info} if "connectionStatus" in asked else default_answer(asked)

    return answer


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        (f"mongodb://u:{PLANTED}@x@h/", "quote"),
        (f"http://u:{PLANTED}@h/", "mongodb://"),
        ("mongodb://h/?tls=perhaps", "option"),
        ("mongodb://h/?tls=true&tlsCAFile=/nowhere", "file"),
        (f"mongodb+srv://u:{PLANTED}@a.b/", "SRV"),
    ],
)
async def test_settings_that_cannot_be_used(url: str, advice: str) -> None:
    steps = await probed(url)

    assert outcomes(steps) == list("fssssss")
    assert advice in steps["settings"].advice + steps["settings"].detail


async def test_a_file_that_a_field_names_must_be_readable() -> None:
    steps = await probed("mongodb://h/", tls=True, tls_ca_file="/nowhere")

    assert "tls_ca_file" in steps["settings"].detail


async def test_a_name_that_nobody_knows() -> None:
    steps = await probed("mongodb://nowhere.invalid/")

    assert outcomes(steps) == list("ofsssss")
    assert "nowhere.invalid:27017" in steps["names"].detail


async def test_a_port_that_nobody_listens_on() -> None:
    steps = await probed(f"mongodb://127.0.0.1:{free_port()}/")

    assert outcomes(steps) == list("oofssss")
    assert "refused" in steps["tcp"].detail.lower()
    assert "firewall" in steps["tcp"].advice


async def test_one_of_several_that_does_not_answer_is_a_warning() -> None:
    async with replica() as member:
        steps = await probed(f"mongodb://127.0.0.1:{member.port},127.0.0.1:{free_port()}/?replicaSet=rs")

    assert steps["tcp"].outcome is Outcome.WARNING
    assert steps["replica set"].outcome is Outcome.OK


async def test_a_member_of_a_replica_set_that_asks_nobody_who_it_is() -> None:
    async with replica() as member:
        steps = await probed(url_of(member))

        assert not {"insert", "update", "create", "delete"} & {next(iter(each)) for each in member.asked}
    assert outcomes(steps) == list("ooososs")
    assert "'rs'" in steps["replica set"].detail


async def test_a_server_on_its_own_is_a_warning() -> None:
    async with replica() as member:
        member.set_name = None
        steps = await probed(url_of(member))

    assert steps["replica set"].outcome is Outcome.WARNING
    assert "change streams" in steps["replica set"].advice


async def test_a_replica_set_of_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mstream.providers.mongodb.probe._PATIENCE", 0.5)
    async with replica() as member:
        steps = await probed(f"mongodb://127.0.0.1:{member.port}/", replica_set="other")

    assert outcomes(steps) == list("ooosfss")
    assert "'other'" in steps["replica set"].advice


@pytest.mark.parametrize(("code", "advice"), [(18, "password"), (334, "auth_mechanism")])
async def test_a_user_that_is_refused(code: int, advice: str) -> None:
    async with replica() as member:
        member.answer = lambda asked: refusal(code, PLANTED)
        by_url = await probed(url_of(member, user=f"u:{PLANTED}@", options="&authMechanism=SCRAM-SHA-256"))
        by_field = await probed(url_of(member), username="u", password=PLANTED, auth_mechanism="SCRAM-SHA-256")

    for steps in (by_url, by_field):
        assert outcomes(steps) == list("ooosofs")
        assert advice in steps["authentication"].advice


@pytest.mark.parametrize(
    ("resource", "actions", "outcome", "told"),
    [
        ({"db": "shop", "collection": ""}, ["find", "insert", "update", "remove"], Outcome.OK, ""),
        ({"anyResource": True}, ["find", "insert", "update", "remove"], Outcome.OK, ""),
        ({"db": "", "collection": ""}, ["find"], Outcome.WARNING, "insert, update, remove"),
        ({"db": "other", "collection": ""}, ["find"], Outcome.FAILED, "find"),
        ({"db": "shop", "collection": "orders"}, ["find", "insert"], Outcome.FAILED, "everywhere"),
    ],
)
async def test_what_the_user_may_do(resource: Any, actions: list[str], outcome: Outcome, told: str) -> None:
    async with replica() as member:
        privileges = [{"resource": resource, "actions": actions}]
        member.answer = with_status(authenticatedUsers=[{"user": "u"}], authenticatedUserPrivileges=privileges)
        step = (await probed(url_of(member)))["privileges"]

    assert step.outcome is outcome
    assert told in step.detail
    assert ("readWrite" in step.advice) is (outcome is not Outcome.OK)


async def test_a_database_that_may_not_be_read() -> None:
    async with replica() as member:
        member.answer = lambda asked: refusal(13, PLANTED) if "find" in asked else default_answer(asked)
        step = (await probed(url_of(member)))["privileges"]

    assert step.outcome is Outcome.FAILED
    assert "'shop'" in step.detail


# ----------------------------------------------------------------------------------------------------------------- TLS
@asynccontextmanager
async def behind_tls(folder: Path) -> AsyncIterator[tuple[Replica, Path]]:
    """A member that speaks TLS alone, and the certificate that it shows for 127.0.0.1."""
    certificate = self_signed(folder / "certificate.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    member = Replica()
    server = await asyncio.start_server(member.serve, "127.0.0.1", 0, ssl=context)
    member.port = server.sockets[0].getsockname()[1]
    async with server:
        yield member, certificate


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    async with behind_tls(tmp_path) as (member, _):
        steps = await probed(url_of(member), tls=True)

    assert outcomes(steps) == list("ooofsss")
    assert "tls_ca_file" in steps["tls"].advice


async def test_a_certificate_of_an_authority_that_is_named(tmp_path: Path) -> None:
    async with behind_tls(tmp_path) as (member, certificate):
        steps = await probed(url_of(member), tls=True, tls_ca_file=str(certificate))

    assert steps["tls"].outcome is Outcome.OK
    assert steps["replica set"].outcome is Outcome.OK


async def test_a_server_that_does_not_speak_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mstream.providers.mongodb.probe._PATIENCE", 0.5)
    async with replica() as member:
        steps = await probed(url_of(member, options="&tls=true"))

    assert outcomes(steps) == list("ooofsss")
    assert "speak TLS" in steps["tls"].advice


async def test_a_server_that_speaks_tls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mstream.providers.mongodb.probe._PATIENCE", 0.5)
    async with behind_tls(tmp_path) as (member, _):
        steps = await probed(url_of(member))

    assert steps["replica set"].outcome is Outcome.FAILED
    assert "tls = true" in steps["replica set"].advice


async def test_a_stand_in_can_be_used(mongo_java_database: MongoDatabase, nx_database: MongoDatabase) -> None:
    for database in (mongo_java_database, nx_database):
        steps = await probed(database.uri)
        assert "f" not in outcomes(steps), steps
