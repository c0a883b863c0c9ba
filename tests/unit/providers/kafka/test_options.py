"""Options of the client: what goes to which kind of client, what is refused, what is hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from pydantic import ValidationError

from mstream.config.file import load
from mstream.config.problems import Code
from mstream.providers import CATALOG
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.options import (
    OF_CONSUMERS,
    OF_PRODUCERS,
    Client,
    as_text,
    client_options,
    hidden_values,
)
from mstream.providers.kafka.service import KafkaService

#: One value of each kind that suits an option whose default librdkafka does not take twice.
VALUES = {
    "fetch.max.bytes": "60000000",
    "queue.buffering.backpressure.threshold": "1",
    "fetch.message.max.bytes": "1000000",
    "max.partition.fetch.bytes": "1000000",
    "max.poll.interval.ms": "60000",
    "message.send.max.retries": "5",
    "retries": "5",
    "batch.size": "100000",
    "message.timeout.ms": "60000",
    "delivery.timeout.ms": "60000",
    "acks": "all",
    "request.required.acks": "all",
    "auto.offset.reset": "earliest",
    "partition.assignment.strategy": "range",
    "group.protocol": "classic",
    "isolation.level": "read_committed",
    "compression.codec": "none",
    "compression.type": "none",
    "partitioner": "random",
    "queuing.strategy": "fifo",
    "check.crcs": "true",
    "enable.partition.eof": "true",
    "enable.idempotence": "true",
    "enable.gapless.guarantee": "false",
    "group.id": "g",
    "group.instance.id": "i",
    "group.protocol.type": "consumer",
    "compression.level": "1",
    "max.in.flight": "1",
    "max.in.flight.requests.per.connection": "1",
}
#: These belong to another protocol, or are settled by others.
APART = {"group.remote.assignor", "max.poll.records", "fetch.min.bytes", "max.in.flight", "transaction.timeout.ms"}


class Log:
    """What a client says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: int, form: str, *args: Any) -> None:
        self.lines.append(form % args)


def made(**options: str) -> KafkaConfig:
    return KafkaConfig.model_validate({"name": "bus", "bootstrap.servers": "127.0.0.1:1", **options})


def test_each_kind_of_client_gets_what_it_knows() -> None:
    options = {"group.id": "g", "linger.ms": "7", "client.id": "c", "enable.auto.commit": "true"}

    assert client_options(options, Client.CONSUMER) == {"group.id": "g", "client.id": "c"}
    assert client_options(options, Client.ADMIN) == {"client.id": "c"}
    assert client_options(options, Client.PRODUCER)["linger.ms"] == "7"
    assert "group.id" not in client_options(options, Client.PRODUCER)


def test_other_names_of_an_option_count_as_that_option() -> None:
    given = {"queue.buffering.max.ms": "9", "request.required.acks": "1", "delivery.timeout.ms": "5"}

    found = client_options(given, Client.PRODUCER)
    assert (found["linger.ms"], found["acks"], found["message.timeout.ms"]) == ("9", "1", "5")
    assert not given.keys() & found.keys()


@pytest.mark.parametrize("client", [Client.CONSUMER, Client.PRODUCER, Client.ADMIN])
def test_no_client_complains_of_an_option_of_the_others(client: Client) -> None:
    """librdkafka warns of what it ignores: with everything set there is nothing of that kind."""
    names = (OF_CONSUMERS | OF_PRODUCERS) - APART
    options = {name: VALUES.get(name, "6000") for name in sorted(names)}
    log, kinds = Log(), {Client.CONSUMER: Consumer, Client.PRODUCER: Producer, Client.ADMIN: AdminClient}
    given: dict[str, Any] = {
        **client_options({**options, "bootstrap.servers": "127.0.0.1:1"}, client),
        "logger": log,
    }

    made_client = kinds[client](given)
    made_client.poll(0)
    if client is Client.CONSUMER:
        made_client.close()

    assert not [each for each in log.lines if "will be ignored" in each]


def test_an_option_of_the_others_is_noticed() -> None:
    log = Log()
    Producer({"bootstrap.servers": "127.0.0.1:1", "group.id": "g", "logger": log}).poll(0)

    assert [each for each in log.lines if "will be ignored" in each]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"plugin.library.paths": "evil.so"}, "'plugin.library.paths': it would load or run"),
        ({"sasl.kerberos.kinit.cmd": "rm -rf /"}, "'sasl.kerberos.kinit.cmd'"),
        ({"sasl.kerberos.principal": "me; rm -rf /"}, "a shell would read"),
        ({"ssl.engine.location": "x"}, "'ssl.engine.location'"),
        ({"acks": 0}, "'acks': with 0 nobody would know"),
        ({"error_cb": "x"}, "'error_cb'"),
        ({"transactional.id": "x"}, "effectively_once"),
        ({"delivery.report.only.error": True}, "'delivery.report.only.error'"),
    ],
)
def test_options_that_are_ours_or_run_code_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        made(**options)


def test_what_is_refused_is_told_when_the_file_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "mstream-config.toml"
    path.write_text('[[services]]\nname = "bus"\nprovider = "kafka"\n"plugin.library.paths" = "x.so"\n')

    (problem,) = [each for each in load(path, CATALOG, {}).problems if "plugin" in each.message]
    assert problem.line is not None


def test_what_older_versions_took_has_no_effect_and_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mstream-config.toml"
    path.write_text('[[services]]\nname = "bus"\nprovider = "kafka"\n"enable.auto.commit" = "true"\n')

    loaded = load(path, CATALOG, {})
    assert loaded.config is not None
    assert [each.code for each in loaded.problems if "auto.commit" in each.path] == [Code.LEGACY_VALUE]


def test_numbers_and_booleans_are_text() -> None:
    assert [as_text(each) for each in (True, False, 5, 0.5, "x")] == ["true", "false", "5", "0.5", "x"]


def test_values_that_could_be_secret_stand_in_no_text() -> None:
    config = made(**{"sasl.password": "hunter2", "sasl.username": "me-too", "linger.ms": "6000", "acks": "all"})

    assert hidden_values(config.client_settings, config.public) == {"hunter2", "me-too"}
    assert "hunter2" not in f"{config!r} {config.shown()}"


def test_what_a_client_says_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    service = KafkaService(made(**{"sasl.password": "hunter2-planted"}))
    options = service.options(Client.PRODUCER)

    options["logger"].log(30, "%s [%s] %s", "FACILITY", "client", "password hunter2-planted\nsecond line")

    said = capsys.readouterr().out
    assert "kafka_client_said" in said
    assert "hunter2" not in said
    assert "second line" not in said
