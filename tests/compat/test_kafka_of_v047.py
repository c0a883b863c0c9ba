"""What mstream v0.47 made of messages on their way from topic to topic, as it was measured on a broker."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Message, Producer

from tests.acceptance.programs import Program, until
from tests.contracts.kafka_harness import messages_of
from tests.servers.kafka import KafkaTopics

SAMPLE = json.loads((Path(__file__).parent / "samples" / "kafka-v047" / "jobs.json").read_text())
CASES: dict[str, dict[str, Any]] = {each["job"]: each for each in SAMPLE["cases"]}

#: What comes out otherwise, and why. Besides:
#: - the order is that of the partition: v0.47 sent each message on from a task of its own;
#: - headers are the message's own; where it came from is among them only with `origin_headers`;
#: - a message of a batch says where it came from itself: v0.47 wrote the place of the last one on all of them.
OTHERWISE: dict[str, list[bytes]] = {
    # The same number, spelled as JSON's shortest form.
    "json-bson-json-0": [CASES["json-bson-json-0"]["outputs"][0]["value"].replace("1e+100", "1e100").encode()],
    # v0.47 took numbers of 32 bits for no `long`; here they are, and fields that the schema does not name are left out.
    "json-avro-0": [bytes.fromhex("02000000000000f83f020278040204") + b"\0"],
    "json-avro-2": [bytes.fromhex("06000000000000f03f020a6578747261020e") + b"\0"],
}

SERVICES = """
[system]
state = "state.db"

[[services]]
provider = "kafka"
name = "bus"
"bootstrap.servers" = "{bootstrap}"
"session.timeout.ms" = 6000
"auto.offset.reset" = "earliest"
"""
CONNECTOR = """
[[connectors]]
name = "{job}"
source = {{ service_name = "bus", resource = "{source}", input_encoding = "json", output_encoding = "{first}"{of} }}
sinks = [ {{ service_name = "bus", resource = "{sink}", output_encoding = "{second}"{of}, origin_headers = true }} ]
"""
SCHEMA = """
[[connectors.schemas]]
id = "av"
text = '''{schema}'''
"""

pytestmark = pytest.mark.timeout(180)


def configured(folder: Path, topics: KafkaTopics) -> None:
    text = SERVICES.format(bootstrap=topics.bootstrap)
    for job, case in CASES.items():
        is_avro = case["source"] == "avro"
        text += CONNECTOR.format(
            job=job,
            source=topics.create(f"in-{job}"),
            sink=topics.create(f"out-{job}"),
            first=case["source"],
            second=case["sink"],
            of=', schema_id = "av"' if is_avro else "",
        )
        text += SCHEMA.format(schema=SAMPLE["schema"]) if is_avro else ""
        text += 'batch = { kind = "count", size = 3 }\n' if job == "batch-kafka" else ""
    (folder / "mstream-config.toml").write_text(text)


def produced(topics: KafkaTopics) -> None:
    producer = Producer({"bootstrap.servers": topics.bootstrap})
    for job, case in CASES.items():
        for each in case["records"]:
            producer.produce(f"{topics.prefix}in-{job}", each.encode())
    assert producer.flush(30) == 0


def written(topics: KafkaTopics, job: str) -> list[Message]:
    return messages_of(topics.bootstrap, f"{topics.prefix}out-{job}")


def states(client: httpx.Client) -> dict[str, str]:
    return {each["name"]: each["state"] for each in client.get("/jobs").json()}


@pytest.fixture(scope="module")
def outcome(running_kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, list[Message]]]:
    """By job: its state, and what it has written."""
    if not running_kafka.is_apache:
        pytest.skip(f"Tansu cannot do this; {running_kafka.instead_because}")
    topics, folder = KafkaTopics(running_kafka), tmp_path_factory.mktemp("v047")
    configured(folder, topics)
    produced(topics)
    found: dict[str, tuple[str, list[Message]]] = {}
    with Program(folder, "run") as program, closing(program.ready()) as client:

        def is_done(job: str) -> bool:
            state, messages = states(client)[job], written(topics, job)
            found[job] = state, messages
            return state == "failed" or len(messages) >= len(CASES[job]["records"])

        for job in CASES:
            until(lambda job=job: is_done(job), f"{job} has come to an end")  # type: ignore[misc]
    return found


@pytest.mark.parametrize("job", CASES)
def test_messages_come_out_as_they_did(job: str, outcome: dict[str, tuple[str, list[Message]]]) -> None:
    state, messages = outcome[job]
    case = CASES[job]
    found = [each.value() for each in messages]

    if job in OTHERWISE:
        assert found == OTHERWISE[job]
        assert state == "running"
        return
    by_offset = {each["headers"]["offset"]: each["value"].encode() for each in case["outputs"]}
    if job == "batch-kafka":
        assert set(by_offset) == {"2"}
        assert found == [each.encode() for each in case["records"]]
        assert sorted(found) == sorted(each["value"].encode() for each in case["outputs"])
    else:
        assert found == [by_offset[each] for each in sorted(by_offset)]
    assert (state == "failed") is case["failed"]


@pytest.mark.parametrize("job", CASES)
def test_they_say_where_they_came_from_as_they_did(job: str, outcome: dict[str, tuple[str, list[Message]]]) -> None:
    for number, each in enumerate(outcome[job][1]):
        headers = {name: (value or b"").decode() for name, value in each.headers() or ()}
        topic = headers.pop("topic")
        theirs = [dict(output["headers"]) for output in CASES[job]["outputs"]]
        assert topic.endswith(f"in-{job}")
        assert headers == {"origin": "kafka", "partition": "0", "offset": str(number)}
        assert each.key() is None
        assert all(set(other) == {*headers, "topic"} for other in theirs)
