"""The catalog: built-in providers and plug-ins; what is only described says so when it is used."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from mstream.config.document import file_model, service_adapter
from mstream.config.file import load
from mstream.config.problems import Code
from mstream.domain.batch import Encoding
from mstream.domain.connector import MiddlewareRef, SinkRef, SourceRef
from mstream.errors import ConfigError, ProviderUnavailable, ServiceNotFound
from mstream.ports.provider import Provider
from mstream.ports.roles import Lanes, Resume
from mstream.providers import BUILT_IN, CATALOG, PLUG_IN_GROUP, memory, plug_ins

#: A provider as a plug-in would bring it, and two things that are none.
OTHER = replace(memory.PROVIDER, name="other")
NO_PROVIDER = "text"

DESCRIBED = [each for each in BUILT_IN if not each.built]
SETTINGS: dict[str, dict[str, Any]] = {
    "mongodb": {"connection_string": "mongodb://u:planted-secret@host/", "db_name": "d"},
    "kafka": {"bootstrap.servers": "host", "sasl.password": "planted-secret"},
    "pubsub": {"project_id": "p", "auth": {"kind": "static_token", "env_token_name": "T"}},
    "http": {"host": "https://u:planted-secret@host/"},
}


def point(value: str) -> EntryPoint:
    return EntryPoint(name="plugin", value=value, group=PLUG_IN_GROUP)


def test_names_are_there_once() -> None:
    names = [each.name for each in CATALOG]

    assert len(names) == len(set(names))
    assert {"file", "sql", "udf", "memory", "mongodb", "kafka", "pubsub", "http"} <= set(names)


def test_a_plug_in_is_a_provider_like_any_other() -> None:
    found = plug_ins(BUILT_IN, (point(f"{__name__}:OTHER"),))

    assert [each.name for each in found] == ["other"]


@pytest.mark.parametrize("value", ["tests.nowhere:PROVIDER", f"{__name__}:NOTHING", f"{__name__}:NO_PROVIDER"])
def test_a_plug_in_that_cannot_be_used_is_named(value: str) -> None:
    with pytest.raises(ConfigError, match=value):
        plug_ins(BUILT_IN, (point(value),))


def test_a_plug_in_cannot_take_a_name_that_is_taken() -> None:
    with pytest.raises(ConfigError, match="second provider 'memory'"):
        plug_ins(BUILT_IN, (point("mstream.providers.memory:PROVIDER"),))


def test_a_catalog_of_one_has_a_shape_too() -> None:
    config = file_model([memory.PROVIDER]).model_validate({"services": [{"provider": "memory", "name": "m"}]})

    assert config.service("m").provider == "memory"
    with pytest.raises(ServiceNotFound):
        config.service("n")


def test_a_state_file_needs_its_provider(tmp_path: Path) -> None:
    path = tmp_path / "mstream-config.toml"
    path.write_text('[system]\nstate = "./x.db"\n', encoding="utf-8")

    problems = load(path, [memory.PROVIDER], {}).problems
    assert [(each.path, each.code) for each in problems] == [("system.state", Code.UNKNOWN_PROVIDER)]


@pytest.mark.parametrize("provider", DESCRIBED, ids=lambda each: each.name)
def test_what_is_only_described_refuses_to_run(provider: Provider[Any, Any]) -> None:
    ref = {"service_name": "s", "resource": "r"}
    config = service_adapter(CATALOG).validate_python(
        {"provider": provider.name, "name": "s", **SETTINGS[provider.name]}
    )

    if provider.documents is None:  # who hosts stores opens, for those alone
        with pytest.raises(ProviderUnavailable, match=provider.name):
            provider.connect(config)
    if provider.source:
        with pytest.raises(ProviderUnavailable):
            provider.source.open(None, SourceRef.model_validate(ref), None, Resume(), Anything())
        assert "planted" not in provider.source.fingerprint(config, SourceRef.model_validate(ref), None)
    if provider.sink:
        with pytest.raises(ProviderUnavailable):
            provider.sink.open(None, SinkRef.model_validate(ref), None)
    if provider.middleware:
        with pytest.raises(ProviderUnavailable):
            provider.middleware.open(None, MiddlewareRef.model_validate(ref), None)


@pytest.mark.parametrize("provider", DESCRIBED, ids=lambda each: each.name)
def test_no_description_shows_a_secret(provider: Provider[Any, Any]) -> None:
    config = service_adapter(CATALOG).validate_python(
        {"provider": provider.name, "name": "s", **SETTINGS[provider.name]}
    )

    assert "planted" not in repr(config)
    assert "planted" not in str(config.shown())


def test_a_mongodb_sink_takes_its_write_mode_from_ref_or_service() -> None:
    sink = next(each for each in CATALOG if each.name == "mongodb").sink
    assert sink is not None
    ref = SinkRef.model_validate({"service_name": "s", "resource": "r"})

    assert sink.idempotent(ref, sink.options.model_validate({"write_mode": "replace"}))
    assert not sink.idempotent(ref, sink.options.model_validate({}))


def test_a_mongodb_source_gives_bson() -> None:
    source = next(each for each in CATALOG if each.name == "mongodb").source
    assert source is not None

    assert source.input_encoding is Encoding.BSON


class Anything(Lanes):
    """Lanes that nobody asks."""
