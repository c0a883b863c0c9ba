"""A schema registry, asked by its provider: a real one and a stand-in alike, and what only the stand-in can do."""

import json
import secrets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mstream.domain.batch import Encoding
from mstream.errors import AccessDenied, MstreamError, SchemaInvalid, ServiceError, Throttled, Unreachable
from mstream.ports.probe import Outcome
from mstream.ports.schemas import NumberedSchemas, SchemaCatalog, SchemaText
from mstream.providers.schema_registry import PROVIDER
from mstream.providers.schema_registry.config import SchemaRegistryConfig
from mstream.providers.schema_registry.service import SchemaRegistry, connect
from tests.servers.certificates import self_signed
from tests.servers.process import free_port
from tests.servers.schema_registry import SchemaRegistryServer


def record(called: str = "Order", **fields: Any) -> str:
    made = [{"name": field, **each} for field, each in fields.items()]
    return json.dumps({"type": "record", "name": called, "fields": made})


ORDER = record(id={"type": "long"})
WIDER = record(id={"type": "long"}, note={"type": "string", "default": ""})
NARROWER = record(id={"type": "long"}, more={"type": "string"})


def text(definition: str, name: str | None = None) -> SchemaText:
    return SchemaText(id="", name=name, encoding=Encoding.AVRO, definition=definition)


def config(url: str, **more: Any) -> SchemaRegistryConfig:
    return SchemaRegistryConfig.model_validate({"name": "reg", "url": url, **more})


@pytest.fixture(params=["stand-in", pytest.param("apicurio", marks=[pytest.mark.connected, pytest.mark.timeout(120)])])
async def registry(request: pytest.FixtureRequest) -> AsyncIterator[SchemaRegistry]:
    server = request.getfixturevalue("schema_registry" if request.param == "stand-in" else "apicurio")
    async with PROVIDER.connect(config(server.url)) as live:
        if request.param == "apicurio":  # it compares nothing unless it is told to
            response = await live._client.put(f"{server.url}/config", json={"compatibility": "BACKWARD"})
            assert response.status_code == 200
        yield live


@pytest.fixture
def subject() -> str:
    return f"test {secrets.token_hex(4)}/ü-value"


async def test_what_is_registered_is_found_by_name_version_and_number(registry: SchemaRegistry, subject: str) -> None:
    assert PROVIDER.schemas is not None
    catalog = PROVIDER.schemas(registry)
    assert isinstance(catalog, NumberedSchemas)
    assert await catalog.get(subject) is None

    first = await registry.registered(subject, text(ORDER))
    second = await registry.registered(subject, text(WIDER))

    assert first.id != second.id
    newest, one, two = [await registry.get(f"{subject}{each}") for each in ("", ":1", ":latest")]
    assert newest is not None
    assert one is not None
    assert two is not None
    assert [each.definition for each in (newest, one, two)] == [WIDER, ORDER, WIDER]
    assert [each.id for each in (newest, one, two)] == [second.id, first.id, second.id]
    assert [each.is_fixed for each in (newest, one, two)] == [False, True, True]
    by_number = await registry.numbered(int(first.id))
    assert by_number is not None
    assert json.loads(by_number.definition) == json.loads(ORDER)
    assert await registry.get(f"{subject}:7") is None
    assert await registry.numbered(999_999) is None


async def test_the_same_text_is_registered_once(registry: SchemaRegistry, subject: str) -> None:
    first = await registry.registered(subject, text(ORDER))

    assert await registry.registered(subject, text(ORDER)) == first
    assert await registry.get(f"{subject}:2") is None


async def test_what_does_not_go_with_the_one_before_is_refused(registry: SchemaRegistry, subject: str) -> None:
    await registry.registered(subject, text(ORDER))

    assert await registry.misfits(subject, text(WIDER)) == ()
    assert await registry.misfits(f"{subject}-other", text(NARROWER)) == ()
    assert len(await registry.misfits(subject, text(NARROWER))) >= 1
    with pytest.raises(SchemaInvalid, match=r"service 'reg': 409 .*ncompatible"):
        await registry.registered(subject, text(NARROWER))


async def test_a_text_that_is_no_schema_is_refused(registry: SchemaRegistry, subject: str) -> None:
    with pytest.raises(SchemaInvalid, match=r"service 'reg': 4\d\d "):
        await registry.registered(subject, text("{"))


async def test_schemas_are_saved_listed_and_deleted_as_in_any_catalog(registry: SchemaRegistry, subject: str) -> None:
    catalog: SchemaCatalog = registry

    await catalog.save(text(ORDER, subject))

    assert ORDER in [each.definition for each in await catalog.entries()]
    assert await catalog.delete(subject)
    assert await catalog.get(subject) is None
    assert not await catalog.delete(subject)


async def test_a_probe_finds_nothing_wrong(registry: SchemaRegistry) -> None:
    assert PROVIDER.probe is not None

    steps = await PROVIDER.probe(registry._config)

    assert [each.name for each in steps] == ["settings", "connection", "authentication", "subjects"]
    assert {each.outcome for each in steps} == {Outcome.OK}


# --------------------------------------------------------------------------------------------------- the stand-in alone
async def test_what_a_schema_refers_to_comes_with_it(schema_registry: SchemaRegistryServer) -> None:
    schema_registry.add("city", record("City", name={"type": "string"}))
    in_city = [{"name": "City", "subject": "city", "version": 1}]
    schema_registry.add("home", record("Home", city={"type": "City"}), references=in_city)
    in_home = [{"name": "Home", "subject": "home", "version": 1}, *in_city]
    number = schema_registry.add("person", record("Person", home={"type": "Home"}), references=in_home)

    async with connect(config(schema_registry.url)) as live:
        found = await live.numbered(number)

    assert found is not None
    assert [json.loads(each)["name"] for each in found.parts] == ["City", "Home"]


async def test_a_number_is_asked_for_once(schema_registry: SchemaRegistryServer) -> None:
    number = schema_registry.add("order", ORDER)

    async with connect(config(schema_registry.url)) as live:
        first = await live.numbered(number)
        assert await live.numbered(number) == first
        assert await live.numbered(77) is None
        assert await live.numbered(77) is None

    assert schema_registry.asked == [f"GET /schemas/ids/{number}", *["GET /schemas/ids/77"] * 2]


async def test_schemas_of_other_kinds_say_so(schema_registry: SchemaRegistryServer) -> None:
    numbers = [schema_registry.add("j", "{}", schemaType="JSON"), schema_registry.add("p", "x", schemaType="PROTOBUF")]

    async with connect(config(schema_registry.url)) as live:
        kinds = [(await live.numbered(each) or text("")).encoding for each in numbers]

    assert kinds == [Encoding.JSON, Encoding.TEXT]


@pytest.mark.parametrize(
    ("status", "kind", "is_retryable"),
    [
        (401, AccessDenied, False),
        (403, AccessDenied, False),
        (404, ServiceError, False),
        (408, Unreachable, True),
        (409, SchemaInvalid, False),
        (422, SchemaInvalid, False),
        (429, Throttled, True),
        (500, Unreachable, True),
        (503, Unreachable, True),
        (301, ServiceError, False),
    ],
)
async def test_an_answer_is_what_its_status_means(
    schema_registry: SchemaRegistryServer, status: int, kind: type[MstreamError], is_retryable: bool
) -> None:
    schema_registry.instead = [(status, {"error_code": status, "message": "because"})]

    async with connect(config(schema_registry.url)) as live:
        with pytest.raises(kind, match=f"{status} because") as found:
            await live.subjects()

    assert type(found.value) is kind
    assert found.value.retryable is is_retryable


@pytest.mark.parametrize("answer", ["<html>", {"some": "table"}])
async def test_what_is_no_registry_is_told(schema_registry: SchemaRegistryServer, answer: Any) -> None:
    schema_registry.instead = [(200, answer), (200, answer)]

    async with connect(config(schema_registry.url)) as live:
        for asked in (live.subjects(), live.get("orders-value")):
            with pytest.raises(ServiceError, match="is there a schema registry at"):
                await asked


async def test_a_path_that_is_not_the_registrys_is_no_missing_schema(schema_registry: SchemaRegistryServer) -> None:
    async with connect(config(f"{schema_registry.url}/elsewhere")) as live:
        with pytest.raises(ServiceError, match="404"):
            await live.numbered(1)
        schema_registry.instead = [(404, "<html>not found</html>")]
        with pytest.raises(ServiceError, match="404 Not Found"):
            await live.get("orders-value")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"username": "u", "password": "hush:hush"}, {"user": ("u", "hush:hush")}),
        ({"token": "hush-token"}, {"token": "hush-token"}),
    ],
)
async def test_who_asks_is_told_as_the_registry_wants_it(given: dict[str, Any], wanted: dict[str, Any]) -> None:
    server = SchemaRegistryServer(**wanted)
    server.start()
    try:
        async with connect(config(server.url, **given)) as live:
            assert await live.subjects() == []
        async with connect(config(server.url)) as live:
            with pytest.raises(AccessDenied) as found:
                await live.subjects()
        steps = await PROVIDER.probe(config(server.url)) if PROVIDER.probe else ()
    finally:
        server.stop()

    assert "hush" not in str(found.value)
    assert [each.outcome.value for each in steps] == ["ok", "ok", "failed", "skipped"]
    assert "hush" not in repr(config(server.url, **given))


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Of 127.0.0.1, by nobody but itself; the key is in the same file."""
    return self_signed(tmp_path / "registry.pem")


async def test_both_sides_show_a_certificate(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server = SchemaRegistryServer(tls=context)
    server.start()
    try:
        trusted = {"tls_ca_file": str(certificate)}
        async with connect(config(server.url, **trusted, tls_certificate_file=str(certificate))) as live:
            assert await live.subjects() == []
        async with connect(config(server.url, **trusted)) as live:
            with pytest.raises(Unreachable):
                await live.subjects()
        async with connect(config(server.url)) as live:
            with pytest.raises(AccessDenied, match=r"the certificate of https://127.* is not trusted"):
                await live.subjects()
    finally:
        server.stop()


async def test_an_outage_may_pass_and_another_url_is_asked_meanwhile(schema_registry: SchemaRegistryServer) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    number = schema_registry.add("order", ORDER)

    async with connect(config(f"{nowhere}/, {schema_registry.url}")) as live:
        assert await live.numbered(number) is not None
    async with connect(config(schema_registry.url)) as live:
        assert await live.subjects() == ["order"]
        schema_registry.stop()
        with pytest.raises(Unreachable, match="service 'reg' does not answer") as found:
            await live.subjects()
        schema_registry.start()
        assert await live.subjects() == ["order"]

    assert found.value.retryable


async def test_who_is_too_slow_is_not_waited_for(schema_registry: SchemaRegistryServer) -> None:
    schema_registry.delay = 5.0

    async with connect(config(schema_registry.url, timeout_sec=0.2)) as live:
        with pytest.raises(Unreachable, match="no answer in time"):
            await live.subjects()
    steps = await PROVIDER.probe(config(schema_registry.url, timeout_sec=0.2)) if PROVIDER.probe else ()

    assert [each.outcome.value for each in steps] == ["ok", "failed", "skipped", "skipped"]
