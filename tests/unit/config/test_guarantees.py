"""A connector gets the delivery that its wiring can give, or the reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from mstream.config.document import service_adapter
from mstream.config.guarantees import DeliveryPlan, delivery_plan
from mstream.domain.connector import ConnectorSpec
from mstream.errors import GuaranteeUnavailable, ServiceNotFound
from mstream.providers import CATALOG

DEFINITIONS = (
    {"provider": "file", "name": "files", "path": "."},
    {"provider": "sql", "name": "db", "url": "sqlite:///./a.db"},
    {"provider": "sql", "name": "same", "url": "sqlite:///a.db"},
    {"provider": "sql", "name": "other", "url": "sqlite:///./b.db"},
    {"provider": "sql", "name": "odd", "url": "env:PLANTED_URL"},
    {"provider": "kafka", "name": "bus", "bootstrap.servers": "one:9092,two:9092"},
    {"provider": "kafka", "name": "same bus", "bootstrap.servers": "PLAINTEXT://TWO:9092"},
    {"provider": "kafka", "name": "other bus", "bootstrap.servers": "three:9092"},
    {"provider": "http", "name": "hook", "host": "http://hook.example"},
    {
        "provider": "pubsub",
        "name": "topics",
        "project_id": "p",
        "auth": {"kind": "static_token", "env_token_name": "T"},
    },
)
CONFIGS = {each.name: each for each in map(service_adapter(CATALOG).validate_python, DEFINITIONS)}

INSERT = {"service_name": "db", "resource": "t"}
UPSERT = {"service_name": "other", "resource": "t", "write_mode": "upsert"}


def plan(*sinks: dict[str, Any], store: str | None = "db", source: str = "files", **more: Any) -> DeliveryPlan:
    spec = ConnectorSpec.model_validate(
        {
            "name": "orders",
            "source": {"service_name": source, "resource": "in"},
            "sinks": sinks,
            "delivery": "effectively_once",
            **more,
        }
    )
    return delivery_plan(spec, CONFIGS, CATALOG, CONFIGS[store] if store else None)


def test_at_least_once_asks_for_nothing() -> None:
    assert plan(INSERT, store=None, delivery="at_least_once") == DeliveryPlan()


def test_a_sink_in_the_database_of_the_checkpoints_commits_them() -> None:
    assert plan(INSERT) == DeliveryPlan(transactional_sink=0)
    assert plan(INSERT, store="same") == DeliveryPlan(transactional_sink=0)


def test_sinks_that_write_by_key_need_no_transaction() -> None:
    assert plan(UPSERT) == DeliveryPlan()


def test_one_transactional_sink_may_stand_among_idempotent_ones() -> None:
    assert plan(UPSERT, INSERT) == DeliveryPlan(transactional_sink=1)


@pytest.mark.parametrize("sink", ["bus", "same bus"])
def test_a_sink_in_the_cluster_of_the_source_commits_its_offsets(sink: str) -> None:
    to_topic = {"service_name": sink, "resource": "t"}

    assert plan(to_topic, source="bus") == DeliveryPlan(transactional_sink=0, in_source=True)
    assert plan(UPSERT, to_topic, source="bus") == DeliveryPlan(transactional_sink=1, in_source=True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"sinks": [INSERT], "store": None}, "no store keeps checkpoints"),
        ({"sinks": [INSERT], "checkpoint": {"enabled": False}}, "checkpoints are switched off"),
        ({"sinks": [INSERT], "source": "topics"}, "cannot be read again"),
        ({"sinks": [{"service_name": "other", "resource": "t"}]}, "is another database than the checkpoint's"),
        ({"sinks": [{"service_name": "hook", "resource": "t"}]}, "neither writes by key nor commits"),
        ({"sinks": [{"service_name": "files", "resource": "t"}]}, "neither writes by key nor commits"),
        ({"sinks": [INSERT, {"service_name": "same", "resource": "u"}]}, "one checkpoint commits with one sink"),
        ({"sinks": [{"service_name": "topics", "resource": "t"}]}, "sinks[0]"),
        ({"sinks": [{"service_name": "bus", "resource": "t"}]}, "neither writes by key nor commits"),
        ({"sinks": [{"service_name": "other bus", "resource": "t"}], "source": "bus"}, "neither writes by key"),
        ({"sinks": [INSERT, {"service_name": "bus", "resource": "t"}], "source": "bus"}, "one checkpoint commits"),
    ],
)
def test_what_cannot_be_given_is_refused_with_the_reason(arguments: dict[str, Any], reason: str) -> None:
    sinks = arguments.pop("sinks")

    with pytest.raises(GuaranteeUnavailable, match="connector 'orders' cannot deliver effectively once") as refused:
        plan(*sinks, **arguments)

    assert reason in str(refused.value)


def test_every_reason_is_told_at_once() -> None:
    with pytest.raises(GuaranteeUnavailable) as refused:
        plan({"service_name": "hook", "resource": "t"}, store=None, source="topics")

    assert str(refused.value).count("; ") >= 2


def test_a_place_that_is_not_known_yet_is_refused_and_not_repeated() -> None:
    with pytest.raises(GuaranteeUnavailable) as refused:
        plan({"service_name": "odd", "resource": "t"})

    assert "PLANTED" not in str(refused.value)


def test_a_service_that_is_not_there_is_named() -> None:
    with pytest.raises(ServiceNotFound, match="'gone'"):
        plan({"service_name": "gone", "resource": "t"})
