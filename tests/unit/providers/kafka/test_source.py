"""What a source says without a cluster."""

from __future__ import annotations

from mstream.domain.batch import Encoding
from mstream.domain.connector import SourceRef
from mstream.ports.roles import Resume
from mstream.providers.kafka.backlog import Backlog
from mstream.providers.kafka.config import KafkaConfig
from mstream.providers.kafka.consuming import Consuming
from mstream.providers.kafka.reading import KafkaSourceOptions
from mstream.providers.kafka.service import connect
from mstream.providers.kafka.source import KafkaSource
from tests.contracts.lanes import NoLanes


async def test_a_sink_that_commits_elsewhere_does_not_wait_for_the_consumer() -> None:
    """The consumer waits for the sink, too, while partitions are taken away."""
    config = KafkaConfig.model_validate({"name": "bus", "bootstrap.servers": "127.0.0.1:1"})
    ref = SourceRef.model_validate({"service_name": "bus", "resource": "orders", "input_encoding": "json"})
    backlog = Backlog(Encoding.JSON)
    async with connect(config) as live:
        # Its thread is never started: who asks it for anything waits without end.
        consuming = Consuming(live, ["orders"], KafkaSourceOptions(), Resume(job="copy"), NoLanes(), backlog)
        source = KafkaSource(live, ref, consuming, backlog, are_copies=False)

        assert await source.handle() is None
