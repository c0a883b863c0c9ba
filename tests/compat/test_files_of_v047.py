"""Files of v0.47 load as they are; what a new file would write otherwise is a warning that says what was done."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstream.config.file import Loaded, load
from mstream.config.problems import Code, Problem, Severity
from mstream.config.system import Place, StartupState
from mstream.domain.batch import Encoding
from mstream.domain.connector import ConnectorSpec
from mstream.domain.service import ServiceConfig
from mstream.providers import CATALOG
from mstream.providers.http.config import HttpConfig
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.udf.config import UdfConfig

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> Loaded:
    return load(SAMPLES / f"{name}.toml", CATALOG, {"BUS_PASSWORD": "x", "MSTREAM_TEST_CLIENT_ID": "x"})


def service(loaded: Loaded, name: str) -> ServiceConfig:
    assert loaded.config is not None
    return loaded.config.service(name)


def connector(loaded: Loaded, name: str) -> ConnectorSpec:
    assert loaded.config is not None
    return next(each for each in loaded.config.connectors if each.name == name)


def told(loaded: Loaded, code: Code) -> dict[str, Problem]:
    return {each.path: each for each in loaded.problems if each.code is code}


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_sample_loads_with_warnings_only(path: Path) -> None:
    loaded = sample(path.stem)

    assert loaded.config is not None
    assert loaded.config.connectors
    assert {each.severity for each in loaded.problems} <= {Severity.WARNING}


def test_a_key_of_older_versions_is_ignored_and_told() -> None:
    found = told(sample("everything"), Code.LEGACY_KEY)

    assert list(found) == ["system.generate_encryption_key"]
    assert found["system.generate_encryption_key"].line == 2


def test_options_of_the_kafka_client_are_taken_as_text_and_told() -> None:
    loaded = sample("everything")
    bus = service(loaded, "bus")

    assert isinstance(bus, KafkaConfig)
    assert dict(bus.settings())["session.timeout.ms"] == "6000"
    assert dict(bus.settings())["enable.partition.eof"] == "false"
    assert dict(bus.settings())["sasl.password"] == "env:BUS_PASSWORD"
    assert {'services[1]."session.timeout.ms"', 'services[1]."enable.partition.eof"'} <= set(
        told(loaded, Code.LEGACY_VALUE)
    )


def test_a_mongodb_source_without_an_input_encoding_is_not_complained_about() -> None:
    loaded = sample("everything")

    assert connector(loaded, "orders").source.input_encoding is None
    assert "connectors[0].source.input_encoding" not in told(loaded, Code.LEGACY_VALUE)


def test_another_input_encoding_of_a_mongodb_source_is_ignored_and_told() -> None:
    loaded = sample("everything")

    assert connector(loaded, "back").source.input_encoding is None
    assert "connectors[1].source.input_encoding" in told(loaded, Code.LEGACY_VALUE)


def test_checkpoints_without_a_store_are_told_to_end_with_the_process() -> None:
    found = told(sample("everything"), Code.NO_CHECKPOINTS)

    assert "in memory" in found["connectors[0].checkpoint"].message
    assert "begins anew" in found["connectors[1]"].message


def test_a_rhai_service_is_kept_whole() -> None:
    scripts = service(sample("everything"), "scripts")

    assert isinstance(scripts, UdfConfig)
    assert scripts.engine.kind == "rhai"
    assert scripts.sources is not None
    assert scripts.sources[0].content == "fn transform(data) { result(data) }"


def test_what_cannot_run_here_is_told_by_service() -> None:
    found = told(sample("everything"), Code.PROVIDER_UNAVAILABLE)

    assert "services[5].provider" in found


def test_the_documented_default_holds_where_the_program_had_another() -> None:
    hook = service(sample("everything"), "hook")

    assert isinstance(hook, HttpConfig)
    assert hook.connection_timeout_sec == 30


def test_stores_are_where_the_file_says() -> None:
    loaded = sample("stores")
    assert loaded.config is not None
    system = loaded.config.system

    assert system.startup_state is StartupState.SEED_FROM_FILE
    assert system.place("job_lifecycle") == Place(service_name="mongodb-source", resource="job-lifecycle")
    assert system.place("checkpoints") == Place(service_name="mongodb-source", resource="mstream-checkpoints")
    assert system.place("runs") == Place(service_name="mongodb-source", resource="job-lifecycle-runs")


def test_values_come_as_they_stand() -> None:
    spec = connector(sample("stores"), "batch-to-mongo")

    assert spec.batch is not None
    assert spec.batch.size == 5
    assert spec.source.input_encoding is Encoding.JSON
    assert spec.sinks[0].output_encoding is Encoding.BSON
    assert not connector(sample("stores"), "disabled-one").enabled
