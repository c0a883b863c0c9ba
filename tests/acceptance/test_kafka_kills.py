"""Kills at random moments while messages flow, scaled to a minute; `make chaos SUITE=kafka` is the full number."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.chaos import kafka, kafka_findings
from tests.chaos.kafka_feed import PARTITIONS, Log, Row, key_of
from tests.chaos.kafka_flows import (
    Messages,
    OnceDocuments,
    OnceRows,
    StaticMessages,
    TopicTarget,
    numbers_of,
    offsets_in,
)
from tests.chaos.stream import line, record
from tests.servers.kafka import KafkaServer, KafkaTopics

RECORDS = 2000


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize(
    ("target", "whom"),
    [
        (Messages, ["broker"]),
        (StaticMessages, ["worker", "both"]),
        (OnceRows, ["owner", "broker"]),
        (OnceDocuments, ["worker", "owner"]),
    ],
    ids=["least", "static", "rows", "documents"],
)
def test_no_message_is_lost_whatever_is_killed(
    target: type[TopicTarget], whom: list[str], tmp_path: Path, kafka_server: KafkaServer
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)

    run, _ = kafka.run(
        target,
        tmp_path,
        [kafka_server],
        records=RECORDS,
        per_second=RECORDS / 6,
        seed=seed,
        kills=len(whom),
        first=whom,
        session_ms=3000,
        room=10,
    )

    assert [each.whom for each in run.kills][: len(whom)] == whom
    assert run.records >= RECORDS
    assert run.arrived >= run.records


def test_who_judges_sees_what_is_committed_and_nothing_else(kafka_topics: KafkaTopics) -> None:
    topic = kafka_topics.create("judged", PARTITIONS)
    log = Log(kafka_topics.bootstrap, topic)
    try:
        producer = Producer({"bootstrap.servers": kafka_topics.bootstrap, "transactional.id": topic})
        producer.init_transactions(30)
        for number, end in ((0, producer.commit_transaction), (1, producer.abort_transaction)):
            producer.begin_transaction()
            producer.produce(topic, line(number).rstrip(), key_of(number))
            end(30)

        rows = log.up_to_now()
    finally:
        log.close()

    assert numbers_of(rows) == [0]
    assert kafka_findings.faults([json.loads(rows[0].value)], rows, [0], is_once=True) == {}


def faults(*numbers: int, written: Sequence[int] = range(200), is_once: bool = False) -> dict[str, Any]:
    return kafka_findings.faults([record(each) for each in numbers], (), written, is_once=is_once)


def test_a_message_that_is_missing_or_that_nobody_has_written_is_noticed() -> None:
    assert faults(*range(200)) == {}
    assert faults(*range(199)) == {"lost": [199]}
    assert faults(*range(201)) == {"invented": [200]}


def test_a_message_that_comes_again_is_noticed_where_it_must_not() -> None:
    assert faults(*range(200), 7, is_once=True) == {"twice": [7]}
    assert faults(*range(200), 7) == {}
    assert faults(*range(200), 7, written=[*range(200), 7], is_once=True) == {}
    assert faults(*range(200), written=[*range(200), 7], is_once=True) == {"lost": [7]}


def test_messages_of_a_key_that_change_places_are_noticed() -> None:
    other_key, same_key = [1, 0, *range(2, 200)], [60, *range(1, 60), 0, *range(61, 200)]
    assert key_of(0) == key_of(60) != key_of(1)

    assert faults(*other_key, is_once=True) == {}
    assert faults(*same_key) == {"out of order": [(60, 0)]}


def test_a_message_that_was_altered_or_has_gone_astray_is_noticed() -> None:
    rows = [Row(0, 0, key_of(0), line(0)), Row(0, 1, key_of(0), line(60)), Row(1, 0, key_of(0), line(120))]
    others = [Row(0, 0, key_of(1), line(0))]

    assert kafka_findings.faults([record(0) | {"text": "other"}], (), [0], is_once=False) == {"altered": [0]}
    assert kafka_findings.astray(rows, numbers_of(rows)) == [120]
    assert kafka_findings.astray(others, [0]) == [0]


def test_an_offset_that_covers_what_is_not_there_is_noticed() -> None:
    source = [Row(3, 10, None, line(0)), Row(3, 11, None, line(1)), Row(4, 0, None, line(2))]

    assert kafka_findings.not_covered(source, [0, 1, 2], {3: 12}, {0}) == [1]
    assert kafka_findings.not_covered(source, [0, 1, 2], {3: 11}, {0}) == []
    assert kafka_findings.not_covered(source, [0, 1, 2], {3: 12, 4: 1}, {0, 1}) == [2]


def test_the_furthest_of_all_checkpoints_counts() -> None:
    one, other = {"t/0": {"next_offset": 5}, "t/1": {"next_offset": 1}}, {"t/0": {"next_offset": 7}}

    assert offsets_in([{"positions": one}, {"positions": other}]) == {0: 7, 1: 1}
