"""The program reads topics with two members in worker processes: one is killed, and the program begins anew."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import KafkaException

from tests.acceptance.programs import Program, until
from tests.integration.test_kafka_flow import KEYS, Feed, configured
from tests.servers.kafka import KafkaServer, KafkaTopics

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def feed(kafka_topics: KafkaTopics) -> Iterator[Feed]:
    found = Feed(kafka_topics)
    yield found
    found.close()


def seats(server: KafkaServer, group: str) -> dict[str, set[int]]:
    """By name of a member: the partitions that it has."""
    (answer,) = server.admin().describe_consumer_groups([group]).values()
    try:
        members = answer.result(20).members
    except KafkaException:
        return {}
    return {each.client_id: {part.partition for part in each.assignment.topic_partitions} for each in members}


def workers(program: Program) -> list[int]:
    pid = program.process.pid
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_shared(found: dict[str, set[int]]) -> bool:
    return sorted(map(len, found.values())) == [2, 2] and set().union(*found.values()) == {0, 1, 2, 3}


def behind(client: httpx.Client) -> dict[str, int | None]:
    """By lane: how many messages are left."""
    lags = client.get("/jobs/copy").json()["counters"]["lags"]
    return {lane: lag["records"] for lane, lag in lags.items()}


def test_two_members_share_the_partitions_and_none_is_lost_with_a_worker(
    tmp_path: Path, feed: Feed, kafka_topics: KafkaTopics
) -> None:
    configured(tmp_path, feed, kafka_topics.bootstrap, delivery="at_least_once", parallelism=2)
    config = tmp_path / "mstream-config.toml"
    group = f"{kafka_topics.prefix}copies"
    named = f'"session.timeout.ms" = "6000"\n"heartbeat.interval.ms" = "300"\n"group.id" = "{group}"'
    config.write_text(
        config.read_text().replace('"session.timeout.ms" = "6000"', named)
        + '\n[system.runtime]\nkind = "process"\nworkers = 2\n'
    )
    shares: list[Any] = []

    feed.more(4000)
    with Program(tmp_path, "run") as program, closing(program.ready()) as client:
        shares.append(until(lambda: is_shared(found := seats(kafka_topics.server, group)) and found, "two members"))
        until(feed.is_there, "everything has arrived")
        level = {f"{feed.source}/{each}": 0 for each in range(4)}
        until(lambda: behind(client) == level, "every partition is read to its end, as both members tell")
        pids = workers(program)
        os.kill(pids[0], signal.SIGKILL)
        feed.more(4000)
        until(feed.is_there, "everything has arrived without it, or with the next")
        shares.append(until(lambda: is_shared(found := seats(kafka_topics.server, group)) and found, "two again"))
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0, program.log
    before = feed.look()
    feed.more(2000)
    with Program(tmp_path, "run") as program:
        until(feed.is_there, "it goes on")
        until(lambda: is_shared(seats(kafka_topics.server, group)), "two members")
        program.send(signal.SIGTERM)
        assert program.ended()[0] == 0, program.log

    # After an orderly end nothing comes again.
    assert feed.look() == before + 2000
    each = list(range(feed.count // KEYS))
    firsts = {key: list(dict.fromkeys(numbers)) for key, numbers in feed.arrived.items()}
    assert {key: numbers for key, numbers in firsts.items() if numbers != each} == {}
    assert all(set(names) == {"mstream-copy-0", "mstream-copy-1"} for names in shares)
