"""What a source's table may say."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mstream.domain.checkpoint import Begin
from mstream.domain.connector import SourceRef
from mstream.ports.provider import role_options
from mstream.ports.roles import Resume
from mstream.providers.kafka import PROVIDER
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.reading import KafkaSourceOptions, Start, check, topics_of
from mstream.providers.kafka.service import KafkaService
from mstream.providers.kafka.settings import is_eager, options_of, patience_of, started


def ref(resource: str, **options: Any) -> SourceRef:
    return SourceRef.model_validate({"service_name": "bus", "resource": resource, "input_encoding": "json", **options})


def config(**settings: str | int) -> KafkaConfig:
    return KafkaConfig.model_validate({"name": "bus", "bootstrap.servers": "b:1", **settings})


@pytest.mark.parametrize(
    ("resource", "topics"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        (" a , b ,", ["a", "b"]),
        ("^shop\\..*", ["^shop\\..*"]),
        ("a,^b.*", ["a", "^b.*"]),
        ("", []),
        (" , ", []),
    ],
)
def test_topics_stand_with_commas_between_them(resource: str, topics: list[str]) -> None:
    assert topics_of(resource) == topics


@pytest.mark.parametrize(
    ("resource", "count"),
    [
        ("a", 0),
        ("a.b_c-9,^x.*", 0),
        ("a b", 1),
        ("a/b,ok,c*", 2),
        ("x" * 250, 1),
        ("^(", 1),
        ("^a{1,2}", 1),
        (",", 1),
    ],
)
def test_what_is_no_topic_is_refused(resource: str, count: int) -> None:
    found = check(ref(resource), KafkaSourceOptions())

    assert [key for key, _ in found] == ["resource"] * count


@pytest.mark.parametrize(
    "given",
    [
        {"start": "newest"},
        {"start": "timestamp"},
        {"start": "offsets"},
        {"start_timestamp": "2026-01-31T08:00:00Z"},
        {"start": "latest", "start_offsets": {"t/0": 1}},
        {"start": "timestamp", "start_timestamp": "2026-01-31T08:00:00"},
        {"start": "timestamp", "start_timestamp": 1_769_842_800},
        {"start": "offsets", "start_offsets": {"t": 1}},
        {"start": "offsets", "start_offsets": {"t/x": 1}},
        {"start": "offsets", "start_offsets": {"/0": 1}},
        {"start": "offsets", "start_offsets": {"t/0": -1}},
        {"offset_seek_back_seconds": -1},
        {"on_position_lost": "ignore"},
        {"on_missing_topic": "create"},
    ],
)
def test_options_that_mean_nothing_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaSourceOptions.model_validate(given)


def test_the_service_may_say_how_far_to_seek_back_and_the_connector_otherwise() -> None:
    assert PROVIDER.source is not None
    service = config(offset_seek_back_seconds=60)

    of_service = role_options(PROVIDER.source.options, service, ref("a"))
    own = role_options(PROVIDER.source.options, service, ref("a", offset_seek_back_seconds=0))

    assert of_service.offset_seek_back_seconds == 60  # type: ignore[attr-defined]  # the model is the provider's
    assert own.offset_seek_back_seconds == 0  # type: ignore[attr-defined]  # the same


@pytest.mark.parametrize(
    ("given", "reset", "start"),
    [
        ({}, None, Start.EARLIEST),
        ({}, "latest", Start.LATEST),
        ({}, "end", Start.LATEST),
        ({}, "earliest", Start.EARLIEST),
        ({"start": "earliest"}, "latest", Start.EARLIEST),
        ({"start": "latest"}, "earliest", Start.LATEST),
    ],
)
def test_without_a_start_the_clients_own_option_counts(given: dict[str, Any], reset: str | None, start: Start) -> None:
    settings = {"auto.offset.reset": reset} if reset else {}

    assert started(KafkaSourceOptions.model_validate(given), settings).start is start


def test_a_start_by_hand_comes_before_whatever_else_says_where() -> None:
    assert PROVIDER.source is not None
    given: dict[str, Any] = {"start": "timestamp", "start_timestamp": "2026-01-31T08:00:00Z"}
    for begin, start in ((Begin.BEGINNING, Start.EARLIEST), (Begin.NOW, Start.LATEST)):
        source = ref("a", **{**given, "offset_seek_back_seconds": 5, **PROVIDER.source.begins[begin]})

        options = role_options(PROVIDER.source.options, config(offset_seek_back_seconds=7), source)

        assert isinstance(options, KafkaSourceOptions)
        assert (options.start, options.start_timestamp, options.offset_seek_back_seconds) == (start, None, None)


def of(
    reading: dict[str, Any] | None = None, *, member: int = 0, settings: dict[str, str] | None = None
) -> dict[str, Any]:
    options = KafkaSourceOptions.model_validate(reading or {})
    service = KafkaService(config(**(settings or {})))
    return options_of(service, lambda error: None, Resume(job="orders", member=member), options)


def test_a_job_has_a_group_and_each_member_a_name() -> None:
    found = of(member=3)

    assert found["group.id"] == "mstream-orders"
    assert found["client.id"] == "mstream-orders-3"
    assert "group.instance.id" not in found
    assert not is_eager(found)


@pytest.mark.parametrize("pattern", ["^a-\\d+", "^(?!a).*", "^a.*?b", "^[[:digit:]]+"])
def test_a_pattern_that_the_client_reads_otherwise_is_refused(pattern: str) -> None:
    (found,) = check(ref(pattern), KafkaSourceOptions())

    assert found[0] == "resource"
    assert "[0-9]" in found[1]


@pytest.mark.parametrize("pattern", ["^shop\\..*", "^(a|b)-[0-9]+$", "^a[^b]?c{2}"])
def test_a_pattern_that_everybody_reads_alike_is_taken(pattern: str) -> None:
    assert not check(ref(pattern), KafkaSourceOptions())


def test_a_static_member_is_known_by_its_number() -> None:
    assert of({"static_membership": True}, member=2)["group.instance.id"] == "mstream-orders-2"
    named = {"group.instance.id": "till"}
    assert [of(member=each, settings=named)["group.instance.id"] for each in (0, 1)] == ["till", "till-1"]


def test_the_service_decides_but_not_what_delivery_rests_on() -> None:
    mine = {"group.id": "mine", "partition.assignment.strategy": "range", "max.poll.interval.ms": "7000"}
    found = of(settings={**mine, "auto.offset.reset": "latest", "enable.partition.eof": "false"})

    assert {key: found[key] for key in mine} == mine
    assert found["auto.offset.reset"] == "error"
    assert found["enable.partition.eof"] == "true"
    assert found["enable.auto.commit"] == "false"
    assert is_eager(found)
    assert patience_of(found) == 7.0


def test_the_newer_protocol_of_groups_has_no_strategy() -> None:
    found = of(settings={"group.protocol": "consumer"})

    assert "partition.assignment.strategy" not in found
    assert not is_eager(found)
    assert patience_of(found) == 300.0
